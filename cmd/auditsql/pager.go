package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

// pages reports whether a command has tables that may be longer than a screen: those that ask and read do. What tail follows
// never ends, so it is not held back.
func pages(cmd *cobra.Command) bool {
	switch cmd.CommandPath() {
	case "auditsql tail":
		return false
	case "auditsql wal inspect", "auditsql wal dump", "auditsql log checkpoints":
		return true
	}
	return cmd.GroupID == groupAsk || cmd.GroupID == groupRead || cmd.GroupID == groupName
}

// pagerCommand is the program that turns pages, as a shell has it: what AUDITSQL_PAGER or PAGER say, else less. It is "" where
// none is wanted or there is none.
func pagerCommand() string {
	if os.Getenv("TERM") == "dumb" {
		return ""
	}
	for _, name := range []string{"AUDITSQL_PAGER", "PAGER"} {
		if command, set := os.LookupEnv(name); set {
			if command == "cat" {
				return ""
			}
			return command
		}
	}
	if _, err := exec.LookPath("less"); err != nil {
		return ""
	}
	return "less"
}

// startPager sends what the command prints through a pager if it is a table on a terminal.
func (a *app) startPager(cmd *cobra.Command) {
	if a.noPager || !a.outTerm.Is || a.outTerm.Height == 0 || a.form("") != tui.Table || !pages(cmd) {
		return
	}
	command := pagerCommand()
	if command == "" {
		return
	}
	a.pager = tui.NewPager(command, a.out, a.err, a.outTerm)
	a.out, a.errTerminal = a.pager.Out(), a.err
	if a.errTerm.Is {
		a.err = a.pager.Err()
	}
}

// endPager waits until the person has left the pager, and returns how the run ends. To leave it early is no error.
func (a *app) endPager(terminal streams, err error) error {
	if a.pager == nil {
		return err
	}
	pager := a.pager
	a.pager = nil
	ended := pager.End()
	a.out, a.err = terminal.out, terminal.err
	if pager.Left() && errors.Is(err, syscall.EPIPE) {
		err = a.incomplete()
	}
	if ended != nil && !errors.Is(ended, syscall.EPIPE) {
		return errors.Join(err, trying(ended, "--no-pager, or AUDITSQL_PAGER names another program"))
	}
	return err
}
