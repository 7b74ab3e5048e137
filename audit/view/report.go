package view

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/auditsql/auditsql/audit"
)

// A Report is what somebody attaches to an incident: why each of some records was answered so, where the evidence went that nobody
// approved, how the answers to the questions changed, and what changed since each question was last asked. All of it is of the
// moment when the store had AsOf records. It has no JSON: its parts have, each where it is an answer of its own.
//
// Every list in it is bounded, and says when it was cut. The same store with the same labels gives the same report.
type Report struct {
	AsOf      uint64
	Records   []ReportedRecord
	Reach     []ReportedReach
	MoreReach bool // there is more evidence that nobody approved
	Questions []ReportedQuestion

	// Damaged are records that belong here and cannot be read, each once.
	Damaged []*audit.RecordError
}

// The limits of a report.
const (
	MaxReported       = 20      // records
	maxReach          = 12      // assertions and sources
	reportedAnswers   = 30      // of each of them
	answersBefore     = 15      // of a question, up to the record
	answersAfter      = 15      // and after it
	reportedCount     = 100_000 // answers that are counted of each assertion or source
	maxReportedDamage = 20
)

// A ReportedRecord is a record of a report.
type ReportedRecord struct {
	*Trace
	Command Step
	Since   *ReportedDiff // since the same was last asked; nil: it was not asked before
}

// A ReportedDiff is what changed since a question was last asked.
type ReportedDiff struct {
	*Diff
	Command Step
}

// A ReportedReach is what an assertion or a source went into.
type ReportedReach struct {
	Impact
	Command Step
}

// A ReportedQuestion is the answers to a question of the records, in the order of time: some up to the earliest of the records, and
// some after it.
type ReportedQuestion struct {
	Subject, Predicate string
	Answers            []Answer
	Earlier, Later     bool // there are more
	Before, After      Step
}

