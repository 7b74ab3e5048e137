package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/tui"
)

// proveOptions are the flags of prove.
type proveOptions struct {
	filter     filterFlags
	between    bool
	out        string
	wait       durationFlag
	checkpoint string
	trustFlags
}

// fromStart stands for a checkpoint of the log before its first record.
const fromStart = "start"

// onStdout is the -o that prints the proof of one record.
const onStdout = "-"

func (a *app) proveCommand() *cobra.Command {
	var o proveOptions
	cmd := &cobra.Command{
		Use:   "prove ID… | FILTER | --between A B",
		Short: "Write evidence: records with their proofs, for somebody without the store",
		Long: `Prove writes evidence for somebody who has neither the store nor this program:
records, each with a proof that it is in the log that this store signs. It takes
ids, or their first 8 or more digits, or a filter.

--between A B writes all records that the log got between two signed
checkpoints, in order. Only this shows that there are no other ones. A and B are
files with checkpoints; A may be "start", for all records up to B.

-o names what is made: a new folder, a new zip archive (FILE.zip), or - for the
proof of one record on standard output, which is the default for one id. With
-o - a filter must select one record. A folder or archive has a README for the
receiver, who checks it with auditsql check, or by hand. Give the receiver the
verifier key by another way: a key that comes with the evidence proves nothing.

The proofs lead to the newest checkpoint that the log has signed, or to that of
--checkpoint. A record that is newer is refused, since nobody has signed it yet.
--wait waits until the writer of the store has. Each proof is checked before it
is written: what was changed in the store gets none, and the exit code is 5.

A checkpoint counts when the store's own log has signed it. In a copy of a log,
made with import, --key or --policy says who must have signed the checkpoints of
--checkpoint and --between.`,
		Example: `  auditsql prove 498d156c > record.tlog-proof
  auditsql prove --attr trace_id=pay-20931 -o evidence.zip
  auditsql prove --between monday tuesday -o all-of-monday.zip`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.prove(cmd.Context(), args, &o)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if o.between {
				return completeFiles(cmd, args, typed)
			}
			return completeNothing(cmd, args, typed)
		},
	}
	o.filter.register(a, cmd)
	o.filter.registerLimit(cmd, 0, "at most this many; 0 is no limit")
	flags := cmd.Flags()
	flags.BoolVar(&o.between, "between", false, "all records between two checkpoints, which are the arguments")
	flags.StringVar(&o.checkpoint, "checkpoint", "", "`file` with the signed checkpoint that the proofs lead to (default the newest)")
	o.trustFlags.add(cmd)
	flags.Var(&o.wait, "wait", "how long to wait for a checkpoint that covers the records, as in 2m")
	// This takes the place of the -o of all commands: evidence has forms of its own.
	flags.StringVarP(&o.out, "output", "o", "", "what to make: a `folder`, FILE.zip, or - for one proof")
	for _, name := range []string{"output", "checkpoint"} {
		_ = cmd.MarkFlagFilename(name)
	}
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// check refuses wrong flags before a store is opened.
func (o *proveOptions) check(a *app, args []string) error {
	flags := a.cmd.Flags()
	filtered := o.filter.any()
	if filtered == "" && flags.Changed("limit") {
		filtered = "limit"
	}
	switch {
	case a.json || a.csvSafe:
		return usage("prove prints no JSON and no CSV; -o names the evidence that it makes")
	case o.between && (filtered != "" || o.wait.typed != "" || o.checkpoint != ""):
		return usage("--between takes two checkpoints, and no filter, --wait or --checkpoint")
	case o.between && len(args) != 2:
		return usage("--between wants two checkpoints, A and B, and got %s", plural(len(args), "argument", "arguments"))
	case o.between && args[1] == fromStart:
		return usage("--between wants the older checkpoint first")
	case !o.between && len(args) > 0 && filtered != "":
		return usage("want ids or a filter, and got %q and --%s", args[0], filtered)
	case !o.between && len(args) == 0 && filtered == "":
		return trying(usage("want an id, a filter, or --between"), "auditsql prove --from 2000-01-01 -o all.zip for all records; auditsql recent lists ids")
	case o.checkpoint != "" && o.wait.typed != "":
		return usage("--wait waits for a new checkpoint, and --checkpoint names one")
	case o.policy != "" && len(o.keys) > 0:
		return usage("--key and --policy cannot be used together")
	case o.trusts() && !o.between && o.checkpoint == "":
		return usage("--key and --policy say who must have signed --checkpoint, or the two of --between")
	case o.wait.typed != "" && o.wait.Duration <= 0:
		return usage("--wait wants more than 0")
	}
	if o.out == "" && !o.between && len(args) == 1 {
		o.out = onStdout
	}
	switch {
	case o.out == "":
		return usage("-o is missing: the folder or FILE.zip to make")
	case o.out == onStdout && (o.between || len(args) > 1):
		return usage("-o - is for the proof of one record: several need a folder or a FILE.zip")
	case slices.Contains(tui.Forms(), o.out):
		return usage("-o %s: here -o names a folder or a FILE.zip; ./%s is a folder of this name", o.out, o.out)
	}
	if o.out != onStdout {
		if err := a.checkVacant(o.out); err != nil {
			return err
		}
	}
	if !o.between {
		for _, arg := range args {
			if err := checkPrefix(arg); err != nil {
				return err
			}
		}
	}
	return o.filter.check(a)
}

