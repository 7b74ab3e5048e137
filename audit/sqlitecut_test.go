package audit_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	walFaults    = flag.Int("wal-faults", 20, "how many of the faults of TestAnyEndOfSQLitesWALIsMadeUpFor it tries; 0 is all")
	walFaultSeed = flag.Uint64("wal-fault-seed", uint64(time.Now().UnixNano()), "which")
)

// Of -wal that no checkpoint has begun to copy, a power cut can take any part: it ends between two frames or in one,
// and a frame's head, its page or the checksum can be wrong. SQLite then goes back to the transaction before, and
// the journal makes up for it.
func TestAnyEndOfSQLitesWALIsMadeUpFor(t *testing.T) {
	t.Parallel()
	l := live(t, 0)
	for _, when := range []string{"mid", "now"} {
		log := must(os.ReadFile(filepath.Join(l[when].dir, "audit.db-wal")))
		type fault struct {
			at   int
			flip bool
		}
		var faults []fault
		for at := walOnDisk(t, l[when].dir); at < len(log); at += walFrame {
			for _, in := range []int{0, 1, 23, 24, walFrame / 2, walFrame - 1} {
				faults = append(faults, fault{at + in, false}, fault{at + in, true})
			}
		}
		random := rand.New(rand.NewPCG(*walFaultSeed, 0))
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		all := len(faults)
		if n := *walFaults / 2; n > 0 {
			faults = faults[:n]
		}
		if testing.Short() {
			faults = faults[:3]
		}
		t.Logf("%s: %d of %d faults, -wal-fault-seed=%d", when, len(faults), all, *walFaultSeed)
		for _, f := range faults {
			t.Run(fmt.Sprintf("%s/%+v", when, f), func(t *testing.T) {
				t.Parallel()
				dir := killed(t, l[when].dir)
				corrupt := append([]byte(nil), log...)
				if corrupt[f.at] ^= 0x10; !f.flip {
					corrupt = corrupt[:f.at]
				}
				if err := os.WriteFile(filepath.Join(dir, "audit.db-wal"), corrupt, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filepath.Join(dir, "audit.db-shm")); err != nil {
					t.Fatal(err)
				}
				db := openDB(t, dir)
				if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Rejected > 0 {
					t.Fatalf("%+v", rec)
				}
				wantAll(t, db, l[when].lines)
			})
		}
	}
}
