package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/storedir"
)

// names are the calls that change names, and those that make them durable.
var names = []crashfs.Op{crashfs.OpRename, crashfs.OpMkdir, crashfs.OpRemove, crashfs.OpSyncDir}

// bob is a label that only SQLite has.
var bob = audit.Label{Hash: audit.Hash{1}, Label: "Bob"}

// Whenever the process dies while a suspect database is set aside and rebuilt, its labels are in the new one at last.
func TestALabelOutlivesARebuildThatDies(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	var files fusefs.Files
	var began store
	if err := alone(t, fs, 1, nil, func(s *store) error {
		s.opts = append(s.opts, audit.WithRetention(audit.RetainAll))
		db := must(s.open())
		s.fill(db, 30)
		settle()
		s.fill(db, 10)
		settle()
		s.fill(db, 5)
		ok(db.PutLabels(context.Background(), []audit.Label{bob}))
		s.m.Kill() // the label is in -wal alone
		files = s.m.Files()
		began.given, began.there, began.next, began.heads = s.given, s.there, s.next, s.heads
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const name = "/store/store.json"
	doubted := bytes.Replace(files[name], []byte(`"used": true`), []byte(`"used": true, "doubted": true`), 1)
	if bytes.Equal(doubted, files[name]) {
		t.Fatalf("%s", files[name])
	}
	files[name] = doubted
	for _, verdict := range []crashfs.Verdict{crashfs.KillIt, crashfs.CutPower} {
		deaths := 0
		for struck := true; struck; deaths++ {
			if err := alone(t, fs, uint64(deaths), files, func(s *store) error {
				s.begin(&began)
				s.opts = append(s.opts, audit.WithRetention(audit.RetainAll))
				s.m.Plan(fusefs.Fault{Ops: names, Skip: deaths, Verdict: verdict})
				db, err := s.open()
				if struck = failed(s.m); !struck && err != nil {
					return fmt.Errorf("nothing failed, and yet: %w", err)
				}
				if verdict == crashfs.CutPower {
					s.m.PowerCut()
				} else {
					s.m.Kill()
				}
				if err == nil {
					db.Close()
				}
				return s.labelledStill()
			}); err != nil {
				t.Errorf("call %d, verdict %v: %v", deaths, verdict, err)
			}
		}
		if deaths < 10 {
			t.Errorf("it died %d times only", deaths)
		}
	}
}

// labelledStill opens a store after a crash, checks that it has the label and all else, and closes it.
func (s *store) labelledStill() error {
	s.m.Plan()
	db, err := s.open()
	if err != nil {
		return err
	}
	labels, err := db.Labels(context.Background())
	if err == nil && labels.Of(bob.Hash) != bob.Label {
		err = fmt.Errorf("%w: the label; the notes are %q", errLost, db.Recovery().Notes)
	}
	for _, note := range db.Recovery().Notes {
		// What is said must be true.
		if _, at, found := strings.Cut(note, "the old files are in "); found {
			if !filepath.IsAbs(at) {
				at = s.file(at)
			}
			if _, err := os.Stat(filepath.Join(at, "audit.db")); err != nil {
				return fmt.Errorf("%q: %w", note, err)
			}
		}
	}
	return errors.Join(err, s.check(db), db.Close())
}

// A database takes the place of another one, and each call that changes names, or makes them durable, fails once or is the last one of the
// process. The next process completes it, and dies too. Both databases are there at last, or nothing was changed.
func TestAReplacementThatDiesAtEachCall(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	kept := filepath.Join(t.TempDir(), "store")
	ok(os.Mkdir(kept, 0o700))
	file := storedir.New("test")
	file.Used = true
	ok(storedir.Write(kept, file))
	files := fusefs.Files{
		"/store/store.json": must(os.ReadFile(filepath.Join(kept, "store.json"))),
		"/store/audit.db":   []byte("old"), "/store/audit.db-wal": []byte("old"), "/store/audit.db.part": []byte("new"),
	}
	for _, verdict := range []crashfs.Verdict{crashfs.IO, crashfs.KillIt, crashfs.CutPower} {
		for k, struck := 0, true; struck; k++ {
			for j := range 10 {
				var err error
				if struck, err = replaceAndDie(fs, files, verdict, k, j); err != nil {
					t.Fatalf("verdict %d at call %d, then a power cut at call %d: %v", verdict, k, j, err)
				}
			}
		}
	}
}

func replaceAndDie(fs *fusefs.FS, files fusefs.Files, verdict crashfs.Verdict, k, j int) (struck bool, err error) {
	m := must(fs.Machine(uint64(100*k+j), files))
	defer m.Drop()
	dir := func() string { return filepath.Join(m.Dir(), "store") }
	recall := func() storedir.File { return must(storedir.Recall(context.Background(), dir())) }
	f := recall()
	m.Plan(fusefs.Fault{Ops: names, Skip: k, Verdict: verdict})
	if _, err := storedir.Replace(dir(), &f); err != nil && f.Replacing == "" && !m.State().Dead {
		ok(os.Remove(storedir.ReplacementPath(dir()))) // as whoever has made it would
	}
	struck = m.Plan()
	m.Kill()
	f = recall()
	m.Plan(fusefs.Fault{Ops: names, Skip: j, Verdict: crashfs.CutPower})
	replacing := f.Replacing
	if storedir.FinishReplacing(dir(), &f) != nil || m.State().Dead {
		replacing = ""
	}
	m.PowerCut()
	f = recall()
	replacing = cmp.Or(f.Replacing, replacing)
	if err := storedir.FinishReplacing(dir(), &f); err != nil {
		return struck, err
	}
	content, err := os.ReadFile(storedir.SQLitePath(dir()))
	switch {
	case err != nil:
		return struck, err
	case string(content) == "old" && replacing != "": // which was completed
		return struck, fmt.Errorf("%s gets the old database, which is in its place", replacing)
	case string(content) == "new":
		// A power cut may leave a file under both names of a move. Then the next move gives it a third one.
		for _, name := range []string{"audit.db", "audit.db-wal"} {
			aside := must(filepath.Glob(filepath.Join(dir(), "aside-*", name)))
			if len(aside) != 1 || string(must(os.ReadFile(aside[0]))) != "old" {
				return struck, fmt.Errorf("aside are %q", aside)
			}
		}
	}
	return struck, nil
}
