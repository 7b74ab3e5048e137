package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/wal"
)

func (a *app) walCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "Look into the journal",
		Long: `The journal is the durable truth of a store: a folder of segments, which are
files with one record after the other. A record's address is its offset, the
number of bytes of journal before it. These commands work while another program
writes. Only repair --apply changes anything, and only repair needs SQLite.`,
	}
	needsOneBelow(cmd)
	cmd.AddCommand(a.walInspectCommand(), a.walVerifyCommand(), a.walDumpCommand(), a.walRepairCommand())
	return cmd
}

func (a *app) walInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect",
		Short:   "The journal's segments and offsets",
		Long:    `Inspect lists the segments of the journal, without reading them.`,
		Example: `  auditsql wal inspect`,
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			dir, err := audit.JournalDir(a.dir)
			if err != nil {
				return err
			}
			segments, err := wal.Segments(dir, wal.Options{})
			if err != nil {
				return err
			}
			out := a.rows(a.form(""),
				tui.Column{Name: "segment", Rank: -1},
				tui.Column{Name: "base", Right: true},
				tui.Column{Name: "end", Right: true},
				tui.Column{Name: "bytes", Right: true},
				tui.Column{Name: "state", Rank: -2})
			bytes := int64(0)
			for _, s := range segments {
				// Only reading the active one would show its end: zeros that were written ahead may follow it.
				end, state := tui.Cell{Brief: "-"}, "active"
				if s.Sealed {
					end, state = tui.Number(s.Base+wal.Offset(s.Size)), "sealed"
				}
				bytes += s.Size
				err := out.Add(tui.Text(filepath.Base(s.Path)), tui.Number(s.Base), end, tui.Number(s.Size), tui.Text(state))
				if err != nil {
					return err
				}
			}
			if err := out.End(); err != nil {
				return err
			}
			if out.Form == tui.Table {
				a.say("(%s, %s in %s; %s)", plural(len(segments), "segment", "segments"), tui.Bytes(bytes), dir, holder(dir))
			}
			return nil
		},
		ValidArgsFunction: completeNothing,
	}
}

// holder says whether a process is writing.
func holder(dir string) string {
	held, owner, err := wal.Holder(dir, wal.Options{})
	switch {
	case err != nil:
		return "whether somebody is writing is not known"
	case !held:
		return "nobody is writing"
	case owner.PID == 0:
		return "somebody is writing"
	}
	return "process " + strconv.Itoa(owner.PID) + " is writing"
}

func (a *app) walVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check every record of the journal",
		Long: `Verify reads every record of the journal and checks it against its checksum
and its content hash, and the segments against each other. The exit code is 5
when acknowledged data is damaged. It also shows a torn tail, which the next
writer cuts off, and gaps that were repaired; neither of them is damage.

How far the journal was synced is read from store.json, audit.db and log.json.
If only the journal is left, its last mark alone says so, and a note tells you:
after that mark, damage cannot be told from a torn tail.`,
		Example: `  auditsql wal verify`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.walVerify(cmd.Context())
		},
		ValidArgsFunction: completeNothing,
	}
}

func (a *app) walVerify(ctx context.Context) error {
	dir, err := audit.JournalDir(a.dir)
	if err != nil {
		return err
	}
	segments, err := wal.Segments(dir, wal.Options{})
	if err != nil {
		return err
	}
	total := int64(0)
	for _, s := range segments {
		total += s.Size
	}
	o, err := a.journalOptions(ctx)
	if err != nil {
		return err
	}
	bar := a.progress("checking", total, true)
	done, records := int64(0), 0
	report, err := wal.VerifyContext(ctx, dir, o, func(r wal.Record) error {
		done += int64(r.Next - r.Offset)
		if records++; records%1000 == 0 {
			bar.At(done, fmt.Sprintf("%d records", records))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	})
	bar.End()
	if err != nil {
		return err
	}
	v := view.JournalCheckOf(&report)
	problems := v.Problems
	result := tui.Text("all is well")
	if !v.OK {
		result = problemsCell(uint64(len(problems)))
	}
	form := a.form("")
	if err := a.screen().Object(form, v, append([]tui.Fact{titled("result", result)}, journalTable(&v.JournalCounts)...)...); err != nil {
		return err
	}
	if form == tui.Table {
		var notes []string
		if n := *v.TrimmedBytes; n > 0 {
			notes = append(notes, fmt.Sprintf("%s of journal were trimmed by a writer before they could be checked", tui.Bytes(n)))
		}
		if first := *v.First; first > 0 {
			notes = append(notes, fmt.Sprintf("the journal begins at offset %d: the records before it are in SQLite alone; auditsql -d %s verify counts them", first, shellQuote(a.dir)))
		}
		a.findings(problems, uint64(len(problems)), notes)
	}
	a.noteUnknownEnd(o)
	if len(problems) > 0 {
		a.tellDamage(ctx)
		return trying(&exitError{code: exitDamage, err: errors.New("found " + plural(len(problems), "problem", "problems"))},
			"auditsql -d %s wal repair shows what can be done", shellQuote(a.dir))
	}
	return nil
}

func (a *app) walDumpCommand() *cobra.Command {
	var from uint64
	var limit int
	var inbox bool
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "The journal's records, as NDJSON",
		Long: `Dump prints the records of the journal in order, as NDJSON unless -o says
otherwise: each with its offset, the offset of the next one, the BLAKE3 hash
of its payload, and the payload itself. That is the record's canonical JSON;
one that is no JSON is given as text.

--from must be the offset of a record; if it is not, the error names the nearest
ones. At damage it ends with exit code 5; help wal verify says when damage
cannot be told from a torn tail.

--inbox dumps the inbox of serve --otlp instead: the spans that are not records
yet, and notes about traces that have settled.`,
		Example: `  auditsql wal dump | jq .payload.params.subject
  auditsql wal dump --from 67108912 --limit 1`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("--limit %d: want 0 for no limit, or more", limit)
			}
			start := &from
			if !cmd.Flags().Changed("from") {
				start = nil
			}
			return a.walDump(cmd.Context(), inbox, start, limit)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "the `offset` to begin at (default: the first that is kept)")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many; 0 is no limit")
	cmd.Flags().BoolVar(&inbox, "inbox", false, "the inbox of spans, in place of the store's journal")
	return cmd
}

