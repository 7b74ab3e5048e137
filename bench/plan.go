package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// plan says what a run measures.
type plan struct {
	stores    []string
	workloads []string
	writers   []int
	readers   []int
	n         int            // records of every workload; 0: as sizes has it
	sizes     map[string]int // by workload
	rounds    int
	seconds   float64
	limit     time.Duration // of one sustained or import
	keep      string        // see loaded
	large     bool          // reads at ten times the records as well
	variants  []string      // of reads
	shape     shape
	seed      uint64
	dir       string
	profile   string // folder for CPU profiles; "": none
	only      string // the one variant of http; "": all
	progress  io.Writer

	order   []key
	results map[key][]row
}

// defaults are the numbers of records of the workloads. put runs for a time instead.
var defaults = map[string]int{
	"put": 1 << 40, "sustained": 1_000_000, "import": 300_000, "mixed": 100_000, "replay": 200_000,
	"get": 300_000, "agent100": 300_000, "recent100": 300_000, "impact": 300_000,
	"prove": 1_000_000, "check": 1_000_000, "verify": 1_000_000, "http": 1_000_000, "cluster": 100_000,
}

// workloads are all workloads, in the order in which they run.
var workloads = []string{"put", "sustained", "import", "get", "agent100", "recent100", "impact", "mixed", "replay", "prove", "check", "verify", "http", "cluster"}

// largeStores are also asked with ten times the records.
var largeStores = []string{"auditsql", "pebble", "pebble-full"}

const (
	mixedWriters = 64
	mixedReaders = 8
	largeFactor  = 10
)

func (p *plan) size(workload string) int {
	if p.n > 0 {
		return p.n
	}
	return p.sizes[workload]
}

func (p *plan) wants(workload string) bool { return slices.Contains(p.workloads, workload) }

// run runs everything and returns the rows: medians over the rounds.
func (p *plan) run(ctx context.Context) ([]row, error) {
	p.results = map[key][]row{}
	var err error
	for _, step := range []func(context.Context) error{p.puts, p.sustained, p.imports, p.questions, p.mixed, p.replays, p.proofs, p.https, p.clusters} {
		if err = step(ctx); err != nil {
			break
		}
	}
	rows := []row{}
	for _, k := range p.order {
		rows = append(rows, medians(p.results[k]))
	}
	return rows, err
}

// turn returns the stores in the order of a round. Each round begins with another store, and every second round goes
// backwards. So no store always runs directly after the same other store.
func (p *plan) turn(round int, skip ...string) []string {
	var turn []string
	for i := range p.stores {
		if s := p.stores[(i+round)%len(p.stores)]; !slices.Contains(skip, s) {
			turn = append(turn, s)
		}
	}
	if round%2 == 1 {
		slices.Reverse(turn)
	}
	return turn
}

func (p *plan) job(step, store string, n int) job {
	return job{Step: step, Store: store, Dir: filepath.Join(p.dir, store), N: n, Seconds: p.seconds, Seed: p.seed, Shape: p.shape, Profile: p.profile, Only: p.only}
}

