package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// An inbox has an identity of its own: neither the journal of the store nor an inbox of another store is taken for it. Whatever is there,
// the store opens.
func TestAnInboxIsNoJournal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	inbox, o, err := db.Inbox()
	if err != nil || inbox != audit.InboxDir(dir) {
		t.Fatalf("%s, %v", inbox, err)
	}
	if stats, err := db.Stats(t.Context()); err != nil || stats.Inbox != nil {
		t.Errorf("%+v, %v", stats.Inbox, err)
	}
	if _, err := db.PutAudit(t.Context(), &audit.QueryAudit{Timestamp: 1}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Inbox(); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
	// Somebody has copied the journal to the inbox.
	if err := os.RemoveAll(inbox); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(inbox, os.DirFS(filepath.Join(dir, "wal"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := wal.Open(inbox, o); !errors.Is(err, wal.ErrForeign) {
		t.Errorf("got %v", err)
	}
	if db, err = audit.Open(dir); err != nil {
		t.Fatal(err)
	}
	stats, err := db.Stats(t.Context())
	if err != nil || stats.Inbox == nil || stats.Inbox.Damage == "" {
		t.Errorf("%+v, %v", stats.Inbox, err)
	}
	report, err := db.Verify(t.Context(), audit.VerifyOptions{})
	if err != nil || report.OK() {
		t.Errorf("%q, %v", report.Problems, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// A link leads to files of somebody else.
	if err := errors.Join(os.RemoveAll(inbox), os.Symlink(t.TempDir(), inbox)); err != nil {
		t.Skip(err)
	}
	if db, err = audit.Open(dir); err != nil {
		t.Fatal(err)
	}
	var link *audit.LinkError
	if _, _, err := db.Inbox(); !errors.As(err, &link) {
		t.Errorf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	readonly, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := readonly.Inbox(); !errors.Is(err, audit.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if err := readonly.Close(); err != nil {
		t.Fatal(err)
	}
}

// Stats tells of damage that a receiver has found, and of what was kept aside, however large the inbox is. Of a large one that no receiver
// has looked at it says that nobody knows.
func TestStatsOfALargeInbox(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	dir, o, err := db.Inbox()
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := wal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	inbox := func() audit.InboxState {
		t.Helper()
		s, err := db.Stats(t.Context())
		if err != nil || s.Inbox == nil {
			t.Fatalf("%+v, %v", s.Inbox, err)
		}
		return *s.Inbox
	}
	large := bytes.Repeat([]byte{'{'}, 14<<20)
	for range 5 {
		if _, err := j.Append(t.Context(), large); err != nil {
			t.Fatal(err)
		}
	}
	if s := inbox(); s.Bytes <= 64<<20 || !s.Open || s.Unread || s.Damage != "" || s.Lost != nil || s.KeptAside != 0 {
		t.Errorf("%+v", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s := inbox(); !s.Unread || s.Open || s.Damage != "" {
		t.Errorf("%+v", s)
	}
	db.NoteInbox("", 7)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "quarantine"), 0o700), os.WriteFile(filepath.Join(dir, "quarantine", "some"), []byte("bytes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if s := inbox(); !s.Unread || s.Damage != "" || s.Lost == nil || *s.Lost != 7 || s.KeptAside != 5 {
		t.Errorf("%+v", s)
	}
	db.NoteInbox("a bit is wrong", 0)
	if s := inbox(); s.Unread || s.Damage != "a bit is wrong" || s.Lost == nil || *s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
