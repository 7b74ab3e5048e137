package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/auditsql/auditsql/internal/when"
)

// A durationFlag is a length of time, with days and weeks besides what Go reads.
type durationFlag struct {
	time.Duration
	typed string // "" for the default
}

func (f *durationFlag) String() string {
	if f.Duration == 0 {
		return ""
	}
	return when.FormatDuration(f.Duration)
}

func (f *durationFlag) Type() string { return "duration" }

func (f *durationFlag) Set(s string) (err error) {
	f.Duration, err = when.ParseDuration(s)
	f.typed = s
	return err
}

// completeNothing is for arguments that are no file names.
func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// flagError is the error of a flag. It replaces what Go's number parser says, which is for programmers, and names the flag that may be
// meant by one that there is not.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := nearest(names, unknown.GetSpecifiedName()); near != "" {
			return trying(usage("%w", err), "--%s; %s --help shows all flags", near, cmd.CommandPath())
		}
	}
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return usage("%w", err)
	}
	why := "want a whole number"
	if errors.Is(number, strconv.ErrRange) {
		why = "too large"
	}
	return usage("%s: %s", strings.TrimSuffix(err.Error(), ": "+number.Error()), why)
}

// arguments checks how many arguments there are, and says what they should be.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least && least == 1:
			return usage("%s is missing", what)
		case len(args) < least:
			return usage("want %s", what)
		case most == 0 && len(args) > 0:
			return usage("takes no arguments, and got %q", args[0])
		case most >= 0 && len(args) > most:
			return usage("want %s, and got %q as well", what, args[most])
		}
		return nil
	}
}

const anyNumber = -1

// contradict refuses a flag together with one of the others.
func contradict(cmd *cobra.Command, one string, others ...string) error {
	if !cmd.Flags().Changed(one) {
		return nil
	}
	i := slices.IndexFunc(others, cmd.Flags().Changed)
	if i < 0 {
		return nil
	}
	return usage("--%s and --%s cannot be used together", one, others[i])
}

// addWriting adds the flags of commands that write.
func (a *app) addWriting(cmd *cobra.Command) {
	cmd.Flags().Var(&a.lockWait, "lock-wait", "how long to wait while another writer has the store, as in 10s")
}

// addCreate adds the flag of commands that store records.
func (a *app) addCreate(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.create, "create", true, "make the store where there is none yet")
}

// addReading adds the flags of commands that read.
func (a *app) addReading(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.readOnly, "read-only", false, "show what SQLite has, as it is: recover nothing first")
}

// addZone adds the flag of commands that read or print times.
func (a *app) addZone(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.zoneName, "tz", "", "`zone` of times that carry no offset, and of those printed: Europe/Berlin, +02:00, local (default AUDITSQL_TZ, else UTC)")
}
