package main

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/when"
)

// filterFlags are the flags that select records.
type filterFlags struct {
	cmd                      *cobra.Command
	without                  []string // flags that are no filter of this command
	agent, result            string
	assertion, source        string
	anonymous, unapproved    bool
	from, to, around         string
	window                   durationFlag
	subject, predicate, lens string
	lifecycle                string
	attributes               []string
	least, most              string
	limit                    int
	descending               bool
}

var filterNames = []string{"agent", "anonymous", "from", "to", "around", "subject", "predicate", "lens", "lifecycle", "result",
	"assertion", "source", "unapproved", "attr", "min-confidence", "max-confidence"}

// timesHelp is what the help of each command that takes times says about them.
const timesHelp = `Times are RFC 3339 (2026-11-23T10:00:00Z), a date and time of day
(2026-11-23T10:00), a date (2026-11-23), how long ago (90m, 6h, 2d, "6 hours
ago"), now, today, yesterday, or a bare number in the store's unit. They are
in UTC unless they carry an offset or --tz names another zone. --from and --to
are both inclusive; a date is the whole day, so --to 2026-11-23 reaches to its
last instant. A number is never guessed at; what looks like another unit is
told.`

const defaultWindow = 15 * time.Minute

// filterHelp is what the help of commands with a filter says about it.
const filterHelp = `All filters must hold. --subject takes * ? and [a-z], and case matters; quote
it for the shell. --attr may be repeated; numbers and booleans are compared as
they are written in JSON, and a key that is empty or has a = in it is written
as a JSON string: --attr '"a=b"=v'. --around T selects from T less the
--window to T plus the --window.

` + timesHelp

// register adds the flags, but for those of these names, which the command has a use of its own for.
func (f *filterFlags) register(a *app, cmd *cobra.Command, without ...string) {
	f.cmd, f.without = cmd, without
	f.window.Duration = defaultWindow
	flags := cmd.Flags()
	add := func(value *string, name, about string) {
		if !slices.Contains(without, name) {
			flags.StringVar(value, name, "", about)
		}
	}
	add(&f.agent, "agent", "records of one agent: its `id`, the first 8 or more digits of it, or its label")
	flags.BoolVar(&f.anonymous, "anonymous", false, "records of no agent")
	add(&f.from, "from", "records from this `time` on")
	add(&f.to, "to", "records up to this `time`")
	add(&f.around, "around", "records around this `time`, within --window")
	flags.Var(&f.window, "window", "how far before and after --around")
	add(&f.subject, "subject", "a pattern for the subject, as in 'Tesla*'")
	add(&f.predicate, "predicate", "the predicate")
	add(&f.lens, "lens", "the lens")
	add(&f.lifecycle, "lifecycle", "the lifecycle that was asked for: Proposed, UnderReview, Approved, Deprecated, Rejected")
	add(&f.result, "result", "the answer: its `hash`, the first 8 or more digits of it, or its label")
	add(&f.assertion, "assertion", "an assertion in the evidence: its `hash`, digits or label")
	add(&f.source, "source", "a source of the evidence: its `hash`, digits or label")
	flags.BoolVar(&f.unapproved, "unapproved", false, "records with evidence that is not Approved")
	flags.StringArrayVar(&f.attributes, "attr", nil, "an attribute, `KEY=VALUE`; may be repeated")
	add(&f.least, "min-confidence", "the least `confidence`")
	add(&f.most, "max-confidence", "the greatest `confidence`")
	_ = cmd.RegisterFlagCompletionFunc("lifecycle", completeLifecycles)
	for _, name := range []string{"agent", "result", "assertion", "source"} {
		if !slices.Contains(without, name) {
			_ = cmd.RegisterFlagCompletionFunc(name, a.completeLabels)
		}
	}
}

