package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
)

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
