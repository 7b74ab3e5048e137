package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

func (a *app) bootstrapCommand() *cobra.Command {
	var dir, from string
	var unproven bool
	cmd := &cobra.Command{
		Use:   "bootstrap -d DIR --from BACKUP",
		Short: "Make the copy of a new node from a backup of another node",
		Long: `Bootstrap makes the folder of a new node from a backup of another node, and then
reads what the stream has after it. A node that begins without a backup reads
the stream from its beginning, which takes longer, and cannot be done when the
stream does not have its beginning any more. BACKUP may also be the folder of a
node on this machine, also while it runs.

Bootstrap refuses a backup of another store or of a stream that was made again,
one that has records which the stream does not have, and one that ends before
the stream begins. Then it changes nothing.

The folder gets its name when it is complete, verified and on disk. If bootstrap
is killed before, the folder is not there, and bootstrap is run again. What it
had copied is in a folder beside it with a dot before its name, and bootstrap
says so: it can be removed. If it is killed while it reads the stream, follow
goes on with the folder.

The copy has the files of the signed log (auditsql log), if the backup has them.
The key is not among them.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" || from == "" {
				return usageError{errors.New("-d names the folder of the new node, and --from the backup: both are needed")}
			}
			o, err := a.options()
			if err != nil {
				return err
			}
			return a.bootstrap(cmd.Context(), o, dir, from, unproven)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&dir, "dir", "d", "", "the `folder` of the new node, which is not there or is empty")
	flags.StringVar(&from, "from", "", "the `folder` of a backup of another node, or of that node")
	flags.BoolVar(&unproven, "unproven-durability", false, "go on although it is not proven that the stream keeps what it acknowledges; stats says so for good")
	return cmd
}

func (a *app) bootstrap(ctx context.Context, o jetstream.Options, dir, from string, unproven bool) error {
	left, err := cluster.Unfinished(dir)
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	for _, l := range left {
		fmt.Fprintf(a.err, "note: %s is left of a bootstrap that did not end; remove it, unless one runs\n", l)
	}
	if n, err := cluster.PartitionsIn(from); err != nil || n > 0 {
		if err == nil {
			err = fmt.Errorf("%s has the copies of %d partitions: stop its node and copy its folder, or begin with an empty one", from, n)
		}
		return fmt.Errorf("bootstrap: %w", err)
	}
	log, err := jetstream.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	r, err := cluster.Bootstrap(ctx, log, from, dir)
	log.Close()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "copied %d records, up to message %d\n", r.Audits, r.Applied)
	return a.follow(ctx, o, dir, unproven, true)
}
