package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/auditsql/auditsql/internal/tui"
)

// helpWidth is the greatest width of a line of help, in columns.
const helpWidth = 80

// setUpHelp makes help short: what a command has for itself is in its own help, and what many commands have in common is a
// topic.
func (a *app) setUpHelp(root *cobra.Command) {
	width := helpWidth
	if a.outTerm.Is {
		width = min(a.outTerm.Width, helpWidth)
	}
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.OutOrStderr(), usageText(cmd, width))
		return err
	})
	shown := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		// Cobra prints the help of the parent for a command that does not exist, as if nothing were wrong.
		if typed := cmd.Flags().Args(); cmd.HasSubCommands() && len(typed) > 0 {
			a.refused = noSuchCommand(cmd, typed[0])
			return
		}
		shown(cmd, args)
	})
	root.SetHelpCommand(a.helpCommand(root))
}

// usageText is what help prints below the text about a command.
func usageText(cmd *cobra.Command, width int) string {
	var b strings.Builder
	section := func(title, text string) {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(title + ":\n" + strings.TrimRight(text, "\n") + "\n")
	}
	line := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		line = cmd.CommandPath() + " COMMAND"
	}
	section("Usage", "  "+line)
	if cmd.HasExample() {
		section("Examples", cmd.Example)
	}
	for _, g := range slices.Concat(cmd.Groups(), []*cobra.Group{{Title: "More:"}}) {
		if list := commandList(cmd, g.ID, width); list != "" {
			section(strings.TrimSuffix(g.Title, ":"), list)
		}
	}
	if !cmd.HasParent() {
		section("Topics, for auditsql help TOPIC", topicList())
	}
	own, filters := flagsOf(cmd)
	if own.HasAvailableFlags() {
		section("Flags", tui.TrimLines(own.FlagUsagesWrapped(width)))
	}
	if len(filters) > 0 {
		section("Filters, which auditsql help filters describes; --not-FILTER leaves out", namedFlags(filters, width))
	}
	if inherited := cmd.InheritedFlags(); inherited.HasAvailableFlags() {
		section("Flags of every command, which auditsql help output describes", namedFlags(listed(inherited), width))
	}
	return b.String()
}

// commandList are the commands below cmd that are in a group.
func commandList(cmd *cobra.Command, group string, width int) string {
	var list strings.Builder
	for _, c := range cmd.Commands() {
		if c.GroupID == group && (c.IsAvailableCommand() || c.Name() == "help") {
			name := tui.Indent + tui.Pad(c.Name(), c.NamePadding()) + tui.Gap[1:]
			about := tui.Wrap(c.Short, max(width-len(name), 20))
			list.WriteString(name + strings.ReplaceAll(about, "\n", "\n"+strings.Repeat(" ", len(name))) + "\n")
		}
	}
	return list.String()
}

// flagsOf are the flags of a command itself, and apart from these its filters, without their negations.
func flagsOf(cmd *cobra.Command) (own *pflag.FlagSet, filters []*pflag.Flag) {
	own = pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	own.SortFlags = false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Hidden, isNegation(f):
		case isFilter(f):
			filters = append(filters, f)
		default:
			own.AddFlag(f)
		}
	})
	return own, filters
}

// listed are the flags of a set that help shows.
func listed(set *pflag.FlagSet) (flags []*pflag.Flag) {
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f)
		}
	})
	return flags
}

// namedFlags are the names of flags, in lines of this width.
func namedFlags(flags []*pflag.Flag, width int) string {
	var names []string
	for _, f := range flags {
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ",\u00a0" + name
		}
		names = append(names, name)
	}
	text := tui.Wrap(strings.Join(names, " "), width-len(tui.Indent))
	return tui.Indent + strings.ReplaceAll(strings.ReplaceAll(text, "\u00a0", " "), "\n", "\n"+tui.Indent)
}

// filterMark is the annotation of flags that are filters. Its value is the filter that a negation negates, "" for any other.
const filterMark = "auditsql_filter"

func isFilter(f *pflag.Flag) bool { return f.Annotations[filterMark] != nil }

func isNegation(f *pflag.Flag) bool { return isFilter(f) && f.Annotations[filterMark][0] != "" }

// helpCommand replaces cobra's help command, which ends without an error when the command does not exist. Here that is
// wrong usage. It also prints the topics.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "How a command is used, or what a topic is about",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				if t, ok := topicOf(args[0]); ok {
					return a.copyOut(t.full() + "\n")
				}
			}
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return noHelp(root, args)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			if cmd == root {
				for _, t := range topics() {
					names = append(names, t.name+"\t"+t.about)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// noHelp says that there is no such command, and proposes one that is near, or a topic.
func noHelp(root *cobra.Command, args []string) error {
	above, typed := root, args[0]
	for len(args) > 1 {
		below, rest, err := above.Find(args[:1])
		if err != nil || len(rest) > 0 || below == above {
			break
		}
		above, args = below, args[1:]
		typed = args[0]
	}
	err := usage("there is no command %q", typed)
	if near := nearestCommand(above, typed); near != "" {
		return trying(err, "%s", strings.TrimSpace("auditsql help "+strings.TrimPrefix(above.CommandPath()+" "+near, "auditsql ")))
	}
	var names []string
	for _, t := range topics() {
		names = append(names, t.name)
	}
	if near := nearest(names, typed); near != "" && above == root {
		return trying(err, "auditsql help %s", near)
	}
	return trying(err, "%s --help", cmp.Or(above.CommandPath(), "auditsql"))
}
