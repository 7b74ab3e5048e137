package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/when"
)

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
	flags.StringVar(&r.lifecycle, "lifecycle", "", "the lifecycle asked for: Proposed, UnderReview, Approved, Deprecated, Rejected, Unstated")
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
		if q.ResultConfidence, err = ask.Number(r.confidence); err != nil {
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
	// If the library refuses the record, a flag was wrong.
	if _, err := q.Canonical(); err != nil {
		return nil, usage("%w", err)
	}
	return &q, nil
}

// moment is the timestamp of the record.
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
	if c.Weight, err = ask.Number(parts[1]); err != nil {
		return c, fmt.Errorf("the weight %w", err)
	}
	if c.SourceHash, err = audit.ParseHash(parts[2]); err != nil {
		return c, fmt.Errorf("the source %w", err)
	}
	c.Lifecycle = audit.Unstated // as in a span: nobody has said
	if len(parts) == 4 {
		c.Lifecycle, err = audit.ParseLifecycle(parts[3])
	}
	return c, err
}

func (r *recordFlags) attributeMap() (map[string]any, error) {
	attributes := map[string]any{}
	add := func(flag, pair string, value func(string, string) (any, error)) error {
		key, s, err := ask.KeyValue(pair)
		if err != nil {
			return usage("--%s: %w", flag, err)
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

// parseAttribute reads the JSON of an attribute as the library reads it in a record, so that both refuse the same
// values in the same words.
func parseAttribute(key, value string) (any, error) {
	if !utf8.ValidString(key) || !json.Valid([]byte(value)) {
		return nil, usage("--attr-json %s=%s: the value is no JSON; --attr takes texts", key, value)
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	record := fmt.Sprintf(`{"timestamp":0,"params":{},"result_confidence":0,"attributes":{%s:%s}}`, name, value)
	q, err := audit.ParseAudit([]byte(record))
	if err != nil {
		return nil, usage("--attr-json: %w", err)
	}
	return q.Attributes[key], nil
}

// hashFlag reads the hash of a flag, which must be whole.
func hashFlag(flag, value string) (*audit.Hash, error) {
	h, err := audit.ParseHash(strings.TrimSpace(value))
	if err == nil {
		return &h, nil
	}
	err = usage("--%s %q: %w", flag, value, err)
	if ask.CheckID(value) == nil {
		// It was probably copied from a table, which shows the first digits.
		return nil, trying(err, "the whole of it, which -o plain and get show")
	}
	return nil, trying(err, "auditsql help record, which says how to make the hash of a name")
}
