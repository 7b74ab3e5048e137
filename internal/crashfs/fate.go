package crashfs

import (
	"maps"
	"slices"
)

// fate decides which of the changes since the last sync reach the platter.
type fate struct {
	kind  fateKind
	until int   // for inOrder: the clock of the first change that is not whole; if 0, each file and folder draws its own
	unit  int64 // for scattered: the size of a sector or a page, in bytes
}

type fateKind int

const (
	eachItsOwn fateKind = iota // each file and folder draws one of the kinds below
	nothing
	everything
	inOrder   // the changes up to some moment, and a part of the next one
	scattered // each unit of a file, and each name, as it was at some moment of its own
)

// drawFate draws the fate of the whole disk. The kinds nothing and everything are drawn often, because most crashes leave
// one of the two.
func (d *Disk) drawFate() fate {
	if d.rng.IntN(2) == 0 {
		return fate{kind: eachItsOwn}
	}
	f := d.drawOwn()
	if f.kind == inOrder {
		f.until = d.clock + 1 - d.rng.IntN(20)
	}
	return f
}

func (d *Disk) drawOwn() fate {
	f := fate{kind: nothing + fateKind(d.rng.IntN(4)), unit: 512}
	if d.rng.IntN(2) == 0 {
		f.unit = 4096
	}
	return f
}

// content is a file's bytes.
type content struct {
	seen    []byte
	disk    []byte
	changes []change
}

// change is a write of bytes at pos, or a truncation to the length pos.
type change struct {
	clock int
	pos   int64
	bytes []byte // nil for a truncation
}

func (c *content) write(d *Disk, b []byte, pos int64) {
	if len(b) == 0 {
		return
	}
	d.clock++
	c.changes = append(c.changes, change{d.clock, pos, slices.Clone(b)})
	c.seen = overwrite(c.seen, b, pos)
}

func (c *content) truncate(d *Disk, size int64) {
	d.clock++
	c.changes = append(c.changes, change{d.clock, size, nil})
	c.seen = resize(c.seen, size)
}

// sync applies the changes to the platter. It does not copy what is seen: after a failed sync what is seen has more than
// the platter and the changes together, since a kernel that has forgotten which pages were dirty does not write them. A
// write that reaches the platter makes the file there long enough for its last byte.
func (c *content) sync() {
	c.disk = apply(c.disk, c.changes)
	c.changes = nil
}

// forget does what a failed sync does: some of the changes reach the platter, and the rest is forgotten.
func (c *content) forget(d *Disk) {
	c.disk = c.outcome(d, d.drawOwn())
	c.changes = nil
}

// outcome returns what the platter may hold if power is cut now.
func (c *content) outcome(d *Disk, f fate) []byte {
	if len(c.changes) == 0 {
		return c.disk
	}
	if f.kind == eachItsOwn {
		f = d.drawOwn()
	}
	switch f.kind {
	case nothing:
		return c.disk
	case everything:
		return apply(c.disk, c.changes)
	case inOrder:
		return c.inOrder(d, f)
	}
	return c.scattered(d, f.unit)
}

func (c *content) inOrder(d *Disk, f fate) []byte {
	if f.until == 0 {
		f.until = c.changes[d.rng.IntN(len(c.changes))].clock
	}
	n := 0
	for n < len(c.changes) && c.changes[n].clock < f.until {
		n++
	}
	disk := apply(c.disk, c.changes[:n])
	if n == len(c.changes) || c.changes[n].bytes == nil {
		return disk
	}
	cut := c.changes[n]
	if cut.bytes = cut.bytes[:d.rng.IntN(len(cut.bytes)+1)]; len(cut.bytes) == 0 {
		return disk
	}
	return apply(disk, []change{cut})
}

// scattered returns what is left when the units of the file reach the platter in any order. On a disk that truncates in
// one step, a write after a truncation does not reach the platter before that truncation.
func (c *content) scattered(d *Disk, unit int64) []byte {
	var cuts []int // the indexes of truncations in changes
	for i, ch := range c.changes {
		if ch.bytes == nil {
			cuts = append(cuts, i)
		}
	}
	if !d.stepwise || len(cuts) == 0 {
		return c.scatter(d, unit)
	}
	done := d.rng.IntN(len(cuts) + 1)
	now := content{disk: c.disk, changes: c.changes}
	if done < len(cuts) {
		now.changes = c.changes[:cuts[done]]
	}
	if done > 0 {
		last := cuts[done-1]
		before := content{disk: c.disk, changes: c.changes[:last]}
		now.disk = resize(before.outcome(d, fate{kind: scattered, unit: unit}), c.changes[last].pos)
		now.changes = now.changes[last+1:]
	}
	if len(now.changes) == 0 {
		return now.disk
	}
	return now.scatter(d, unit)
}

// scatter returns the file with each unit as it was after some number of changes, and with the length that it had after
// another number. That is because a kernel writes pages back at different times, each with its bytes at that time.
func (c *content) scatter(d *Disk, unit int64) []byte {
	size := c.lengthAfter(d.rng.IntN(len(c.changes) + 1))
	if d.rng.IntN(3) == 0 {
		size = c.lengthAfter(len(c.changes)) // the length grows before the bytes are written
	}
	stale := d.rng.IntN(4) == 0
	disk := resize(slices.Clone(c.disk), size)
	odds := 1 + d.rng.IntN(4) // about so many of 6 units are on the platter as they are seen
	for at := int64(0); at < size; at += unit {
		end := min(at+unit, size)
		n := len(c.changes)
		switch draw := d.rng.IntN(6); {
		case draw == 5:
			n = d.rng.IntN(n + 1)
		case draw >= odds:
			n = 0
		}
		touched := false
		for i, ch := range c.changes[:n] {
			touched = touch(disk[at:end], at, ch, i == n-1 && d.rng.IntN(8) == 0, d) || touched
		}
		if !touched && stale && at >= int64(len(c.disk)) && len(d.freed) > 0 {
			old := d.freed[d.rng.IntN(len(d.freed))]
			if from := unit * d.rng.Int64N(1+int64(len(old))/unit); d.rng.IntN(2) == 0 {
				old = old[from:]
			}
			copy(disk[at:end], old)
		}
	}
	return disk
}

