package faults_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/faults/foreign"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
)

// another is the process in which other programs open the databases of stores.
var another = sync.OnceValues(foreign.Start)

// foreign opens a connection to the store's database in another process.
func (s *store) foreign() *foreign.Conn {
	return must(must(another()).Open(s.file("audit.db")))
}

func all(c *foreign.Conn, texts ...string) {
	for _, text := range texts {
		must(c.Do(text))
	}
}

const setLabel = `INSERT INTO label (hash, label) VALUES ('0101010101010101010101010101010101010101010101010101010101010101', 'a name')`

// A shell with synchronous=OFF copies -wal into the database and syncs nothing. Then the next checkpoint of the writer
// has nothing left to copy. If the power fails before that checkpoint is complete, nobody can know what the database
// contains, and the store may be refused.
func TestAForeignCheckpointThatIsNotSynced(t *testing.T) {
	t.Parallel()
	checkpoints := map[string][]string{
		"with a label":    {"PRAGMA synchronous=OFF", "PRAGMA wal_autocheckpoint=1", setLabel},
		"passive":         {"PRAGMA synchronous=OFF", "PRAGMA wal_checkpoint(PASSIVE)"},
		"truncate":        {"PRAGMA synchronous=OFF", "PRAGMA wal_checkpoint(TRUNCATE)"},
		"synced, passive": {"PRAGMA wal_checkpoint(PASSIVE)"},
	}
	for name, texts := range checkpoints {
		for _, end := range []string{"power cut", "closed, power cut", "killed, opened, power cut", "cut at a write"} {
			eachSeed(t, name+", "+end, func(s *store, random *rand.Rand) error {
				db := must(s.open())
				s.fillAndTrim(db)
				s.backUp(db)
				s.fill(db, 30+random.IntN(40))
				settle() // otherwise the shell may find the writer's lock held
				shell := s.foreign()
				defer shell.Close()
				all(shell, texts...)
				if end == "cut at a write" {
					s.m.Plan(fusefs.Fault{Ops: writes, Name: "audit.db", Skip: random.IntN(30), Verdict: crashfs.CutPower})
				}
				settle()
				s.fillAsFarAsItGoes(db, random.IntN(20))
				settle()
				switch end {
				case "closed, power cut":
					if err := db.Close(); err != nil {
						return err
					}
				case "killed, opened, power cut":
					s.m.Kill()
					db.Close()
					var err error
					if db, err = s.open(); err != nil {
						return err
					}
				}
				s.m.PowerCut()
				db.Close()
				if end == "cut at a write" {
					return s.recoveredOr(s.restoreDatabase)
				}
				return s.recovered()
			})
		}
	}
}