// journalOf is where the journal of the store is, or its inbox, and how to read it.
func (a *app) journalOf(ctx context.Context, inbox bool) (dir string, o wal.Options, err error) {
	if inbox {
		o, err = audit.InboxOptions(a.dir)
		return audit.InboxDir(a.dir), o, err
	}
	if dir, err = audit.JournalDir(a.dir); err == nil {
		o, err = a.journalOptions(ctx)
	}
	return dir, o, err
}

// journalOptions is how to read the store's journal: whose it is, and how much of it is known to have been synced.
func (a *app) journalOptions(ctx context.Context) (o wal.Options, err error) {
	if o.Identity, err = audit.JournalIdentity(a.dir); err != nil {
		return o, err
	}
	reached, err := audit.JournalReached(ctx, a.dir)
	o.Reached = func() wal.Offset { return reached }
	return o, err
}

// noteUnknownEnd notes that only the journal itself says how far it was synced.
func (a *app) noteUnknownEnd(o wal.Options) {
	if o.Identity == nil && o.Reached != nil && o.Reached() == 0 {
		a.note("there is nothing but the journal, so how far it was synced is known up to its last mark alone; after that mark, damage looks like a torn tail, and acknowledged records may be in it")
	}
}

func (a *app) walDump(ctx context.Context, inbox bool, from *uint64, limit int) error {
	dir, o, err := a.journalOf(ctx, inbox)
	if err != nil {
		return err
	}
	segments, err := wal.Segments(dir, wal.Options{})
	if err != nil {
		return err
	}
	start := wal.Offset(0)
	switch {
	case from != nil:
		start = wal.Offset(*from)
	case len(segments) > 0:
		start = segments[0].Base
	}
	reader, err := wal.OpenReader(dir, start, o)
	if err != nil {
		return cmp.Or(checkStart(ctx, dir, start, o), err)
	}
	defer reader.Close()
	out := a.rows(a.form(tui.NDJSON),
		tui.Column{Name: "offset", Right: true},
		tui.Column{Name: "next", Right: true, Rank: 1},
		tui.Column{Name: "blake3"},
		tui.Column{Name: "payload", Flexible: true, Least: 20})
	if limit == 0 {
		limit = math.MaxInt
	}
	for {
		r, err := reader.Next(ctx)
		if err != nil && out.N() == 0 && from != nil {
			// An offset within a record looks like damage, and one after the end like an empty journal.
			if misplaced := checkStart(ctx, dir, start, o); misplaced != nil {
				return misplaced
			}
		}
		if errors.Is(err, io.EOF) {
			a.noteUnknownEnd(o)
			break
		}
		if err != nil {
			return errors.Join(err, out.End())
		}
		if limit--; limit < 0 {
			a.say("(cut at --limit %d, there are more)", out.N())
			break
		}
		hash := fmt.Sprintf("%x", r.Hash)
		err = out.Add(tui.Number(r.Offset), tui.Number(r.Next), tui.Text(hash).As(hash[:briefHash]), payloadCell(r.Payload))
		if err != nil {
			return err
		}
	}
	return out.End()
}

// checkStart refuses an offset at which no record of an intact journal begins, and names the nearest ones. It returns
// nil if damage before the offset hides whether a record begins there, and for the journal's end.
func checkStart(ctx context.Context, dir string, start wal.Offset, o wal.Options) error {
	segments, err := wal.Segments(dir, o)
	if err != nil || len(segments) == 0 || start < segments[0].Base {
		return nil
	}
	base := segments[0].Base
	for _, s := range segments {
		if s.Base <= start {
			base = s.Base
		}
	}
	if base == start {
		return nil
	}
	reader, err := wal.OpenReader(dir, base, o)
	if err != nil {
		return nil
	}
	defer reader.Close()
	var near []wal.Offset
	for {
		if reader.Offset() == start {
			return nil
		}
		r, err := reader.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) && reader.Offset() == start:
			return nil
		case errors.Is(err, io.EOF) && len(near) == 0:
			return usage("--from %d: no record begins there; the journal ends at %d", start, reader.Offset())
		case errors.Is(err, io.EOF):
			return trying(usage("--from %d: no record begins there; the last one begins at %d, and the journal ends at %d", start, near[0], reader.Offset()), "--from %d", near[0])
		case err != nil || r.Offset == start:
			return nil
		case r.Offset < start:
			near = []wal.Offset{r.Offset}
		case len(near) == 0:
			return trying(usage("--from %d: no record begins there; the nearest one begins at %d", start, r.Offset), "--from %d", r.Offset)
		default:
			return trying(usage("--from %d: no record begins there; the nearest ones begin at %d and %d", start, near[0], r.Offset), "--from %d", near[0])
		}
	}
}

// payloadCell shows a payload that is JSON as it is, and any other as text, with escapes if it is no UTF-8.
func payloadCell(payload []byte) tui.Cell {
	switch {
	case json.Valid(payload) && utf8.Valid(payload):
		return tui.Cell{Kind: tui.Composite, Text: string(payload)}
	case utf8.Valid(payload):
		return tui.Text(string(payload))
	}
	return tui.Text(strconv.QuoteToASCII(string(payload)))
}
