package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
)

// Partitions is one store whose records are divided among several logs by their ids, with a copy of each log in a folder of its own:
//
//	put ─► PartitionOf(id) ─► log 0 ─► Node 0 ─► DIR/partition-0
//	                     └──► log 1 ─► Node 1 ─► DIR/partition-1
//
// The first record under an id stays, since all records under it go through one log. There is no order between the records of two logs
// but that of their timestamps.
//
// Questions are asked in all copies, and answered as one store would (audit.Union, which says what is refused). Each copy is a prefix of
// its log. What this node has put is in the copies when the put returns; a read sees what other nodes have put in one partition
// whether or not it sees what they have put in another one before. AwaitApplied waits for both.
//
// Puts of one partition go on while another one has no majority. Its methods may be called from several goroutines.
type Partitions struct {
	*audit.Union
	set   Partition
	nodes []*Node
}

var _ audit.Store = (*Partitions)(nil)

// OpenPartitions opens the copies of all partitions of a set in the folders of dir, makes those that are not there, and begins to follow
// the logs. Each is opened as Open does it.
//
// It refuses logs that are not all partitions of one set in their order, and a folder with the copies of another set (ErrMismatch).
func OpenPartitions(ctx context.Context, dir string, logs []Log, o Options) (*Partitions, error) {
	p := &Partitions{}
	if err := p.open(ctx, dir, logs, o); err != nil {
		return nil, fmt.Errorf("open partitions: %w", errors.Join(err, p.Close()))
	}
	return p, nil
}

func (p *Partitions) open(ctx context.Context, dir string, logs []Log, o Options) error {
	infos, err := infosOf(ctx, logs)
	if err != nil {
		return err
	}
	if infos[0].Partition.Whole() {
		return fmt.Errorf("%s: %w: it is no partition", infos[0].Name, ErrMismatch)
	}
	if err := keepSet(dir, infos[0].Partition); err != nil {
		return err
	}
	for i, log := range logs {
		of := o
		of.partition = infos[i].Partition
		if o.Name != "" {
			of.Name = fmt.Sprintf("%s/partition-%d", o.Name, i)
		}
		n, err := Open(ctx, PartitionDir(dir, i), log, of)
		if err != nil {
			return err
		}
		p.nodes = append(p.nodes, n)
	}
	copies := make([]*audit.DB, len(p.nodes))
	for i, n := range p.nodes {
		copies[i] = n.DB
	}
	p.set = infos[0].Partition
	p.Union, err = audit.NewUnion(copies, func(id audit.QueryID) int { return PartitionOf(id, len(copies)) })
	return err
}

// Stats is [audit.Union.Stats], with the id of the set and the heads of the nodes of each partition.
func (p *Partitions) Stats(ctx context.Context) (audit.Stats, error) {
	s, err := p.Union.Stats(ctx)
	if err != nil {
		return s, err
	}
	s.StoreID, s.Heads = p.set.Set, []audit.NodeHead{}
	for _, n := range p.nodes {
		s.Heads = append(s.Heads, n.nodeHeads()...)
	}
	return s, nil
}

// Recovery returns what opening the copies did to them, in the order of the partitions.
func (p *Partitions) Recovery() (all []audit.Recovery) {
	for _, n := range p.nodes {
		all = append(all, n.Recovery())
	}
	return all
}

// Close closes all nodes, as their Close does.
func (p *Partitions) Close() error {
	errs := make([]error, len(p.nodes))
	p.each(func(i int, n *Node) { errs[i] = n.Close() })
	return errors.Join(errs...)
}

// Nodes are the nodes of the partitions, in their order. Each answers for its own partition alone.
func (p *Partitions) Nodes() []*Node { return p.nodes }

// each calls f for all nodes at once, and waits.
func (p *Partitions) each(f func(i int, n *Node)) {
	var all sync.WaitGroup
	for i, n := range p.nodes {
		all.Go(func() { f(i, n) })
	}
	all.Wait()
}

