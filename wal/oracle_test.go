package wal_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/auditsql/auditsql/wal"
)

// oracle knows what the journal was given and what it has promised, and judges what is found in it.
//
// A record is offered when it is given to the journal. It is taken when it was acknowledged or found in the log; from
// then on its offset is fixed. Before that it may be there, whole, or not. It is gone when it was refused, or when a
// recovery did not find it: from then on nobody may see it.
type oracle struct {
	mu    sync.Mutex
	known map[string]*given
	order []*given // as they were offered
	at    map[wal.Offset]*given

	// floor is the offset below which everything was promised to survive a power cut. What is taken above it was
	// acknowledged at SyncInterval, and survives the death of the process.
	floor wal.Offset
	cut   bool // the power was cut since the last recovery
	// trim is the highest offset that RemoveBefore was given.
	trim wal.Offset
	// holes says that recovery keeps what is intact after what is not, so what was given later may be there alone.
	holes bool
	// torn is what recoveries have cut, by its offset.
	torn []tornBytes
}

type given struct {
	payload string
	by      int // the goroutine that offers it; what one offers later lies after it
	turn    int // when it was offered
	state   givenState
	off     wal.Offset
	// below, if above 0: it is not in the log, but may have been there below this offset, in a segment that was
	// removed; a reader may have that open still.
	below wal.Offset
}

type givenState int

const (
	offered givenState = iota
	taken
	gone
)

type tornBytes struct {
	off   wal.Offset
	bytes []byte
}

const headerSize = 40

func (g *given) next() wal.Offset { return g.off + headerSize + wal.Offset(len(g.payload)) }

func newOracle() *oracle {
	return &oracle{known: map[string]*given{}, at: map[wal.Offset]*given{}}
}

func (o *oracle) offer(by int, payloads []string) []*given {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*given
	for _, p := range payloads {
		g := &given{payload: p, by: by, turn: len(o.order)}
		o.known[p] = g
		o.order = append(o.order, g)
		all = append(all, g)
	}
	return all
}

// refuse takes back records that the journal has refused.
func (o *oracle) refuse(all []*given) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range all {
		g.state = gone
	}
}

// acknowledge tells the oracle the offsets that an append has returned; durable says that the append's level promises
// that they survive a power cut.
func (o *oracle) acknowledge(all []*given, offs []wal.Offset, durable bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(offs) != len(all) {
		return fmt.Errorf("%d records were given and %d offsets returned", len(all), len(offs))
	}
	for i, g := range all {
		if err := o.take(g, offs[i]); err != nil {
			return fmt.Errorf("acknowledged: %w", err)
		}
		if durable {
			o.floor = max(o.floor, g.next())
		}
	}
	return nil
}

// take compares a record and its offset with all that is known of both. The caller holds mu.
func (o *oracle) take(g *given, off wal.Offset) error {
	switch {
	case g.state == gone:
		return fmt.Errorf("%s at %d, which had been refused or lost", brief(g.payload), off)
	case g.below > 0 && off >= g.below:
		return fmt.Errorf("%s at %d, which had been lost unless it was below %d", brief(g.payload), off, g.below)
	case g.state == taken && g.off != off:
		return fmt.Errorf("%s at %d, which lies at %d", brief(g.payload), off, g.off)
	case o.at[off] != nil && o.at[off] != g:
		return fmt.Errorf("%s at %d, where %s lies", brief(g.payload), off, brief(o.at[off].payload))
	}
	g.state, g.off = taken, off
	o.at[off] = g
	return nil
}

// promise raises the floor: the journal has said that everything below is durable.
func (o *oracle) promise(off wal.Offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.floor = max(o.floor, off)
}

// served judges a record that a reader has returned, having been at from before. One in the writer's process has
// promised that it is durable.
func (o *oracle) served(rec wal.Record, from wal.Offset, sameProcess bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.known[string(rec.Payload)]
	if g == nil {
		return fmt.Errorf("served at %d: %s, which nobody has given", rec.Offset, brief(string(rec.Payload)))
	}
	if err := o.take(g, rec.Offset); err != nil {
		return fmt.Errorf("served: %w", err)
	}
	if rec.Next != g.next() {
		return fmt.Errorf("served: %s at %d, whose next is %d", brief(g.payload), rec.Offset, rec.Next)
	}
	if sameProcess {
		o.floor = max(o.floor, rec.Next)
	}
	for off, skipped := range o.at {
		if from <= off && off < rec.Offset {
			return fmt.Errorf("served: %s at %d, and not %s at %d before it", brief(g.payload), rec.Offset, brief(skipped.payload), off)
		}
	}
	return nil
}

