package audit

import (
	"fmt"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// PutResult is the result for one record of a batch.
type PutResult struct {
	ID        QueryID
	Duplicate bool  // the same bytes were stored before
	Err       error // ErrInvalid or ErrConflict: the record was not stored
}

// Recovery is what opening a store found and did.
type Recovery struct {
	Created  bool // there was no store
	Replayed int  // records that the journal had and SQLite lacked
	Rejected int  // those of them that are no audits or conflict; see Verify
	Torn     *wal.TornTail
	Rebuilt  bool // SQLite was lost or suspect, and was rebuilt from the journal
	Checked  bool // SQLite was suspect, the journal does not reach back to the beginning, and SQLite was checked and reindexed
	// Salvaged: SQLite was damaged, the journal does not reach back, and a Reindex has replaced the database by a new one with
	// everything of it that cannot be made anew.
	Salvaged bool
	// Aside is the folder that a suspect or damaged database was moved to, or "".
	Aside string
	Notes []string // what a person should read
}

// Stats is what is known without a scan.
type Stats struct {
	Dir        string    `json:"dir"`
	StoreID    string    `json:"store_id"`
	TimeUnit   TimeUnit  `json:"time_unit"`
	JournalDir string    `json:"journal_dir"`
	Retention  Retention `json:"retention"`
	// Follows is the log that the store follows, "" if it has a journal of its own. Then Applied is the number of the last message that
	// SQLite has (its table store has the next one), and the other offsets, the lag, segments and bytes of the journal are 0 and mean nothing.
	Follows string `json:"follows,omitempty"`
	// Heads are what the nodes of a cluster have said about their copies, by their names. It is nil unless a node of a cluster has the
	// store open in this process.
	Heads []NodeHead `json:"heads,omitempty"`
	// JournalAway says why the journal was not read; "" when it was. Then the values that only the journal has are 0
	// and mean nothing: the offsets except Applied, the lag, segments and bytes, writer and backlog.
	JournalAway string `json:"journal_away,omitempty"`

	Audits        uint64  `json:"audits"`
	Agents        uint64  `json:"agents"`
	Contributions uint64  `json:"contributions"`
	Rejected      uint64  `json:"rejected"`
	Oldest        *uint64 `json:"oldest"` // timestamps in the store's unit; nil when there is none
	Newest        *uint64 `json:"newest"`

	// Offsets of the journal. Durable is the offset up to which SQLite is known to be on disk. It is nil when that is not
	// known, and always outside the writer's process.
	JournalFirst wal.Offset  `json:"journal_first"`
	JournalEnd   wal.Offset  `json:"journal_end"`
	Applied      wal.Offset  `json:"applied"`
	Durable      *wal.Offset `json:"durable"`
	LagBytes     uint64      `json:"lag_bytes"` // of journal that is not yet applied

	Segments     int   `json:"segments"`
	JournalBytes int64 `json:"journal_bytes"`
	SQLiteBytes  int64 `json:"sqlite_bytes"`
	SQLiteWAL    int64 `json:"sqlite_wal_bytes"`

	Writer       int   `json:"writer_pid"`    // 0 when there is none or it is not known
	Writing      bool  `json:"writing"`       // somebody has the store open for writing
	Backlog      int   `json:"backlog"`       // records acknowledged and not applied; in the writer's process
	BacklogBytes int64 `json:"backlog_bytes"` // likewise

	// RecentPerSecond is the rate over the newest records, at most 1,000 of them, by their timestamps.
	RecentPerSecond float64 `json:"recent_per_second"`

	// Log is the state of the log, nil when the store has none.
	Log *LogState `json:"-"`

	// Inbox is how the inbox is, nil when there is none.
	Inbox *InboxState `json:"-"`
}

// A NodeHead is what a node of a cluster has said about its copy of the log, as another node has compared it.
type NodeHead struct {
	Node    string      `json:"node"`              // its name
	Size    uint64      `json:"size"`              // records
	Differs *IndexRange `json:"differs,omitempty"` // where the first record is that is another one; nil if all are the same
}

// An IndexRange says where the records of two nodes differ: the index of the first one that differs is at least From and at most To. It
// is known when both are the same.
type IndexRange struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// String says which record differs first.
func (r *IndexRange) String() string {
	if r.From == r.To {
		return fmt.Sprintf("record %d is the first one that differs", r.From)
	}
	return fmt.Sprintf("the first record that differs is one of %d to %d", r.From, r.To)
}

// VerifyOptions say how thorough Verify is.
type VerifyOptions struct {
	// Quick leaves out what reads everything: the records of kv against the forensic tables and against
	// the journal, and SQLite's full integrity check.
	Quick bool

	// Against are signed checkpoints from elsewhere. Verify computes the root at the size of each from the stored records, never
	// from the stored tree, and has a problem for each that has another one. It cannot be combined with Quick.
	Against []Against
	// Policy says who must have signed them; nil: the store's own log. The checkpoints may be of any log that it trusts.
	Policy *evidence.Policy
	// Tiles, if set, are those of a copy of the signed log (c2sp.org/tlog-tiles). They show which record is the first that
	// is another one. They must be those of the checkpoints.
	Tiles tree.TileReader

	// Progress, if set, is called now and then with what is being checked and how much of it is done.
	Progress func(stage string, done uint64)
}

// Against is a signed checkpoint from elsewhere.
type Against struct {
	Name   string // where it is from, for problems and errors
	Signed []byte
}

// Compared is what Verify found about a checkpoint from elsewhere.
type Compared struct {
	Name   string    `json:"name"`
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   tree.Hash `json:"root"`
	Same   bool      `json:"same"` // the first Size records of the store are those that were signed
}

// VerifyReport is what was counted, and what is wrong.
type VerifyReport struct {
	Journal       wal.Report `json:"journal"`
	Audits        uint64     `json:"audits"`
	Contributions uint64     `json:"contributions"`
	Attributes    uint64     `json:"attributes"`
	Agents        uint64     `json:"agents"`
	AgentKeys     uint64     `json:"agent_keys"`
	TreeSize      uint64     `json:"tree_size"` // records in the Merkle tree
	Root          tree.Hash  `json:"root"`      // of that tree, as the records in SQLite give it; in JSON base64
	Matched       uint64     `json:"matched"`   // journal records that kv has, byte for byte
	Rejected      uint64     `json:"rejected"`  // rows in table rejected
	NotApplied    uint64     `json:"not_applied"`
	// Against has the checkpoints that the records were compared with, the smallest first. It is empty when none was given, and
	// when SQLite could not be read.
	Against []Compared `json:"against"`
	// Quick: of the journal only the segments, their bytes and its two ends were checked. Attributes, AgentKeys,
	// Matched and NotApplied were not counted: they are 0, which means nothing.
	Quick bool `json:"quick"`
	// JournalAway says why the journal was not read, which is one of the problems; "" when it was.
	JournalAway string `json:"journal_away,omitempty"`
	// Follows is the log that the store follows, "" if it has a journal of its own. The log was not read: what concerns the journal is 0
	// and means nothing.
	Follows string `json:"follows,omitempty"`
	// SQLiteUnread says why SQLite was not read to its end, which is one of the problems; "" when it was. Then the
	// figures from SQLite, and what is compared with it, are incomplete.
	SQLiteUnread string `json:"sqlite_unread,omitempty"`
	// Problems say why the store cannot be trusted, a line each. At most MaxProblems are kept, and
	// Total counts them all.
	Problems []string `json:"problems"`
	Total    uint64   `json:"total_problems"`
	// Notes say what a person should know and what is no damage: a torn tail, gaps that were repaired.
	Notes []string      `json:"notes"`
	Took  time.Duration `json:"took_ns"`
}

// MaxProblems is how many problems a VerifyReport keeps.
const MaxProblems = 100

// OK reports whether nothing is wrong.
func (r *VerifyReport) OK() bool { return r.Total == 0 }

// BackupReport is what a backup copied.
type BackupReport struct {
	Dir      string       `json:"dir"`
	Audits   uint64       `json:"audits"`
	Applied  wal.Offset   `json:"applied"`
	End      wal.Offset   `json:"journal_end"`
	Segments int          `json:"segments"`
	Bytes    int64        `json:"bytes"`
	Verified VerifyReport `json:"verified"`

	// InboxLeft says that the store has an inbox. It is not in the copy: spans that had not become records yet are missing there.
	InboxLeft bool `json:"inbox_left"`
}
