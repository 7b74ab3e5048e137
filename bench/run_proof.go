package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
)

// The workloads of evidence: to make it, to check it, and to compare a whole store with a checkpoint. Only auditsql has them.
var proofWorkloads = map[string][]string{
	"prove":  {proveOne, proveMany},
	"check":  {checkMany, checkExport},
	"verify": {""},
}

// The variants of prove and check.
const (
	proveOne    = "one record"
	proveMany   = "into an archive"
	checkMany   = "an archive"
	checkExport = "an export"
)

// provenRecords is how many records the archive has, if the store has so many.
const provenRecords = 10_000

// proofs measures evidence from a store that is loaded once.
func (p *plan) proofs(ctx context.Context) error {
	var asked []string
	for _, w := range workloads {
		if p.wants(w) && proofWorkloads[w] != nil {
			asked = append(asked, w)
		}
	}
	const store = "auditsql"
	if len(asked) == 0 || !slices.Contains(p.stores, store) {
		return nil
	}
	n := p.size(asked[0])
	defer os.RemoveAll(p.job("", store, 0).Dir)
	if err := p.prepare(ctx, p.job("load", store, n)); err != nil {
		return err
	}
	for _, workload := range asked {
		for range p.rounds {
			for _, variant := range proofWorkloads[workload] {
				j := p.job(workload, store, n)
				j.Variant, j.Seconds, j.Input = variant, p.seconds/3, filepath.Join(p.dir, "evidence")
				err := p.measure(ctx, j)
				if rerr := os.RemoveAll(j.Input); err == nil {
					err = rerr
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// signed is a store that is open, with its tree signed by a key of this run.
type signed struct {
	*auditsql
	options audit.ProveOptions
}

func (j job) openSigned(ctx context.Context) (*signed, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	a, ok := s.(*auditsql)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s has no tree", j.Store), s.close())
	}
	private, public, err := evidence.GenerateKey("log.example.com/bench")
	if err != nil {
		return nil, err
	}
	key, err := evidence.NewSigner(private)
	if err != nil {
		return nil, err
	}
	size, root, err := a.db.Root(ctx)
	if err != nil {
		return nil, err
	}
	checkpoint, err := evidence.Sign(evidence.Checkpoint{Origin: key.Name(), Size: int64(size), Root: root}, key)
	if err != nil {
		return nil, err
	}
	policy, err := evidence.KeyPolicy(public)
	return &signed{a, audit.ProveOptions{Checkpoint: checkpoint, Policy: policy}}, err
}

// archive writes records with their proofs into a zip archive, and returns how many.
func (s *signed) archive(ctx context.Context, name string) (n int, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	records := func(yield func(bundle.Record, error) bool) {
		for rec, err := range s.db.ProveAll(ctx, audit.Filter{Limit: provenRecords}, s.options) {
			if n++; !yield(bundle.Record{Name: rec.ID.String(), Bytes: rec.Raw, Proof: rec.Proof}, err) {
				return
			}
		}
	}
	err = bundle.WriteZip(w, &bundle.Contents{Policy: s.options.Policy, Records: records})
	return n, errors.Join(err, w.Flush(), f.Close())
}

// export writes all records into a file, and returns how many.
func (s *signed) export(ctx context.Context, name string) (n int, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for raw, err := range s.db.RawAudits(ctx, audit.Filter{ByAdmission: true}) {
		if err != nil {
			return n, errors.Join(err, f.Close())
		}
		n++
		w.Write(append(raw, '\n'))
	}
	return n, errors.Join(w.Flush(), f.Close())
}

// runProve measures proofs of single records, one after the other, or of many into an archive.
func runProve(ctx context.Context, j job) ([]row, error) {
	s, err := j.openSigned(ctx)
	if err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: j.Step, Variant: j.Variant, Records: j.N}
	if j.Variant == proveMany {
		p := begin(j.Dir, s)
		n, err := s.archive(ctx, j.Input)
		if err != nil {
			return nil, err
		}
		p.end(&r, n, 0)
		return closed(&r, j, s, p)
	}
	w := j.world()
	a := asking{readers: 1, seed: j.Seed, ask: func(ctx context.Context, no int) error {
		rec, err := s.db.Prove(ctx, w.id(no%j.N), s.options)
		if err == nil && len(rec.Proof) == 0 {
			err = errAnswer
		}
		return err
	}}
	p, err := a.measure(ctx, j, &r)
	if err != nil {
		return nil, err
	}
	return closed(&r, j, s, p)
}

// runCheck measures the check of an archive, or of an export of all records, by somebody without the store.
func runCheck(ctx context.Context, j job) ([]row, error) {
	s, err := j.openSigned(ctx)
	if err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: j.Step, Variant: j.Variant, Records: j.N}
	write, check := s.archive, s.checkArchive
	if j.Variant == checkExport {
		write, check = s.export, s.checkExport
	}
	n, err := write(ctx, j.Input)
	if err != nil {
		return nil, err
	}
	p := begin(j.Dir, s)
	if proven, err := check(j.Input); err != nil || proven != n {
		return nil, errors.Join(errAnswer, err)
	}
	p.end(&r, n, 0)
	return closed(&r, j, s, p)
}

func (s *signed) checkArchive(name string) (proven int, err error) {
	files, err := bundle.Open(name)
	if err != nil {
		return 0, err
	}
	for f := range bundle.Check(files, s.options.Policy) {
		if err := f.Verdict.Err(); err != nil {
			return proven, errors.Join(err, files.Close())
		}
		proven++
	}
	return proven, files.Close()
}

func (s *signed) checkExport(name string) (proven int, err error) {
	text, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer text.Close()
	v := evidence.VerifyExport(text, s.options.Checkpoint, s.options.Policy)
	return int(v.Checkpoint.Size), v.Err()
}

// runVerify measures a full check of the store, which is also compared with a checkpoint.
func runVerify(ctx context.Context, j job) ([]row, error) {
	s, err := j.openSigned(ctx)
	if err != nil {
		return nil, err
	}
	r := row{Store: j.Store, Workload: j.Step, Records: j.N}
	p := begin(j.Dir, s)
	report, err := s.db.Verify(ctx, audit.VerifyOptions{
		Against: []audit.Against{{Name: "its own", Signed: s.options.Checkpoint}}, Policy: s.options.Policy,
	})
	if err != nil {
		return nil, err
	}
	if !report.OK() {
		return nil, fmt.Errorf("%w: %q", errAnswer, report.Problems)
	}
	p.end(&r, j.N, 0)
	return closed(&r, j, s, p)
}
