package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

// labels are the names that people gave to hashes, as cells and in JSON. Without any they have none.
type labels struct{ *audit.Labels }

// hash is the cell of a hash: a table shows its first digits, which every command takes for the whole, and
// its label behind them. Where there is little room, a label that is unambiguous must do.
func (l labels) hash(h audit.Hash) tui.Cell {
	c := hashCell(h)
	if label := l.Of(h); label != "" {
		c.Brief += " " + label
		if len(l.Hashes(label)) == 1 {
			c.Short = label
		}
	}
	return c
}

func (l labels) optional(h *audit.Hash) tui.Cell {
	if h == nil {
		return tui.Cell{Brief: "-"}
	}
	return l.hash(*h)
}

// cell is the label of a hash, for a column of its own.
func (l labels) cell(h *audit.Hash) tui.Cell {
	if h == nil || l.Of(*h) == "" {
		return tui.Cell{}
	}
	return tui.Text(l.Of(*h))
}

// orNull is the label of a hash, nil if it has none: null in JSON.
func (l labels) orNull(h *audit.Hash) *string {
	if h == nil || l.Of(*h) == "" {
		return nil
	}
	label := l.Of(*h)
	return &label
}

// names are the labels, each once.
func (l labels) names() []string {
	var names []string
	for _, one := range l.All() {
		names = append(names, one.Label)
	}
	return slices.Compact(names)
}

// completeHash proposes labels for a command's first argument.
func (a *app) completeHash(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeLabels(cmd, args, typed)
}

// completeLabels proposes the labels of the store.
func (a *app) completeLabels(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	db, err := audit.Open(a.dir, audit.ReadOnly())
	if err != nil {
		return nil, none
	}
	defer db.Close()
	l, err := db.Labels(cmd.Context())
	if err != nil {
		return nil, none
	}
	return labels{l}.names(), none
}