// missing returns a record at or above from and below to that is taken.
func (o *oracle) missing(from, to wal.Offset) *given {
	o.mu.Lock()
	defer o.mu.Unlock()
	for off, g := range o.at {
		if from <= off && g.next() <= to {
			return g
		}
	}
	return nil
}

// cursors are the offsets that a caller may have, durably.
func (o *oracle) cursors() []wal.Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	legal := []wal.Offset{o.trim}
	for _, g := range o.at {
		if next := g.next(); o.trim <= next && next <= o.floor {
			legal = append(legal, next)
		}
	}
	slices.Sort(legal)
	return slices.Compact(legal)
}

// trimming tells the oracle that RemoveBefore will be called.
func (o *oracle) trimming(off wal.Offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trim = max(o.trim, off)
}

// powerCut tells the oracle of a power cut.
func (o *oracle) powerCut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cut = true
}

// found is the log as a recovery has left it, from the first segment's base to the end.
type found struct {
	first, end wal.Offset
	records    []wal.Record
	archived   map[string]wal.Offset // nil when nothing is archived
}

// recovered judges the log after a recovery. From now on what is in it is promised, and nothing else may come back.
func (o *oracle) recovered(log found) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if log.end < o.floor {
		return fmt.Errorf("the log ends at %d, and %d was promised", log.end, o.floor)
	}
	if log.first > o.trim {
		return fmt.Errorf("the log begins at %d, and %d was the most to be removed", log.first, o.trim)
	}
	seen := map[*given]bool{}
	last := map[int]int{} // the turn of the last one found, by goroutine
	for _, rec := range log.records {
		g := o.known[string(rec.Payload)]
		if g == nil {
			return fmt.Errorf("found at %d: %s, which nobody has given", rec.Offset, brief(string(rec.Payload)))
		}
		if err := o.take(g, rec.Offset); err != nil {
			return fmt.Errorf("found: %w", err)
		}
		if seen[g] {
			return fmt.Errorf("found twice: %s, at %d", brief(g.payload), rec.Offset)
		}
		if turn, ok := last[g.by]; ok && turn > g.turn {
			return fmt.Errorf("found: %s at %d, after what was given later", brief(g.payload), rec.Offset)
		}
		seen[g], last[g.by] = true, g.turn
	}
	for _, g := range o.order {
		switch {
		case seen[g] || g.state == gone:
		case g.state == taken && g.off < log.first:
			if log.archived == nil {
				continue
			}
			if off, ok := log.archived[g.payload]; !ok || off != g.off {
				return fmt.Errorf("%s at %d was removed, and the archive does not have it", brief(g.payload), g.off)
			}
		case g.state == taken && (!o.cut || g.next() <= o.floor):
			return fmt.Errorf("lost: %s at %d (promised up to %d, power cut: %v)", brief(g.payload), g.off, o.floor, o.cut)
		case log.first == 0 && last[g.by] > g.turn && !o.holes:
			return fmt.Errorf("lost: %s, and what was given after it is there", brief(g.payload))
		case g.state == taken:
			delete(o.at, g.off)
			g.state = gone
		case log.first > 0 && g.below == 0:
			g.below = log.first // nobody has asked for its offset
		case log.first == 0:
			g.state = gone
		}
	}
	o.floor, o.cut = log.end, false
	return nil
}

// damaged tells the oracle that the log was damaged in the record at off, where nothing attests it: recovery takes it for torn. Without
// holes it cuts there.
func (o *oracle) damaged(off wal.Offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.floor = min(o.floor, off)
	maps.DeleteFunc(o.at, func(at wal.Offset, g *given) bool {
		lost := at == off || at > off && !o.holes
		if lost {
			g.state = gone
		}
		return lost
	})
}

// lose tells the oracle which records were damaged and cannot be handed back.
func (o *oracle) lose(payloads []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range payloads {
		if g := o.known[p]; g != nil {
			g.state = gone
			maps.DeleteFunc(o.at, func(_ wal.Offset, other *given) bool { return other == g })
		}
	}
}

func brief(payload string) string {
	if len(payload) > 24 {
		return fmt.Sprintf("%q… (%d bytes)", payload[:24], len(payload))
	}
	return fmt.Sprintf("%q", payload)
}
