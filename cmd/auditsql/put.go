package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

func (a *app) putCommand() *cobra.Command {
	var r recordFlags
	var future durationFlag
	cmd := &cobra.Command{
		Use:   "put",
		Short: "Store one record",
		Long: `Put stores one record, as JSON from standard input or made from flags, and
prints its query id once it is durable. Storing the same record again prints
the id again and changes nothing; another record under the same id is refused.

From flags, the timestamp is now unless --timestamp (a number in the store's
unit) or --time say otherwise, the confidence is 0 unless --confidence is
given, and the lifecycle of a contribution is Proposed unless it is named.
--attr values are texts; --attr-json takes numbers, true and false. A key that
is empty or has a = in it is written as a JSON string: --attr '"a=b"=v'.

A timestamp more than --max-future ahead of now is refused; one that seems to
be in another unit than the store's, and a confidence outside of 0 to 1, are
stored and told.

Where there is no store yet, put makes one, and says so; only in a folder whose
parent exists. --create=false makes none.

Hashes are written in full: a record stays for ever, and labels change.

To store many records, or from another program, use import.`,
		Example: `  auditsql put < record.json
  auditsql put --subject Tesla --predicate revenue --confidence 0.95 \
      --result "$ANSWER" --contribution "$ANSWER:1:$SOURCE:Approved" \
      --attr trace_id=4bf92f35 --attr-json tokens=1234`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.put(cmd.Context(), &r, future.Duration)
		},
		ValidArgsFunction: completeNothing,
	}
	r.register(cmd)
	future.addMaxFuture(cmd)
	a.addWriting(cmd)
	a.addCreate(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) put(ctx context.Context, r *recordFlags, future time.Duration) error {
	var read *audit.QueryAudit
	if r.any() {
		// What needs no store is refused before there is one.
		c, err := a.earlyClock()
		if err != nil {
			return err
		}
		if _, err := r.record(c); err != nil {
			return err
		}
	} else {
		if a.inTerm {
			a.note("reading one record as JSON from the terminal; end it with Ctrl-D")
		}
		var err error
		if read, err = readRecord(ctx, a.in); err != nil {
			return err
		}
	}
	db, err := a.openIntake()
	if err != nil {
		return err
	}
	q := read
	c, err := a.clock(db.TimeUnit())
	if err == nil && q == nil {
		q, err = r.record(c)
	}
	if err == nil {
		err = a.checkPut(q, read == nil, c, future)
	}
	var results []audit.PutResult
	if err == nil {
		results, err = db.PutAudits(ctx, []*audit.QueryAudit{q})
	}
	if err == nil {
		err = results[0].Err
	}
	if err := errors.Join(err, a.closeWriter(db)); err != nil {
		return err
	}
	stored := results[0]
	form := a.form("")
	if form == tui.Table || form == tui.Plain {
		if stored.Duplicate {
			a.note("the record had been stored before")
		}
		return a.copyOut(stored.ID.String() + "\n")
	}
	return a.facts(form, fact("query_id", "", tui.Text(stored.ID.String())), fact("duplicate", "", tui.Bool(stored.Duplicate)))
}

// checkPut refuses a record that lies too far in the future, and tells what is odd about one that does not. Of a
// time in flags the clock has told that already.
func (a *app) checkPut(q *audit.QueryAudit, fromFlags bool, c when.Clock, future time.Duration) error {
	err := checkFuture(c, q, future)
	switch {
	case err != nil && fromFlags:
		return usage("%w", err)
	case err != nil:
		return fmt.Errorf("standard input: %w", err)
	}
	if doubt := c.UnitDoubt(q.Timestamp); doubt != "" && !fromFlags {
		a.note("timestamp: %d is %s", q.Timestamp, doubt)
	}
	if odd := oddConfidence(q); odd != "" {
		a.note("result_confidence: %s is outside of 0 to 1", odd)
	}
	return nil
}

