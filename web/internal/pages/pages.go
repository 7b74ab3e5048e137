// Package pages lays out what a browser shows.
//
// A page is a value: a frame (what it is called, what to type for the same, where else it leads) and sections with facts, tables and
// pictures. Render turns it into HTML that works without a script, in the light and in the dark, on paper and on a telephone. Nothing
// here asks a store, and no page is laid out by itself: what a new page needs is a function that fills in a Page.
//
//	who asks the store          this package                a browser
//	Page{Frame, Sections} ───►  Render ─► HTML        ───►  one style sheet, one small script
//
// Texts of records are hostile. A Part that has one says so by Stored: it is written as package legible does, inside <bdi>, so that it can
// be neither markup nor look like the text beside it. Links are phrase.Address, which only phrase.To makes. A test holds the templates to both.
package pages

import (
	"html/template"
	"io"
	"strconv"
	"time"

	"github.com/auditsql/auditsql/web/internal/phrase"
)

// A Page is what a browser shows at an address.
type Page struct {
	Frame
	Sections []Section
}

// A Frame is what all pages have.
type Frame struct {
	Title   string // of the window: it names the thing. It may have stored text, and is shown legibly
	Kind    string // in small letters above the heading
	Heading []Part // of the page

	Nav            string // which entry of the navigation is the current one: its path
	Previous, Next Step   // the neighbours of what is shown, for the keys [ and ]

	Zone   Zone
	AsOf   string         // how many records the store had, as a number; "" on a page that is about the present
	Live   phrase.Address // the same page about the present, "" where it is
	Frozen phrase.Address // the link that shows the same at any time
	Case   phrase.Address // a case with this page

	Command string // what to type for the same
	SQL     string
	Forms   []Part // the same for programs: links
	Notes   []string

	Took   time.Duration
	Status Status
	Find   string // what stands in the box that finds things

	Bare bool // without the navigation, as before somebody has logged in
}

// A Step is a link to a neighbour. Its zero value is none.
type Step struct {
	Address phrase.Address
	Name    string
}

// A Status is how the store is, in the header of each page.
type Status struct {
	Sound   bool
	Text    string // in a few words
	Records uint64 // that questions see
	Lag     string // what they do not see yet, or that it is not known; "" when it is nothing
}

// A Zone is the time zone of the times on a page, and how to choose another one.
type Zone struct {
	Name   string
	Action phrase.Address // the path of the page
	Hidden []Field        // its other parameters
	Others []string       // zones that may be meant
}

// A Section is a part of a page. What it does not have is left out. The order is that of the fields.
type Section struct {
	ID      string // a fragment, so that a link can lead here
	Heading string // "" for the first section of a page, which the heading of the page names
	Aside   string // the section is less important: it is closed until somebody opens it. The text says what it has

	// Failed says why the section could not be filled in. The other sections of the page are shown all the same.
	Failed string

	About    []Part
	Findings [][]Part // what a person should look at, each with a sign before it
	Facts    []Fact
	Form     *Form
	Picture  template.HTML // from package chart
	Legend   [][]Part      // what the marks of the picture mean
	Brush    *Brush        // a time can be selected in the picture
	Live     *Live
	Table    *Table
	Stored   *Stored
	Links    []Part
	Notes    [][]Part // what was left out, and why
	Sections []Section

	Part bool // it is a page of a case, and begins a page on paper
}

// A Fact is a name and its value.
type Fact struct {
	Name  string
	Value []Part
}

// A Part is a piece of a line: a few words, a value, or a link.
type Part struct {
	Text   string
	Stored bool // it is not our text: it may contain anything

	Short string         // the first digits of a hash, after its label or alone
	Full  string         // the whole value, where less of it is shown
	Copy  bool           // a button copies Full
	Link  phrase.Address // "" when it leads nowhere
	Rel   string         // prev or next

	Time  string        // RFC 3339: Text is a time
	Faint string        // after Text, in less contrast: a fraction of a second, a unit
	Bar   template.HTML // from package chart, after Text
	Style Style
	Mark  bool // a sign stands before it: somebody should look at it
}

// A Style is how a part is set. It never carries a meaning alone.
type Style string

// The styles of parts.
const (
	Plain  Style = ""
	Dim    Style = "dim"
	Strong Style = "strong"
	Code   Style = "code"
	Button Style = "button"
)

// Words is a part of our own text.
func Words(s string) Part { return Part{Text: s} }

// Dimmed is our own text that matters less.
func Dimmed(s string) Part { return Part{Text: s, Style: Dim} }

// Value is a text that somebody else wrote.
func Value(s string) Part { return Part{Text: s, Stored: true} }

// To is a link with our own text.
func To(a phrase.Address, s string) Part { return Part{Text: s, Link: a} }

// Count is a number.
func Count[N uint64 | int64 | int](n N) Part {
	return Part{Text: grouped(strconv.FormatInt(int64(n), 10))}
}

// grouped writes a number with commas.
func grouped(digits string) string {
	sign := ""
	if digits != "" && digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// A Table is rows of parts.
type Table struct {
	Caption string // what the rows are
	Named   bool   // the heading above says the same: the caption is for those who do not see where it stands
	Columns []Column
	Rows    []Row
	Head    int    // the column that names a row
	Empty   string // what stands in place of a table without rows
	Always  bool   // a table without rows is there too: a script adds rows
}

// A Column is a column of a table.
type Column struct {
	Name   string
	Right  bool // numbers
	Hidden bool // its name is not shown: a sign or a bar
	Wide   bool // it is left out where there is little room, because others say the same
}

// A Row is a row of a table.
type Row struct {
	Cells   [][]Part
	Marked  bool // a sign stands before it
	Current bool // it is what the page is about
}

// A Form asks for values, and leads to an address with them.
type Form struct {
	Action phrase.Address
	Post   bool
	Label  string
	Hidden []Field
	Fields []Field
	More   MoreFields
	Submit string
	Closed string // the form is closed until somebody opens it; the text says what it is for
	Chips  []Chip // what is set now
}

// MoreFields are fields of a form that are closed until somebody opens them. Without a field there is nothing to open.
type MoreFields struct {
	Label  string
	Fields []Field
	Open   bool
}

// A Field is a value of a form.
type Field struct {
	Name, Label, Value string
	ID                 string // of the element; "": from the name
	Hint               string
	Kind               string   // text, password, search, number, checkbox, select
	Choices            []Choice // of a select
	Wide               bool
	Required           bool
}

// A Choice is a value that can be chosen.
type Choice struct{ Value, Label string }

// A Chip is a value that is set, with a link that takes it away.
type Chip struct {
	Name   string
	Value  string // stored, or typed by somebody; "" where the name says all
	Remove phrase.Address
}

// A Brush says where a selection of time in a picture leads: to an address with these parameters and from and to.
type Brush struct {
	Path   phrase.Address
	Fields []Field
}

// Stored is text that is shown as it is stored, apart from what nobody could see.
type Stored struct {
	Label string
	Text  string
}

// Live says from where a table gets new rows while it is looked at.
type Live struct {
	Address phrase.Address
	Most    int // rows
}

// Render writes a page. It writes nothing when it fails.
func Render(w io.Writer, p *Page) error { return render(w, "page", p) }
