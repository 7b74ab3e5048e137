package faults_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Somebody removes or replaces SQLite's files under a live writer. Every record that the writer acknowledged before or
// after that must be there. If the store is refused, they must be there after the files were brought back, which is what
// the refusal asks for.
func TestSQLitesFilesTakenAway(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"audit.db", "audit.db-wal"} {
		for _, how := range []string{"removed", "moved away", "replaced by a copy", "replaced by another store's"} {
			for _, end := range []string{"closed", "killed", "power cut"} {
				eachSeed(t, what+" "+how+", "+end, func(s *store, random *rand.Rand) error {
					return s.takenAway(random, what, how, end)
				})
			}
		}
	}
}

func (s *store) takenAway(random *rand.Rand, what, how, end string) error {
	db := must(s.open())
	s.fillAndTrim(db)
	s.fill(db, 20+random.IntN(30))

	kept := filepath.Join(s.m.Dir(), "kept")
	s.backUp(db)
	s.fill(db, 10)
	ok(os.MkdirAll(kept, 0o700))
	switch how {
	case "replaced by a copy":
		copyFile(s.file(what), filepath.Join(kept, "copy"))
	case "replaced by another store's":
		other := newStore(s.fs, 1, nil)
		defer other.end()
		another := must(other.open())
		other.fill(another, 70)
		settle()
		other.fill(another, 40)
		copyFile(other.file(what), filepath.Join(kept, "copy"))
		ok(another.Close())
	}
	// The person who does this waits for a while, so the names and contents of the files are synced.
	if how == "removed" {
		ok(os.Remove(s.file(what)))
	} else {
		ok(os.Rename(s.file(what), filepath.Join(kept, what)))
	}
	if strings.HasPrefix(how, "replaced") {
		ok(os.Rename(filepath.Join(kept, "copy"), s.file(what)))
	}
	syncFolder(s.dir())
	syncFolder(kept)
	syncFolder(s.m.Dir())

	for range 4 {
		s.fillAsFarAsItGoes(db, random.IntN(30))
		settle()
	}
	noticed := db.Err() != nil
	switch end {
	case "closed":
		db.Close()
		if random.IntN(2) == 0 {
			s.m.PowerCut()
		}
	case "killed":
		s.m.Kill()
		db.Close()
	default:
		s.m.PowerCut()
		db.Close()
	}
	if err := s.recoveredOr(func() {
		if how == "removed" {
			s.restoreDatabase()
		} else {
			s.bring(filepath.Join(s.m.Dir(), "kept"), what)
		}
	}); err != nil {
		return err
	}
	if !noticed {
		return fmt.Errorf("the writer did not notice that %s was taken away", what)
	}
	return nil
}

func copyFile(from, to string) {
	f := must(os.Create(to))
	defer f.Close()
	must(f.Write(must(os.ReadFile(from))))
	ok(f.Sync())
}
