// Package kvshim is the key/value contract that audits are built on: byte keys in byte order, prefix
// scans, and batches that are written all together or not at all.
//
//	          Get Put Delete Scan Apply
//	                     |
//	Memory  <---------  Store  --------->  SQLite
//	(a tree that is never changed)         (table kv, through package sqlstore)
//
// Both implementations pass the conformance suite in kvshim/kvtest. So a test with Memory is also valid for
// SQLite. The package does not know what keys and values mean, with one exception: keys
// of the two audit families, which begin with "\x00AUD:" or "\x00AUDA:", are written once. To put
// the same value again succeeds and changes nothing. To put other bytes, or to delete, fails with
// ErrWriteOnce. Every other key can be put and deleted freely.
//
// What it leaves to others: durability beyond that of SQLite (package wal), and the
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
	// audit families. Then nothing was written, and nothing else of the batch either.
	ErrWriteOnce = sqlstore.ErrWriteOnce
)

// Store is an ordered map from byte keys to byte values. Every method may be called from several
// goroutines.
//
// A key or a value may hold any bytes or none; nil and empty are the same key and the same value.
// Slices passed in are the caller's again when the method returns. Slices handed out are the
// caller's own, to keep and to change, and never nil.
//
// If the context has ended before the call, the call fails with the context's error and nothing is written. If
// the context ends during a write that returns an error, the write was done as a whole or not at all.
type Store interface {
	// Get returns the key's value, or an error that is ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)

	// Put sets the key's value. It fails with ErrWriteOnce for an audit key that holds other bytes.
	Put(ctx context.Context, key, value []byte) error

	// Delete removes the key. An absent key is no error. For an audit key that is there the error is
	// ErrWriteOnce.
	Delete(ctx context.Context, key []byte) error

	// Scan yields the pairs whose key begins with prefix, in byte order, within the bounds of o. An
	// empty prefix is every key. The sequence may be ranged over several times, and each time reads
	// anew. An error is yielded with an empty Pair and ends the sequence.
	//
	// Writing during a scan is allowed, also from inside its loop. A key that is there from
	// beginning to end is yielded exactly once, with a value that it had meanwhile. A key that is
	// put or deleted before the scan has reached it may be yielded or not. A key that is put where the scan has
	// passed already is not yielded. So a scan is no snapshot: it may see some keys of
	// a batch and miss the rest. A snapshot would keep SQLite from checkpointing as long as the scan is open.
	Scan(ctx context.Context, prefix []byte, o ScanOptions) iter.Seq2[Pair, error]

	// Apply does all writes of the batch, in the order in which they were added, or none. No reader
	// sees a part of it: once a Get returns a value of the batch, every later Get sees the whole batch.
	Apply(ctx context.Context, b *Batch) error
}

// Pair is a key and its value, both the receiver's own.
type Pair struct {
	Key, Value []byte
}

// ScanOptions narrows a scan. The zero value narrows nothing.
type ScanOptions struct {
	// The keys yielded are not below Start, and below End. Both are whole
	// keys, prefix included; an empty one is no bound. A bound outside of the prefix does not widen the scan.
	Start, End []byte

	// Limit is the most pairs that are yielded. 0 is no limit. A negative one is an error.
	Limit int

	// Reverse yields the highest key first. Start and End keep their meaning.
	Reverse bool
}
