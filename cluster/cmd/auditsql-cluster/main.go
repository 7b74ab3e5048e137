// Command auditsql-cluster keeps one store of records on several machines, on NATS JetStream.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
)

// The exit codes, which are those of auditsql.
const (
	exitDone        = 0
	exitFailed      = 1 // also when it is not proven that the log keeps what it acknowledges
	exitUsage       = 2
	exitDamage      = 5
	exitPartly      = 6
	exitLocked      = 7
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one run of the command.
type app struct {
	in       io.Reader
	out, err io.Writer
	output   string         // form of the results
	cmd      *cobra.Command // the one that runs

	url, stream        string
	creds, systemCreds string
	nkey               string
	ca, cert, key      string
}

func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, err: errs}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(err)
	if err != nil && !errors.As(err, new(quietError)) {
		a.cmd = cmd
		a.tell(err)
	}
	return code
}

// tell prints in one line what failed, and what to try, as auditsql does.
func (a *app) tell(err error) {
	line := strings.ReplaceAll(err.Error(), "\n", "; ")
	if command := strings.TrimPrefix(a.cmd.CommandPath(), "auditsql-cluster "); a.cmd.HasParent() && !strings.HasPrefix(line, command+": ") {
		line = command + ": " + line
	}
	if try := a.whatToTry(err); try != "" {
		line += "; try: " + try
	}
	fmt.Fprintf(a.err, "auditsql-cluster: %s\n", line)
}