// Err returns why a node goes no further or takes no puts, or nil. The other partitions go on meanwhile.
func (p *Partitions) Err() error {
	for _, n := range p.nodes {
		if err := n.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Cursors returns for each partition the number of the last message that its copy has.
func (p *Partitions) Cursors() []uint64 {
	cursors := make([]uint64, len(p.nodes))
	for i, n := range p.nodes {
		cursors[i] = n.Cursor()
	}
	return cursors
}

// WaitFor waits until the copy of each partition has the message with the number that is given for it. Another node's Cursors tells them.
func (p *Partitions) WaitFor(ctx context.Context, cursors []uint64) error {
	if len(cursors) != len(p.nodes) {
		return fmt.Errorf("%w: %d numbers of messages for %d partitions", audit.ErrInvalid, len(cursors), len(p.nodes))
	}
	for i, n := range p.nodes {
		if err := n.WaitFor(ctx, cursors[i]); err != nil {
			return err
		}
	}
	return nil
}

// AwaitApplied waits until the copies have everything that was acknowledged before the call, by whatever node. For that it gives each
// log a message of its own, see Node.Barrier.
func (p *Partitions) AwaitApplied(ctx context.Context) error {
	errs := make([]error, len(p.nodes))
	p.each(func(i int, n *Node) { errs[i] = n.AwaitApplied(ctx) })
	return errors.Join(errs...)
}

// Behind returns how many messages the logs have together that the copies do not have yet. An error says that a log did not say.
func (p *Partitions) Behind(ctx context.Context) (uint64, error) {
	behind, errs := make([]uint64, len(p.nodes)), make([]error, len(p.nodes))
	p.each(func(i int, n *Node) { behind[i], errs[i] = n.Behind(ctx) })
	total := uint64(0)
	for _, b := range behind {
		total += b
	}
	return total, errors.Join(errs...)
}

// PutAudit is Node.PutAudit: the record is decided in the log of its partition.
func (p *Partitions) PutAudit(ctx context.Context, q *audit.QueryAudit) (audit.QueryID, error) {
	results, err := p.PutAudits(ctx, []*audit.QueryAudit{q})
	if err != nil {
		return audit.QueryID{}, err
	}
	return results[0].ID, results[0].Err
}

// PutAudits is Node.PutAudits. All partitions take their records at the same time. Those of one partition get their places in its log in
// the order in which they are given.
//
// An error concerns the whole call. Some of the records may be stored then, those of other partitions too.
func (p *Partitions) PutAudits(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	results := make([]audit.PutResult, len(qs))
	records, of := make([][]given, len(p.nodes)), make([][]int, len(p.nodes))
	for i, q := range qs {
		g := encoded(q)
		if g.err != nil {
			results[i].Err = g.err
			continue
		}
		at := PartitionOf(g.id, len(p.nodes))
		records[at], of[at] = append(records[at], g), append(of[at], i)
	}
	errs := make([]error, len(p.nodes))
	p.each(func(at int, n *Node) {
		var decided []audit.PutResult
		if len(records[at]) > 0 {
			decided, errs[at] = n.put(ctx, records[at])
		}
		for i, r := range decided {
			results[of[at][i]] = r
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return results, nil
}

// PutUntilRefused is Node.PutUntilRefused. Each record is decided before the next one is given to its log.
func (p *Partitions) PutUntilRefused(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	return putUntilRefused(ctx, qs, p.PutAudits)
}

// setFile is the name of the file that says of which set of partitions a folder has copies.
const setFile = "partitions.json"

// setNote is the content of setFile.
type setNote struct {
	Set        string `json:"set"`
	Partitions int    `json:"partitions"`
}

// PartitionDir returns the folder of a partition's copy within the folder of a node.
func PartitionDir(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprint("partition-", number))
}

// PartitionsIn returns how many partitions the folder of a node has copies of, 0 if it is one copy or none.
func PartitionsIn(dir string) (int, error) {
	note, err := readSet(dir)
	if err != nil || note == nil {
		return 0, err
	}
	return note.Partitions, nil
}

// readSet reads setFile, nil if there is none.
func readSet(dir string) (*setNote, error) {
	name := filepath.Join(dir, setFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var note setNote
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a newer version may mean something else by it
	if err := d.Decode(&note); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrMismatch, err)
	}
	if note.Partitions < 2 || note.Partitions > MaxPartitions {
		return nil, fmt.Errorf("%s: %w: it says that there are %d partitions", name, ErrMismatch, note.Partitions)
	}
	return &note, nil
}

// keepSet compares setFile with the set that is followed, and writes it when there is none. It is on disk before the first copy is
// made. So a folder with a copy in it always says of which set that is.
func keepSet(dir string, p Partition) error {
	have, err := readSet(dir)
	if err != nil {
		return err
	}
	want := setNote{p.Set, p.Of}
	if have != nil {
		if *have != want {
			return fmt.Errorf("%s: %w: it has the copies of %d partitions of set %s, and the logs are %d partitions of set %s", dir, ErrMismatch, have.Partitions, have.Set, want.Partitions, want.Set)
		}
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, storedir.FileName)); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s: %w: it is the copy of one log, and there are %d partitions", dir, ErrMismatch, p.Of)
		}
		return err
	}
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(dir, ""); err != nil {
		return err
	}
	return durable.WriteBytes(filepath.Join(dir, setFile), "", append(text, '\n'))
}

// checkNoSet refuses the folder of a set for the copy of one log.
func checkNoSet(dir string, info Info) error {
	note, err := readSet(dir)
	if err == nil && note != nil {
		err = fmt.Errorf("%s: %w: it has the copies of %d partitions, and %s is one log", dir, ErrMismatch, note.Partitions, info.Name)
	}
	return err
}

// infosOf asks each log about itself, and refuses logs that are no set.
func infosOf(ctx context.Context, logs []Log) ([]Info, error) {
	infos := make([]Info, len(logs))
	for i, log := range logs {
		var err error
		if infos[i], err = log.Info(ctx); err != nil {
			return nil, err
		}
	}
	return infos, CheckSet(infos)
}
