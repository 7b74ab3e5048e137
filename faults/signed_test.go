package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/tree"
)

// logFiles matches the files of a log that are written with each signature.
const logFiles = "key.signed*|log.json*|checkpoint*"

// signing is a store whose log is signed with a key on the same machine.
type signing struct {
	*store
	given []evidence.Checkpoint // that were given away: whoever has one can show it
}

func newSigning(s *store) *signing {
	g := &signing{store: s}
	must(keyfile.Create(g.key(), "log.example.com"))
	return g
}

// key is the file with the key. Each life of the machine has another path of it.
func (g *signing) key() string { return filepath.Join(g.m.Dir(), "key") }

func (g *signing) openSigned() (*audit.DB, error) {
	return g.open(audit.WithSigner(audit.LogOptions{Key: g.key(), Every: time.Hour}))
}

// sign signs, and remembers what was given away. What is in the store's folder counts as given away too.
func (g *signing) sign(db *audit.DB) error {
	sig, err := db.Sign(context.Background())
	if err == nil && sig.Size > 0 {
		g.given = append(g.given, evidence.Checkpoint{Origin: sig.Origin, Size: int64(sig.Size), Root: sig.Root})
	}
	return err
}

func (g *signing) story() error {
	db, err := g.openSigned()
	if err != nil {
		return err
	}
	for range 2 {
		err = errors.Join(err, g.put(db, 3), g.sign(db))
	}
	return errors.Join(err, g.put(db, 3), db.Close())
}

// continued opens the store after a crash. It must extend everything that was given away, and go on to sign.
func (g *signing) continued() error {
	g.m.Plan()
	if note, err := os.ReadFile(g.file("checkpoint")); err == nil {
		cp, err := evidence.ReadUnverified(note)
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		g.given = append(g.given, cp)
	}
	if note, err := os.ReadFile(g.key() + ".signed"); err == nil {
		cp, err := evidence.ReadUnverified(note)
		if err != nil {
			return fmt.Errorf("key.signed: %w", err)
		}
		for _, given := range g.given {
			if given.Size > cp.Size {
				return fmt.Errorf("a checkpoint of %d was given away, and the memory has %d", given.Size, cp.Size)
			}
		}
		g.given = append(g.given, cp)
	} else if len(g.given) > 0 {
		return fmt.Errorf("checkpoints were given away, and there is no memory: %w", err)
	}
	db, err := g.openSigned()
	if err != nil {
		return err
	}
	err = errors.Join(g.check(db), g.put(db, 1), g.sign(db))
	_, tiles, treeErr := db.Tree(context.Background())
	err = errors.Join(err, treeErr)
	for _, given := range g.given {
		if root, rootErr := tree.Root(tiles, given.Size); rootErr != nil || root != given.Root {
			err = errors.Join(err, fmt.Errorf("the root of %d records is not the one that was signed: %w", given.Size, rootErr))
		}
	}
	return errors.Join(err, db.Close())
}

// Each call on a file of the log fails, or is the last one before the power fails or the process is killed. Nothing that was given
// away is forgotten, and the log goes on.
func TestTheKthCallOfASignatureFails(t *testing.T) {
	t.Parallel()
	fs := mounted(t)
	first := firstSeed()
	met := 0
	if err := alone(t, fs, first, nil, func(s *store) error {
		g := newSigning(s)
		s.m.Plan(fusefs.Fault{Name: logFiles, Verdict: crashfs.Pass})
		if err := g.story(); err != nil {
			return err
		}
		met = s.m.State().Met[0]
		return g.continued()
	}); err != nil {
		t.Fatalf("without any fault: %v", err)
	}
	if met < 30 {
		t.Fatalf("signing three times makes %d calls on the files of the log", met)
	}
	ends := []crashfs.Verdict{crashfs.CutPower, crashfs.KillIt, crashfs.IO, crashfs.NoSpace}
	n := met * len(ends)
	if *kth > 0 {
		n = min(*kth/4, n)
	}
	for _, i := range rand.New(rand.NewPCG(first, 7)).Perm(met * len(ends))[:n] {
		k, verdict := i/len(ends), ends[i%len(ends)]
		if err := alone(t, fs, first+uint64(i), nil, func(s *store) error {
			g := newSigning(s)
			s.m.Plan(fusefs.Fault{Name: logFiles, Skip: k, Verdict: verdict})
			_ = g.story()
			s.m.PowerCut()
			return g.continued()
		}); err != nil {
			t.Fatalf("call %d of %d, %v: %v; -seed %d", k, met, verdict, err, first)
		}
	}
}
