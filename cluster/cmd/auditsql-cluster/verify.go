package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

func (a *app) verifyCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "verify -d DIR",
		Short: "Compare a copy with every message of each replica, and with the heads of the other nodes",
		Long: `Verify reads every message of each replica of the stream. It compares the hash
of its publisher with its content, and its content with the record that the copy
has of it, byte for byte. It compares the heads that the nodes have published
with the copy's tree, and does what check does, and what auditsql verify does.
The node may run meanwhile.

A node publishes its head every minute while it has new records: how many
records it has, and the root of the tree over them. At the same place in the
stream all nodes have the same head. If one differs, verify names the first
record that differs. For that the other node must run. Otherwise it names the
records between two heads.

Exit codes: 0 all is well, 1 something could not be found out, or it is not
proven that the stream keeps what it acknowledges, 5 damage.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return errNoFolder
			}
			o, err := a.options()
			if err != nil {
				return err
			}
			return a.verify(cmd.Context(), o, dir)
		},
	}
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "the copy's `folder`")
	return cmd
}

func (a *app) verify(ctx context.Context, o jetstream.Options, dir string) error {
	err := eachStream(ctx, o, dir, a.tell, func(log *jetstream.Log, dir string) error { return a.verifyOne(ctx, log, dir) })
	var quiet quietError
	if err != nil && !errors.As(err, &quiet) {
		err = fmt.Errorf("verify: %w", err)
	}
	return err
}

// verifyOne verifies the copy of one stream.
func (a *app) verifyOne(ctx context.Context, log *jetstream.Log, dir string) (err error) {
	db, err := audit.OpenContext(ctx, dir, audit.ReadOnly())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r, err := cluster.Verify(ctx, log, db, cluster.VerifyOptions{Progress: a.howFar()})
	if err != nil {
		return err
	}
	a.verified(r)
	switch {
	case r.Damaged():
		return quietError{exitDamage}
	case r.Unproven():
		return quietError{exitFailed}
	}
	fmt.Fprintln(a.out, "the copy, each replica and the heads of all nodes agree")
	return nil
}

// progressEvery is how often verify says how far it is.
const progressEvery = 10 * time.Second

// howFar returns what says on standard error, now and then, how far something is.
func (a *app) howFar() func(stage string, done uint64) {
	said := time.Now()
	return func(stage string, done uint64) {
		if now := time.Now(); now.Sub(said) > progressEvery {
			said = now
			fmt.Fprintf(a.err, "%s: %d\n", stage, done)
		}
	}
}

// verified prints a report.
func (a *app) verified(r *cluster.VerifyReport) {
	fmt.Fprintf(a.out, "%s, store %s, messages %d to %d\n", r.Log.Info.Name, r.Log.Info.StoreID, r.Bounds.First, r.Bounds.Last)
	fmt.Fprintf(a.out, "the copy has the messages up to %d: %d records with the root %s\n", r.Applied, r.Size, r.Root)
	for _, x := range r.Log.Info.Replicas {
		fmt.Fprintln(a.out, replicaLine(x))
	}
	for _, h := range r.Heads {
		what := "the same records as this copy"
		if h.Differs != nil {
			what = "other records than this copy: " + h.Differs.String()
		}
		fmt.Fprintf(a.out, "node %s: head in message %d, %d records, %s\n", h.Node, h.Sequence, h.Size, what)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(a.out, "note: %s\n", n)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(a.out, "problem: %s\n", p)
	}
	if more := r.Total - len(r.Problems); more > 0 {
		fmt.Fprintf(a.out, "and %d more problems\n", more)
	}
	for _, o := range r.Open {
		fmt.Fprintf(a.out, "not found out: %s\n", o)
	}
	for _, u := range r.Log.Info.Unproven {
		fmt.Fprintf(a.out, "unproven: %s\n", u)
	}
	for _, step := range r.Log.Healing() {
		fmt.Fprintln(a.out, step)
	}
}
