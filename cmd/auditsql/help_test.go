package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	for _, topic := range topics() {
		for line := range strings.Lines(topic.full() + "\n" + topic.about) {
			if line = strings.TrimSuffix(line, "\n"); tui.DisplayWidth(line) > helpWidth {
				t.Errorf("help %s has %d columns: %s", topic.name, tui.DisplayWidth(line), line)
			}
		}
	}
}

// The help of a command has what is its own. Each filter and each flag of all commands is described once, in a topic.
func TestHelpIsShort(t *testing.T) {
	t.Parallel()
	root := new(app).root()
	filters, _ := topicOf("filters")
	output, _ := topicOf("output")
	everyFlag(root, func(cmd *cobra.Command, f *pflag.Flag) {
		if isFilter(f) && !strings.Contains(filters.full(), "--"+f.Name+" ") {
			t.Errorf("help filters does not describe --%s", f.Name)
		}
		if cmd == root && f.Name != "help" && f.Name != "version" && !strings.Contains(output.full(), "--"+f.Name+" ") {
			t.Errorf("help output does not describe --%s", f.Name)
		}
	})
	for _, name := range []string{"list", "trace", "top", "prove"} {
		cmd, _, err := root.Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if text := usageText(cmd, helpWidth); strings.Contains(text, "pattern for the subject") || !strings.Contains(text, "--subject") {
			t.Errorf("%s --help:\n%s", name, text)
		}
	}
}
