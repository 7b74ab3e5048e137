package sqlstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
)

// The two families of keys that hold audits: a record under its id, and an empty value that lists it under
// its agent. See the comment at table kv.
var (
	auditPrefix = []byte("\x00AUD:")
	agentPrefix = []byte("\x00AUDA:")
)

// isAuditKey tells whether key belongs to a family that is written once.
func isAuditKey(key []byte) bool {
	return bytes.HasPrefix(key, auditPrefix) || bytes.HasPrefix(key, agentPrefix)
}

// after returns the key that follows all keys with this prefix, which does not end in 0xff.
func after(prefix []byte) []byte {
	k := bytes.Clone(prefix)
	k[len(k)-1]++
	return k
}

// HasAgent tells whether there is a record of this agent: one seek in kv.
func (db *DB) HasAgent(ctx context.Context, agent [32]byte) (bool, error) {
	const query = `SELECT EXISTS (SELECT 1 FROM kv WHERE key >= ? AND key < ?)`
	low := append(bytes.Clone(agentPrefix), agent[:]...)
	low = append(low, ':')
	var has bool
	if err := db.readers.GetContext(ctx, &has, query, low, after(low)); err != nil {
		return false, db.fail("look for an agent", err)
	}
	return has, nil
}

// Resolve returns the ids of records that begin with these hex digits, in order, at most limit: one stretch
// of kv. Either case will do; 64 digits name one id.
func (db *DB) Resolve(ctx context.Context, prefix string, limit int) ([][32]byte, error) {
	const query = `SELECT key FROM kv WHERE key >= ? AND key <= ? AND length(key) = 37 ORDER BY key LIMIT ?`
	if len(prefix) > 64 {
		return nil, fmt.Errorf("resolve %q: longer than 64 digits", prefix)
	}
	low, err := hex.DecodeString(prefix + strings.Repeat("0", 64-len(prefix)))
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", prefix, err)
	}
	high, err := hex.DecodeString(prefix + strings.Repeat("f", 64-len(prefix)))
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", prefix, err)
	}
	var keys [][]byte
	err = db.readers.SelectContext(ctx, &keys, query,
		append(bytes.Clone(auditPrefix), low...), append(bytes.Clone(auditPrefix), high...), limit)
	if err != nil {
		return nil, db.fail("resolve "+prefix, err)
	}
	ids := make([][32]byte, len(keys))
	for i, k := range keys {
		copy(ids[i][:], k[len(auditPrefix):])
	}
	return ids, nil
}