func (a *app) prove(ctx context.Context, args []string, o *proveOptions) error {
	if err := o.check(a, args); err != nil {
		return err
	}
	var policy *evidence.Policy // nil: that of the store's own log
	if o.trusts() {
		var err error
		if policy, err = o.trusted(ctx, nil); err != nil {
			return err
		}
	}
	if o.between {
		return a.proveBetween(ctx, args[0], args[1], o.out, policy)
	}
	var signed []byte
	if o.checkpoint != "" {
		var err error
		if signed, err = readSmall(ctx, o.checkpoint); err != nil {
			return fmt.Errorf("--checkpoint: %w", err)
		}
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	s := &proving{app: a, r: r, out: o.out, options: audit.ProveOptions{Checkpoint: signed, Policy: policy}}
	if err := s.choose(ctx, args, &o.filter); err != nil {
		return err
	}
	// All records that there are by now. Others that come meanwhile would be newer than each checkpoint.
	if s.options.Before, _, err = r.Root(ctx); err != nil {
		return err
	}
	err = s.write(ctx)
	if errors.Is(err, audit.ErrUncovered) && o.wait.Duration > 0 {
		waiting, end := context.WithTimeout(ctx, o.wait.Duration)
		err = r.AwaitSigned(waiting, s.options.Before)
		end()
		if err == nil || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = s.write(ctx)
		}
	}
	return a.provingError(err)
}

// proving is one run of prove for records.
type proving struct {
	app     *app
	r       *reading
	out     string
	options audit.ProveOptions

	ids    []audit.QueryID
	filter *audit.Filter // in place of ids
	n      int           // records that were written
}

// choose finds out which records are meant. They are named before anything is made.
func (s *proving) choose(ctx context.Context, args []string, f *filterFlags) error {
	if len(args) == 0 {
		filter, err := f.filter(ctx, s.r)
		if err == nil && s.out == onStdout {
			return s.chooseOne(ctx, filter)
		}
		s.filter = &filter
		return err
	}
	for _, arg := range args {
		id, err := resolve(ctx, s.r.DB, arg, nil)
		switch {
		case err != nil:
			return err
		case id == nil:
			return notFound("%s: %w", arg, audit.ErrNotFound)
		case !slices.Contains(s.ids, *id):
			s.ids = append(s.ids, *id)
		}
	}
	return nil
}

// chooseOne finds the one record that a filter selects: standard output takes one proof.
func (s *proving) chooseOne(ctx context.Context, f audit.Filter) error {
	if f.Limit == 0 {
		f.Limit = 2
	}
	for q, err := range s.r.Audits(ctx, f) {
		switch {
		case err != nil:
			return err
		case len(s.ids) > 0:
			return usage("-o - is for the proof of one record, and the filters select several: these need a folder or a FILE.zip")
		}
		s.ids = append(s.ids, q.QueryID)
	}
	if len(s.ids) == 0 {
		return nothingToProve()
	}
	return nil
}

func nothingToProve() error {
	return trying(notFound("no record fits the filters"), "fewer of them, or a longer period; auditsql list takes the same")
}

// records are the records with their proofs.
func (s *proving) records(ctx context.Context, p *audit.Prover) iter.Seq2[bundle.Record, error] {
	return func(yield func(bundle.Record, error) bool) {
		s.n = 0
		add := func(rec audit.ProvenRecord, err error) bool {
			if err == nil {
				s.n++
			}
			return yield(bundle.Record{Name: rec.ID.String(), Bytes: rec.Raw, Proof: rec.Proof}, err) && err == nil
		}
		if s.filter != nil {
			for rec, err := range p.ProveAll(ctx, *s.filter) {
				if !add(rec, err) {
					return
				}
			}
			return
		}
		for _, id := range s.ids {
			if !add(p.Prove(ctx, id)) {
				return
			}
		}
	}
}

// write writes the evidence.
func (s *proving) write(ctx context.Context) error {
	p, err := s.r.Prover(ctx, s.options)
	if err != nil {
		return err
	}
	if s.out == onStdout {
		rec, err := p.Prove(ctx, s.ids[0])
		if err != nil {
			return err
		}
		return s.app.copyOut(string(rec.Proof))
	}
	bar := s.app.progress("proving", -1, false)
	defer bar.End()
	counted := func(yield func(bundle.Record, error) bool) {
		for rec, err := range s.records(ctx, p) {
			bar.At(int64(s.n), "proving")
			if !yield(rec, err) {
				return
			}
		}
		if s.n == 0 {
			yield(bundle.Record{}, nothingToProve())
		}
	}
	if err := s.app.makeBundle(s.out, &bundle.Contents{Policy: p.Policy(), Records: counted}); err != nil {
		return err
	}
	bar.End()
	s.app.noteEvidence(s.out, plural(s.n, "record with its proof", "records with their proofs"), p)
	return nil
}

// provingError adds to an error why evidence cannot be made what to do about it.
func (a *app) provingError(err error) error {
	var bad *audit.CheckpointError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, audit.ErrNotFound):
		return notFound("%w", err)
	case errors.Is(err, audit.ErrUncovered):
		return trying(err, "auditsql -d %s log sign, or --wait 2m while a writer signs", shellQuote(a.dir))
	case errors.As(err, &bad):
		return trying(err, "%s", forReason(bad.Verdict.Reason))
	case errors.Is(err, audit.ErrInvalid):
		return trying(usage("%w", err), "the older checkpoint first")
	}
	return err
}

// forReason says what somebody can do about a checkpoint that does not count.
func forReason(reason evidence.Reason) string {
	switch reason {
	case evidence.UnknownKey:
		return "a checkpoint of this log, or the verifier key of the log that signed this one"
	case evidence.NoQuorum:
		return "a newer checkpoint, which more witnesses have signed"
	case evidence.OtherLog:
		return "two checkpoints of one log"
	case evidence.BadSignature:
		return "another copy of the checkpoint; somebody has changed this one"
	}
	return "the file as the log has signed it"
}
