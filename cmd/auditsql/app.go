package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/sqlstore"
)

// An app is one run of the command: its streams, and the flags that many commands have.
type app struct {
	streams
	cmd *cobra.Command // the command that runs; nil until its flags are parsed

	dir     string
	output  string
	json    bool
	csvSafe bool
	color   string
	noPager bool
	quiet   bool

	pager       *tui.Pager // nil: what is printed goes to the streams
	errTerminal io.Writer  // with a pager: standard error, for bars, which are never held back

	// Flags of many commands. Each command adds the ones that it has.
	lockWait durationFlag
	readOnly bool
	create   bool
	zoneName string

	leftOut int   // damaged records that an answer goes without
	refused error // why no help was printed
}

// root builds the whole command.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "auditsql",
		Short: "An append-only record of what agents asked and why they were answered so",
		Long: `auditsql keeps an append-only record of what agents asked, what they were
answered and on which evidence, in a folder with a journal and an SQLite
database, and answers questions about it.

A first look:    auditsql demo
A store:         auditsql init; auditsql import FILE.ndjson; auditsql recent

Commands that read work while another program writes, and change no record.
When no program writes and the journal holds records that SQLite lacks, a
command that reads says so. It recovers the store first: SQLite gets those
records. With --read-only it recovers nothing, and shows what SQLite has. The
commands stats, log status and log checkpoints recover nothing either, and never
wait.

Results are a table on a terminal and tab-separated lines elsewhere. -o chooses
another form. Below are the topics that explain what many commands have in
common; auditsql man DIR makes pages for man of all of it.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		Version:           version,
	}
	needsOneBelow(root)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.dir, "dir", "d", defaultDir(), "the store's `folder`; also from AUDITSQL_DIR")
	flags.StringVarP(&a.output, "output", "o", "", "`form` of the results: table, plain, json, ndjson or csv")
	flags.BoolVar(&a.json, "json", false, "the same as -o json")
	flags.BoolVar(&a.csvSafe, "csv-safe", false, "with -o csv: put an apostrophe before what a spreadsheet takes for a formula")
	flags.StringVar(&a.color, "color", "auto", "`when` to use colours: auto, always or never; NO_COLOR is never")
	flags.BoolVar(&a.noPager, "no-pager", false, "show long tables without a pager")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no notes and no progress on standard error; errors stay")
	_ = root.RegisterFlagCompletionFunc("color", completeWords(colors...))
	_ = root.MarkPersistentFlagDirname("dir")
	_ = root.RegisterFlagCompletionFunc("output", completeForms)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err) })
	root.SetVersionTemplate("auditsql {{.Version}}, SQLite " + sqlstore.SQLiteVersion + "\n")

	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "To begin with:"},
		&cobra.Group{ID: groupWrite, Title: "To write:"},
		&cobra.Group{ID: groupServe, Title: "To serve a store over HTTP:"},
		&cobra.Group{ID: groupAsk, Title: "To find out why:"},
		&cobra.Group{ID: groupRead, Title: "To read:"},
		&cobra.Group{ID: groupName, Title: "To name what hashes stand for:"},
		&cobra.Group{ID: groupCare, Title: "To look after a store:"},
		&cobra.Group{ID: groupProof, Title: "To prove what is in a log, and to check it:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupStart, a.demoCommand(), a.initCommand())
	add(groupWrite, a.putCommand(), a.importCommand())
	add(groupServe, a.serveCommand(), a.tokenCommand())
	add(groupAsk, a.traceCommand(), a.impactCommand(), a.answersCommand(), a.diffCommand(), a.agentsCommand(), a.timelineCommand(), a.topCommand(), a.compareCommand(), a.reportCommand())
	add(groupRead, a.getCommand(), a.listCommand(), a.recentCommand(), a.tailCommand(), a.exportCommand(), a.sqlCommand())
	add(groupName, a.nameCommand())
	add(groupCare, a.statsCommand(), a.verifyCommand(), a.backupCommand(), a.reindexCommand(), a.repairCommand(), a.walCommand())
	add(groupProof, a.proveCommand(), a.checkCommand(), a.keyCommand(), a.logCommand())
	root.AddCommand(a.versionCommand(), a.manCommand())
	a.setUpHelp(root)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Short = "Completion for bash, zsh, fish or powershell"
		needsOneBelow(completion)
	}
	setUpCompletion(root)
	return root
}

const (
	groupStart = "start"
	groupWrite = "write"
	groupServe = "serve"
	groupAsk   = "ask"
	groupRead  = "read"
	groupName  = "name"
	groupCare  = "care"
	groupProof = "proof"
)

func defaultDir() string {
	if dir := os.Getenv("AUDITSQL_DIR"); dir != "" {
		return dir
	}
	return "./audit"
}

// prepare runs before every command, when its flags are known.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	a.cmd = cmd
	if a.dir == "" {
		return usage("-d names no folder")
	}
	if err := a.checkOutput(); err != nil {
		return err
	}
	if err := a.chooseColors(); err != nil {
		return err
	}
	if err := a.checkStreams(); err != nil {
		return err
	}
	a.startPager(cmd)
	return nil
}

// colors are what --color takes.
var colors = []string{"auto", "always", "never"}

// chooseColors does what --color says. auto is as the terminal and NO_COLOR have it.
func (a *app) chooseColors() error {
	switch a.color {
	case "auto":
	case "always":
		a.outTerm.Color = true
	case "never":
		a.outTerm.Color = false
	default:
		return usage("--color %s: want auto, always or never", a.color)
	}
	return nil
}

// noSuchCommand proposes the command that comes nearest to what was typed, if one is near.
func noSuchCommand(root *cobra.Command, typed string) error {
	err := usage("there is no command %q", typed)
	if _, is := topicOf(typed); is && !root.HasParent() {
		return trying(err, "auditsql help %s", typed)
	}
	if near := nearestCommand(root, typed); near != "" {
		return trying(err, "%s %s", root.CommandPath(), near)
	}
	return err
}

// nearestCommand is the subcommand of root that is a letter or two away from what was typed, "" if none is.
func nearestCommand(root *cobra.Command, typed string) string {
	for letters := 1; letters <= 2; letters++ {
		root.SuggestionsMinimumDistance = letters
		if near := root.SuggestionsFor(typed); len(near) > 0 {
			return near[0]
		}
	}
	return ""
}

// nearest is the name that is a letter or two away from what was typed, "" if none is. Cobra compares the names of
// commands, and takes the text before the first blank for the name. So each blank is replaced for the comparison.
func nearest(names []string, typed string) string {
	joined := strings.NewReplacer(" ", "\x00")
	root := &cobra.Command{}
	for _, name := range names {
		root.AddCommand(&cobra.Command{Use: joined.Replace(name), Run: func(*cobra.Command, []string) {}})
	}
	return strings.ReplaceAll(nearestCommand(root, joined.Replace(typed)), "\x00", " ")
}

// needsCommand runs a command that does nothing without a subcommand: it prints the help, and fails as wrong usage.
func needsCommand(cmd *cobra.Command, _ []string) error {
	cmd.SetOut(cmd.ErrOrStderr())
	if err := cmd.Help(); err != nil {
		return err
	}
	return quietly(exitUsage)
}

// needsOneBelow sets up a command that does nothing without a subcommand.
func needsOneBelow(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noSuchCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = needsCommand
}

// plural is "1 record", "2 records".
func plural[T ~int | ~int64 | ~uint64](n T, one, many string) string {
	return tui.Counted(n, one, many)
}
