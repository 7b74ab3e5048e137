package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tui"
)

// nameOptions are the flags of name.
type nameOptions struct {
	remove, export bool
	file           string // to import
}

func (a *app) nameCommand() *cobra.Command {
	var o nameOptions
	cmd := &cobra.Command{
		Use:   "name [HASH [LABEL]]",
		Short: "Labels for agents, assertions and sources",
		Long: `Name gives a label to the hash of an agent, an assertion or a source. Tables
show it beside the hash, and every flag and argument that wants such a hash
takes the label as well. Without a label, name shows the one that a hash has;
without anything, all of them.

A hash is written in full, as its first 8 or more digits if only one in the
store begins with them, or as the label that it has. A label has at most 64
characters, none that cannot be seen, and does not look like a hash. Labels
can be changed while another program writes. That changes no record.

--export prints a line for each label: the hash, a tab, the label. --import
reads such lines, and sets all of the labels or none. A line with nothing after
the tab removes a label.`,
		Example: `  auditsql name "$AGENT" planner-7
  auditsql name planner-7 planner-8
  auditsql name --remove planner-8
  auditsql name --export > labels.tsv
  auditsql -d other name --import labels.tsv`,
		Args: arguments(0, 2, "a hash and a label"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd, args); err != nil {
				return err
			}
			return a.name(cmd.Context(), args, &o)
		},
		ValidArgsFunction: a.completeNamed(),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.remove, "remove", false, "remove the label of a hash")
	flags.BoolVar(&o.export, "export", false, "print all labels as --import reads them")
	flags.StringVar(&o.file, "import", "", "set the labels in this `file`; - is standard input")
	_ = cmd.MarkFlagFilename("import")
	return cmd
}

func (o *nameOptions) check(cmd *cobra.Command, args []string) error {
	for _, flags := range [][]string{{"remove", "export", "import"}, {"export", "import"}} {
		if err := contradict(cmd, flags[0], flags[1:]...); err != nil {
			return err
		}
	}
	imports := cmd.Flags().Changed("import")
	switch {
	case (o.export || imports) && len(args) > 0:
		return usage("--export and --import take no hash, and got %q", args[0])
	case imports && o.file == "":
		return usage("--import names no file")
	case o.remove && len(args) != 1:
		return usage("--remove wants one hash, or its label")
	}
	if len(args) > 0 {
		if err := checkTyped(args[0]); err != nil {
			return err
		}
	}
	if len(args) == 2 {
		if args[1] == "" {
			return trying(usage("a label cannot be empty"), "--remove, to remove one")
		}
		if err := audit.CheckLabel(args[1]); err != nil {
			return usage("%q: %w", args[1], err)
		}
	}
	return nil
}

func (a *app) name(ctx context.Context, args []string, o *nameOptions) error {
	var set []audit.Label
	if o.file != "" {
		var err error
		if set, err = a.importLabels(ctx, o.file); err != nil {
			return err
		}
	}
	r, err := a.openReading(ctx) // labels are in SQLite alone
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case r.labels.Labels == nil:
		return errors.New("the labels cannot be read, so none was changed")
	case o.file != "":
		if err := a.putLabels(ctx, r, set); err != nil {
			return err
		}
		a.note("%s set or removed", plural(len(set), "label", "labels"))
		return nil
	case len(args) == 0:
		usual := tui.Form("")
		if o.export {
			usual = tui.Plain
		}
		return a.listLabels(r.labels, a.form(usual))
	}
	h, err := r.find(ctx, args[0], audit.AnyHash, nil)
	switch {
	case err != nil:
		return err
	case len(args) == 2:
		return a.putLabels(ctx, r, []audit.Label{{Hash: h, Label: args[1]}})
	}
	label := r.labels.Of(h)
	if label == "" {
		return notFound("%s has no label", h)
	}
	if o.remove {
		return a.putLabels(ctx, r, []audit.Label{{Hash: h}})
	}
	if form := a.form(""); form != tui.Table && form != tui.Plain {
		return a.facts(form, fact("hash", "", tui.Text(h.String())), fact("label", "", tui.Text(label)))
	}
	return a.copyOut(harmless(label) + "\n")
}

// putLabels writes labels, and notes which of them now name more than one hash. That is no mistake when an agent got a
// new key, but such a label is ambiguous where one hash is wanted.
func (a *app) putLabels(ctx context.Context, r *reading, set []audit.Label) error {
	if err := a.writeLabels(ctx, r, set); err != nil {
		return err
	}
	after, err := r.Labels(ctx)
	if err != nil {
		return err
	}
	noted := map[string]bool{}
	for _, l := range set {
		if n := len(after.Hashes(l.Label)); n > 1 && !noted[l.Label] {
			noted[l.Label] = true
			a.note("%d hashes now have the label %q; an argument that could mean more than one of them is ambiguous", n, l.Label)
		}
	}
	return nil
}

// writeLabels writes labels into SQLite, through the server if one has the store open.
func (a *app) writeLabels(ctx context.Context, r *reading, set []audit.Label) error {
	c, err := socket.Dial(ctx, a.dir)
	switch {
	case errors.Is(err, socket.ErrNoServer), errors.Is(err, fs.ErrPermission):
		return r.PutLabels(ctx, set)
	case err != nil:
		return a.noAnswer(ctx, err)
	}
	defer c.Close()
	return c.PutLabels(ctx, set)
}

// listLabels prints all of them, in the order of the labels.
func (a *app) listLabels(l labels, form tui.Form) error {
	out := a.rows(form, tui.Column{Name: "hash"}, tui.Column{Name: "label", Flexible: true, Least: 12})
	return show.Labels(out, l.All(), func(h audit.Hash) tui.Cell {
		digits := h.String()
		return tui.Cell{Kind: tui.TextKind, Text: digits, Short: digits[:briefHash]}
	})
}

// importLabels reads labels from a file; - is standard input.
func (a *app) importLabels(ctx context.Context, file string) ([]audit.Label, error) {
	var input []byte
	var err error
	if file == "-" {
		file = "standard input"
		input, err = a.readStdin(ctx, ingest.LongestLine)
		if n := len(input); err == nil && n > 0 && input[n-1] != '\n' {
			err = importing.CutShort(ctx) // the last label may be only a part of one
		}
	} else {
		about, statErr := os.Stat(file)
		if statErr == nil {
			if err := a.checkInput(file, about); err != nil {
				return nil, err
			}
		}
		input, err = importing.Uninterrupted(ctx, func() ([]byte, error) { return os.ReadFile(file) })
	}
	if err != nil {
		return nil, err
	}
	return parseLabels(file, string(input))
}

// parseLabels reads lines of a hash, a tab and a label. They may have come through a spreadsheet.
func parseLabels(file, input string) ([]audit.Label, error) {
	var set []audit.Label
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(input, "\ufeff")) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		hash, label, tab := strings.Cut(line, "\t")
		h, err := audit.ParseHash(strings.TrimSpace(hash))
		switch {
		case err != nil:
		case !tab:
			err = errors.New("want a hash, a tab and a label")
		case label != "":
			err = audit.CheckLabel(label)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		set = append(set, audit.Label{Hash: h, Label: label})
	}
	return set, nil
}
