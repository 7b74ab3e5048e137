package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) demoCommand() *cobra.Command {
	var keep string
	var serve bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A small incident, and the commands that solve it",
		Long: `Demo makes a store in a temporary folder, with the questions that a few agents
asked within an hour. One of them acted on something that nobody had approved.
Demo runs the commands that find out how that happened, and explains what each
of them answers. The folder is removed at the end. --keep DIR makes the store
there and leaves it, to try other commands.

--serve serves the store instead, for a browser: it prints a link, and ends with
Ctrl-C. For the pages it is half past ten on that day, ten minutes after the
payment.`,
		Example: `  auditsql demo
  auditsql demo --serve
  auditsql demo --keep ./demo`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.output != "" || a.json {
				return usage("the demo is a story, and has no other form")
			}
			if cmd.Flags().Changed("keep") && keep == "" {
				return usage("--keep names no folder")
			}
			if store := a.storeAround(keep); keep != "" && store != "" {
				return trying(usage("--keep %s lies in %s, which belongs to a store alone", keep, store), "another folder")
			}
			return a.demo(cmd.Context(), keep, serve)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().StringVar(&keep, "keep", "", "make the store in this `folder`, and leave it there")
	cmd.Flags().BoolVar(&serve, "serve", false, "serve the store for a browser, in place of the story")
	_ = cmd.MarkFlagDirname("keep")
	return cmd
}

// makeDemo makes the store of the story.
func makeDemo(ctx context.Context, dir string, records []*audit.QueryAudit) error {
	db, err := audit.OpenContext(ctx, dir, audit.WithCreatedBy("auditsql "+version))
	if err != nil {
		return err
	}
	if _, err = db.PutAudits(ctx, records); err == nil {
		err = db.PutLabels(ctx, demoLabels())
	}
	return errors.Join(err, db.Close())
}

// demoNow is when the pages of a served demo are looked at: somebody has just noticed the payment.
var demoNow = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)

// serveDemo serves the store of the story until the run is interrupted. Before that it prints how the run ends.
func (a *app) serveDemo(ctx context.Context, dir, ends string) error {
	served := *a
	served.dir = dir
	begun := a.now()
	fmt.Fprintf(a.out, "\n%s\n\n", ends)
	return served.serve(ctx, &serveOptions{
		listen: usualAddress, logFormat: "text", demo: func() time.Time { return demoNow.Add(a.now().Sub(begun)) },
	})
}

func (a *app) demo(ctx context.Context, keep string, serve bool) error {
	dir, named := keep, keep
	if keep == "" {
		temporary, err := os.MkdirTemp("", "auditsql-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		// The printed commands name a folder that is the same every time.
		dir, named = filepath.Join(temporary, "demo"), "./demo"
	} else if entries, err := os.ReadDir(keep); err == nil && len(entries) > 0 {
		return trying(fmt.Errorf("%s is not empty", keep), "a folder that does not exist yet")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	records := demoRecords()
	if err := makeDemo(ctx, dir, records); err != nil {
		return err
	}
	fmt.Fprintf(a.out, demoOpening, len(records))
	if serve {
		ends := "Open the link to log in with a browser. It works once. Ctrl-C ends the server\nand removes the store; --keep DIR keeps it."
		if keep != "" {
			ends = "Open the link to log in with a browser. It works once. Ctrl-C ends the server,\nand the store stays in " + harmless(keep) + "."
		}
		return a.serveDemo(ctx, dir, ends)
	}
	shown := a.streams
	shown.dirAs = named
	if !shown.outTerm.Is && shown.errTerm.Is {
		// Standard output probably goes to a pager.
		shown.outTerm = tui.Terminal{Is: true, Width: shown.errTerm.Width}
	}
	for i, step := range demoSteps() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		line := []string{"auditsql", "-d", shellQuote(named)}
		for _, arg := range step.args {
			line = append(line, shellQuote(arg))
		}
		fmt.Fprintf(a.out, "\n%s\n\n$ %s\n", a.screen().Strong(fmt.Sprintf("%d. %s", i+1, step.question)), strings.Join(line, " "))
		code := run(ctx, append([]string{"-d", dir, "-o", string(tui.Table), "--no-pager"}, step.args...), shown)
		if code != exitDone {
			return quietly(code) // it has said why
		}
		fmt.Fprintf(a.out, "\n%s\n", step.answer)
	}
	if keep == "" {
		fmt.Fprint(a.out, "\nThe store has been removed again. auditsql demo --keep ./demo leaves it there,\nto type these commands and others: timeline --by minute, top --by source\n--unapproved, agents, name, recent, sql --list, verify, help.\n")
		return nil
	}
	fmt.Fprintf(a.out, "\nThe store is in %s, for these commands and others:\ntimeline --by minute, top --by source --unapproved, agents, name, recent,\nsql --list, verify, help.\n", harmless(keep))
	return nil
}
