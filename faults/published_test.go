package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// publishing is a log in memory, and a folder to which it is published.
type publishing struct {
	m      *fusefs.Machine
	signed map[int64]deliver.Signed
	shown  int64 // the size of the newest checkpoint of which the delivery has succeeded
}

// publishedSizes are the sizes at which the log is published.
var publishedSizes = []int64{200, 300, 600, 700}

func newSignedLog() map[int64]deliver.Signed {
	private, _, err := evidence.GenerateKey("log.example.com")
	signer := must(evidence.NewSigner(must(private, err)))
	var edge tree.Edge
	tiles := map[[2]int64][]byte{}
	all := map[int64]deliver.Signed{}
	for _, size := range publishedSizes {
		for n := edge.Size(); n < size; n++ {
			for _, full := range edge.Append(tree.LeafHash(fmt.Appendf(nil, "%d", n))) {
				tiles[[2]int64{int64(full.Level), full.N}] = full.Hashes
			}
		}
		c := evidence.Checkpoint{Origin: signer.Name(), Size: size, Root: edge.Root()}
		all[size] = deliver.Signed{Checkpoint: c, Note: must(evidence.Sign(c, signer)),
			Tiles: edge.Clone().Reader(func(level int, n int64) ([]byte, error) { return tiles[[2]int64{int64(level), n}], nil })}
	}
	return all
}

func (p *publishing) dir() string { return filepath.Join(p.m.Dir(), "log") }

// story publishes the log as it grows, and goes on after a failure.
func (p *publishing) story() {
	for _, size := range publishedSizes[:3] {
		if deliver.Publish(p.dir()).Deliver(context.Background(), p.signed[size]) == nil {
			p.shown = size
		}
	}
}

// served checks that the folder shows nothing older than what was delivered, with all its tiles. Then the log goes on.
func (p *publishing) served() error {
	p.m.Plan()
	note, err := os.ReadFile(filepath.Join(p.dir(), "checkpoint"))
	if err == nil {
		c, err := evidence.ReadUnverified(note)
		if err != nil {
			return err
		}
		s, known := p.signed[c.Size]
		if !known || c != s.Checkpoint || c.Size < p.shown {
			return fmt.Errorf("a checkpoint of %d was delivered, and the folder shows %+v", p.shown, c)
		}
		if err := p.hasTiles(c.Size); err != nil {
			return fmt.Errorf("the folder shows the checkpoint of %d: %w", c.Size, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) || p.shown > 0 {
		return err
	}
	last := publishedSizes[3]
	if err := deliver.Publish(p.dir()).Deliver(context.Background(), p.signed[last]); err != nil {
		return fmt.Errorf("the next delivery: %w", err)
	}
	did, err := deliver.PublishAll(context.Background(), p.dir(), p.signed[last])
	if err == nil && did.Written > 0 {
		err = fmt.Errorf("%d tiles were missing", did.Written)
	}
	return err
}

func (p *publishing) hasTiles(size int64) error {
	for _, t := range tree.NewTiles(0, size) {
		is, err := os.ReadFile(filepath.Join(p.dir(), t.Path()))
		if err != nil {
			return err
		}
		want, err := p.signed[size].Tiles.ReadTile(t)
		if err != nil || !slices.Equal(is, want[:t.Width*tree.HashSize]) {
			return fmt.Errorf("%s has other bytes: %w", t.Path(), err)
		}
	}
	return nil
}

// Each call on a published folder fails, or is the last one before the power fails or the process is killed. The folder always
// has all tiles of the checkpoint that it shows.
func TestTheKthCallOfAPublicationFails(t *testing.T) {
	t.Parallel()
	disk := mounted(t)
	first := firstSeed()
	signed := newSignedLog()
	run := func(seed uint64, plan fusefs.Fault) (met int, err error) {
		p := &publishing{m: must(disk.Machine(seed, nil)), signed: signed}
		defer p.m.Drop()
		p.m.Plan(plan)
		p.story()
		met = p.m.State().Met[0]
		p.m.PowerCut()
		return met, p.served()
	}
	met, err := run(first, fusefs.Fault{Verdict: crashfs.Pass})
	if err != nil {
		t.Fatalf("without any fault: %v", err)
	}
	if met < 60 {
		t.Fatalf("publishing three times makes %d calls", met)
	}
	ends := []crashfs.Verdict{crashfs.CutPower, crashfs.KillIt, crashfs.IO, crashfs.NoSpace}
	n := met * len(ends)
	if *kth > 0 {
		n = min(n, *kth)
	}
	for _, i := range rand.New(rand.NewPCG(first, 11)).Perm(met * len(ends))[:n] {
		k, verdict := i/len(ends), ends[i%len(ends)]
		if _, err := run(first+uint64(i), fusefs.Fault{Skip: k, Verdict: verdict}); err != nil {
			t.Errorf("call %d of %d, %v: %v; -seed %d", k, met, verdict, err, first)
		}
	}
}
