package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/cluster/jetstream"
)

func (a *app) promoteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "promote",
		Short: "Make a mirror the stream, when the region of the stream is lost",
		Long: `Promote makes a mirror (init --mirror) take records in the place of the stream
that it copies, for good. A mirror lags. So the newest records that the other
stream had acknowledged may be missing. The nodes that have read them there have
them, and importing their export puts them into the new stream.

Promote refuses, and changes nothing, while the other stream answers: records
would go to both. It asks for 15 seconds, longer than servers need to elect a
leader. That nobody answers here does not show that the stream is lost. Make
sure that nothing is put there any more. A stream that was sealed may answer, if
a server leads it and the mirror has everything that it has.

Nodes of the mirror go on. Nodes of the other stream refuse the new one: they are
made again with bootstrap, which compares their records with it. The guide
docs/cluster.md has all steps in their order.

It needs the user admin of the mirror's servers.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			return a.promote(cmd.Context(), o)
		},
	}
}

func (a *app) promote(ctx context.Context, o jetstream.Options) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done, err := jetstream.Promote(ctx, o)
	for _, p := range done {
		if p.Done {
			fmt.Fprintf(a.out, "stream %s is a mirror no more, and has messages up to %d\n", p.Stream, p.Last)
		} else {
			fmt.Fprintf(a.out, "stream %s is no mirror\n", p.Stream)
		}
	}
	return err
}
