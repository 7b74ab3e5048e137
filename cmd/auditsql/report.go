package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/report"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/tree"
)

// reportOptions are the flags of report.
type reportOptions struct {
	filter filterFlags
	out    string
	force  bool
}

func (a *app) reportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report ID… | FILTER",
		Short: "Write the answer to an incident: why, where else, since when, with the records",
		Long: fmt.Sprintf(`Report writes what somebody attaches to an incident, as Markdown: for each
record why it was answered so (trace) and what changed since the same was last
asked (diff), then where the evidence went that nobody approved (impact) and how
the answers to the questions changed (answers), each with the command that gives
it again. It takes ids, or their first 8 or more digits, or a filter, which
selects the oldest that fit. A report has at most %d records.

-o names what is made: a new folder, a new zip archive (FILE.zip), or one
Markdown file (FILE.md). A folder or archive has report.md; records.ndjson, with
all records that the report names, byte for byte; and evidence.zip, with their
proofs, if the store signs its log (see prove). A Markdown file has the records
at its end, and no proofs.

Everything in a report is of one moment: that of --as-of, or of its beginning.
The same store with the same labels gives the same bytes. Every list in it is
bounded, and says so when it is cut. What agents wrote is never a link, HTML or
other markup. Nothing is written over without --force. With it, a folder is
replaced only when it has nothing but a report.`, view.MaxReported),
		Example: `  auditsql report 4058e593 -o incident.zip
  auditsql report --attr trace_id=pay-20931 -o ticket-4711.md
  auditsql report --assertion f2bf0ec5 --from 2026-11-23 -o ./northwind`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.makeReport(cmd.Context(), args, &o)
		},
		ValidArgsFunction: completeNothing,
	}
	o.filter.register(a, cmd)
	o.filter.registerLimit(cmd, view.MaxReported, "at most this many records")
	flags := cmd.Flags()
	flags.BoolVar(&o.force, "force", false, "replace what is there")
	// This takes the place of the -o of all commands: a report has forms of its own.
	flags.StringVarP(&o.out, "output", "o", "", "what to make: a `folder`, FILE.zip or FILE.md")
	_ = cmd.MarkFlagFilename("output")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// check refuses wrong flags before a store is opened.
func (o *reportOptions) check(a *app, args []string) error {
	filtered := o.filter.any()
	switch {
	case a.json || a.csvSafe:
		return usage("report prints no JSON and no CSV; -o names what it makes")
	case len(args) > 0 && filtered != "":
		return usage("want ids or a filter, and got %q and --%s", args[0], filtered)
	case len(args) == 0 && filtered == "":
		return trying(usage("want an id, or a filter"), "auditsql report --unapproved --from today -o today.md; auditsql recent lists ids")
	case o.filter.limit < 1 || o.filter.limit > view.MaxReported:
		return usage("--limit %d: want 1 to %d", o.filter.limit, view.MaxReported)
	case o.out == "":
		return usage("-o is missing: the folder, FILE.zip or FILE.md to make")
	case slices.Contains(tui.Forms(), o.out):
		return usage("-o %s: here -o names a folder, FILE.zip or FILE.md; ./%s is a folder of this name", o.out, o.out)
	}
	switch strings.ToLower(filepath.Ext(o.out)) {
	case ".pdf", ".html", ".htm", ".txt", ".docx", ".odt", ".csv", ".json", ".tar", ".gz", ".tgz":
		return usage("-o %s: a report is a folder, FILE.zip or FILE.md, and no %s file", o.out, filepath.Ext(o.out)[1:])
	}
	if err := a.checkReportPlace(o.out, o.force); err != nil {
		return err
	}
	for _, arg := range args {
		if err := checkPrefix(arg); err != nil {
			return err
		}
	}
	return o.filter.check(a)
}

func (a *app) makeReport(ctx context.Context, args []string, o *reportOptions) error {
	if err := o.check(a, args); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	m := &reportMaker{a: a, r: r}
	end := a.meanwhile("collecting the report", -1, nil)
	defer end()
	ids, err := m.choose(ctx, args, &o.filter)
	if err != nil {
		return err
	}
	if m.made, err = r.viewer().Report(ctx, ids, m.about.asOf); err != nil {
		return reportError(err, m.about.asOf)
	}
	for _, damaged := range m.made.Damaged {
		a.leaveOut(damaged)
	}
	if err := m.collect(ctx); err != nil {
		return err
	}
	single := isMarkdown(o.out)
	unproven := error(nil)
	if !single {
		if unproven, err = m.prove(ctx); err != nil {
			return err
		}
	}
	files, err := m.files(single)
	if err != nil {
		return err
	}
	if err := a.writeReport(o.out, o.force, files); err != nil {
		return err
	}
	end()
	m.say(o.out)
	return unproven
}

// reportError names a record that the store did not have yet.
func reportError(err error, asOf uint64) error {
	if errors.Is(err, audit.ErrNotFound) {
		return notFound("%w%s", err, among(&asOf))
	}
	return err
}

// A reportMaker makes one report.
type reportMaker struct {
	a     *app
	r     *reading
	about struct {
		asOf uint64
		root tree.Hash
		more bool
	}
	made *view.Report

	records [][]byte // that the report names, and their ids
	ids     []audit.QueryID
	proofs  []byte // a bundle
	proven  *report.Evidence
	without string // why there are no proofs
	note    string // about the proofs
}

