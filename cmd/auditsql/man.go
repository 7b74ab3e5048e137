package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The pages for man are made of the help, so that there is one text. Cobra can write such pages too, from Markdown: there
// the * and the _ of a pattern or a name would become font changes, and the binary would get a parser of Markdown.

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Pages for man, of every command and every topic",
		Long: `Man writes the help as pages for man: DIR/man1 gets a page for each command and
DIR/man7 one for each topic. Pages that are there already are written again.`,
		Example: `  auditsql man ~/.local/share/man
  auditsql man ./man && man -M ./man auditsql-trace`,
		Args: arguments(1, 1, "a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := writePages(cmd.Root(), args[0])
			if err != nil {
				return err
			}
			a.note("%s written; man -M %s auditsql shows the first", plural(n, "page", "pages"), shellQuote(args[0]))
			return nil
		},
		ValidArgsFunction: completeFolder,
	}
}

// writePages writes all pages into the folders of a manual, and returns how many there are.
func writePages(root *cobra.Command, dir string) (n int, err error) {
	write := func(section, name, text string) {
		folder := filepath.Join(dir, "man"+section)
		if err == nil {
			err = os.MkdirAll(folder, 0o755)
		}
		if err == nil {
			n++
			err = os.WriteFile(filepath.Join(folder, name+"."+section), []byte(text), 0o644)
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		write("1", pageName(cmd), commandPage(cmd))
		for _, below := range cmd.Commands() {
			if below.IsAvailableCommand() && below.Name() != "help" {
				walk(below)
			}
		}
	}
	walk(root)
	for _, t := range topics() {
		write("7", "auditsql-"+t.name, topicPage(&t))
	}
	return n, err
}

// pageName is what a person types after man: auditsql-wal-inspect.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// A page is the source of one page for man.
type page struct{ strings.Builder }

func newPage(name, section, about string) *page {
	var p page
	p.macro(".TH", strings.ToUpper(name), section, "", "auditsql "+version, "auditsql")
	p.head("NAME")
	p.line(roff(name) + ` \- ` + roff(about))
	return &p
}

func (p *page) line(source string) { p.WriteString(source + "\n") }

// macro writes a request with arguments.
func (p *page) macro(name string, args ...string) {
	p.WriteString(name)
	for _, arg := range args {
		p.WriteString(` "` + strings.ReplaceAll(roff(arg), `"`, `\(dq`) + `"`)
	}
	p.line("")
}

func (p *page) head(title string) { p.macro(".SH", title) }

// text writes paragraphs. Lines of a paragraph that is indented stay as they are, and those of any other are filled.
func (p *page) text(text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		p.line(".PP")
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			p.verbatim(paragraph)
			continue
		}
		for line := range strings.SplitSeq(paragraph, "\n") {
			p.line(roff(line))
		}
	}
}

func (p *page) verbatim(text string) {
	p.line(".nf")
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		p.line(roff(line))
	}
	p.line(".fi")
}

func (p *page) flags(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, about := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		p.line(".TP")
		p.line(`\fB` + roff(name) + `\fR` + strings.TrimRight(` \fI`+roff(value)+`\fR`, " "))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" && !strings.Contains(about, "default") {
			about += " (default " + f.DefValue + ")"
		}
		p.line(roff(about))
	})
}

func (p *page) seeAlso(pages []string) {
	p.head("SEE ALSO")
	for i, name := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		base, section, _ := strings.Cut(strings.TrimSuffix(name, ")"), "(")
		p.line(".BR " + roff(base) + " (" + section + ")" + comma)
	}
}

func commandPage(cmd *cobra.Command) string {
	p := newPage(pageName(cmd), "1", cmd.Short)
	p.head("SYNOPSIS")
	line := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		line = cmd.CommandPath() + " COMMAND"
	}
	p.line(`\fB` + roff(line) + `\fR`)
	p.head("DESCRIPTION")
	p.text(cmd.Long)
	var others []string
	if cmd.HasAvailableSubCommands() {
		p.head("COMMANDS")
		for _, below := range cmd.Commands() {
			if below.IsAvailableCommand() {
				p.line(".TP")
				p.line(`\fB` + roff(below.Name()) + `\fR`)
				p.line(roff(below.Short))
				others = append(others, pageName(below)+"(1)")
			}
		}
	}
	cmd.InitDefaultHelpFlag()
	own, filters := flagsOf(cmd)
	if own.HasAvailableFlags() {
		p.head("OPTIONS")
		p.flags(own)
	}
	if len(filters) > 0 {
		p.head("FILTERS")
		p.line("auditsql\\-filters(7) describes them:")
		p.verbatim(namedFlags(filters, helpWidth))
	}
	if cmd.HasExample() {
		p.head("EXAMPLES")
		p.verbatim(cmd.Example)
	}
	see := []string{}
	if cmd.HasParent() {
		see = append(see, pageName(cmd.Parent())+"(1)")
	}
	see = append(see, others...)
	for _, t := range topics() {
		if t.name != "filters" || len(filters) > 0 || !cmd.HasParent() {
			see = append(see, "auditsql-"+t.name+"(7)")
		}
	}
	p.seeAlso(see)
	return p.String()
}

func topicPage(t *topic) string {
	p := newPage("auditsql-"+t.name, "7", t.about)
	p.head("DESCRIPTION")
	p.text(t.full())
	p.seeAlso([]string{"auditsql(1)"})
	return p.String()
}

// asTyped are characters for which roff prints another one, unless they are named. What is copied from a page must be what
// a shell reads.
var asTyped = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// roff writes a text so that it is read as text, and as no request.
func roff(text string) string {
	text = asTyped.Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
