package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/tree"
)

const (
	devLoadTime    = 10 * time.Second
	devLoadClients = 16
	devTry         = 10 * time.Second       // for one answer; then the same record is put again
	devPause       = 100 * time.Millisecond // before the next try
	devCatchUp     = time.Minute            // for the nodes to have the same
)

func (a *app) devLoadCommand(dir *string) *cobra.Command {
	var duration time.Duration
	var clients int
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put records through the nodes of dev, and look for all that were acknowledged",
		Long: `Load puts records through the nodes of a dev that is running, one at a time for
each of its clients, and says every second how many were acknowledged. A record
whose outcome is not known is put again. At the end load waits until all nodes
have read the same, looks on each node for every record that was acknowledged,
byte for byte, and compares the roots of the nodes' trees.

Exit codes: 0 nothing is missing, 5 something is.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if clients < 1 || duration <= 0 {
				return usageError{errors.New("--clients and --for must be above 0")}
			}
			l := &devLoad{a: a, dir: *dir, run: rand.Text()[:8]}
			if err := l.all(cmd.Context(), duration, clients); err != nil {
				return fmt.Errorf("dev load: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&duration, "for", devLoadTime, "how long to put records")
	cmd.Flags().IntVar(&clients, "clients", devLoadClients, "how `many` put records at the same time")
	return cmd
}

// A devLoad is one run of load.
type devLoad struct {
	a     *app
	dir   string
	run   string // which run it is, so that its records differ from those of other runs
	nodes []*socket.Client

	mu    sync.Mutex
	acked []*audit.QueryAudit
	again int // puts that were given once more
	fatal error
}

func (l *devLoad) all(ctx context.Context, duration time.Duration, clients int) error {
	for i := range devMembers {
		c, err := socket.Dial(ctx, devNode(l.dir, i))
		if errors.Is(err, socket.ErrNoServer) {
			return fmt.Errorf("%w: auditsql-cluster dev does not run in %s", err, l.dir)
		}
		if err != nil {
			return err
		}
		defer c.Close()
		l.nodes = append(l.nodes, c)
	}
	putting, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() { l.put(ctx, putting, i, clients) })
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	l.report(done)
	if l.fatal != nil {
		return l.fatal
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.compare(ctx)
}

// put puts records until putting ends. What it has begun then is still answered.
func (l *devLoad) put(ctx, putting context.Context, client, clients int) {
	for i := client; putting.Err() == nil && l.failed() == nil; i += clients {
		subject := fmt.Sprintf("load/%s/%d", l.run, i)
		q := &audit.QueryAudit{
			Timestamp: uint64(time.Now().UnixMilli()), Params: audit.QueryParams{Subject: &subject}, ResultConfidence: 0.5,
			Attributes: map[string]any{"client": client},
		}
		var err error
		if q.QueryID, err = q.ID(); err != nil {
			l.fail(err)
			return
		}
		for ctx.Err() == nil {
			one, cancel := context.WithTimeout(ctx, devTry)
			results, err := l.nodes[i%len(l.nodes)].PutAudits(one, []*audit.QueryAudit{q})
			cancel()
			if err == nil {
				err = results[0].Err
			}
			var gone *socket.GoneError
			if errors.As(err, &gone) || errors.Is(err, audit.ErrConflict) || errors.Is(err, audit.ErrInvalid) {
				l.fail(err)
				return
			}
			l.note(q, err)
			if err == nil {
				break
			}
			select {
			case <-time.After(devPause):
			case <-ctx.Done():
			}
		}
	}
}

func (l *devLoad) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *devLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = err
	}
}

func (l *devLoad) note(q *audit.QueryAudit, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.acked = append(l.acked, q)
	} else {
		l.again++
	}
}

// report says every second how many were acknowledged, until done.
func (l *devLoad) report(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := 0
	for {
		select {
		case <-tick.C:
		case <-done:
			return
		}
		l.mu.Lock()
		acked, again := len(l.acked), l.again
		l.mu.Unlock()
		fmt.Fprintf(l.a.out, "%s acknowledged, %s in the last second, %d put again\n", humanize.Comma(int64(acked)), humanize.Comma(int64(acked-before)), again)
		before = acked
	}
}

// compare looks on each node for what was acknowledged.
func (l *devLoad) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, devCatchUp, errors.New("the nodes did not come to the same in time"))
	defer cancel()
	partitions, err := cluster.PartitionsIn(devNode(l.dir, 0))
	if err != nil {
		return err
	}
	var copies [][]*audit.DB // of each partition, of each node
	for at := range max(partitions, 1) {
		var of []*audit.DB
		for i := range devMembers {
			dir := devNode(l.dir, i)
			if partitions > 0 {
				dir = cluster.PartitionDir(dir, at)
			}
			db, err := audit.OpenContext(ctx, dir, audit.ReadOnly())
			if err != nil {
				return err
			}
			defer db.Close()
			of = append(of, db)
		}
		copies = append(copies, of)
	}
	ends, err := l.ends(ctx)
	if err != nil {
		return err
	}
	if len(ends) != len(copies) {
		return fmt.Errorf("%w: there are %d streams, and the nodes have %d copies each", cluster.ErrMismatch, len(ends), len(copies))
	}
	for {
		same := true
		for at, of := range copies {
			one, err := l.same(ctx, of, ends[at])
			if err != nil {
				return err
			}
			same = same && one
		}
		if same {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	missing := 0
	for i := range devMembers {
		lacks := 0
		for _, q := range l.acked {
			want, err := q.Canonical()
			if err != nil {
				return err
			}
			raw, err := copies[cluster.PartitionOf(q.QueryID, len(copies))][i].GetRaw(ctx, q.QueryID)
			if err != nil && !errors.Is(err, audit.ErrNotFound) {
				return err
			}
			if !bytes.Equal(raw, want) {
				lacks++
			}
		}
		records, roots := uint64(0), []string{}
		for _, of := range copies {
			size, root, err := of[i].Root(ctx)
			if err != nil {
				return err
			}
			records, roots = records+size, append(roots, root.String())
		}
		word := "root"
		if len(roots) > 1 {
			word = "roots"
		}
		fmt.Fprintf(l.a.out, "node n%d: %s records, %s %s, %d of the acknowledged ones missing\n", i+1, humanize.Comma(int64(records)), word, strings.Join(roots, " "), lacks)
		missing += lacks
	}
	fmt.Fprintf(l.a.out, "%s acknowledged, %d missing\n", humanize.Comma(int64(len(l.acked))), missing)
	if missing > 0 {
		return quietError{exitDamage}
	}
	return nil
}

// ends returns the number of the last message of each stream. A node has decided what it acknowledged, and its SQLite gets that a moment
// later: what is not in SQLite before the end of the stream is not missing yet.
func (l *devLoad) ends(ctx context.Context) (ends []uint64, err error) {
	state, err := readDevState(l.dir, 1)
	if err != nil {
		return nil, err
	}
	logs, err := jetstream.OpenSet(ctx, (&devCluster{a: l.a, dir: l.dir, state: state}).asNode())
	if err != nil {
		return nil, err
	}
	defer closeLogs(logs)
	for _, log := range logs {
		b, err := log.Bounds(ctx)
		if err != nil {
			return nil, err
		}
		ends = append(ends, b.Last)
	}
	return ends, nil
}

// same reports whether all nodes have the messages up to the end, and have read the same number of messages. Then their records must be the
// same too.
func (l *devLoad) same(ctx context.Context, copies []*audit.DB, end uint64) (bool, error) {
	var size uint64
	var root tree.Hash
	var at audit.Offset
	for i, db := range copies {
		stats, err := db.Stats(ctx)
		if err != nil {
			return false, err
		}
		n, r, err := db.Root(ctx)
		if err != nil {
			return false, err
		}
		switch {
		case uint64(stats.Applied) < end:
			return false, nil
		case i == 0:
			at, size, root = stats.Applied, n, r
		case stats.Applied != at || n != size:
			return false, nil
		case r != root:
			return false, fmt.Errorf("%w: the nodes have %d records each, and node n%d has the root %v, and node n1 %v", audit.ErrDamaged, n, i+1, r, root)
		}
	}
	return true, nil
}
