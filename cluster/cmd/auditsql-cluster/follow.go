package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

func (a *app) followCommand() *cobra.Command {
	var dir string
	var unproven, once bool
	cmd := &cobra.Command{
		Use:   "follow -d DIR",
		Short: "Keep a copy of the stream in a folder, which auditsql reads",
		Long: `Follow keeps a copy of the stream in a folder, and goes on until it is
interrupted. The command auditsql reads the folder like any other store, also
while follow is running.

With --once it ends when the copy has everything that the stream had when it
began.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return errNoFolder
			}
			o, err := a.options()
			if err != nil {
				return err
			}
			return a.follow(cmd.Context(), o, dir, unproven, once)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&dir, "dir", "d", "", "the copy's `folder`")
	addUnproven(cmd, &unproven)
	flags.BoolVar(&once, "once", false, "end when the copy has what the stream has")
	return cmd
}

func addUnproven(cmd *cobra.Command, unproven *bool) {
	cmd.Flags().BoolVar(unproven, "unproven-durability", false, "go on although it is not proven that the stream keeps what it acknowledges; stats says so for good")
}

func (a *app) follow(ctx context.Context, o jetstream.Options, dir string, unproven, once bool) error {
	if err := a.followAll(ctx, o, dir, unproven, once); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	return nil
}

func (a *app) followAll(ctx context.Context, o jetstream.Options, dir string, unproven, once bool) error {
	c, err := a.openCopies(ctx, o, dir, "", cluster.Options{Unproven: unproven, Logger: a.logger()})
	if err != nil {
		return err
	}
	errs := make([]error, len(c.nodes))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			b, err := c.logs[i].Bounds(ctx)
			if err == nil {
				err = a.stay(ctx, n, b.Last, once)
			}
			if errs[i] = err; err != nil && !once {
				cancel() // whoever supervises the command sees that a copy goes no further
			}
		})
	}
	all.Wait()
	err = worst(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
	if closed := c.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	for i, cursor := range c.cursors() {
		where := dir
		if len(c.nodes) > 1 {
			where = cluster.PartitionDir(dir, i)
		}
		fmt.Fprintf(a.out, "the copy in %s has the messages up to %d\n", where, cursor)
	}
	return nil
}

// onceWait is how long follow --once waits for a message that every replica lacks, as the servers say. Which server answers a read is up to
// the servers, so the replica that has the message may not have been asked yet.
const onceWait = 10 * time.Second

// stay waits until the copy has the message with the number last, and then, unless once is true, until the run is interrupted or the
// node can go no further. A message that no replica has is waited for.
func (a *app) stay(ctx context.Context, n *cluster.Node, last uint64, once bool) error {
	var since time.Time // since when the node lacks the message after at
	var at uint64
	for {
		err := n.WaitFor(ctx, last)
		switch {
		case ctx.Err() != nil && once:
			return ctx.Err()
		case ctx.Err() != nil:
			return nil
		case err == nil && once:
			return nil
		case err == nil:
			last = ^uint64(0) // which no log has
			continue
		case !errors.Is(err, cluster.ErrGap) && !errors.Is(err, cluster.ErrAltered):
			return err
		case since.IsZero(), at != n.Cursor():
			since, at = time.Now(), n.Cursor()
		case once && time.Since(since) > onceWait:
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}