// choose finds out which records are meant, and of which moment the report is.
func (m *reportMaker) choose(ctx context.Context, args []string, f *filterFlags) ([]audit.QueryID, error) {
	filter, err := f.filter(ctx, m.r)
	if err != nil {
		return nil, err
	}
	size, tiles, err := m.r.Tree(ctx)
	if err != nil {
		return nil, err
	}
	if m.about.asOf = size; filter.AsOf != nil {
		if m.about.asOf = *filter.AsOf; m.about.asOf > size {
			return nil, &audit.AsOfError{AsOf: m.about.asOf, Have: size}
		}
	}
	if m.about.root, err = tree.Root(tiles, int64(m.about.asOf)); err != nil {
		return nil, err
	}
	var ids []audit.QueryID
	for _, arg := range args {
		id, err := resolve(ctx, m.r.DB, arg, nil)
		switch {
		case err != nil:
			return nil, err
		case id == nil:
			return nil, notFound("%s: %w", arg, audit.ErrNotFound)
		case !slices.Contains(ids, *id):
			ids = append(ids, *id)
		}
	}
	if len(args) > 0 {
		if len(ids) > view.MaxReported {
			return nil, usage("a report has at most %d records, and these are %d", view.MaxReported, len(ids))
		}
		return ids, nil
	}
	filter.AsOf, filter.Limit = &m.about.asOf, f.limit+1
	for q, err := range m.r.Audits(ctx, filter) {
		if m.a.leaveOut(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m.about.more = len(ids) == f.limit; m.about.more {
			break
		}
		ids = append(ids, q.QueryID)
	}
	if len(ids) == 0 {
		return nil, trying(notFound("no record fits the filters"), "fewer of them, or a longer period; auditsql list takes the same")
	}
	return ids, nil
}

// collect reads the records that the report names.
func (m *reportMaker) collect(ctx context.Context) error {
	for _, id := range m.made.IDs() {
		raw, err := m.r.GetRaw(ctx, id)
		if m.a.leaveOut(err) {
			continue
		}
		if err != nil {
			return err
		}
		m.records, m.ids = append(m.records, raw), append(m.ids, id)
	}
	return nil
}

// prove makes the proofs of the records, if the store signs its log. A store that does not have what was signed gets a report
// without proofs, which says why, and the run ends with that error: who looks into an incident needs both.
func (m *reportMaker) prove(ctx context.Context) (unproven, err error) {
	p, err := m.r.Prover(ctx, audit.ProveOptions{})
	switch {
	case errors.Is(err, audit.ErrNoLog):
		m.without = "the store does not sign its log"
		return nil, nil
	case errors.Is(err, audit.ErrUncovered):
		m.without = "the log of the store has signed nothing yet"
		return nil, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		m.without = harmless(oneLine(err))
		return m.a.provingError(err), nil
	}
	c := p.Checkpoint()
	e := &report.Evidence{File: proofsFile, Origin: c.Origin, Size: c.Size, Keys: p.Keys()}
	records := func(yield func(bundle.Record, error) bool) {
		for _, id := range m.ids {
			rec, err := p.Prove(ctx, id)
			if errors.Is(err, audit.ErrUncovered) {
				e.Missing++
				continue
			}
			if err == nil {
				e.Records++
			}
			if !yield(bundle.Record{Name: id.String(), Bytes: rec.Raw, Proof: rec.Proof}, err) || err != nil {
				return
			}
		}
	}
	// A bundle without any record is refused.
	if covered := slices.ContainsFunc(m.ids, func(id audit.QueryID) bool {
		_, err := p.Prove(ctx, id)
		return !errors.Is(err, audit.ErrUncovered)
	}); !covered {
		m.without = "no checkpoint covers these records yet"
		return nil, nil
	}
	var zip bytes.Buffer
	err = bundle.WriteZip(&zip, &bundle.Contents{Policy: p.Policy(), Records: records})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		m.without = harmless(oneLine(err))
		return m.a.provingError(err), nil
	}
	m.proofs, m.proven, m.note = zip.Bytes(), e, p.Note()
	return nil, nil
}

// The files of a report.
const (
	reportFile  = "report.md"
	recordsFile = "records.ndjson"
	proofsFile  = "evidence.zip"
)

// A namedFile is a file of a report.
type namedFile struct {
	name    string
	content []byte
}

// files are what is written.
func (m *reportMaker) files(single bool) ([]namedFile, error) {
	about := report.About{
		Clock: m.r.clock, Zone: m.a.zoneName, Root: m.about.root.String(), More: m.about.more, Raw: m.records, Quote: shellQuote,
	}
	var lines []byte
	for _, raw := range m.records {
		lines = append(append(lines, raw...), '\n')
	}
	if !single {
		sum := sha256.Sum256(lines)
		about.Files = &report.Files{Records: recordsFile, SHA256: hex.EncodeToString(sum[:]), Proofs: m.proven, Without: m.without}
	}
	var text bytes.Buffer
	if err := report.Write(&text, m.made, about); err != nil {
		return nil, err
	}
	files := []namedFile{{reportFile, text.Bytes()}}
	if !single {
		files = append(files, namedFile{recordsFile, lines})
	}
	if m.proven != nil {
		files = append(files, namedFile{proofsFile, m.proofs})
	}
	return files, nil
}

// say says what was made.
func (m *reportMaker) say(out string) {
	a := m.a
	a.note("%s has the report on %s as of %s, and the %s that it names", out, plural(len(m.made.Records), "record", "records"),
		plural(m.made.AsOf, "record", "records"), plural(len(m.records), "record", "records"))
	if m.about.more {
		a.note("the filter selects more records than these %d", len(m.made.Records))
	}
	switch {
	case isMarkdown(out):
	case m.proven == nil:
		a.note("it has no proofs: %s", m.without)
	case m.proven.Missing > 0:
		a.note("%s without a proof: no checkpoint covers them yet", plural(m.proven.Missing, "record is", "records are"))
	}
	if m.note != "" {
		a.note("%s", m.note)
	}
}