// readRecord reads the one record that standard input holds.
func readRecord(ctx context.Context, in io.Reader) (*audit.QueryAudit, error) {
	input, err := readAll(ctx, in, longestLine)
	switch {
	case err != nil:
		return nil, err
	case len(bytes.TrimSpace(input)) == 0:
		return nil, trying(errors.New("standard input is empty, and no flags make a record"), "auditsql put --help")
	}
	text := bufio.NewReader(bytes.NewReader(input))
	if err = checkText(text, "-", false); err == nil {
		input, err = io.ReadAll(text)
	}
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	q, err := audit.ParseAudit(input)
	if err != nil {
		if strings.Contains(err.Error(), "something follows the record") {
			return nil, trying(fmt.Errorf("standard input: %w", err), "auditsql import - for more than one record")
		}
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return &q, nil
}

// recordFlags make a record.
type recordFlags struct {
	cmd                      *cobra.Command
	id, agent                string
	timestamp, time          string
	subject, predicate, lens string
	lifecycle, epoch, result string
	confidence               string
	contributions            []string
	attributes, attrJSON     []string
}

var recordFlagNames = []string{"id", "agent", "timestamp", "time", "subject", "predicate", "lens", "lifecycle", "epoch",
	"result", "confidence", "contribution", "attr", "attr-json"}

func (r *recordFlags) register(cmd *cobra.Command) {
	r.cmd = cmd
	flags := cmd.Flags()
	flags.StringVar(&r.id, "id", "", "the query `id`, 64 hex digits (default: derived from the record)")
	flags.StringVar(&r.agent, "agent", "", "the agent's `id`, 64 hex digits (default: anonymous)")
	flags.StringVar(&r.timestamp, "timestamp", "", "when, as a `number` in the store's unit")
	flags.StringVar(&r.time, "time", "", "when, as a `time`: 2026-11-23T10:00, 90m, …")
	flags.StringVar(&r.subject, "subject", "", "what was asked about")
	flags.StringVar(&r.predicate, "predicate", "", "what was asked of it")
	flags.StringVar(&r.lens, "lens", "", "the lens")
	flags.StringVar(&r.lifecycle, "lifecycle", "", "the lifecycle asked for: Proposed, UnderReview, Approved, Deprecated, Rejected")
	flags.StringVar(&r.epoch, "epoch", "", "the epoch's `hash`")
	flags.StringVar(&r.result, "result", "", "the `hash` of the answer")
	flags.StringVar(&r.confidence, "confidence", "", "how sure the answer is, a `number` (default 0)")
	flags.StringArrayVar(&r.contributions, "contribution", nil, "evidence, `ASSERTION:WEIGHT:SOURCE[:LIFECYCLE]`; may be repeated")
	flags.StringArrayVar(&r.attributes, "attr", nil, "an attribute, `KEY=TEXT`; may be repeated")
	flags.StringArrayVar(&r.attrJSON, "attr-json", nil, "an attribute that is a number, true or false, `KEY=JSON`; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("lifecycle", completeLifecycles)
}

// any reports whether a record is to be made from flags.
func (r *recordFlags) any() bool {
	for _, name := range recordFlagNames {
		if r.cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// record makes the record, with its time in the store's unit.
func (r *recordFlags) record(c when.Clock) (*audit.QueryAudit, error) {
	var q audit.QueryAudit
	var err error
	if q.Timestamp, err = r.moment(c); err != nil {
		return nil, err
	}
	for _, h := range []struct {
		flag, value string
		set         func(*audit.Hash)
	}{
		{"id", r.id, func(h *audit.Hash) { q.QueryID = *h }},
		{"agent", r.agent, func(h *audit.Hash) { q.AgentID = h }},
		{"epoch", r.epoch, func(h *audit.Hash) { q.Params.Epoch = h }},
		{"result", r.result, func(h *audit.Hash) { q.ResultHash = h }},
	} {
		if r.cmd.Flags().Changed(h.flag) {
			hash, err := hashFlag(h.flag, h.value)
			if err != nil {
				return nil, err
			}
			h.set(hash)
		}
	}
	for _, t := range []struct {
		flag  string
		value *string
		to    **string
	}{
		{"subject", &r.subject, &q.Params.Subject},
		{"predicate", &r.predicate, &q.Params.Predicate},
		{"lens", &r.lens, &q.Params.Lens},
	} {
		if r.cmd.Flags().Changed(t.flag) {
			*t.to = t.value
		}
	}
	if r.cmd.Flags().Changed("lifecycle") {
		l, err := audit.ParseLifecycle(r.lifecycle)
		if err != nil {
			return nil, usage("--lifecycle: %w", err)
		}
		q.Params.Lifecycle = &l
	}
	if r.cmd.Flags().Changed("confidence") {
		if q.ResultConfidence, err = number32(r.confidence); err != nil {
			return nil, usage("--confidence: %w", err)
		}
	}
	for _, c := range r.contributions {
		contribution, err := parseContribution(c)
		if err != nil {
			return nil, usage("--contribution %q: %w", c, err)
		}
		q.ContributingAssertions = append(q.ContributingAssertions, contribution)
	}
	if q.Attributes, err = r.attributeMap(); err != nil {
		return nil, err
	}
	// Whatever the library refuses in a record came from a flag.
	if _, err := q.Canonical(); err != nil {
		return nil, usage("%w", err)
	}
	return &q, nil
}

func (r *recordFlags) moment(c when.Clock) (uint64, error) {
	if err := contradict(r.cmd, "timestamp", "time"); err != nil {
		return 0, err
	}
	flag, value := "time", "now"
	switch {
	case r.cmd.Flags().Changed("timestamp"):
		flag, value = "timestamp", r.timestamp
		if !when.IsNumber(value) {
			return 0, usage("--timestamp %q: want a number in the store's unit; --time takes other forms", value)
		}
	case r.cmd.Flags().Changed("time"):
		value = r.time
	}
	at, err := c.Parse(value)
	if err != nil {
		return 0, usage("--%s: %w", flag, err)
	}
	if at.First < at.Last {
		return 0, usage("--%s %q is a whole day: write 2026-11-23T10:00", flag, value)
	}
	return at.Last, nil
}

// parseContribution reads ASSERTION:WEIGHT:SOURCE[:LIFECYCLE].
func parseContribution(s string) (c audit.ContributingAssertion, err error) {
	parts := strings.Split(s, ":")
	if len(parts) < 3 || len(parts) > 4 {
		return c, errors.New("want ASSERTION:WEIGHT:SOURCE or ASSERTION:WEIGHT:SOURCE:LIFECYCLE")
	}
	if c.AssertionHash, err = audit.ParseHash(parts[0]); err != nil {
		return c, fmt.Errorf("the assertion %w", err)
	}
	if c.Weight, err = number32(parts[1]); err != nil {
		return c, fmt.Errorf("the weight %w", err)
	}
	if c.SourceHash, err = audit.ParseHash(parts[2]); err != nil {
		return c, fmt.Errorf("the source %w", err)
	}
	if len(parts) == 4 {
		c.Lifecycle, err = audit.ParseLifecycle(parts[3])
	}
	return c, err
}

func (r *recordFlags) attributeMap() (map[string]any, error) {
	attributes := map[string]any{}
	add := func(flag, pair string, value func(string, string) (any, error)) error {
		key, s, err := keyValue(flag, pair)
		if err != nil {
			return err
		}
		if _, twice := attributes[key]; twice {
			return usage("--%s %q: the key was given before", flag, pair)
		}
		attributes[key], err = value(key, s)
		return err
	}
	for _, pair := range r.attributes {
		if err := add("attr", pair, func(_, s string) (any, error) { return s, nil }); err != nil {
			return nil, err
		}
	}
	for _, pair := range r.attrJSON {
		if err := add("attr-json", pair, parseAttribute); err != nil {
			return nil, err
		}
	}
	return attributes, nil
}

// parseAttribute reads the JSON of an attribute as the library reads it in a record, so that what is
// refused there is refused here, in the same words.
func parseAttribute(key, value string) (any, error) {
	if !utf8.ValidString(key) || !json.Valid([]byte(value)) {
		return nil, usage("--attr-json %s=%s: the value is no JSON; --attr takes texts", key, value)
	}
	record := fmt.Sprintf(`{"timestamp":0,"params":{},"result_confidence":0,"attributes":{%s:%s}}`, tui.ToJSON(key), value)
	q, err := audit.ParseAudit([]byte(record))
	if err != nil {
		return nil, usage("--attr-json: %w", err)
	}
	return q.Attributes[key], nil
}
