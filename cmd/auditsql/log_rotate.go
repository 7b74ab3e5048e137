package main

import (
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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
