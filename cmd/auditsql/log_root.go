package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logRootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "How many records there are, and the root of the tree over them",
		Long: `Root prints how many records the store has, and the root of the tree over them
in base64. Copy them to a place outside of the store, such as a ticket or a
mail. Whoever has these two lines can tell later whether any record before them
was changed. A leaf is the SHA-256 of a zero byte and the record's line in an
export, so other programs can compute the same root.`,
		Example: `  auditsql log root
  auditsql log root -o json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.logRoot(cmd.Context())
		},
		ValidArgsFunction: completeNothing,
	}
	a.addReading(cmd)
	return cmd
}

func (a *app) logRoot(ctx context.Context) error {
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	size, root, err := r.Root(ctx)
	if err != nil {
		return err
	}
	return a.facts(a.form(""), fact("size", "size", tui.Number(size)), fact("root", "root", tui.Text(root.String())))
}
