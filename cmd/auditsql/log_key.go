package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logRotateCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "rotate --new FILE",
		Short: "Let another key sign the log",
		Long: `Rotate lets the key in FILE sign the log from now on (auditsql key new makes
one). It has the same name, since that is the name of the log. The old key must
still be there: it signs the log once more, and the new key signs the same
checkpoint. So whoever has only one of the two verifier keys can check that
checkpoint. FILE.next beside the old key says which key has followed it.

Give the new verifier key away before the old one is no longer trusted. When the
old key is lost, nothing can be signed with it: auditsql log successor begins a
log with another name. An interrupted rotate can be run again.`,
		Example: `  auditsql key new log.example.com/payments -o /etc/auditsql/payments-2.key
  auditsql log rotate --new /etc/auditsql/payments-2.key`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key == "" {
				return usage("--new is missing: the file with the new key")
			}
			change, err := audit.RotateKey(cmd.Context(), a.dir, key, audit.WithLockWait(a.lockWait.Duration))
			return a.changedLog(cmd.Context(), change, err)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().StringVar(&key, "new", "", "the `file` with the new key")
	_ = cmd.MarkFlagFilename("new")
	a.addWriting(cmd)
	return cmd
}

func (a *app) logSuccessorCommand() *cobra.Command {
	var o successorOptions
	cmd := &cobra.Command{
		Use:   "successor --after CHECKPOINT --reason TEXT --key FILE",
		Short: "Begin another log over the records that there are",
		Long: `Successor ends the log of the store and begins another one, with another name,
over the records that the store has now. It is for a store that can no longer
have the records that were signed, and for a key that is lost. If there is an
export of the missing records, auditsql import --catch-up keeps the log.

CHECKPOINT is a file with the last checkpoint of the old log. If FILE.signed
beside the old key, or the store, has a newer one, that one is needed. FILE has
the key of the new log, whose name the store never had. The name and the last
checkpoint of the old log, and the reason, stay in log.json: give them to
everybody who has checkpoints of the old log.

Places that get checkpoints are not taken over, since a folder or a witness has
the old log: name them again.`,
		Example: `  auditsql key new log.example.com/payments-2 -o /etc/auditsql/payments-2.key
  auditsql log successor --key /etc/auditsql/payments-2.key \
    --after /etc/auditsql/payments.key.signed --reason 'Tuesday is lost'`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(a, cmd); err != nil {
				return err
			}
			return a.logSuccessor(cmd.Context(), o)
		},
		ValidArgsFunction: completeNothing,
	}
	o.log.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.after, "after", "", "the `file` with the last checkpoint of the old log")
	flags.StringVar(&o.reason, "reason", "", "why the old log ends, as a `text`")
	_ = cmd.MarkFlagFilename("after")
	a.addWriting(cmd)
	return cmd
}

type successorOptions struct {
	after, reason string
	log           logFlags
}

// check refuses what is wrong before the store is opened.
func (o *successorOptions) check(a *app, cmd *cobra.Command) error {
	switch {
	case o.after == "":
		return usage("--after is missing: the last checkpoint of the old log")
	case o.reason == "":
		return usage("--reason is missing: why the old log ends")
	}
	return o.log.check(a, cmd)
}

func (a *app) logSuccessor(ctx context.Context, o successorOptions) error {
	after, err := readSmall(ctx, o.after)
	if err != nil {
		return err
	}
	change, err := audit.SucceedLog(ctx, a.dir, audit.Successor{LogOptions: o.log.LogOptions, After: after, Reason: o.reason}, audit.WithLockWait(a.lockWait.Duration))
	return a.changedLog(ctx, change, err)
}

// logAdopt is log init --adopt. o is nil when the log is signed as before.
func (a *app) logAdopt(ctx context.Context, o *audit.LogOptions, checkpoint string) error {
	note, err := readSmall(ctx, checkpoint)
	if err != nil {
		return err
	}
	change, err := audit.AdoptCheckpoint(ctx, a.dir, o, note, audit.WithLockWait(a.lockWait.Duration))
	if errors.Is(err, audit.ErrInvalid) {
		return usage("%w", err)
	}
	a.noteRecovery(change.Recovery)
	if err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	return a.signAndClose(ctx, db, true)
}

// changedLog prints what a log is after it was changed, and brings its checkpoint to the places outside of the store.
func (a *app) changedLog(ctx context.Context, change audit.LogChange, err error) error {
	if errors.Is(err, audit.ErrInvalid) {
		return usage("%w", err)
	}
	a.noteRecovery(change.Recovery)
	if err != nil {
		return err
	}
	if err := a.facts(a.form(""),
		fact("origin", "log", tui.Text(change.Origin)),
		fact("verifier_key", "verifier key", tui.Text(change.VerifierKey)),
		fact("signed", "records signed", tui.Number(change.Signed.Size))); err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	return a.signAndClose(ctx, db, false)
}