// measure runs a job and adds its rows to the results.
func (p *plan) measure(ctx context.Context, j job) error {
	began := time.Now()
	rows, err := run(ctx, j)
	if err != nil {
		return err
	}
	for _, r := range rows {
		k := key{r.Store, r.Workload, r.Variant, r.Writers, r.Readers, j.N}
		if p.results[k] == nil {
			p.order = append(p.order, k)
		}
		p.results[k] = append(p.results[k], r)
		fmt.Fprintf(p.progress, "%-9s %-12s %-20s writers %3d readers %d records %8d  %9.0f/s  p99 %8.3f ms  (%s)\n",
			r.Workload, r.Store, r.Variant, r.Writers, r.Readers, r.Records, r.PerSecond, r.P99, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// fresh runs a job on a store that is made for it and removed afterwards.
func (p *plan) fresh(ctx context.Context, j job) error {
	if err := os.RemoveAll(j.Dir); err != nil {
		return err
	}
	err := p.measure(ctx, j)
	if rerr := os.RemoveAll(j.Dir); err == nil {
		err = rerr
	}
	return err
}

func (p *plan) puts(ctx context.Context) error {
	if !p.wants("put") {
		return nil
	}
	for _, writers := range p.writers {
		for round := range p.rounds {
			for _, s := range p.turn(round, notAlone...) {
				j := p.job("put", s, p.size("put"))
				j.Writers = writers
				if err := p.fresh(ctx, j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *plan) sustained(ctx context.Context) error {
	if !p.wants("sustained") {
		return nil
	}
	for round := range p.rounds {
		for _, s := range p.turn(round, notAlone...) {
			j := p.job("sustained", s, p.size("sustained"))
			j.Writers, j.Seconds = mixedWriters, p.limit.Seconds()
			if err := p.fresh(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *plan) imports(ctx context.Context) error {
	if !p.wants("import") {
		return nil
	}
	file := filepath.Join(p.dir, "import.ndjson")
	defer os.Remove(file)
	made := p.job("ndjson", "", p.size("import"))
	made.Input = file
	if _, err := run(ctx, made); err != nil {
		return err
	}
	for round := range p.rounds {
		for _, s := range p.turn(round, slices.Concat(writtenOnly, notAlone)...) {
			j := p.job("import", s, p.size("import"))
			j.Input = file
			if err := p.fresh(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// questions measures the reads, on stores that are loaded once for all rounds.
func (p *plan) questions(ctx context.Context) error {
	for _, large := range []bool{false, true} {
		if large && !p.large {
			continue
		}
		if err := p.questionsAt(ctx, large); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) questionsAt(ctx context.Context, large bool) error {
	asked := slices.DeleteFunc(slices.Clone(workloads), func(w string) bool {
		return !p.wants(w) || !slices.Contains([]string{"get", "agent100", "recent100", "impact"}, w)
	})
	if len(asked) == 0 {
		return nil
	}
	skip := slices.Concat(writtenOnly, notAlone)
	n := p.size(asked[0])
	if large {
		n *= largeFactor
		for _, s := range p.stores {
			if !slices.Contains(largeStores, s) {
				skip = append(skip, s)
			}
		}
	}
	stores := p.turn(0, skip...)
	defer p.unload(stores...)
	for _, s := range stores {
		if err := p.load(ctx, s, n); err != nil {
			return err
		}
	}
	for _, workload := range asked {
		for round := range p.rounds {
			for _, s := range p.turn(round, skip...) {
				for _, readers := range p.readers {
					for _, variant := range p.variants {
						j := p.job(workload, s, n)
						j.Dir, j.Readers, j.Variant = p.loaded(s), readers, variant
						j.Seconds = p.seconds / 3
						if err := p.measure(ctx, j); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// prepare runs a job on a store that is made for it and stays.
func (p *plan) prepare(ctx context.Context, j job) error {
	fmt.Fprintf(p.progress, "load %d records into %s\n", j.N, j.Store)
	if err := os.RemoveAll(j.Dir); err != nil {
		return err
	}
	_, err := run(ctx, j)
	return err
}

func (p *plan) mixed(ctx context.Context) error {
	if !p.wants("mixed") {
		return nil
	}
	for round := range p.rounds {
		for _, s := range p.turn(round, slices.Concat(writtenOnly, notAlone)...) {
			if err := p.prepare(ctx, p.job("load", s, p.size("mixed"))); err != nil {
				return err
			}
			j := p.job("mixed", s, p.size("mixed"))
			j.Writers, j.Readers = mixedWriters, mixedReaders
			err := p.measure(ctx, j)
			if rerr := os.RemoveAll(j.Dir); err == nil {
				err = rerr
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// victimFrom is the distance between the first record numbers of two rounds. So the killed processes put different records.
const victimFrom = 10_000_000

// replays measures opening after a clean close, after a kill and, for auditsql, after its database was deleted.
func (p *plan) replays(ctx context.Context) error {
	if !p.wants("replay") {
		return nil
	}
	stores := p.turn(0, slices.Concat(notReplayed, notAlone)...)
	defer func() {
		for _, s := range stores {
			os.RemoveAll(p.job("", s, 0).Dir)
		}
	}()
	n := p.size("replay")
	for _, s := range stores {
		j := p.job("load", s, n)
		j.Variant = afterDelete
		if err := p.prepare(ctx, j); err != nil {
			return err
		}
	}
	for _, variant := range []string{afterClose, afterDelete, afterKill} {
		for round := range p.rounds {
			for _, s := range p.turn(round, slices.Concat(notReplayed, notAlone)...) {
				if variant == afterDelete && s != "auditsql" {
					continue
				}
				j := p.job("replay", s, n)
				j.Variant = variant
				if variant == afterKill {
					v := p.job("victim", s, n+(round+1)*victimFrom)
					v.Writers, v.Seconds = mixedWriters, min(3, p.seconds)
					if err := kill(ctx, v); err != nil {
						return err
					}
				}
				if err := p.measure(ctx, j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
