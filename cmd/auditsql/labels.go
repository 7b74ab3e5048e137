package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
)

// labels are the names that people gave to hashes, both ways. A nil one has none.
type labels struct {
	of map[audit.Hash]string
	by map[string][]audit.Hash // usually one; a key that was renewed may go by the old name
}

// readLabels reads all of them: they are typed by people, so there are few.
func readLabels(ctx context.Context, db *audit.DB) (*labels, error) {
	list, err := db.AllLabels(ctx)
	if err != nil {
		return nil, err
	}
	l := &labels{of: map[audit.Hash]string{}, by: map[string][]audit.Hash{}}
	for _, one := range list {
		l.of[one.Hash] = one.Label
		l.by[one.Label] = append(l.by[one.Label], one.Hash)
	}
	return l, nil
}

// label is the hash's label, "" if it has none.
func (l *labels) label(h audit.Hash) string {
	if l == nil {
		return ""
	}
	return l.of[h]
}

// hash is the cell of a hash: a table shows its first digits, which every command takes for the whole, and
// its label behind them. Where there is little room, a label that is unambiguous must do.
func (l *labels) hash(h audit.Hash) cell {
	c := hashCell(h)
	if label := l.label(h); label != "" {
		c.brief += " " + label
		if len(l.by[label]) == 1 {
			c.short = label
		}
	}
	return c
}

func (l *labels) optional(h *audit.Hash) cell {
	if h == nil {
		return cell{brief: "-"}
	}
	return l.hash(*h)
}

// cell is the label of a hash, for a column of its own.
func (l *labels) cell(h *audit.Hash) cell {
	if h == nil || l.label(*h) == "" {
		return cell{}
	}
	return text(l.label(*h))
}

// near are the labels that somebody may have meant who typed what is none.
func (l *labels) near(typed string) []string {
	if l == nil {
		return nil
	}
	var found []string
	for label := range l.by {
		a, b := strings.ToLower(label), strings.ToLower(typed)
		if strings.Contains(a, b) || strings.Contains(b, a) {
			found = append(found, label)
		}
	}
	slices.Sort(found)
	return found[:min(len(found), 3)]
}

// longestLabel is how many characters a label may have: it stands in a table, beside others.
const longestLabel = 64

// checkLabel refuses what would not do as a label: it must look like what it is, and not like a hash.
func checkLabel(s string) error {
	switch {
	case s == "":
		return errors.New("a label cannot be empty")
	case !utf8.ValidString(s) || harmless(s) != s:
		return errors.New("a label has no control characters, and none that cannot be seen")
	case strings.TrimSpace(s) != s:
		return errors.New("a label has no blanks at its ends")
	case utf8.RuneCountInString(s) > longestLabel:
		return errors.New("a label has at most 64 characters")
	case checkPrefix(s) == nil:
		return errors.New("8 hex digits or more would be taken for a hash")
	}
	return nil
}

// orNull is the label of a hash, nil if it has none: null in JSON.
func (l *labels) orNull(h *audit.Hash) *string {
	if h == nil || l.label(*h) == "" {
		return nil
	}
	label := l.label(*h)
	return &label
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
	l, err := readLabels(cmd.Context(), db)
	if err != nil {
		return nil, none
	}
	return slices.Sorted(maps.Keys(l.by)), none
}
