package view

import (
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/when"
)

// A Check is what a check of one piece of evidence found. What is not known is nil.
type Check struct {
	Outcome string  `json:"outcome"` // proven, refuted or undecided
	Kind    string  `json:"kind"`    // record, range, export, consistency or file
	File    string  `json:"file"`
	Reason  *string `json:"reason"` // nil when proven
	Detail  *string `json:"detail"` // the reason as a sentence

	// Of the checkpoint, when a log that is trusted signed it.
	Origin    *string          `json:"origin"`
	Size      *int64           `json:"size"`
	Root      *string          `json:"root"`
	LogKey    *string          `json:"log_key"`
	Witnesses []CheckedWitness `json:"witnesses"`

	// Which records are proven. First and Last are their indexes in the log; both are nil when there is none.
	First   *int64         `json:"first"`
	Last    *int64         `json:"last"`
	QueryID *audit.QueryID `json:"query_id"` // of one record, when it has one
}

// A CheckedWitness is a witness that signed a checkpoint.
type CheckedWitness struct {
	Name string `json:"name"` // in the policy
	Key  string `json:"key"`
	Time string `json:"time"` // by the clock of the witness
}

// CheckOf returns what a verdict says about a file. With a record it also says which one it is.
func CheckOf(kind, file string, v evidence.Verdict, record []byte) Check {
	c := Check{Outcome: v.Outcome.String(), Kind: kind, File: file, Witnesses: []CheckedWitness{}}
	proven := v.Outcome == evidence.Proven
	if !proven {
		c.Reason, c.Detail = ptr(string(v.Reason)), ptr(v.Detail)
	}
	if v.LogKey == "" {
		return c
	}
	c.Origin, c.Size, c.Root, c.LogKey = ptr(v.Checkpoint.Origin), ptr(v.Checkpoint.Size), ptr(v.Checkpoint.Root.String()), ptr(v.LogKey)
	clock := when.Clock{Zone: time.UTC, Unit: audit.Seconds}
	for _, w := range v.Cosignatures {
		c.Witnesses = append(c.Witnesses, CheckedWitness{w.Witness, w.Key, clock.Format(uint64(w.Time))})
	}
	if !proven {
		return c
	}
	switch kind {
	case "record":
		c.First, c.Last = ptr(v.Index), ptr(v.Index)
		if q, err := audit.ParseAudit(record); err == nil {
			c.QueryID = &q.QueryID
		}
	case "range", "export":
		if v.Checkpoint.Size > v.Index {
			c.First, c.Last = ptr(v.Index), ptr(v.Checkpoint.Size-1)
		}
	}
	return c
}
