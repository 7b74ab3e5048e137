package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
)

// spanOptions are the flags of import --format.
type spanOptions struct {
	format  string
	explain bool
	showMap bool
	maps    importing.MapFlags
}

func (o *spanOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.format, "format", "", "the inputs are spans: `otlp`, langfuse or langsmith")
	flags.BoolVar(&o.explain, "explain", false, "store nothing, and print what each span would become, and by which rule")
	flags.BoolVar(&o.showMap, "show-map", false, "print the map that is in force, and do nothing else")
	o.maps.Add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"otlp", "langfuse", "langsmith"}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses flags that do not go together.
func (o *spanOptions) check(cmd *cobra.Command) error {
	if o.format == "" {
		for _, name := range []string{"explain", "map", "lifecycle", "text"} {
			if cmd.Flags().Changed(name) && !o.showMap {
				return usage("--%s goes with --format", name)
			}
		}
		if cmd.Flags().Changed("format") {
			return usage("--format names no format: want otlp, langfuse or langsmith")
		}
		return nil
	}
	if !slices.Contains(otlp.Formats, otlp.Format(o.format)) {
		return usage("--format %s: want otlp, langfuse or langsmith", o.format)
	}
	return contradict(cmd, "format", "ack", "rejects", "force", "strict", "catch-up")
}

// mapping reads the map, and puts what the flags say over it.
func (o *spanOptions) mapping(ctx context.Context) (*otlp.Mapping, error) {
	m, err := o.maps.Mapping(ctx)
	return m, tryingInstead(err)
}

// printMap prints the map that is in force, as --map reads it.
func (a *app) printMap(ctx context.Context, o *spanOptions) error {
	m, err := o.mapping(ctx)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m.Map()); err != nil {
		return err
	}
	return a.copyOut(text.String())
}

// importSpans is import --format.
func (a *app) importSpans(ctx context.Context, names []string, o importOptions) (err error) {
	mapping, err := o.spans.mapping(ctx)
	if err != nil {
		return err
	}
	inputs, total, err := a.openInputs(ctx, names)
	defer func() { inputs.Close() }()
	if err != nil {
		return err
	}
	im := &importing.SpanImporter{Format: otlp.Format(o.spans.format), Mapping: mapping, Note: a.note, Cut: total < 0}
	read := new(atomic.Int64) // bytes of the inputs, before they are decompressed
	show := func(bar *tui.Progress) {
		im.Say = bar.Say
		im.Show = func(n uint64) { bar.At(read.Load(), fmt.Sprintf("%s spans", humanize.Comma(int64(n)))) }
	}
	if o.spans.explain {
		im.Rows = a.rows(a.form(""), importing.SpanColumns()...)
		bar := a.progress("reading", total, true)
		show(bar)
		err = im.Run(ctx, inputs.Texts(read))
		bar.End()
		err = errors.Join(err, im.Rows.End())
		im.Notes()
		im.NoteExplained()
		if err == nil {
			err = partly(im)
		}
		return err
	}
	db, signing, err := a.openSigned(ctx, 50_000, &o)
	if err != nil {
		return err
	}
	if im.Check, err = a.check(db.TimeUnit(), o.future); err != nil {
		return errors.Join(err, db.close())
	}
	im.Store = db
	bar := a.progress("importing", total, true)
	show(bar)
	endSigning := signing()
	err = im.Run(ctx, inputs.Texts(read))
	bar.End()
	err = errors.Join(err, endSigning(), a.closeIntake(db))
	im.Notes()
	if printErr := a.facts(a.form(""), im.Facts()...); err == nil {
		err = printErr
	}
	if err == nil {
		err = partly(im)
	}
	if err == nil && total < 0 {
		err = context.Cause(ctx) // as importFiles has it
	}
	return err
}
