package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/tui"
)

// checkOptions are the flags of check.
type checkOptions struct {
	trustFlags
	record             string
	consistency        bool
	export, checkpoint string
}

func (a *app) checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check PATH… --key KEY",
		Short: "Check evidence from a log, without a store",
		Long: `Check says whether evidence is proven. It needs no store. It takes

  PATH…                         folders and zip archives with evidence; in
                                each, the proof of NAME.json is NAME.tlog-proof
  --record FILE PROOF           one record and its proof
  --export FILE --checkpoint C  all records of a log, in order, as export prints
                                them; FILE may be compressed with gzip, or -
  --consistency OLD NEW PROOF   two checkpoints: whether the first is the
                                beginning of the second

--key is the verifier key of the log, --policy a file with the keys of logs and
witnesses and how many of these must have signed (c2sp.org/tlog-policy). Get it
separately from the evidence, from somebody whom you trust: a key that came with
the evidence proves nothing.

Each line of the result is proven, refuted or undecided. Refuted: something was
changed, or somebody lies. Undecided: check cannot tell, because the key is
unknown, too few witnesses signed, or a file cannot be read. The exit code is 0
when all is proven, 5 when anything is refuted, otherwise 1.

A proven record was in the log with exactly these bytes. That does not show that
it says the truth, or that there are no other records. An export, or a range in
a folder, shows that there are no other records.`,
		Example: `  auditsql check evidence.zip --key "$KEY"
  auditsql check --record r.json r.tlog-proof --policy trusted
  auditsql check --export all.ndjson.gz --checkpoint monday --key "$KEY"
  auditsql check --consistency monday tuesday proof --key "$KEY"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.checkEvidence(cmd, args, &o)
		},
		ValidArgsFunction: completeFiles,
	}
	flags := cmd.Flags()
	o.trustFlags.add(cmd)
	flags.StringVar(&o.record, "record", "", "`file` with a record; its proof is the argument")
	flags.BoolVar(&o.consistency, "consistency", false, "the arguments are two checkpoints and the proof between them")
	flags.StringVar(&o.export, "export", "", "`file` with all records of a log, one a line; - is standard input")
	flags.StringVar(&o.checkpoint, "checkpoint", "", "`file` with the signed checkpoint of that export")
	for _, name := range []string{"record", "export", "checkpoint"} {
		_ = cmd.MarkFlagFilename(name)
	}
	return cmd
}

// mode says which of its four tasks check has, and refuses what belongs to another one.
func (o *checkOptions) mode(cmd *cobra.Command, args []string) (string, error) {
	flags := cmd.Flags()
	mode := "paths"
	for _, name := range []string{"record", "consistency", "export"} {
		if !flags.Changed(name) {
			continue
		}
		if mode != "paths" {
			return "", usage("--%s and --%s cannot be used together", mode, name)
		}
		mode = name
	}
	if flags.Changed("checkpoint") != (mode == "export") {
		return "", usage("--export and --checkpoint go together")
	}
	n := len(args)
	switch {
	case mode == "paths" && n == 0:
		return "", usage("want folders or zip archives with evidence, or --record, --export, --consistency")
	case mode == "record" && n != 1:
		return "", usage("--record wants one proof, and got %s", plural(n, "argument", "arguments"))
	case mode == "consistency" && n != 3:
		return "", usage("--consistency wants OLD NEW PROOF, and got %s", plural(n, "argument", "arguments"))
	case mode == "export" && n != 0:
		return "", usage("--export takes no arguments, and got %q", args[0])
	case flags.Changed("key") == flags.Changed("policy"):
		return "", trying(usage("say whose signature you trust: --key KEY or --policy FILE"), "the verifier key from whoever runs the log, received separately from the evidence")
	}
	return mode, nil
}

func (a *app) checkEvidence(cmd *cobra.Command, args []string, o *checkOptions) error {
	ctx := cmd.Context()
	mode, err := o.mode(cmd, args)
	if err != nil {
		return err
	}
	policy, err := o.trusted(ctx, args)
	if err != nil {
		return err
	}
	c := &checking{ctx: ctx, app: a, policy: policy, out: tui.NewListing(a.screen(), a.form(""), checkTable())}
	switch mode {
	case "record":
		err = c.record(o.record, args[0])
	case "consistency":
		err = c.consistency(args[0], args[1], args[2])
	case "export":
		err = c.export(o.export, o.checkpoint)
	default:
		err = c.paths(args)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if err := c.out.End(); err != nil {
		return err
	}
	return c.result()
}

// A checking is one run of check: it prints each finding, and counts what they come to.
type checking struct {
	ctx    context.Context
	app    *app
	policy *evidence.Policy
	out    *tui.Listing[view.Check]

	proven, refuted, undecided int
	worst                      view.Check // the first one that is refuted, or else undecided
	misnamed                   int        // proven records whose file has the id of another record as its name
	firstMisnamed              view.Check

	tries map[string]string // what to try about files that could not be opened
}

func (c *checking) add(kind, file string, v evidence.Verdict, record []byte) error {
	found := view.CheckOf(kind, file, v, record)
	switch v.Outcome {
	case evidence.Proven:
		c.proven++
		if isMisnamed(&found) {
			if c.misnamed++; c.misnamed == 1 {
				c.firstMisnamed = found
			}
		}
	case evidence.Refuted:
		if c.refuted++; c.refuted == 1 {
			c.worst = found
		}
	default:
		if c.undecided++; c.undecided == 1 && c.refuted == 0 {
			c.worst = found
		}
	}
	return c.out.Add(&found)
}

// isMisnamed reports whether a file has the id of one record as its name, and another record in it. Nobody has signed the name.
func isMisnamed(f *view.Check) bool {
	if f.QueryID == nil {
		return false
	}
	name, err := audit.ParseHash(strings.TrimSuffix(filepath.Base(f.File), ".json"))
	return err == nil && name != *f.QueryID
}

// unreadable adds what could not even be opened: nothing is known of it.
func (c *checking) unreadable(kind, file string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.tryFor(file, "the right path; ls %s shows what is there", shellQuote(filepath.Dir(file)))
	case errors.Is(err, fs.ErrPermission):
		c.tryFor(file, "ls -ld %s shows who may read it", shellQuote(file))
	case isExport(file):
		c.tryFor(file, "auditsql check --export %s --checkpoint CHECKPOINT --key KEY, if it is an export of a whole log", shellQuote(file))
	}
	return c.add(kind, file, evidence.Verdict{Reason: evidence.Unreadable, Detail: err.Error()}, nil)
}

// tryFor keeps what to try about a file. The first advice stays.
func (c *checking) tryFor(file, format string, args ...any) {
	if c.tries == nil {
		c.tries = map[string]string{}
	}
	if c.tries[file] == "" {
		c.tries[file] = fmt.Sprintf(format, args...)
	}
}

// isExport reports whether a file has the name of an export.
func isExport(file string) bool {
	return slices.Contains([]string{".ndjson", ".jsonl"}, filepath.Ext(strings.TrimSuffix(file, ".gz")))
}

// result ends the run. Its error names the first thing that is not proven in full, since a table may be cut.
func (c *checking) result() error {
	if f := &c.firstMisnamed; c.misnamed > 0 {
		c.app.note("%s another record than the name of the file says, which nobody has signed: %s has the record %s",
			plural(c.misnamed, "file has", "files have"), f.File, f.QueryID)
	}
	all := c.proven + c.refuted + c.undecided
	if c.proven == all {
		if c.out.Form == tui.Table {
			c.app.say("(%s proven)", plural(all, "result, which is", "results, all"))
		}
		return nil
	}
	code, n := exitFailed, c.undecided
	if c.refuted > 0 {
		code, n = exitDamage, c.refuted
	}
	what := c.worst.Outcome
	if all > 1 {
		what = fmt.Sprintf("%d of %d %s, first", n, all, what)
	}
	err := &exitError{code: code, err: fmt.Errorf("%s: %s: %s", what, c.worst.File, *c.worst.Detail)}
	if try := c.whatToTry(); try != "" {
		return trying(err, "%s", try)
	}
	return err
}

// whatToTry is what somebody can do whose evidence is not proven.
func (c *checking) whatToTry() string {
	if try := c.tries[c.worst.File]; try != "" {
		return try
	}
	switch evidence.Reason(*c.worst.Reason) {
	case evidence.UnknownKey:
		return "the verifier key of the log that signed this, from whoever runs that log"
	case evidence.NoQuorum:
		return "the same evidence with a newer checkpoint, which more witnesses have signed"
	case evidence.NotCovered:
		return "a newer checkpoint, or head -n with as many lines as the checkpoint has records"
	case evidence.OtherLog:
		return "two checkpoints of one log"
	case evidence.NotMatching:
		return "the older checkpoint first, and the files that belong to it"
	case evidence.Unreadable, evidence.NoProof:
		return "the file as it was when it was sent; a check needs every byte of it"
	}
	return "another copy of the evidence from whoever sent it; keep this one as it is"
}

func checkTable() []tui.ColumnOf[view.Check] {
	type row = view.Check
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "result", Rank: -2}, Cell: func(c *row) tui.Cell { return tui.Text(c.Outcome).Marked(c.Outcome != evidence.Proven.String()) }},
		{Column: tui.Column{Name: "what", Flexible: true, Least: 30, Rank: -1}, Cell: func(c *row) tui.Cell { return tui.Text(saidOf(c)) }},
		{Column: tui.Column{Name: "log", Flexible: true, Least: 12}, Cell: func(c *row) tui.Cell { return tui.Or(c.Origin, tui.Text) }},
		{Column: tui.Column{Name: "file", Flexible: true, Least: 16, Middle: true}, Cell: func(c *row) tui.Cell { return tui.Text(c.File) }},
	}
}

// saidOf is a finding in a few words.
func saidOf(c *view.Check) string {
	if c.Detail != nil {
		return *c.Detail
	}
	said := "no records: there are none"
	size := humanize.Comma(*c.Size)
	switch {
	case c.Kind == "consistency":
		said = size + " records that continue the older ones"
	case c.Kind == "record":
		said = "record " + humanize.Comma(*c.First) + " of " + size
	case c.First != nil:
		said = "all records from " + humanize.Comma(*c.First) + " to " + humanize.Comma(*c.Last) + " of " + size
	}
	if n := len(c.Witnesses); n > 0 {
		said += ", with " + plural(n, "witness", "witnesses")
	}
	return said
}

// paths checks folders and archives.
func (c *checking) paths(paths []string) error {
	for _, path := range paths {
		if err := c.path(path); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) path(path string) error {
	files, err := bundle.Open(path)
	if err != nil {
		return c.unreadable(string(bundle.OtherFile), path, c.hintForProof(path, err))
	}
	defer files.Close()
	bar := c.app.progress("checking", -1, false)
	defer bar.End()
	n := int64(0)
	_, err = fs.Stat(files, proofsFile)
	isReport := err == nil
	for f := range bundle.Check(files, c.policy) {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		file := filepath.Join(path, filepath.FromSlash(f.Path))
		if isReport {
			c.tryFor(file, "%s, since the proofs of a report are in the archive within it", checkReport(path))
		}
		if err := c.add(string(f.Kind), file, f.Verdict, f.Record); err != nil {
			return err
		}
		n++
		bar.At(n, "checking "+path)
	}
	return nil
}

// checkReport are the commands that check the evidence of a report.
func checkReport(path string) string {
	if about, err := os.Stat(path); err == nil && about.IsDir() {
		return "auditsql check " + shellQuote(filepath.Join(path, proofsFile))
	}
	return fmt.Sprintf("unzip %s %s && auditsql check %[2]s", shellQuote(path), proofsFile)
}

// hintForProof takes the reason why a path is no bundle out of err, and keeps for a proof how the proof of one record is checked.
func (c *checking) hintForProof(path string, err error) error {
	var format *bundle.FormatError
	if errors.As(err, &format) {
		err = format.Err
		if strings.HasSuffix(path, ".tlog-proof") {
			c.tryFor(path, "auditsql check --record FILE %s, with the record's JSON: this is the proof of one record", shellQuote(path))
		}
	}
	return err
}
