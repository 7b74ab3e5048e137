package kvshim

// Batch is a list of writes that Apply does as a whole, in the order in which they were added, so of
// several writes to one key the last one stands. (For an audit key that order is no way around
// ErrWriteOnce: a second value for it, or its deletion, refuses the batch even if the first value
// stands in the same batch.)
//
// The zero Batch is empty and ready. It keeps copies of what it is given. It may be applied several
// times and to several stores, also at once, but must not be added to meanwhile.
type Batch struct {
	ops []op
}

// op is one write. Its slices are never changed after it was added, so that a store may keep them.
type op struct {
	key, value []byte
	delete     bool
}

// Put adds the setting of a key's value.
func (b *Batch) Put(key, value []byte) {
	b.ops = append(b.ops, op{key: own(key), value: own(value)})
}

// Delete adds the removal of a key.
func (b *Batch) Delete(key []byte) {
	b.ops = append(b.ops, op{key: own(key), delete: true})
}

// Len returns how many writes were added, counting each one of several to the same key.
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
