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

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Is the stream certain to keep what it acknowledges, and is each replica whole?",
		Long: `Check asks each server whether it syncs each write before it acknowledges it, and
whether its replica of the stream lacks messages. A replica that lacks some may
call itself healthy. If one does, check prints what to do about it, in the
right order.

To ask the servers, check needs a user of the system account (--system-creds, or
NAME:PASSWORD in AUDITSQL_NATS_SYSTEM).

Exit codes: 0 all is well, 1 it is not proven, 5 a replica lacks messages.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), o)
		},
	}
}

func (a *app) check(ctx context.Context, o jetstream.Options) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := eachStream(ctx, o, "", a.tell, func(log *jetstream.Log, _ string) error { return a.checkOne(ctx, log) })
	var quiet quietError
	if err != nil && !errors.As(err, &quiet) {
		err = fmt.Errorf("check: %w", err)
	}
	return err
}

// checkOne checks one stream.
func (a *app) checkOne(ctx context.Context, log *jetstream.Log) error {
	r, err := cluster.Check(ctx, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s, store %s, made %s\n", r.Info.Name, r.Info.StoreID, r.Info.Created.UTC().Format("2006-01-02T15:04:05Z"))
	if p := r.Info.Partition; !p.Whole() {
		fmt.Fprintln(a.out, p)
	}
	if m := r.Info.Mirror; m != nil {
		fmt.Fprintln(a.out, mirrorLine(m))
		if m.Remade != "" {
			fmt.Fprintf(a.out, "%s was made again: %s. The mirror may have messages of both. Remove the mirror and its nodes, and make it again\n", m.Of, m.Remade)
		}
	}
	for _, x := range r.Info.Replicas {
		fmt.Fprintln(a.out, replicaLine(x))
	}
	for _, reason := range r.Info.Unproven {
		fmt.Fprintf(a.out, "unproven: %s\n", reason)
	}
	for _, step := range r.Healing() {
		fmt.Fprintln(a.out, step)
	}
	switch {
	case len(r.Damaged) > 0, r.Info.Mirror != nil && r.Info.Mirror.Remade != "":
		return quietError{exitDamage}
	case len(r.Info.Unproven) > 0:
		return quietError{exitFailed}
	}
	fmt.Fprintln(a.out, "each server syncs each write, and each replica that answers is whole")
	return nil
}

// mirrorLine says how far a mirror is.
func mirrorLine(m *cluster.Mirror) string {
	line := fmt.Sprintf("a mirror of %s: lacks %d messages", m.Of, m.Lacks)
	if m.Silent < 0 {
		line += ", has heard nothing of it yet"
	} else {
		line += fmt.Sprintf(", has heard of it %s ago", m.Silent.Round(time.Millisecond))
	}
	if m.Error != "" {
		line += ": " + m.Error
	}
	return line
}

func replicaLine(x cluster.Replica) string {
	lead := ""
	if x.Leader {
		lead = ", leads"
	}
	if !x.Answers {
		return fmt.Sprintf("replica %s%s: does not answer", x.Name, lead)
	}
	return fmt.Sprintf("replica %s%s: messages %d to %d, %d missing", x.Name, lead, x.First, x.Last, x.Missing)
}

func isLocked(err error) bool { return errors.Is(err, audit.ErrLocked) }
