package main

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
)

// filterFlags are the flags that select records.
type filterFlags struct {
	cmd                      *cobra.Command
	agent, result            string
	anonymous                bool
	from, to, around         string
	window                   durationFlag
	subject, predicate, lens string
	lifecycle                string
	attributes               []string
	least, most              string
	limit                    int
	descending               bool
}

const defaultWindow = 15 * time.Minute

// filterHelp is what the help of commands with a filter says about it.
const filterHelp = `All filters must hold. --subject takes * ? and [a-z], and case matters; quote
it for the shell. --attr may be repeated; numbers and booleans are compared as
they are written in JSON. --around T selects from T less the --window to T
plus the --window.

` + timesHelp

func (f *filterFlags) register(cmd *cobra.Command) {
	f.cmd = cmd
	f.window.Duration = defaultWindow
	flags := cmd.Flags()
	flags.StringVar(&f.agent, "agent", "", "records of one agent: its `id`, 64 hex digits, or its label")
	flags.BoolVar(&f.anonymous, "anonymous", false, "records of no agent")
	flags.StringVar(&f.from, "from", "", "records from this `time` on")
	flags.StringVar(&f.to, "to", "", "records up to this `time`")
	flags.StringVar(&f.around, "around", "", "records around this `time`, within --window")
	flags.Var(&f.window, "window", "how far before and after --around")
	flags.StringVar(&f.subject, "subject", "", "a pattern for the subject, as in 'Tesla*'")
	flags.StringVar(&f.predicate, "predicate", "", "the predicate")
	flags.StringVar(&f.lens, "lens", "", "the lens")
	flags.StringVar(&f.lifecycle, "lifecycle", "", "the lifecycle that was asked for: Proposed, UnderReview, Approved, Deprecated, Rejected")
	flags.StringVar(&f.result, "result", "", "the `hash` of the answer, or its label")
	flags.StringArrayVar(&f.attributes, "attr", nil, "an attribute, `KEY=VALUE`; may be repeated")
	flags.StringVar(&f.least, "min-confidence", "", "the least `confidence`")
	flags.StringVar(&f.most, "max-confidence", "", "the greatest `confidence`")
	_ = cmd.RegisterFlagCompletionFunc("lifecycle", completeLifecycles)
}

func (f *filterFlags) registerLimit(cmd *cobra.Command, usual int, what string) {
	cmd.Flags().IntVar(&f.limit, "limit", usual, what)
}

