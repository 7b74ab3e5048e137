package sqlstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// The keys of table kv that hold audits:
//
//	KeyPrefix       query id (32)                                                → the record, canonical JSON
//	AgentKeyPrefix  agent id (32) ':' timestamp (8, big-endian) ':' query id (32) → empty
//
// Neither prefix is a prefix of the other. Package audit takes keys apart. The guards in migrations have the
// same prefixes in hex.
const (
	KeyPrefix      = "\x00AUD:"
	AgentKeyPrefix = "\x00AUDA:"

	// KeyLen and AgentKeyLen are the lengths of the keys: 37 and 80.
	KeyLen      = len(KeyPrefix) + hashLen
	AgentKeyLen = len(AgentKeyPrefix) + hashLen + len(":") + 8 + len(":") + hashLen

	hashLen = 32
)

// The key of the record that row e of table entry stands for, in SQL.
const (
	keyPrefixSQL    = `x'004155443A'` // KeyPrefix
	keyPrefixEndSQL = `x'004155443B'` // the first key after those of records
	keyOfEntry      = `CAST(` + keyPrefixSQL + ` || e.query_id AS BLOB)`
)

// IsAuditKey reports whether key belongs to one of the two families. Such a key is written once. The prefix decides and not
// the length, so that a malformed key of a family cannot be changed either.
func IsAuditKey(key []byte) bool {
	return bytes.HasPrefix(key, []byte(KeyPrefix)) || bytes.HasPrefix(key, []byte(AgentKeyPrefix))
}

// recordKey returns the key of a record.
func recordKey(id []byte) []byte { return append([]byte(KeyPrefix), id...) }

// AgentKey returns the key that lists a record under its agent.
func AgentKey(agent [32]byte, timestamp uint64, id [32]byte) []byte {
	key := append(make([]byte, 0, AgentKeyLen), AgentKeyPrefix...)
	key = append(append(key, agent[:]...), ':')
	key = append(binary.BigEndian.AppendUint64(key, timestamp), ':')
	return append(key, id[:]...)
}

// recordOf returns the record that a key of either family names. The key has its family's length.
func recordOf(key []byte) (id []byte) { return key[len(key)-hashLen:] }

// after returns the first key after all keys with this prefix, which does not end in 0xff.
func after(prefix []byte) []byte {
	k := bytes.Clone(prefix)
	k[len(k)-1]++
	return k
}

// HasAgent reports whether there is a record of this agent. It is one search in kv.
func (db *DB) HasAgent(ctx context.Context, agent [32]byte) (bool, error) {
	const query = `SELECT EXISTS (SELECT 1 FROM kv WHERE key >= ? AND key < ?)`
	low := append([]byte(AgentKeyPrefix), agent[:]...)
	low = append(low, ':')
	var has bool
	if err := db.readers.GetContext(ctx, &has, query, low, after(low)); err != nil {
		return false, db.fail("look for an agent", err)
	}
	return has, nil
}

// Resolve returns the ids of records that begin with these hex digits, in order, at most limit. The digits may be in
// either case; 64 digits name one id. It reads one stretch of kv.
func (db *DB) Resolve(ctx context.Context, prefix string, limit int) ([][32]byte, error) {
	const query = `SELECT key FROM kv WHERE key >= ? AND key <= ? AND length(key) = ? ORDER BY key LIMIT ?`
	if len(prefix) > hexLen {
		return nil, fmt.Errorf("resolve %q: longer than %d digits", prefix, hexLen)
	}
	low, err := hex.DecodeString(prefix + strings.Repeat("0", hexLen-len(prefix)))
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", prefix, err)
	}
	high, err := hex.DecodeString(prefix + strings.Repeat("f", hexLen-len(prefix)))
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", prefix, err)
	}
	var keys [][]byte
	if err := db.readers.SelectContext(ctx, &keys, query, recordKey(low), recordKey(high), KeyLen, limit); err != nil {
		return nil, db.fail("resolve "+prefix, err)
	}
	ids := make([][32]byte, len(keys))
	for i, k := range keys {
		copy(ids[i][:], recordOf(k))
	}
	return ids, nil
}
