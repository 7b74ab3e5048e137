package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/auditsql/auditsql/audit"
)

// Every store keeps the same promise. A put is durable when it returns. The first record under an id stays: the same bytes
// again succeed and change nothing, and other bytes fail with [audit.ErrConflict], also when two are put at once. The two
// families of keys are written, whatever else a store writes.
type store interface {
	put(ctx context.Context, q *audit.QueryAudit) error
	// load puts many records. All are durable when it returns.
	load(ctx context.Context, qs []*audit.QueryAudit) error
	close() error
}

// reader is a store that can be read. The caller owns the bytes that it returns.
type reader interface {
	get(ctx context.Context, id audit.QueryID) ([]byte, error) // audit.ErrNotFound
	agent(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([][]byte, error)
}

// decoder is a store that returns decoded records. For other stores the benchmark decodes the bytes.
type decoder interface {
	getAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	agentAudits(ctx context.Context, agent audit.AgentID, from uint64, limit int) ([]audit.QueryAudit, error)
	recentAudits(ctx context.Context, limit int) ([]audit.QueryAudit, error)
	impacted(ctx context.Context, assertion audit.Hash) ([]audit.ImpactedAnswer, error)
}

// timeline is a store that finds the newest records of all agents without a scan.
type timeline interface {
	recent(ctx context.Context, limit int) ([][]byte, error)
}

// evidenceFinder is a store that finds the answers that used an assertion without a scan. They come in the order of time.
type evidenceFinder interface {
	impact(ctx context.Context, assertion audit.Hash) ([][]byte, error)
}

// drainer is a store that may acknowledge a put before every question finds the record.
type drainer interface {
	drain(ctx context.Context) error
}

// applies is a store that acknowledges records before it applies them. applied returns how many it has applied.
type applies interface {
	applied() int64
}

// backlogged is such a store with a bound: when so many records wait, a put waits too.
type backlogged interface {
	applies
	backlog() (records, bound int)
}

// shared is a store that another process can read while one writes. newest returns the timestamp of the
// newest record that it sees.
type shared interface {
	newest(ctx context.Context) (uint64, error)
}

// served is a store whose work is done by other processes. servers returns their ids.
type served interface {
	servers() []int
}

// settings are what opening a store may depend on.
type settings struct {
	dir     string
	writers int  // that will put at once
	shared  bool // to be read beside a writer in another process
	whole   bool // its database will be deleted, so it keeps what it can be built from
	// Of PostgreSQL: two more servers have a copy, and a put is on disk on one of them too when it returns.
	standbys bool
	profile  string // the folder into which the servers of cluster write CPU profiles; "": none
}

type kind struct {
	name string
	what string
	open func(settings) (store, error)
}

// writtenOnly are the stores that are measured in put and sustained alone: two look nothing up and answer nothing, and the others
// answer as auditsql does. notReplayed are those of them that replay does not measure either.
var (
	writtenOnly = append([]string{"burst"}, notReplayed...)
	notReplayed = []string{"journal", "signed", "tessera"}
)

// notAlone are the stores of workload cluster alone: they are measured with the machines beside them.
var notAlone = []string{"cluster"}

// kinds are the stores, in the order of the tables.
var kinds = []kind{
	{"auditsql", "this, through audit.Open", openAuditsql},
	{"journal", "package wal alone: what the disk allows", openJournal},
	{"burst", "auditsql with a backlog of 1,000,000 records", openBurst},
	{"signed", "auditsql with its tree signed every second", openSignedStore},
	{"pebble", "Pebble, the two key families", func(s settings) (store, error) { return openPebble(s, false) }},
	{"pebble-full", "Pebble, with an index for each question", func(s settings) (store, error) { return openPebble(s, true) }},
	{"bbolt", "bbolt, the two key families", openBolt},
	{"badger", "Badger, the two key families", openBadger},
	{"tessera", "Tessera's POSIX storage, a transparency log without ids", openTessera},
	{"sqlite", "SQLite without cgo, our tables, a transaction a put", openSQLite},
	{"cluster", "a node of a cluster: the log on three servers of NATS JetStream", openCluster},
}

func kindOf(name string) (kind, error) {
	for _, k := range kinds {
		if k.name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("unknown store %q", name)
}

// settle returns the result of a put under an id that has stored bytes already.
func settle(stored, raw []byte) error {
	if bytes.Equal(stored, raw) {
		return nil
	}
	return audit.ErrConflict
}

// claims give an id to one caller at a time. A store that looks an id up before it writes must not do that for two callers
// with the same id at once. The second caller waits until the first record is durable.
type claims struct {
	mu   sync.Mutex
	held map[audit.QueryID]chan struct{}
}

func newClaims() *claims { return &claims{held: map[audit.QueryID]chan struct{}{}} }

func (c *claims) take(id audit.QueryID) {
	for {
		c.mu.Lock()
		holder, taken := c.held[id]
		if !taken {
			c.held[id] = make(chan struct{})
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		<-holder
	}
}

func (c *claims) leave(id audit.QueryID) {
	c.mu.Lock()
	close(c.held[id])
	delete(c.held, id)
	c.mu.Unlock()
}

// first removes from a batch each record whose id is in an earlier record of the batch or in the store. lookup returns nil
// if the store does not have an id.
func first(qs []*audit.QueryAudit, lookup func(id audit.QueryID) ([]byte, error)) (fresh []*audit.QueryAudit, raws [][]byte, err error) {
	seen := make(map[audit.QueryID][]byte, len(qs))
	var conflicts []error
	for _, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			return nil, nil, err
		}
		stored := seen[q.QueryID]
		if stored == nil {
			if stored, err = lookup(q.QueryID); err != nil {
				return nil, nil, err
			}
		}
		if stored != nil {
			if err := settle(stored, raw); err != nil {
				conflicts = append(conflicts, fmt.Errorf("%s: %w", q.QueryID, err))
			}
			continue
		}
		seen[q.QueryID] = raw
		fresh, raws = append(fresh, q), append(raws, raw)
	}
	if len(conflicts) > 0 {
		return nil, nil, errors.Join(conflicts...)
	}
	return fresh, raws, nil
}

// leftOut says which stores cannot be measured, and why.
var leftOut string

func leaveOut(stores, why string) {
	if leftOut != "" {
		leftOut += "; "
	}
	leftOut += stores + " left out: " + why
}
