// Package kvshim is the key/value contract that audits stand on: byte keys in byte order, prefix
// scans, and batches that happen as a whole.
//
//	          Get Put Delete Scan Apply
//	                     |
//	Memory  <---------  Store  --------->  SQLite
//	(a tree that is never changed)         (table kv, through package sqlstore)
//
// Both implementations pass the conformance suite in kvshim/kvtest, so that what is tested on Memory
// holds on SQLite. The package knows nothing of what keys and values mean, with one exception: keys
// of the two audit families, which begin with "\x00AUD:" or "\x00AUDA:", are written once. Putting
// the same value again is nothing new and succeeds; putting other bytes, or deleting, fails with
// ErrWriteOnce. Every other key is as free as a key/value store's keys are.
//
// What it leaves to others: durability beyond SQLite's own (the journal's, package wal), and the
// tables that are derived from the values (package sqlstore).
package kvshim

import (
	"context"
	"iter"

	"github.com/auditsql/auditsql/sqlstore"
)

// The errors of the contract are those of the layer below, so that they need no translation and are the
// same whichever implementation returned them.
var (
	// ErrNotFound is returned by Get for a key that the store does not hold.
	ErrNotFound = sqlstore.ErrNotFound

	// ErrWriteOnce is returned by Put, Delete and Apply when they would change or remove a key of the
	// audit families. Nothing has been written then, nor anything else of the batch.
	ErrWriteOnce = sqlstore.ErrWriteOnce
)

// Store is an ordered map from byte keys to byte values. Every method may be called from several
// goroutines.
//
// A key or a value may hold any bytes or none; nil and empty are the same key and the same value.
// Slices passed in are the caller's again when the method returns. Slices handed out are the
// caller's own, to keep and to change, and never nil.
//
// A context that has ended fails the call with the context's error, and nothing has been written. When
// a context ends while a write is under way, an error leaves its outcome open, but never half done.
type Store interface {
	// Get returns the key's value, or an error that is ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)

	// Put sets the key's value. It fails with ErrWriteOnce for an audit key that holds other bytes.
	Put(ctx context.Context, key, value []byte) error

	// Delete removes the key. An absent key is no error, and an audit key that is there is
	// ErrWriteOnce.
	Delete(ctx context.Context, key []byte) error

	// Scan yields the pairs whose key begins with prefix, in byte order, within the bounds of o. An
	// empty prefix is every key. The sequence may be ranged over several times, and each time reads
	// anew. An error is yielded with an empty Pair and ends the sequence.
	//
	// Writing during a scan is allowed, also from inside its loop. A key that is there from
	// beginning to end is yielded exactly once, with a value that it had meanwhile. A key that is
	// put or deleted meanwhile may be yielded or not while the scan has not reached it, and a key
	// put behind the scan's position is never yielded. So a scan is no snapshot, and may see some of
	// a batch and miss the rest: holding one open would keep SQLite from checkpointing.
	Scan(ctx context.Context, prefix []byte, o ScanOptions) iter.Seq2[Pair, error]

	// Apply does everything in the batch, in the order in which it was added, or nothing. No reader
	// sees a part of it in one Get after another: once one key shows the batch, every key does.
	Apply(ctx context.Context, b *Batch) error
}

// Pair is a key and its value, both the receiver's own.
type Pair struct {
	Key, Value []byte
}

// ScanOptions narrows a scan. The zero value narrows nothing.
type ScanOptions struct {
	// Start is the lowest key yielded, End the first key above them that is not. Both are whole
	// keys, prefix included; an empty one is no bound. They only narrow: a bound outside of the
	// prefix does not widen the scan.
	Start, End []byte

	// Limit is the highest number of pairs yielded; 0 is no limit, and a negative one an error.
	Limit int

	// Reverse yields the highest key first. Start and End keep their meaning.
	Reverse bool
}