// any is the first of the flags that was given, and "" if none was.
func (f *filterFlags) any() string {
	for _, name := range filterNames {
		if f.cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
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
	c, err := a.earlyClock()
	if err != nil {
		return err
	}
	_, err = f.selection(c, func(flag, typed string, _ audit.HashKind) (audit.Hash, error) {
		return audit.Hash{}, checkTyped(flag, typed)
	})
	return err
}

// filter is what the flags select.
func (f *filterFlags) filter(ctx context.Context, r *reading) (audit.Filter, error) {
	c := r.clock
	filter, err := f.selection(c, func(flag, typed string, kind audit.HashKind) (audit.Hash, error) {
		return r.find(ctx, flag, typed, kind)
	})
	if err == nil && filter.From != nil && filter.To != nil && *filter.From > *filter.To {
		err = usage("--from %s is later than --to %s", c.Format(*filter.From), c.Format(*filter.To))
	}
	if err == nil && filter.SubjectGlob != nil && !strings.ContainsAny(*filter.SubjectGlob, "*?[") {
		err = r.tellSpellings(ctx, *filter.SubjectGlob, filter.From, filter.To)
	}
	return filter, err
}

// tellSpellings says when records have a subject that looks like the given one and is spelled otherwise, by other
// code points: a reader would take the answer for all there is. It costs a seek in the index for each spelling, of
// which most subjects have one.
func (r *reading) tellSpellings(ctx context.Context, subject string, from, to *uint64) error {
	for _, other := range legible.Spellings(subject) {
		for _, err := range r.RawAudits(ctx, audit.Filter{Subject: &other, From: from, To: to, Limit: 1}) {
			if err != nil {
				return err
			}
			r.note("subject %s has records too that spell it otherwise and look the same: an accented letter may be one character or several; list --subject %s finds both",
				subject, shellQuote(legible.EitherSpelling(subject)))
			return nil
		}
	}
	return nil
}

// selection is filter without the order of the two times, which depends on the store's unit. Hashes are
// found by find.
func (f *filterFlags) selection(c when.Clock, find func(flag, typed string, kind audit.HashKind) (audit.Hash, error)) (audit.Filter, error) {
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
	filter.Anonymous, filter.Unapproved = f.anonymous, f.unapproved
	for _, h := range []struct {
		flag, typed string
		kind        audit.HashKind
		hash        **audit.Hash
	}{
		{"agent", f.agent, audit.AgentHash, &filter.Agent},
		{"result", f.result, audit.AssertionHash, &filter.Result},
		{"assertion", f.assertion, audit.AssertionHash, &filter.Assertion},
		{"source", f.source, audit.SourceHash, &filter.Source},
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

func (f *filterFlags) times(c when.Clock, filter *audit.Filter) error {
	if err := contradict(f.cmd, "around", "from", "to"); err != nil {
		return err
	}
	if f.given("around", &f.around) != nil {
		at, err := c.Parse(f.around)
		if err != nil {
			return usage("--around: %w", err)
		}
		from, to := at.Around(f.window.Duration, c.Unit)
		filter.From, filter.To = &from, &to
		return nil
	}
	if f.cmd.Flags().Changed("window") {
		return usage("--window goes with --around")
	}
	if f.given("from", &f.from) != nil {
		from, err := c.Parse(f.from)
		if err != nil {
			return usage("--from: %w", err)
		}
		filter.From = &from.First
	}
	if f.given("to", &f.to) != nil {
		to, err := c.Parse(f.to)
		if err != nil {
			return usage("--to: %w", err)
		}
		filter.To = &to.Last
	}
	return nil
}

// given is value if the flag was given, also when it is empty.
func (f *filterFlags) given(flag string, value *string) *string {
	if f.cmd.Flags().Changed(flag) && !slices.Contains(f.without, flag) {
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

// number32 reads a finite float32. What is not 0 and would become 0 is refused, as in a record.
func number32(s string) (float32, error) {
	n, err := strconv.ParseFloat(s, 32)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, usage("%q is no number: write 0.95", s)
	}
	if digits, _, _ := strings.Cut(strings.ToLower(s), "e"); n == 0 && strings.ContainsAny(digits, "123456789") {
		return 0, usage("%q is too small for a 32-bit float, which would be 0", s)
	}
	return float32(n), nil
}

// keyValue takes KEY=VALUE apart; a value may hold further = signs. A key that holds one, or is empty, or begins with a
// quote, is written as a JSON string.
func keyValue(flag, pair string) (key, value string, err error) {
	if strings.HasPrefix(pair, `"`) {
		return quotedKey(flag, pair)
	}
	key, value, found := strings.Cut(pair, "=")
	if !found || key == "" {
		return "", "", usage(`--%s %q: want KEY=VALUE; a key that is empty or has a = is written in quotes, "a=b"=VALUE`, flag, pair)
	}
	return key, value, nil
}

// quotedKey is keyValue for a key in quotes, which is read as the key of an attribute in a record.
func quotedKey(flag, pair string) (key, value string, err error) {
	end := 1
	for end < len(pair) && pair[end] != '"' {
		if pair[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(pair) || !strings.HasPrefix(pair[end+1:], "=") {
		return "", "", usage(`--%s %q: a key in quotes ends with a quote and a =, "a=b"=VALUE`, flag, pair)
	}
	q, err := audit.ParseAudit([]byte(`{"timestamp":0,"params":{},"result_confidence":0,"attributes":{` + pair[:end+1] + `:true}}`))
	if err != nil {
		return "", "", usage("--%s %q: %w", flag, pair, err)
	}
	for only := range q.Attributes {
		key = only
	}
	return key, pair[end+2:], nil
}
