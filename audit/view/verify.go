package view

import (
	"fmt"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// A Verification is what a check of a store counted, and what is wrong. What it did not count is nil, not 0.
type Verification struct {
	OK    bool `json:"ok"`
	Quick bool `json:"quick"`
	// Result says in words what the check shows, and what it does not: OK of a store that was compared with nothing from outside says
	// only that its parts fit each other.
	Result string `json:"result"`
	JournalCounts
	Audits        *uint64 `json:"audits"`
	Contributions *uint64 `json:"contributions"`
	Attributes    *uint64 `json:"attributes"`
	Agents        *uint64 `json:"agents"`
	AgentKeys     *uint64 `json:"agent_keys"`
	TreeSize      *uint64 `json:"tree_size"`   // leaves of the Merkle tree
	Root          *string `json:"root"`        // of the tree, in base64
	Matched       *uint64 `json:"matched"`     // in the journal and in SQLite
	NotApplied    *uint64 `json:"not_applied"` // in the journal alone
	Rejected      *uint64 `json:"rejected"`
	// Against are the checkpoints from elsewhere that the records were compared with.
	Against       []audit.Compared `json:"against"`
	Seconds       float64          `json:"seconds"`
	Problems      []string         `json:"problems"` // at most audit.MaxProblems
	TotalProblems uint64           `json:"total_problems"`
	Notes         []string         `json:"notes"`
}

// JournalCounts are what a check of the journal counted.
type JournalCounts struct {
	Segments     *int        `json:"journal_segments"`
	First        *wal.Offset `json:"journal_first"`
	End          *wal.Offset `json:"journal_end"`
	Records      *int        `json:"journal_records"`
	Bytes        *int64      `json:"journal_bytes"`
	Marks        *int        `json:"journal_marks"`
	Identities   *int        `json:"journal_identities"`
	TrimmedBytes *int64      `json:"journal_trimmed_bytes"` // removed by a writer before they could be checked
	Fillers      *int        `json:"journal_fillers"`
	FillerBytes  *int64      `json:"journal_filler_bytes"`
	Torn         *string     `json:"journal_torn"` // nil also where there is no torn tail
	Damage       *int        `json:"journal_damage"`
}

// JournalCountsOf returns what a check of the whole journal counted.
func JournalCountsOf(r *wal.Report) JournalCounts {
	c := JournalCounts{
		Segments: &r.Segments, First: &r.First, End: &r.End, Records: &r.Records, Bytes: &r.Bytes, Marks: &r.Marks, Identities: &r.Identities,
		TrimmedBytes: new(int64), Fillers: &r.Fillers, FillerBytes: &r.FillBytes, Damage: ptr(len(r.Damage)),
	}
	for _, gone := range r.Trimmed {
		*c.TrimmedBytes += int64(gone.End - gone.Offset)
	}
	if t := r.Torn; t != nil {
		c.Torn = ptr(fmt.Sprintf("%d bytes at offset %d: %s", t.Bytes, t.Offset, t.Reason))
	}
	return c
}

// A JournalCheck is what a check of the journal alone counted, and what is wrong.
type JournalCheck struct {
	OK bool `json:"ok"`
	JournalCounts
	Problems []string `json:"problems"`
}

// JournalCheckOf returns the report of a check of the journal for readers.
func JournalCheckOf(r *wal.Report) *JournalCheck {
	v := &JournalCheck{OK: len(r.Damage) == 0, JournalCounts: JournalCountsOf(r), Problems: []string{}}
	for _, damage := range r.Damage {
		v.Problems = append(v.Problems, damage.Error())
	}
	return v
}

// VerificationOf returns the report of a check for readers.
func VerificationOf(r *audit.VerifyReport) *Verification {
	v := &Verification{
		OK: r.OK(), Quick: r.Quick, Seconds: r.Took.Seconds(), Problems: list(r.Problems), TotalProblems: r.Total, Notes: list(r.Notes),
		Against: list(r.Against), Result: verifyResult(r),
	}
	journal := r.JournalAway == "" && r.Follows == ""
	counts := JournalCountsOf(&r.Journal)
	switch {
	case journal && !r.Quick:
		v.JournalCounts = counts
	case journal && r.SQLiteUnread == "": // a quick check ends before the journal when SQLite cannot be read
		v.Segments, v.First, v.End, v.Bytes = counts.Segments, counts.First, counts.End, counts.Bytes
	}
	if r.SQLiteUnread != "" {
		return v
	}
	v.Audits, v.Contributions, v.Agents, v.Rejected = &r.Audits, &r.Contributions, &r.Agents, &r.Rejected
	if !r.Quick {
		v.Attributes, v.AgentKeys = &r.Attributes, &r.AgentKeys
		if r.Root != (tree.Hash{}) {
			v.TreeSize, v.Root = &r.TreeSize, ptr(r.Root.String())
		}
	}
	if !r.Quick && journal {
		v.Matched, v.NotApplied = &r.Matched, &r.NotApplied
	}
	return v
}

func verifyResult(r *audit.VerifyReport) string {
	switch n := len(r.Against); {
	case r.Total == 1:
		return "1 problem"
	case !r.OK():
		return fmt.Sprintf("%d problems", r.Total)
	case r.Quick:
		return "all is well, as far as --quick looks"
	case n == 1:
		return "consistent, and what was signed in 1 checkpoint from outside"
	case n > 1:
		return fmt.Sprintf("consistent, and what was signed in %d checkpoints from outside", n)
	}
	return "consistent in itself; held against nothing from outside"
}

// list returns s, and an empty list for nil, so that JSON has [] and not null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// A Backup is what a backup copied.
type Backup struct {
	Dir        string     `json:"dir"`
	Audits     uint64     `json:"audits"`
	Bytes      int64      `json:"bytes"`
	Segments   int        `json:"segments"`
	Applied    wal.Offset `json:"applied"`
	JournalEnd wal.Offset `json:"journal_end"`
	Verified   bool       `json:"verified"`
	Problems   []string   `json:"problems"`
	Notes      []string   `json:"notes"`
}

// BackupOf returns the report of a backup for readers.
func BackupOf(r *audit.BackupReport) *Backup {
	return &Backup{
		Dir: r.Dir, Audits: r.Audits, Bytes: r.Bytes, Segments: r.Segments, Applied: r.Applied, JournalEnd: r.End,
		Verified: r.Verified.OK(), Problems: list(r.Verified.Problems), Notes: list(r.Verified.Notes),
	}
}
