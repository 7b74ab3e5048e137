package view

import (
	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// Stats is what is known of a store without a scan. What only the journal has is nil when the journal was not looked at, and when
// the store follows a log.
type Stats struct {
	Dir             string          `json:"dir"`
	StoreID         string          `json:"store_id"`
	TimeUnit        audit.TimeUnit  `json:"time_unit"`
	Audits          uint64          `json:"audits"`
	Agents          uint64          `json:"agents"`
	Contributions   uint64          `json:"contributions"`
	Rejected        uint64          `json:"rejected"`
	Oldest          *uint64         `json:"oldest"`
	Newest          *uint64         `json:"newest"`
	RecentPerSecond float64         `json:"recent_per_second"`
	SQLiteBytes     int64           `json:"sqlite_bytes"`
	SQLiteWAL       int64           `json:"sqlite_wal_bytes"`
	JournalDir      string          `json:"journal_dir"`
	JournalBytes    *int64          `json:"journal_bytes"`
	Segments        *int            `json:"segments"`
	Retention       audit.Retention `json:"retention"`
	JournalFirst    *wal.Offset     `json:"journal_first"`
	JournalEnd      *wal.Offset     `json:"journal_end"`
	Applied         wal.Offset      `json:"applied"`
	Durable         *wal.Offset     `json:"durable"` // nil also outside of the writer's process
	LagBytes        *uint64         `json:"lag_bytes"`
	Writing         *bool           `json:"writing"`
	WriterPID       *int            `json:"writer_pid"`
	Backlog         *int            `json:"backlog"`
	BacklogBytes    *int64          `json:"backlog_bytes"`
	Log             *Log            `json:"log"`   // nil when the store has none
	Inbox           *Inbox          `json:"inbox"` // nil when there is none

	// JournalAway says why the journal was not looked at; "" when it was.
	JournalAway string `json:"-"`
	// Follows is the log that the store follows, nil if it has a journal. Then Applied is the number of a message.
	Follows *string `json:"follows,omitempty"`
	// Heads are those of the nodes of a cluster, nil unless one of them answers.
	Heads []audit.NodeHead `json:"heads,omitempty"`
}

// Inbox is what can be seen of the journal of spans that have not become records yet.
type Inbox struct {
	Segments int     `json:"segments"`
	Bytes    int64   `json:"bytes"`
	Open     bool    `json:"open"`   // a receiver has it open
	Damage   *string `json:"damage"` // nil when nothing is known to be wrong with it

	Checked   bool   `json:"checked"`          // false: it is large, and nobody has looked for damage
	Lost      *int64 `json:"lost_bytes"`       // that were damaged at its end when it was opened; nil outside of the receiver's process
	KeptAside int64  `json:"quarantine_bytes"` // in its folder quarantine
}

// StatsOf returns the statistics of a store for readers.
func StatsOf(s *audit.Stats) *Stats {
	v := &Stats{
		Dir: s.Dir, StoreID: s.StoreID, TimeUnit: s.TimeUnit, Audits: s.Audits, Agents: s.Agents, Contributions: s.Contributions,
		Rejected: s.Rejected, Oldest: s.Oldest, Newest: s.Newest, RecentPerSecond: s.RecentPerSecond,
		SQLiteBytes: s.SQLiteBytes, SQLiteWAL: s.SQLiteWAL, JournalDir: s.JournalDir, Retention: s.Retention, Applied: s.Applied,
		JournalAway: s.JournalAway, Heads: s.Heads,
	}
	if s.Log != nil {
		v.Log = LogOf(s.Log, s.Audits)
	}
	if s.Inbox != nil {
		v.Inbox = &Inbox{Segments: s.Inbox.Segments, Bytes: s.Inbox.Bytes, Open: s.Inbox.Open, Checked: !s.Inbox.Unread, Lost: s.Inbox.Lost, KeptAside: s.Inbox.KeptAside}
		if s.Inbox.Damage != "" {
			v.Inbox.Damage = &s.Inbox.Damage
		}
	}
	if s.JournalAway != "" {
		return v
	}
	if s.Follows != "" {
		v.Follows, v.Writing, v.WriterPID = &s.Follows, &s.Writing, &s.Writer
		return v
	}
	v.JournalBytes, v.Segments, v.JournalFirst, v.JournalEnd = &s.JournalBytes, &s.Segments, &s.JournalFirst, &s.JournalEnd
	v.Durable, v.LagBytes = s.Durable, &s.LagBytes
	v.Writing, v.WriterPID, v.Backlog, v.BacklogBytes = &s.Writing, &s.Writer, &s.Backlog, &s.BacklogBytes
	return v
}