// Report makes the report on some records, each once, in the order of the ids and at most MaxReported of them. An id that the store
// did not have when it had asOf records is audit.ErrNotFound.
func (v *Viewer) Report(ctx context.Context, ids []audit.QueryID, asOf uint64) (*Report, error) {
	b := reportBuilder{v: v, report: &Report{AsOf: asOf}, damaged: map[audit.QueryID]bool{}}
	for _, id := range ids[:min(len(ids), MaxReported)] {
		if err := b.record(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := b.reach(ctx); err != nil {
		return nil, err
	}
	if err := b.questions(ctx); err != nil {
		return nil, err
	}
	return b.report, nil
}

// IDs are the records that the report names, in the order of time.
func (r *Report) IDs() []audit.QueryID {
	at := map[audit.QueryID]uint64{}
	add := func(records ...*Record) {
		for _, q := range records {
			at[q.QueryID] = q.Timestamp
		}
	}
	for i := range r.Records {
		one := &r.Records[i]
		add(&one.Audit)
		for _, near := range [][]Record{one.Before, one.After} {
			for j := range near {
				add(&near[j])
			}
		}
		if one.Since != nil {
			add(&one.Since.From, &one.Since.To)
		}
	}
	for i := range r.Reach {
		for _, a := range r.Reach[i].Answers {
			at[a.QueryID] = a.Timestamp
		}
	}
	for i := range r.Questions {
		for _, a := range r.Questions[i].Answers {
			at[a.QueryID] = a.Timestamp
		}
	}
	ids := make([]audit.QueryID, 0, len(at))
	for id := range at {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b audit.QueryID) int { return cmp.Or(cmp.Compare(at[a], at[b]), a.Compare(b)) })
	return ids
}

// reportBuilder is a report that is being made.
type reportBuilder struct {
	v       *Viewer
	report  *Report
	damaged map[audit.QueryID]bool
}

// leftOut notes a record that cannot be read, and reports whether err is about one.
func (b *reportBuilder) leftOut(err error) bool {
	var damaged *audit.RecordError
	if !errors.As(err, &damaged) {
		return false
	}
	if !b.damaged[damaged.ID] && len(b.damaged) < maxReportedDamage {
		b.damaged[damaged.ID] = true
		b.report.Damaged = append(b.report.Damaged, damaged)
	}
	return true
}

// asOf is a command as of the moment of the report.
func (b *reportBuilder) asOf(args ...string) Step {
	return Step{Args: append(args, "--as-of", strconv.FormatUint(b.report.AsOf, 10))}
}

func (b *reportBuilder) record(ctx context.Context, id audit.QueryID) error {
	t, err := b.v.Trace(ctx, id, audit.TraceOptions{AsOf: &b.report.AsOf})
	if b.leftOut(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, damaged := range t.Damaged {
		b.leftOut(damaged)
	}
	one := ReportedRecord{Trace: t, Command: b.asOf("trace", id.String())}
	if t.Previous != nil {
		d, err := b.v.Diff(ctx, *t.Previous, id, nil)
		if err != nil && !b.leftOut(err) {
			return err
		}
		if err == nil {
			one.Since = &ReportedDiff{d, Step{Args: []string{"diff", t.Previous.String(), id.String()}}}
		}
	}
	b.report.Records = append(b.report.Records, one)
	return nil
}

// A reached is an assertion or a source.
type reached struct {
	hash   audit.Hash
	source bool
}

// reach finds out where the evidence went that nobody approved, and where it came from. Where all evidence is approved, it is the
// answer itself that may have gone somewhere.
func (b *reportBuilder) reach(ctx context.Context) error {
	var all []reached
	for i := range b.report.Records {
		t := b.report.Records[i].Trace
		found := false
		for j := range t.Evidence {
			if e := &t.Evidence[j]; e.Lifecycle.Unapproved() {
				found = true
				all = append(all, reached{e.AssertionHash, false}, reached{e.SourceHash, true})
			}
		}
		for j := range t.Evidence {
			if e := &t.Evidence[j]; !found && e.Result {
				all = append(all, reached{e.AssertionHash, false})
			}
		}
	}
	seen := map[reached]bool{}
	for _, one := range all {
		if seen[one] {
			continue
		}
		if len(b.report.Reach) == maxReach {
			b.report.MoreReach = true
			break
		}
		seen[one] = true
		if err := b.impact(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (b *reportBuilder) impact(ctx context.Context, of reached) error {
	o := audit.ImpactOptions{Source: of.source, Filter: audit.Filter{AsOf: &b.report.AsOf, Limit: reportedAnswers}, Budget: audit.Budget{Records: reportedCount}}
	args := []string{"impact", of.hash.String()}
	if of.source {
		args = append(args, "--source")
	}
	r := ReportedReach{Command: b.asOf(append(args, "--limit", strconv.Itoa(reportedAnswers), "--count", strconv.Itoa(reportedCount))...)}
	r.ImpactHead = b.v.ImpactHead(of.hash, o)
	var err error
	if r.Totals, err = b.v.ImpactTotals(ctx, of.hash, o); err != nil {
		return err
	}
	answers := b.v.Impact(ctx, of.hash, o)
	for a, err := range answers.Rows() {
		if b.leftOut(err) {
			continue
		}
		if err != nil {
			return err
		}
		r.Answers = append(r.Answers, a)
	}
	r.More = answers.More()
	b.report.Reach = append(b.report.Reach, r)
	return nil
}

// questions finds out how the answers to the questions of the records changed.
func (b *reportBuilder) questions(ctx context.Context) error {
	type question struct{ subject, predicate string }
	first := map[question]uint64{}
	var order []question
	for i := range b.report.Records {
		q := &b.report.Records[i].Audit
		if q.Params.Subject == nil || q.Params.Predicate == nil {
			continue
		}
		asked := question{*q.Params.Subject, *q.Params.Predicate}
		at, known := first[asked]
		if !known {
			order = append(order, asked)
		}
		if !known || q.Timestamp < at {
			first[asked] = q.Timestamp
		}
	}
	for _, q := range order {
		if err := b.answers(ctx, q.subject, q.predicate, first[q]); err != nil {
			return err
		}
	}
	return nil
}

func (b *reportBuilder) answers(ctx context.Context, subject, predicate string, at uint64) error {
	r := ReportedQuestion{Subject: subject, Predicate: predicate}
	next := at + 1 // a timestamp is never the greatest number
	before := audit.Filter{AsOf: &b.report.AsOf, To: &at, Descending: true, Limit: answersBefore}
	after := audit.Filter{AsOf: &b.report.AsOf, From: &next, Limit: answersAfter}
	var err error
	if r.Answers, r.Earlier, err = b.some(ctx, subject, predicate, before); err != nil {
		return err
	}
	slices.Reverse(r.Answers)
	later, more, err := b.some(ctx, subject, predicate, after)
	if err != nil {
		return err
	}
	r.Answers, r.Later = append(r.Answers, later...), more
	// A question that cannot be typed as it is shown has no command.
	if typable(subject) && typable(predicate) {
		command := func(flags ...string) Step {
			args := answersArgs(subject, predicate)
			s := b.asOf(flags...)
			s.Args = append(append([]string{args[0]}, s.Args...), args[1:]...)
			return s
		}
		r.Before = command("--to", strconv.FormatUint(at, 10), "--desc", "--limit", strconv.Itoa(answersBefore))
		r.After = command("--from", strconv.FormatUint(next, 10), "--limit", strconv.Itoa(answersAfter))
	}
	b.report.Questions = append(b.report.Questions, r)
	return nil
}

// some reads a few answers.
func (b *reportBuilder) some(ctx context.Context, subject, predicate string, f audit.Filter) (list []Answer, more bool, err error) {
	answers := b.v.Answers(ctx, subject, predicate, f, false)
	for a, err := range answers.Rows() {
		if b.leftOut(err) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		list = append(list, a)
	}
	return list, answers.More(), nil
}