// whatToTry is the advice that goes with an error; "" is none.
func (a *app) whatToTry(err error) string {
	var advised *advice.Error
	switch {
	case errors.As(err, &advised) && advised.Try != "":
		return advised.Try
	case exitCode(err) == exitUsage:
		return a.cmd.CommandPath() + " --help"
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Sprintf("start the servers, or name them with --nats (none answers at %s); auditsql-cluster dev starts three on this machine", a.url)
	case exitCode(err) == exitLocked:
		return "end the process that has the folder, or use its server"
	}
	return ""
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "auditsql-cluster",
		Short: "One store of records on several machines",
		Long: `auditsql-cluster keeps one store of records on several machines. The records are
a stream of NATS JetStream on three servers or more, and each node keeps a copy
of its own, which the command auditsql reads like any other store.

Exit codes: 0 done, 1 failed, or it is not proven that the log keeps what it
acknowledges, 2 wrong usage, 5 damage found, 6 some lines were rejected, 7
locked by another process, 130 interrupted.

To try it:  auditsql-cluster dev

How to connect also comes from the environment: AUDITSQL_NATS_URL is --nats,
AUDITSQL_NATS_USER is NAME:PASSWORD of a user of the stream's account, and
AUDITSQL_NATS_SYSTEM that of one of the system account.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.cmd = cmd
			if a.output != "" && !slices.Contains(tui.Forms(), a.output) {
				return usageError{fmt.Errorf("-o %s: want %s", a.output, strings.Join(tui.Forms(), ", "))}
			}
			return nil
		},
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "", "`form` of the results of put, import and serve: table, plain, json, ndjson or csv")
	flags.StringVar(&a.url, "nats", cmp.Or(os.Getenv("AUDITSQL_NATS_URL"), "nats://127.0.0.1:4222"), "the servers' `URL`; several with commas between them; also from AUDITSQL_NATS_URL")
	flags.StringVar(&a.stream, "stream", "AUDIT", "the stream's `name`")
	flags.StringVar(&a.creds, "creds", "", "`file` with the credentials of a user of the stream's account")
	flags.StringVar(&a.systemCreds, "system-creds", "", "`file` with the credentials of a user of the system account")
	flags.StringVar(&a.nkey, "nkey", "", "`file` with the seed of the user's nkey, in place of --creds")
	flags.StringVar(&a.ca, "nats-ca", "", "`file` with the certificate that has signed those of the servers")
	flags.StringVar(&a.cert, "nats-cert", "", "`file` with the certificate of this client of NATS")
	flags.StringVar(&a.key, "nats-key", "", "`file` with the key of that certificate")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.devCommand())
	root.AddCommand(a.devServerCommand())
	root.AddCommand(a.initCommand())
	root.AddCommand(a.checkCommand())
	root.AddCommand(a.followCommand())
	root.AddCommand(a.serveCommand())
	root.AddCommand(a.putCommand())
	root.AddCommand(a.importCommand())
	root.AddCommand(a.verifyCommand())
	root.AddCommand(a.bootstrapCommand())
	root.AddCommand(a.promoteCommand())
	cobra.AddTemplateFunc("lines", func(flags interface{ FlagUsagesWrapped(int) string }) string {
		return tui.TrimLines(flags.FlagUsagesWrapped(helpWidth))
	})
	usages := strings.NewReplacer(".LocalFlags.FlagUsages | trimTrailingWhitespaces", "lines .LocalFlags",
		".InheritedFlags.FlagUsages | trimTrailingWhitespaces", "lines .InheritedFlags")
	root.SetUsageTemplate(usages.Replace(root.UsageTemplate()))
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Short = "Completion for bash, zsh, fish or powershell"
	}
	return root
}

// helpWidth is the greatest width of a line of help, in columns, as in auditsql.
const helpWidth = 80

// noSuchCommand refuses what is no command, and names one that is near.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usageError{fmt.Errorf("there is no command %q", args[0])}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return &advice.Error{Err: err, Try: cmd.CommandPath() + " " + near[0], Usage: true}
	}
	return err
}

// usageError is an error in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errNoFolder refuses an empty -d.
var errNoFolder = usageError{errors.New("-d names no folder")}

// quietError ends the run with a code, after everything was printed.
type quietError struct{ code int }

func (e quietError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// version is that of this program.
func version() string {
	if built, ok := debug.ReadBuildInfo(); ok && built.Main.Version != "" {
		return built.Main.Version
	}
	return "unknown"
}

// screen is where this run prints.
func (a *app) screen() *tui.Screen {
	s := &tui.Screen{Out: a.out, Err: a.err}
	if f, ok := a.out.(*os.File); ok {
		s.OutTerm = tui.TerminalOf(f)
	}
	if f, ok := a.err.(*os.File); ok {
		s.ErrTerm = tui.TerminalOf(f)
	}
	return s
}

// form is how results are printed: as -o says, else a table on a terminal and tab-separated lines elsewhere.
func (a *app) form() tui.Form {
	switch {
	case a.output != "":
		return tui.Form(a.output)
	case a.screen().OutTerm.Is:
		return tui.Table
	}
	return tui.Plain
}

// notes prints what opening a node did to its copy.
func (a *app) notes(n *cluster.Node) {
	for _, note := range n.Recovery().Notes {
		fmt.Fprintf(a.err, "note: %s\n", note)
	}
}

// noArguments refuses arguments of a command that takes none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%q is too much: the command takes no arguments", args[0])}
	}
	return nil
}

// options are how to connect to the stream.
func (a *app) options() (jetstream.Options, error) {
	o := jetstream.Options{URL: a.url, Stream: a.stream}
	var tls []nats.Option
	if a.ca != "" {
		tls = append(tls, nats.RootCAs(a.ca))
	}
	if (a.cert == "") != (a.key == "") {
		return o, usageError{errors.New("--nats-cert and --nats-key belong together")}
	}
	if a.cert != "" {
		tls = append(tls, nats.ClientCert(a.cert, a.key))
	}
	o.Connect = append(o.Connect, tls...)
	if a.creds != "" && a.nkey != "" {
		return o, usageError{errors.New("--creds and --nkey exclude each other")}
	}
	if a.creds != "" {
		o.Connect = append(o.Connect, nats.UserCredentials(a.creds))
	}
	if a.nkey != "" {
		option, err := nats.NkeyOptionFromSeed(a.nkey)
		if err != nil {
			return o, usageError{fmt.Errorf("--nkey: %w", err)}
		}
		o.Connect = append(o.Connect, option)
	}
	switch user := os.Getenv("AUDITSQL_NATS_SYSTEM"); {
	case a.systemCreds != "":
		o.System = append(tls, nats.UserCredentials(a.systemCreds))
	case user != "":
		name, password, _ := strings.Cut(user, ":")
		o.System = append(tls, nats.UserInfo(name, password))
	}
	if user := os.Getenv("AUDITSQL_NATS_USER"); user != "" {
		name, password, _ := strings.Cut(user, ":")
		o.Connect = append(o.Connect, nats.UserInfo(name, password))
	}
	return o, nil
}

// logger logs to standard error what happens in the background.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// patience is how long init and check may take.
const patience = time.Minute

func exitCode(err error) int {
	var quiet quietError
	var partly *importing.PartlyError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &partly) && !partly.Nothing:
		return exitPartly
	case errors.As(err, new(usageError)):
		return exitUsage
	case isLocked(err):
		return exitLocked
	case errors.Is(err, cluster.ErrMismatch), errors.Is(err, cluster.ErrRewound), errors.Is(err, cluster.ErrGap), errors.Is(err, cluster.ErrAltered), errors.Is(err, audit.ErrDamaged):
		return exitDamage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}
