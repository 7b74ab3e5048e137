package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

// clusterStore is a node in this process, and three servers of NATS with the log, each in a process of its own.
type clusterStore struct {
	auditsql // the node's copy, for reading
	nats     *natsServers
	log      *jetstream.Log
	node     *cluster.Node
	others   []*following // nodes in other processes
}

func openCluster(s settings) (_ store, err error) {
	ctx := context.Background()
	c := &clusterStore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.nats, err = startNATS(ctx, s.dir, s.writers, s.profile); err != nil {
		return nil, err
	}
	if c.log, c.node, err = openNode(ctx, filepath.Join(s.dir, "n1"), c.nats.options()); err != nil {
		return nil, err
	}
	c.db = c.node.DB
	return c, nil
}

// openNode opens a node. It is refused unless each server is found to sync each write.
func openNode(ctx context.Context, dir string, o jetstream.Options) (*jetstream.Log, *cluster.Node, error) {
	log, err := jetstream.Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	node, err := cluster.Open(ctx, dir, log, cluster.Options{})
	if err != nil {
		log.Close()
		return nil, nil, err
	}
	return log, node, nil
}

func (c *clusterStore) put(ctx context.Context, q *audit.QueryAudit) error {
	_, err := c.node.PutAudit(ctx, q)
	return err
}

func (c *clusterStore) load(ctx context.Context, qs []*audit.QueryAudit) error {
	results, err := c.node.PutAudits(ctx, qs)
	if err != nil {
		return err
	}
	for i := range results {
		err = errors.Join(err, results[i].Err)
	}
	return err
}

// drain has nothing to wait for: a put returns when the node's SQLite has its record.
func (c *clusterStore) drain(context.Context) error { return nil }

// servers returns the processes of the servers and of the other nodes.
func (c *clusterStore) servers() []int {
	pids := c.nats.pids()
	for _, o := range c.others {
		pids = append(pids, o.process.pid)
	}
	return pids
}

// closeNode closes the node of this process, and leaves the servers as they are.
func (c *clusterStore) closeNode() (err error) {
	if c.node != nil {
		err = c.node.Close()
		c.log.Close()
		c.node = nil
	}
	return err
}

func (c *clusterStore) close() (err error) {
	for _, o := range c.others {
		err = errors.Join(err, o.end())
	}
	c.others = nil
	err = errors.Join(err, c.closeNode())
	if c.nats != nil {
		err = errors.Join(err, c.nats.close())
	}
	return err
}
