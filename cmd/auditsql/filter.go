package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
)

// momentFlag is the flag for a moment of the store: a number of records.
const momentFlag = "as-of"

// among is what to say of records that were not found as of a moment; "" as of the present.
func among(asOf *uint64) string {
	if asOf == nil {
		return ""
	}
	return " among the first " + plural(*asOf, "record", "records")
}

// filterFlags are the flags that select records: the parameters of package ask.
type filterFlags struct {
	cmd        *cobra.Command
	names      []string // of the flags that are filters of this command
	window     durationFlag
	limit      int
	descending bool
}

// register adds the flags, except those that the command uses for something else.
func (f *filterFlags) register(a *app, cmd *cobra.Command, except ...string) {
	f.cmd = cmd
	flags := cmd.Flags()
	for _, p := range ask.Parameters() {
		if slices.Contains(except, p.Name) {
			continue
		}
		switch p.Kind {
		case ask.Switch, ask.Count: // a command that has desc or limit adds it by itself
			if p.Name == "limit" || p.Name == "desc" {
				continue
			}
			flags.Bool(p.Name, false, p.About)
		case ask.Duration:
			f.window.Duration = ask.DefaultWindow
			flags.Var(&f.window, p.Name, p.About)
		default:
			// Also where one value alone is allowed: package ask refuses a second one, and no flag is overwritten by a later one
			// without a word.
			flags.Var(new(textsFlag), p.Name, p.About)
		}
		if propose := a.completeFilter(&p); propose != nil {
			_ = cmd.RegisterFlagCompletionFunc(p.Name, propose)
		}
		_ = flags.SetAnnotation(p.Name, filterMark, []string{p.Negates})
		f.names = append(f.names, p.Name)
	}
}

// registerMoment adds the flag for a moment of the store alone.
func (f *filterFlags) registerMoment(a *app, cmd *cobra.Command) {
	var others []string
	for _, p := range ask.Parameters() {
		if p.Name != momentFlag {
			others = append(others, p.Name)
		}
	}
	f.register(a, cmd, others...)
}

func (f *filterFlags) registerLimit(cmd *cobra.Command, usual int, what string) {
	cmd.Flags().IntVar(&f.limit, "limit", usual, what)
}

func completeLifecycles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return ask.Lifecycles(), cobra.ShellCompDirectiveNoFileComp
}

// any is the first filter that was given, and "" if none was. A moment of the store selects no record by itself.
func (f *filterFlags) any() string {
	for _, name := range f.names {
		if name != "window" && name != momentFlag && f.cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// values are what the flags say, by the names of the parameters.
func (f *filterFlags) values() map[string][]string {
	values := map[string][]string{"limit": {strconv.Itoa(f.limit)}, "desc": {strconv.FormatBool(f.descending)}}
	for _, name := range f.names {
		flag := f.cmd.Flags().Lookup(name)
		switch {
		case !flag.Changed:
		case name == "window":
			values[name] = []string{f.window.typed}
		default:
			values[name] = given(flag)
		}
	}
	return values
}

// textsFlag is a flag that may be given several times. Its default is no text. (That of pflag writes the default as CSV when it is
// registered. For all filters of all commands this took a quarter of the time of a short command.)
type textsFlag []string

func (t *textsFlag) String() string              { return strings.Join(*t, ",") }
func (t *textsFlag) Set(text string) error       { *t = append(*t, text); return nil }
func (t *textsFlag) Type() string                { return "stringArray" }
func (t *textsFlag) Append(text string) error    { return t.Set(text) }
func (t *textsFlag) Replace(list []string) error { *t = list; return nil }
func (t *textsFlag) GetSlice() []string          { return *t }

// given are the values that a flag was given.
func given(flag *pflag.Flag) []string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{flag.Value.String()}
}

// around is what --around says, and whether it was given.
func (f *filterFlags) around() (string, bool) {
	values := given(f.cmd.Flags().Lookup("around"))
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// check refuses wrong flags before a store is opened. Two faults show only in the store: a time that does not fit into
// its unit, and a name that it does not know.
func (f *filterFlags) check(a *app) error {
	o, err := a.askOptions()
	if err != nil {
		return err
	}
	return refusal(ask.Check(f.values(), o), flagName, nil)
}

// filter is what the flags select.
func (f *filterFlags) filter(ctx context.Context, r *reading) (audit.Filter, error) {
	filter, notes, err := ask.Filter(ctx, r.DB, f.values(), r.askOptions())
	r.say(notes, flagName)
	return filter, refusal(err, flagName, r.labels.names)
}

// flagName is a parameter as it is typed.
func flagName(parameter string) string { return "--" + parameter }

// askOptions are what package ask needs to read times: the present time, and the zone of --tz.
func (a *app) askOptions() (ask.Options, error) {
	c, err := a.clock(audit.Seconds)
	return ask.Options{Now: c.Now, Zone: c.Zone}, err
}