func completeLifecycles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for l := audit.Proposed; l.Valid(); l++ {
		names = append(names, l.String())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// check refuses what can be refused before a store is opened: everything but a time that does not fit into
// the store's unit.
func (f *filterFlags) check(a *app) error {
	c, err := a.clock(audit.Seconds)
	if err != nil {
		return err
	}
	_, err = f.selection(c, func(flag, typed string, _ hashKind) (audit.Hash, error) {
		return audit.Hash{}, checkTyped(flag, typed)
	})
	return err
}

// filter is what the flags select.
func (f *filterFlags) filter(ctx context.Context, r *reading) (audit.Filter, error) {
	c := r.clock
	filter, err := f.selection(c, func(flag, typed string, kind hashKind) (audit.Hash, error) {
		return r.find(ctx, flag, typed, kind)
	})
	if err == nil && filter.From != nil && filter.To != nil && *filter.From > *filter.To {
		err = usage("--from %s is later than --to %s", c.format(*filter.From), c.format(*filter.To))
	}
	return filter, err
}

// selection is filter without the order of the two times, which depends on the store's unit. Hashes are
// found by find.
func (f *filterFlags) selection(c clock, find func(flag, typed string, kind hashKind) (audit.Hash, error)) (audit.Filter, error) {
	filter := audit.Filter{Limit: f.limit, Descending: f.descending}
	if f.limit < 0 {
		return filter, usage("--limit %d: want 0 for no limit, or more", f.limit)
	}
	if err := f.times(c, &filter); err != nil {
		return filter, err
	}
	if err := contradict(f.cmd, "anonymous", "agent"); err != nil {
		return filter, err
	}
	filter.Anonymous = f.anonymous
	for _, h := range []struct {
		flag, typed string
		kind        hashKind
		hash        **audit.Hash
	}{
		{"agent", f.agent, kindAgent, &filter.Agent},
		{"result", f.result, kindAssertion, &filter.Result},
	} {
		if f.given(h.flag, &h.typed) == nil {
			continue
		}
		found, err := find("--"+h.flag+" ", h.typed, h.kind)
		if err != nil {
			return filter, err
		}
		*h.hash = &found
	}
	var err error
	filter.SubjectGlob = f.given("subject", &f.subject)
	filter.Predicate = f.given("predicate", &f.predicate)
	filter.Lens = f.given("lens", &f.lens)
	if f.given("lifecycle", &f.lifecycle) != nil {
		l, err := audit.ParseLifecycle(f.lifecycle)
		if err != nil {
			return filter, usage("--lifecycle: %w", err)
		}
		filter.Lifecycle = &l
	}
	for _, pair := range f.attributes {
		key, value, err := keyValue("attr", pair)
		if err != nil {
			return filter, err
		}
		filter.Attributes = append(filter.Attributes, audit.Attribute{Key: key, Value: value})
	}
	if filter.MinConfidence, err = f.confidence("min-confidence", f.least); err != nil {
		return filter, err
	}
	if filter.MaxConfidence, err = f.confidence("max-confidence", f.most); err != nil {
		return filter, err
	}
	if least, most := filter.MinConfidence, filter.MaxConfidence; least != nil && most != nil && *least > *most {
		return filter, usage("--min-confidence %s is above --max-confidence %s", f.least, f.most)
	}
	return filter, nil
}

func (f *filterFlags) times(c clock, filter *audit.Filter) error {
	if err := contradict(f.cmd, "around", "from", "to"); err != nil {
		return err
	}
	if f.given("around", &f.around) != nil {
		at, err := c.parse(f.around)
		if err != nil {
			return usage("--around: %w", err)
		}
		from, to := at.within(f.window.Duration, c.unit)
		filter.From, filter.To = &from, &to
		return nil
	}
	if f.cmd.Flags().Changed("window") {
		return usage("--window goes with --around")
	}
	if f.given("from", &f.from) != nil {
		from, err := c.parse(f.from)
		if err != nil {
			return usage("--from: %w", err)
		}
		filter.From = &from.first
	}
	if f.given("to", &f.to) != nil {
		to, err := c.parse(f.to)
		if err != nil {
			return usage("--to: %w", err)
		}
		filter.To = &to.last
	}
	return nil
}

// within is the span from d before s to d after it, as far as there are timestamps.
func (s span) within(d time.Duration, unit audit.TimeUnit) (from, to uint64) {
	width := uint64(d / (time.Second / time.Duration(unit.PerSecond())))
	// Above last, first stands for an instant between two units.
	from, to = min(s.first, s.last), max(s.first, s.last)
	from -= min(width, from)
	if to > math.MaxInt64-width {
		return from, math.MaxInt64
	}
	return from, to + width
}

// given is value if the flag was given, also when it is empty.
func (f *filterFlags) given(flag string, value *string) *string {
	if f.cmd.Flags().Changed(flag) {
		return value
	}
	return nil
}

// hashFlag reads the hash of a flag, which must be whole.
func hashFlag(flag, value string) (*audit.Hash, error) {
	h, err := audit.ParseHash(strings.TrimSpace(value))
	if err == nil {
		return &h, nil
	}
	err = usage("--%s %q: %w", flag, value, err)
	if checkPrefix(value) == nil {
		// Copied from a table, probably.
		return nil, trying(err, "the whole of it, which -o plain and get show")
	}
	return nil, err
}

func (f *filterFlags) confidence(flag, value string) (*float32, error) {
	if f.given(flag, &value) == nil {
		return nil, nil
	}
	n, err := number32(value)
	if err != nil {
		return nil, usage("--%s: %w", flag, err)
	}
	return &n, nil
}

// number32 reads a finite float32.
func number32(s string) (float32, error) {
	n, err := strconv.ParseFloat(s, 32)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, usage("%q is no number: write 0.95", s)
	}
	return float32(n), nil
}

// keyValue takes KEY=VALUE apart; a value may hold further = signs.
func keyValue(flag, pair string) (key, value string, err error) {
	key, value, found := strings.Cut(pair, "=")
	if !found || key == "" {
		return "", "", usage("--%s %q: want KEY=VALUE", flag, pair)
	}
	return key, value, nil
}