// touch applies a change to one unit of a file, which begins at the position at. A torn change is written only in part. touch
// reports whether it wrote bytes of the change.
func touch(unit []byte, at int64, ch change, torn bool, d *Disk) bool {
	end := at + int64(len(unit))
	if ch.bytes == nil {
		if ch.pos < end {
			clear(unit[max(0, ch.pos-at):])
		}
		return false
	}
	from, to := max(ch.pos, at), min(ch.pos+int64(len(ch.bytes)), end)
	if from >= to {
		return false
	}
	if torn {
		to = from + d.rng.Int64N(to-from+1)
	}
	copy(unit[from-at:to-at], ch.bytes[from-ch.pos:])
	return true
}

func (c *content) lengthAfter(n int) int64 {
	size := int64(len(c.disk))
	for _, ch := range c.changes[:n] {
		if ch.bytes == nil {
			size = ch.pos
		} else {
			size = max(size, ch.pos+int64(len(ch.bytes)))
		}
	}
	return size
}

// apply returns a copy of b with the changes made to it.
func apply(b []byte, changes []change) []byte {
	b = slices.Clone(b)
	for _, ch := range changes {
		if ch.bytes == nil {
			b = resize(b, ch.pos)
		} else {
			b = overwrite(b, ch.bytes, ch.pos)
		}
	}
	return b
}

func overwrite(b, with []byte, pos int64) []byte {
	if end := pos + int64(len(with)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[pos:], with)
	return b
}

// resize returns b with a length of size. New bytes are zeros.
func resize(b []byte, size int64) []byte {
	had := int64(len(b))
	if size <= had {
		return slices.Clone(b[:size])
	}
	b = slices.Grow(b, int(size-had))[:size]
	clear(b[had:])
	return b
}

// names is what a folder holds.
type names struct {
	seen, disk map[string]*node
	changes    []nameChange
	// forgotten is set when a sync has failed: then seen may differ from disk in more than the changes.
	forgotten bool
}

// nameChange is a change of names in a folder. It removes the name from and gives the node n the name to. Either may be
// empty, and then that part is not done.
type nameChange struct {
	clock    int
	from, to string
	n        *node
	moved    *move // set for a rename into another folder
}

// move is a rename into another folder. It is a change in two folders, and still one step: both changes reach the platter,
// or neither does. The fate of the change whose outcome is asked first is that of both.
type move struct {
	decided, done bool
}

// outcome returns whether the change reaches the platter. That is done, unless the other half of a move has already been
// decided.
func (c nameChange) outcome(done bool) bool {
	if c.moved == nil {
		return done
	}
	if !c.moved.decided {
		c.moved.decided, c.moved.done = true, done
	}
	return c.moved.done
}

func (m *names) change(d *Disk, c nameChange) {
	d.clock++
	c.clock = d.clock
	m.changes = append(m.changes, c)
	c.applyTo(m.seen)
}

func (c nameChange) applyTo(names map[string]*node) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.n
	}
}

// sync writes nothing, and succeeds, if the folder has not changed since a failed sync. It is the same with files. But the
// names of a folder lie together in one block, so after one more change a sync writes all of them.
func (m *names) sync(d *Disk) {
	if len(m.changes) == 0 {
		return
	}
	before := m.disk
	m.disk = maps.Clone(m.disk)
	for _, c := range m.changes {
		if c.outcome(true) {
			c.applyTo(m.disk)
		}
	}
	if m.forgotten {
		m.disk, m.forgotten = maps.Clone(m.seen), false
	}
	m.changes = nil
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if gone := before[name]; m.disk[name] != gone && len(gone.file.disk) > 0 {
			d.freed = append(d.freed, gone.file.disk)
		}
	}
	const keep = 8
	d.freed = d.freed[max(0, len(d.freed)-keep):]
}

func (m *names) forget(d *Disk) {
	m.disk = m.outcome(d, d.drawOwn())
	m.changes, m.forgotten = nil, true
}

func (m *names) outcome(d *Disk, f fate) map[string]*node {
	if len(m.changes) == 0 {
		return maps.Clone(m.disk)
	}
	if f.kind == eachItsOwn {
		f = d.drawOwn()
	}
	if f.kind == everything && m.forgotten {
		for _, c := range m.changes {
			c.outcome(true)
		}
		return maps.Clone(m.seen)
	}
	if f.kind == inOrder && f.until == 0 {
		f.until = m.changes[d.rng.IntN(len(m.changes))].clock
	}
	disk := maps.Clone(m.disk)
	for _, c := range m.changes {
		done := f.kind == everything
		switch f.kind {
		case inOrder:
			done = c.clock < f.until
		case scattered:
			done = d.rng.IntN(2) == 0
		}
		if c.outcome(done) {
			c.applyTo(disk)
		}
	}
	return disk
}
