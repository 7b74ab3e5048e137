package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

// Help is written for terminals of 80 columns, and every command has some, with an example.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.Lines(c.Long + "\n" + c.Example + "\n" + c.Short) {
			if line = strings.TrimSuffix(line, "\n"); tui.DisplayWidth(line) > helpWidth {
				t.Errorf("%s --help has %d columns: %s", c.CommandPath(), tui.DisplayWidth(line), line)
			}
		}
		if c.RunE != nil && c.Example == "" && !c.HasSubCommands() && c.GroupID != "" {
			t.Errorf("%s --help has no example", c.CommandPath())
		}
		for _, below := range c.Commands() {
			if below.Name() != "completion" {
				walk(below)
			}
		}
	}
	walk(new(app).root())
}
