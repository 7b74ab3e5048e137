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
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) demoCommand() *cobra.Command {
	var keep string
	var serve, chain bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A small incident, and the commands that solve it",
		Long: `Demo makes a store in a temporary folder, with the questions that a few agents
asked within an hour. One of them acted on something that nobody had approved.
Demo runs the commands that find out how that happened, and explains what each
of them answers. The folder is removed at the end. --keep DIR makes the store
there and leaves it, to try other commands.

--chain tells another story: agents pass answers on to each other, and what is
wrong with an order is two answers further back.

--serve serves the store instead, for a browser: it prints a link, and ends with
Ctrl-C. For the pages it is a few minutes after the payment, or the order, of
the story.`,
		Example: `  auditsql demo
  auditsql demo --chain
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
				return trying(usage("--keep %s is inside %s, the folder of a store", keep, store), "another folder")
			}
			story := paymentStory()
			if chain {
				story = chainStory()
			}
			return a.demo(cmd.Context(), &story, keep, serve)
		},
		ValidArgsFunction: completeNothing,
	}
	cmd.Flags().StringVar(&keep, "keep", "", "make the store in this `folder`, and leave it there")
	cmd.Flags().BoolVar(&serve, "serve", false, "serve the store for a browser, in place of the story")
	cmd.Flags().BoolVar(&chain, "chain", false, "another incident: a false rate that three agents passed on")
	_ = cmd.MarkFlagDirname("keep")
	return cmd
}

// makeDemo makes the store of the story.
func makeDemo(ctx context.Context, dir string, story *demoStory) error {
	db, err := audit.OpenContext(ctx, dir, audit.WithCreatedBy("auditsql "+version))
	if err != nil {
		return err
	}
	if _, err = db.PutAudits(ctx, story.records); err == nil {
		err = db.PutLabels(ctx, story.labels)
	}
	return errors.Join(err, db.Close())
}

// serveDemo serves the store of the story until the run is interrupted. Before that it prints how the run ends.
func (a *app) serveDemo(ctx context.Context, story *demoStory, dir, ends string) error {
	served := *a
	served.dir = dir
	begun := a.now()
	fmt.Fprintf(a.out, "\n%s\n\n", ends)
	return served.serve(ctx, &serveOptions{
		Flags: serving.Flags{Listen: serving.UsualAddress, LogFormat: "text"}, demo: func() time.Time { return story.now.Add(a.now().Sub(begun)) },
	})
}

func (a *app) demo(ctx context.Context, story *demoStory, keep string, serve bool) error {
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

	if err := makeDemo(ctx, dir, story); err != nil {
		return err
	}
	fmt.Fprintf(a.out, story.opening, len(story.records))
	if serve {
		ends := "Open the link to log in with a browser. It works once. Ctrl-C ends the server\nand removes the store; --keep DIR keeps it."
		if keep != "" {
			ends = "Open the link to log in with a browser. It works once. Ctrl-C ends the server,\nand the store stays in " + harmless(keep) + "."
		}
		return a.serveDemo(ctx, story, dir, ends)
	}
	shown := a.streams
	shown.dirAs = named
	if !shown.outTerm.Is && shown.errTerm.Is {
		// Standard output probably goes to a pager.
		shown.outTerm = tui.Terminal{Is: true, Width: shown.errTerm.Width}
	}
	for i, step := range story.steps {
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
