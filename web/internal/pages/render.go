package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

//go:embed *.html
var files embed.FS

// They are parsed when the first page is shown: every command of a program that has the pages would wait for them otherwise.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		// href is the only way by which a value gets into a link. Anything but an address is an error.
		"href":    func(a phrase.Address) string { return string(a) },
		"legible": legible.Visible,
		"lines":   lines,
		"took":    took,
		"grouped": func(n uint64) string { return grouped(fmt.Sprint(n)) },
		"style":   func() phrase.Address { return StyleSheet },
		"script":  func() phrase.Address { return Script },
		"icon":    func() phrase.Address { return Icon },
		"nested":  func(level int, s Section) nested { return nested{level, s} },
		"deeper":  func(n int) int { return n + 1 },
		"nav":     func() []entry { return navigation },
		"keys":    func() []key { return keys },
		"parts":   partsOf,
		"part":    partOf,
		"rows":    rowsOf,
	}).ParseFS(files, "*.html"))
})

type nested struct {
	Level int
	Section
}

// An entry is a link of the navigation.
type entry struct {
	Address phrase.Address
	Name    string
}

var navigation = []entry{
	{phrase.To("/", nil), "Now"},
	{phrase.To("/timeline", nil), "Timeline"},
	{phrase.To("/list", nil), "Records"},
	{phrase.To("/answers", nil), "Answers"},
	{phrase.To("/agents", nil), "Agents"},
	{phrase.To("/top", nil), "Top"},
	{phrase.To("/tail", nil), "Tail"},
	{phrase.To("/health", nil), "Health"},
}

// A key is a key of the keyboard and what it does, where a script runs. Each of them presses a link or a button of the page.
type key struct{ Key, Does string }

var keys = []key{
	{"/", "go to the box that finds things"},
	{"j", "next row"},
	{"k", "row before"},
	{"Enter", "open the row"},
	{"[", "the one before: earlier, or the last one of this agent"},
	{"]", "the one after"},
	{"c", "copy the link to this page as it is now"},
	{"?", "these keys"},
}

// lines makes a stored text of several lines legible, a line at a time.
func lines(s string) string {
	var b bytes.Buffer
	for line := range bytes.Lines([]byte(s)) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		b.WriteString(legible.Text(string(text)))
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// took writes how long a page took, in milliseconds.
func took(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 9.95 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", math.Round(ms))
}

// Cut shortens a text to at most so many characters, with a sign at its end when it was longer.
func Cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// render writes nothing when the template fails: half a page would look like a whole one.
func render(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}
