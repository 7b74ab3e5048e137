package audit

import (
	"encoding/binary"
	"math"

	"github.com/auditsql/auditsql/sqlstore"
)

// The keys under which audits stand in a key/value store:
//
//	\x00AUD:  query id (32)                                                → canonical JSON
//	\x00AUDA: agent id (32) ':' timestamp (8, big-endian) ':' query id (32) → empty
//
// Widths are fixed, so that a ':' inside a hash cannot confuse a scan, and the timestamp is big-endian, so
// that the order of bytes is the order of time. Neither prefix is a prefix of the other. An anonymous
// record has no key of the second kind.
const (
	KeyPrefix      = sqlstore.KeyPrefix
	AgentKeyPrefix = sqlstore.AgentKeyPrefix

	// KeyLen and AgentKeyLen are the lengths of the keys: 37 and 80.
	KeyLen      = sqlstore.KeyLen
	AgentKeyLen = sqlstore.AgentKeyLen
)

// KeyOf returns the key of a record.
func KeyOf(id QueryID) []byte {
	return append(append(make([]byte, 0, KeyLen), KeyPrefix...), id[:]...)
}

// AgentKeyOf returns the key that lists a record under its agent.
func AgentKeyOf(agent AgentID, timestamp uint64, id QueryID) []byte {
	key := appendAgentTime(make([]byte, 0, AgentKeyLen), agent, timestamp)
	key = append(key, ':')
	return append(key, id[:]...)
}

// AgentPrefix returns what the keys of an agent's records begin with, and no others.
func AgentPrefix(agent AgentID) []byte {
	key := append(make([]byte, 0, AgentKeyLen), AgentKeyPrefix...)
	return append(append(key, agent[:]...), ':')
}

// AgentRange returns where an agent's records from the timestamp from to the timestamp to, both inclusive,
// begin in the order of keys, and the first key behind them. When to is Unbounded, end is nil: the range
// then ends where AgentPrefix does.
func AgentRange(agent AgentID, from, to uint64) (start, end []byte) {
	start = appendAgentTime(nil, agent, from)
	if to < math.MaxUint64 {
		end = appendAgentTime(nil, agent, to+1)
	}
	return start, end
}

func appendAgentTime(key []byte, agent AgentID, timestamp uint64) []byte {
	key = append(key, AgentKeyPrefix...)
	key = append(key, agent[:]...)
	key = append(key, ':')
	return binary.BigEndian.AppendUint64(key, timestamp)
}

// ParseKey takes apart what KeyOf made, and reports false for any other key.
func ParseKey(key []byte) (id QueryID, ok bool) {
	if len(key) != KeyLen || string(key[:len(KeyPrefix)]) != KeyPrefix {
		return QueryID{}, false
	}
	return QueryID(key[len(KeyPrefix):]), true
}

// ParseAgentKey takes apart what AgentKeyOf made, and reports false for any other key.
func ParseAgentKey(key []byte) (agent AgentID, timestamp uint64, id QueryID, ok bool) {
	const (
		agentAt     = len(AgentKeyPrefix)
		timestampAt = agentAt + len(Hash{}) + 1
		idAt        = timestampAt + 8 + 1
	)
	if len(key) != AgentKeyLen || string(key[:agentAt]) != AgentKeyPrefix ||
		key[timestampAt-1] != ':' || key[idAt-1] != ':' {
		return AgentID{}, 0, QueryID{}, false
	}
	return AgentID(key[agentAt : timestampAt-1]), binary.BigEndian.Uint64(key[timestampAt:]), QueryID(key[idAt:]), true
}
