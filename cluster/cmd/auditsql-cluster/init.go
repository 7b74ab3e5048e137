package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

func (a *app) initCommand() *cobra.Command {
	var unit, maxBytes, storeID, mirror string
	var replicas, partitions int
	var maxAge time.Duration
	var users bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the stream, or compare the one that exists with what is wanted",
		Long: `Init makes the stream. If it exists, init changes nothing, and prints each
setting that differs from the flags.

Records are removed from the stream by their age alone, with --max-age. The
copies of the nodes keep them. A node that was away for longer needs a copy of
another node's folder.

With --partitions N it makes N streams, AUDIT-0 to AUDIT-(N-1), and the records
are divided among them by their query ids, for good: the number cannot be
changed afterwards. Every stream has the flags that are given here. If init is
interrupted between two streams, the same command goes on.

With --mirror DOMAIN it makes a mirror of the stream AUDIT, or of each stream of
the set, that the servers of another region have, whose JetStream has this
domain. A mirror copies that stream and takes no records, until promote makes it
the stream. The guide docs/cluster.md says how the regions are connected.

With --acl it makes nothing, and prints the users that the servers need and what
each of them may do, for their configuration.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if partitions < 1 || partitions > cluster.MaxPartitions {
				return usageError{fmt.Errorf("--partitions %d: want 1 to %d", partitions, cluster.MaxPartitions)}
			}
			if mirror != "" && (cmd.Flags().Changed("time-unit") || storeID != "") {
				return usageError{errors.New("--time-unit and --store-id are those of the stream that is copied")}
			}
			if users {
				_, err := fmt.Fprint(a.out, acl(a.stream, partitions, mirror, aclPasswords{Admin: rand.Text(), Node: rand.Text(), Reader: rand.Text(), System: rand.Text(), Leaf: rand.Text()}))
				return err
			}
			o, err := a.options()
			if err != nil {
				return err
			}
			spec := jetstream.Spec{Replicas: replicas, MaxAge: maxAge, StoreID: storeID}
			if spec.Unit, err = audit.ParseTimeUnit(unit); err != nil {
				return usageError{fmt.Errorf("--time-unit: %w", err)}
			}
			if maxBytes != "" {
				n, err := humanize.ParseBytes(maxBytes)
				if err != nil || n == 0 || n > 1<<62 {
					return usageError{fmt.Errorf("--max-bytes %q: want a size such as 500GB", maxBytes)}
				}
				spec.MaxBytes = int64(n)
			}
			if storeID != "" && len(storeID) != 32 {
				return usageError{fmt.Errorf("--store-id: want 32 hex digits")}
			}
			return a.init(cmd.Context(), o, spec, partitions, mirror)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&unit, "time-unit", "ms", "what timestamps count, for good: s, ms, us or ns")
	flags.IntVar(&replicas, "replicas", 3, "on how `many` servers the stream is")
	flags.IntVar(&partitions, "partitions", 1, "among how `many` streams the records are divided, for good")
	flags.StringVar(&maxBytes, "max-bytes", "", "`size` at which the stream takes no more records")
	flags.DurationVar(&maxAge, "max-age", 0, "`age` at which the stream forgets a record; 0 is never")
	flags.BoolVar(&users, "acl", false, "print the users that the servers need, with new passwords")
	flags.StringVar(&mirror, "mirror", "", "make a mirror of the stream in the JetStream `domain` of another region")
	flags.StringVar(&storeID, "store-id", "", "32 hex `digits`; random if it is not given")
	return cmd
}

func (a *app) init(ctx context.Context, o jetstream.Options, spec jetstream.Spec, partitions int, mirror string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	made, err := makeStreams(ctx, o, spec, partitions, mirror)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	var differ []string
	for _, m := range made {
		switch {
		case m.Created:
			fmt.Fprintf(a.out, "made stream %s\n", m.Stream)
			continue
		case len(m.Differences) > 0:
			differ = append(differ, m.Stream)
		default:
			fmt.Fprintf(a.out, "stream %s is there, and is as wanted\n", m.Stream)
		}
		for _, d := range m.Differences {
			fmt.Fprintf(a.out, "%s\t%s\twanted %s\n", d.What, d.Have, d.Want)
		}
	}
	if len(differ) > 0 {
		return fmt.Errorf("init: stream %s is there and differs in what was printed; nothing of it was changed", strings.Join(differ, ", "))
	}
	return nil
}

// makeStreams makes one stream, or those of a set, or mirrors.
func makeStreams(ctx context.Context, o jetstream.Options, spec jetstream.Spec, partitions int, mirror string) ([]jetstream.Made, error) {
	if mirror != "" {
		return jetstream.InitMirror(ctx, o, mirror, spec)
	}
	if partitions > 1 {
		return jetstream.InitSet(ctx, o, spec, partitions)
	}
	created, differences, err := jetstream.Init(ctx, o, spec)
	return []jetstream.Made{{Stream: o.Stream, Created: created, Differences: differences}}, err
}
