package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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

If the records are divided among several streams (init --partitions), BACKUP is
the folder of a node, or a folder with a backup of each of its partitions:
auditsql -d NODE/partition-0 backup BACKUP/partition-0, and so on.

If the stream was made as a mirror of another one, BACKUP may be of a node of
that one. It is compared with the stream message by message then.

The new node does not sign the log, also if BACKUP is of the node that does: two
nodes that sign with one key would contradict each other. serve --key lets it
sign in place of that node.`,
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
	logs, err := jetstream.OpenSet(ctx, o)
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	reports, err := a.copies(ctx, logs, dir, from)
	closeLogs(logs)
	if err != nil {
		return err
	}
	for i, r := range reports {
		of := ""
		if len(reports) > 1 {
			of = fmt.Sprintf("partition %d: ", i)
		}
		fmt.Fprintf(a.out, "%scopied %d records, up to message %d\n", of, r.Audits, r.Applied)
	}
	if err := a.signedElsewhere(from, dir); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return a.follow(ctx, o, dir, unproven, true)
}

// copies copies a node of one stream, or of all streams of a set.
func (a *app) copies(ctx context.Context, logs []*jetstream.Log, dir, from string) ([]audit.BackupReport, error) {
	o := cluster.BootstrapOptions{Progress: a.howFar()}
	info, err := logs[0].Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	if !info.Partition.Whole() {
		return cluster.BootstrapPartitions(ctx, logsOf(logs), from, dir, o)
	}
	r, err := cluster.Bootstrap(ctx, logs[0], from, dir, o)
	return []audit.BackupReport{r}, err
}

// signedElsewhere says that the new node signs nothing, if the node that was copied does.
func (a *app) signedElsewhere(from, dir string) error {
	_, err := os.Lstat(filepath.Join(from, "log.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		fmt.Fprintf(a.err, "note: %s is of the node that signs the log; the node in %s does not sign\n", from, dir)
	}
	return err
}
