package view

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/auditsql/auditsql/audit"
)

// A Record is a record with what a reader needs beside it. Its JSON is the canonical one, as the store has it.
type Record struct {
	audit.QueryAudit
	Time                    string
	AgentLabel, ResultLabel *string
}

// MarshalJSON returns the canonical JSON.
func (r Record) MarshalJSON() ([]byte, error) { return r.Canonical() }

// Labelled returns the canonical JSON with the members time, agent_label and result_label at its end, which a row has too.
func (r *Record) Labelled() ([]byte, error) {
	object, err := r.Canonical()
	if err != nil {
		return nil, err
	}
	var more bytes.Buffer
	e := json.NewEncoder(&more)
	e.SetEscapeHTML(false)
	err = e.Encode(struct {
		Time        string  `json:"time"`
		AgentLabel  *string `json:"agent_label"`
		ResultLabel *string `json:"result_label"`
	}{r.Time, r.AgentLabel, r.ResultLabel})
	if err != nil {
		return nil, err
	}
	return append(append(object[:len(object)-1], ','), bytes.TrimSpace(more.Bytes())[1:]...), nil
}

// Record returns a record for readers.
func (v *Viewer) Record(q *audit.QueryAudit) Record {
	return Record{QueryAudit: *q, Time: v.time(q.Timestamp), AgentLabel: v.label(q.AgentID), ResultLabel: v.label(q.ResultHash)}
}

func (v *Viewer) records(list []audit.QueryAudit) []Record {
	records := make([]Record, len(list))
	for i := range list {
		records[i] = v.Record(&list[i])
	}
	return records
}

// List streams the canonical JSON of records, at most as many as the filter's limit. Only a reader that wants more than
// these bytes needs to parse them.
func (v *Viewer) List(ctx context.Context, f audit.Filter) *Stream[[]byte] {
	limit := f.Limit
	f.Limit = oneMore(limit)
	return &Stream[[]byte]{rows: v.store.RawAudits(ctx, f), limit: limit}
}

// Unapproved is the number of pieces of evidence that are neither Approved nor Unstated.
func (r *Record) Unapproved() int { return unapproved(&r.QueryAudit) }

func unapproved(q *audit.QueryAudit) int {
	n := 0
	for _, c := range q.ContributingAssertions {
		if c.Lifecycle.Unapproved() {
			n++
		}
	}
	return n
}

// Approved is the number of pieces of evidence that are Approved.
func (r *Record) Approved() int { return approved(&r.QueryAudit) }

func approved(q *audit.QueryAudit) int {
	n := 0
	for _, c := range q.ContributingAssertions {
		if c.Lifecycle == audit.Approved {
			n++
		}
	}
	return n
}

// A RecordRow is a record as a row of values, with a member for each. Of the evidence it has the number of pieces.
type RecordRow struct {
	QueryID          audit.QueryID    `json:"query_id"`
	AgentID          *audit.AgentID   `json:"agent_id"`
	Timestamp        uint64           `json:"timestamp"`
	Time             string           `json:"time"`
	Subject          *string          `json:"subject"`
	Predicate        *string          `json:"predicate"`
	Lifecycle        *audit.Lifecycle `json:"lifecycle"`
	Epoch            *audit.Hash      `json:"epoch"`
	Lens             *string          `json:"lens"`
	ResultHash       *audit.Hash      `json:"result_hash"`
	ResultConfidence float32          `json:"result_confidence"`
	Contributions    int              `json:"contributions"`
	Attributes       map[string]any   `json:"attributes"`
	AgentLabel       *string          `json:"agent_label"`
	ResultLabel      *string          `json:"result_label"`

	Approved   int `json:"-"` // pieces of evidence
	Unapproved int `json:"-"`
}

// Row returns the record as a row.
func (r *Record) Row() RecordRow {
	return RecordRow{
		QueryID: r.QueryID, AgentID: r.AgentID, Timestamp: r.Timestamp, Time: r.Time,
		Subject: r.Params.Subject, Predicate: r.Params.Predicate, Lifecycle: r.Params.Lifecycle, Epoch: r.Params.Epoch, Lens: r.Params.Lens,
		ResultHash: r.ResultHash, ResultConfidence: r.ResultConfidence,
		Contributions: len(r.ContributingAssertions), Attributes: r.Attributes, AgentLabel: r.AgentLabel, ResultLabel: r.ResultLabel,
		Approved: r.Approved(), Unapproved: r.Unapproved(),
	}
}
