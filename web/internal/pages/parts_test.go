package pages

import (
	"bytes"
	"html/template"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// oracle writes parts and rows with templates, whose escapes depend on where a value stands.
var oracle = template.Must(template.New("rows").Funcs(template.FuncMap{
	"href": func(a phrase.Address) string { return string(a) }, "legible": legible.Visible,
}).Parse(`{{define "parts"}}{{range $i, $p := .}}{{if $i}} {{end}}{{template "part" $p}}{{end}}{{end}}
{{- define "part"}}{{if .Mark}}<span class="sign" aria-hidden="true">!</span><span class="unseen">attention: </span>{{end -}}
{{if .Link}}<a href="{{href .Link}}"{{with .Rel}} rel="{{.}}"{{end}}{{with .Full}} title="{{legible .}}"{{end}}{{with .Style}} class="{{.}}"{{end}}>{{template "shown" .}}</a>{{else if .Time}}<time datetime="{{.Time}}" title="{{.Time}}">{{template "shown" .}}</time>{{else if or .Full .Style}}<span{{with .Full}} title="{{legible .}}"{{end}}{{with .Style}} class="{{.}}"{{end}}>{{template "shown" .}}</span>{{else}}{{template "shown" .}}{{end -}}
{{if .Copy}}<button class="copy" type="button" data-copy="{{.Full}}" hidden><span class="unseen">Copy {{legible .Full}}</span><svg width="13" height="13" viewBox="0 0 13 13" aria-hidden="true" focusable="false"><rect x="4" y="4" width="8" height="8" rx="1.5"/><path d="M2.500 9H2A1 1 0 0 1 1 8V2a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v.5"/></svg></button>{{end}}{{with .Bar}} <span class="bar-place">{{.}}</span>{{end}}{{end}}
{{- define "shown"}}{{if .Bar}}<span class="num">{{.Text}}</span>{{else if .Stored}}<bdi>{{legible .Text}}</bdi>{{else}}{{.Text}}{{end}}{{with .Faint}}<span class="dim">{{.}}</span>{{end}}{{if .Short}}{{if .Text}} {{end}}<code class="hash">{{.Short}}</code>{{end}}{{end}}
{{- $t := .}}{{range .Rows}}{{$row := .}}<tr role="row"{{if or .Marked .Current}} class="{{if .Marked}}marked{{end}}{{if .Current}} current{{end}}"{{end}}{{if .Current}} aria-current="true"{{end}}>{{range $i, $parts := .Cells}}{{$c := index $t.Columns $i -}}
{{if eq $i $t.Head}}<th role="rowheader" scope="row" class="{{if $c.Right}}right{{end}}{{if $c.Wide}} wide{{end}}" data-name="{{$c.Name}}">{{if $row.Marked}}<span class="sign" aria-hidden="true">!</span><span class="unseen">attention: </span> {{end}}{{template "parts" $parts}}</th>{{else}}<td role="cell" class="{{if $c.Right}}right{{end}}{{if $c.Wide}} wide{{end}}" data-name="{{$c.Name}}">{{template "parts" $parts}}</td>{{end}}{{end}}</tr>
{{end}}`))

// The rows of a table are those that templates write, whatever text they have.
func TestRowsAreThoseOfTheTemplates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			return rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringMatching(`[ a-z<>&"'+=/\\\x00\x{202e}{}-]{1,12}`)).Draw(t, name)
		}
		parts := func() []Part {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Part {
				p := Part{
					Text: text("text"), Stored: rapid.Bool().Draw(t, "stored"), Short: text("short"), Full: text("full"), Copy: rapid.Bool().Draw(t, "copy"),
					Rel: rapid.SampledFrom([]string{"", "next"}).Draw(t, "rel"), Time: text("time"), Faint: text("faint"), Mark: rapid.Bool().Draw(t, "mark"),
					Bar: rapid.SampledFrom([]template.HTML{"", "<svg></svg>"}).Draw(t, "bar"), Style: rapid.SampledFrom([]Style{Plain, Dim, Code}).Draw(t, "style"),
				}
				if rapid.Bool().Draw(t, "link") {
					p.Link = phrase.To("/list", map[string][]string{"subject": {text("value")}, "a": {"b"}})
				}
				return p
			}), 0, 3).Draw(t, "parts")
		}
		table := &Table{Head: rapid.IntRange(0, 2).Draw(t, "head"), Columns: []Column{{Name: text("column"), Right: true}, {Name: "b", Wide: true}}}
		for range rapid.IntRange(0, 2).Draw(t, "rows") {
			table.Rows = append(table.Rows, Row{Cells: [][]Part{parts(), parts()}, Marked: rapid.Bool().Draw(t, "marked"), Current: rapid.Bool().Draw(t, "current")})
		}
		var b bytes.Buffer
		if err := oracle.Execute(&b, table); err != nil {
			t.Fatal(err)
		}
		// Templates escape a plus too, which means the same.
		want := strings.ReplaceAll(b.String(), "&#43;", "+")
		got, err := rowsOf(table)
		if err != nil || string(got) != want {
			t.Fatalf("%v\n got %s\nwant %s", err, got, want)
		}
	})
}
