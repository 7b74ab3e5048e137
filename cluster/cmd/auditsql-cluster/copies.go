package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/web"
)

// A store is what is served: a node, or the nodes of all partitions. A node is served as a store on one machine is, and its server says
// how many messages of the log it lacks.
type store interface {
	serving.Store
	web.Following
	Close() error
}

var (
	_ store = (*cluster.Node)(nil)
	_ store = (*cluster.Partitions)(nil)
)

// copies are the copies of a node: one of the stream, or one of each stream of a set.
type copies struct {
	store
	nodes []*cluster.Node // in the order of the partitions
	logs  []*jetstream.Log
}

// openCopies connects to the stream, or to the streams of a set, and opens the copies in a folder. oneTree is a flag that cannot be used
// with a set, or "": each stream of a set has a tree of its own, and a key that signed two of them would contradict itself.
func (a *app) openCopies(ctx context.Context, connect jetstream.Options, dir, oneTree string, o cluster.Options) (_ *copies, err error) {
	c := &copies{}
	if c.logs, err = jetstream.OpenSet(ctx, connect); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeLogs(c.logs)
		}
	}()
	info, err := c.logs[0].Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.Partition.Whole() {
		n, err := cluster.Open(ctx, dir, c.logs[0], o)
		if err != nil {
			return nil, err
		}
		c.store, c.nodes = n, []*cluster.Node{n}
	} else if oneTree != "" {
		return nil, usageError{fmt.Errorf("%s works with one stream, and the records here are divided among %d: each has a tree of its own", oneTree, len(c.logs))}
	} else {
		p, err := cluster.OpenPartitions(ctx, dir, logsOf(c.logs), o)
		if err != nil {
			return nil, err
		}
		c.store, c.nodes = p, p.Nodes()
	}
	for _, n := range c.nodes {
		a.notes(n)
	}
	return c, nil
}

// Close closes the copies, and then the connections.
func (c *copies) Close() error {
	defer closeLogs(c.logs)
	return c.store.Close()
}

// cursors are the numbers of the last messages that the copies have.
func (c *copies) cursors() []uint64 {
	var cursors []uint64
	for _, n := range c.nodes {
		cursors = append(cursors, n.Cursor())
	}
	return cursors
}

func closeLogs(logs []*jetstream.Log) {
	for _, l := range logs {
		l.Close()
	}
}

func logsOf(logs []*jetstream.Log) []cluster.Log {
	all := make([]cluster.Log, len(logs))
	for i, l := range logs {
		all[i] = l
	}
	return all
}

// eachStream calls f for the stream, or for each stream of a set, with the folder of its copy. It goes on after an error. Of a set it calls
// tell, if that is not nil, at once with each error that f has not told itself: the one with which the command ends says nothing of the others.
func eachStream(ctx context.Context, o jetstream.Options, dir string, tell func(error), f func(log *jetstream.Log, dir string) error) error {
	logs, err := jetstream.OpenSet(ctx, o)
	if err != nil {
		return err
	}
	defer closeLogs(logs)
	var infos []cluster.Info
	for _, l := range logs {
		info, err := l.Info(ctx)
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	if p := infos[0].Partition; p.Whole() || len(logs) == 1 {
		return f(logs[0], dir) // one stream of a set can be checked by itself
	}
	if err := cluster.CheckSet(infos); err != nil {
		return err
	}
	if len(logs) > 1 && dir != "" {
		n, err := cluster.PartitionsIn(dir)
		if err != nil {
			return err
		}
		if n != len(logs) {
			return fmt.Errorf("%s: %w: it has the copies of %d partitions, and there are %d streams", dir, cluster.ErrMismatch, n, len(logs))
		}
	}
	var failed []error
	for i, l := range logs {
		err := f(l, cluster.PartitionDir(dir, i))
		if err == nil {
			continue
		}
		if tell != nil && !errors.As(err, new(quietError)) {
			tell(fmt.Errorf("%s: %w", infos[i].Name, err))
			err = quietError{exitCode(err)}
		}
		failed = append(failed, err)
	}
	return worst(failed)
}

// worst is the error of several with which the command ends: damage before anything else.
func worst(failed []error) error {
	for _, err := range failed {
		if exitCode(err) == exitDamage {
			return err
		}
	}
	return errors.Join(failed...)
}
