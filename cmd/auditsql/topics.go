package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/auditsql/auditsql/internal/tui"
)

// A topic is what many commands have in common, and help explains once.
type topic struct {
	name, about string
	text        string
}

// full is the topic as help prints it.
func (t *topic) full() string { return strings.TrimRight(t.text, "\n") }

// topics are all of them, in the order in which help lists them.
var topics = sync.OnceValue(func() []topic {
	return []topic{
		{"filters", "The filters, which select records", filterHelp + "\n\n" + filterUsages()},
		{"times", "How times are written and shown", timesHelp},
		{"record", "The fields of a record", recordHelp},
		{"output", "Tables and other forms, colours, the pager, the environment", outputHelp},
		{"json", "What JSON, NDJSON and CSV have in common", jsonHelp},
		{"exit-codes", "How a command says how it went", exitCodesHelp},
	}
})

// topicOf is the topic of a name, if there is one.
func topicOf(name string) (topic, bool) {
	all := topics()
	i := slices.IndexFunc(all, func(t topic) bool { return t.name == name })
	if i < 0 {
		return topic{}, false
	}
	return all[i], true
}

func topicList() string {
	var list strings.Builder
	for _, t := range topics() {
		fmt.Fprintf(&list, "  %s %s\n", tui.Pad(t.name, len("exit-codes")), t.about)
	}
	return list.String()
}

// filterUsages describes each filter. list has them all.
func filterUsages() string {
	var f filterFlags
	cmd := &cobra.Command{Use: "list"}
	cmd.Flags().SortFlags = false
	f.register(new(app), cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = isNegation(f) })
	return cmd.Flags().FlagUsagesWrapped(helpWidth)
}

// filterHelp is what there is to say about filters together.
const filterHelp = `A record is selected when it fits all filters. --agent, --subject, --predicate,
--lens, --lifecycle, --result, --assertion, --source and --attr may be repeated:
then one of the values must fit (of --attr, one for each KEY). Each filter
except --window and --as-of has a negation: --not-agent X leaves out what
--agent X selects. A record without a subject fits --not-subject X.

--subject takes * ? [a-z] and [!a-z], and case matters; quote it for the shell.
Attributes that are numbers or booleans are compared as they are written in
JSON. A key that is empty or has a = in it is written as a JSON string:
--attr '"a=b"=v'. --around T selects from one --window before T to one --window
after T. --as-of N gives the answer that the store gave when it had N records,
whatever was stored since. Labels are those of today. stats prints how many
records there are now.

An agent, an assertion or a source is written in full, as its first 8 or more
digits, or as its label. Where only an agent can be meant, the label of an agent
is enough, also if an assertion has the same one.`

// timesHelp says how times are written.
const timesHelp = `Times are RFC 3339 (2026-11-23T10:00:00Z), a date and time of day
(2026-11-23T10:00), a date (2026-11-23), how long ago (90m, 6h, 2d, "6 hours
ago"), now, today, yesterday, or a bare number in the store's unit. They are
in UTC unless they carry an offset or --tz names another zone: Europe/Berlin,
+02:00, UTC or local. AUDITSQL_TZ is the zone where --tz is not given.

--from and --to are both inclusive; a date is the whole day, so --to 2026-11-23
reaches to its last instant. A number is always a timestamp in the store's unit.
A note says so when it looks like a time in another unit, a date or a year.

Times are shown in the same zone. A table that has too little room leaves out
the year, the zone and the fractions of a second. Its heading has the year and
the zone then, as in "time (2026, +01:00)". Times in the result of sql are those
of the database, in UTC.`

// outputHelp says how results are shown.
const outputHelp = `Results go to standard output, notes and progress to standard error.

  -o, --output FORM   table, plain, json, ndjson or csv. Without it a command
                      prints a table on a terminal and tab-separated lines
                      elsewhere. export and wal dump print NDJSON, and so does
                      tail where standard output is no terminal.
  --json              the same as -o json
  --csv-safe          with -o csv: an apostrophe before what a spreadsheet takes
                      for a formula
  --color WHEN        auto, always or never. auto uses colours on a terminal,
                      unless NO_COLOR is set or TERM is dumb.
  --no-pager          show long tables without a pager
  -q, --quiet         no notes and no progress. Errors stay, and so do exit
                      codes. A note also says when a limit cut the result.
  -d, --dir FOLDER    the store

A table is as wide as the terminal. It shows the first 8 digits of a hash, which
every command takes for the whole, and its label beside it. Weights and
confidences have 3 significant digits; get and every other form have them all.
Where there is too little room texts are cut, and columns are left out. A note
says which. Plain text has the same columns as CSV, with tabs between them.

A table that is longer than the terminal goes through a pager: AUDITSQL_PAGER,
else PAGER, else less. An empty one, or cat, is none. If LESS is not set, it is
FRX, as git has it. The exit code is that of the command, also when you leave
the pager early.

The environment:

  AUDITSQL_DIR        the folder of the store, for -d
  AUDITSQL_OUTPUT     the form of the results, for -o. It does not change what
                      export, tail, wal dump and name --export print.
  AUDITSQL_TZ         the zone of times, for --tz
  AUDITSQL_PAGER      the pager, before PAGER
  NO_COLOR            no colours, if it is not empty
  COLUMNS, LINES      the size of a terminal that does not tell its own`

// jsonHelp is what the JSON of all commands has in common.
const jsonHelp = `-o json prints one object or one list, -o ndjson an object on each line. The
help of a command names the members, and docs/json.md in the source has their
kinds. A program must ignore members that it does not know: any version may add
some.

Records are in their canonical form, which is what was stored. These rules hold
for everything else:

  * Hashes and ids have all 64 hex digits, in lower case.
  * A member that ends in _label is the label of the hash of that name, or null.
  * A timestamp is a number in the store's unit. The member that has _time after
    the same name is the same time as RFC 3339, in the zone of --tz.
  * A value that is not known is null.
  * Numbers have all their digits. Confidences and weights are the shortest
    decimals of 32-bit floats.
  * Texts are what was stored, also where a table shows escapes. On a terminal
    CSV shows them too.

CSV and plain text have a column for each member. CSV is RFC 4180 with a header
and CR LF at line ends. Lists and objects in it are JSON. Plain text has no
header, and shows characters that could control a terminal as escapes.`

// exitCodesHelp are the exit codes. Scripts rely on them.
const exitCodesHelp = `    0  done
    1  failed; check: undecided
    2  wrong usage
    3  not found
    4  nothing fits (list and tail with --exit-code, tail --exit-on-match)
    5  damage found; check: refuted
    6  partly done, as when import rejected lines
    7  locked by another writer
  130  interrupted
  141  the reader of the output went away

An error is one line on standard error, with what to try at its end. Where
several things went wrong, the first one decides.`
