package kvshim

// Batch is a list of writes that Apply does all together or not at all, in the order in which they were added. Of
// several writes to one key the last one counts. An audit key is written once within a batch too: a second value for it, or
// its deletion, fails the whole batch with ErrWriteOnce.
//
// The zero Batch is empty and ready. It keeps copies of the slices that it is given. It may be applied several
// times and to several stores, also at once. Nothing may be added to it meanwhile.
type Batch struct {
	ops []op
}

// op is one write. Its slices never change, so a store may keep them.
type op struct {
	key, value []byte
	delete     bool
}

// Put adds a write that sets the key's value.
func (b *Batch) Put(key, value []byte) {
	b.ops = append(b.ops, op{key: own(key), value: own(value)})
}

// Delete adds a write that removes the key.
func (b *Batch) Delete(key []byte) {
	b.ops = append(b.ops, op{key: own(key), delete: true})
}

// Len returns how many writes were added. Several writes to one key count each.
func (b *Batch) Len() int {
	return len(b.ops)
}

// Reset empties the batch and keeps its list for reuse.
func (b *Batch) Reset() {
	clear(b.ops)
	b.ops = b.ops[:0]
}

// own returns a copy of b that shares no memory with it and is not nil.
func own(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}
