package audit

import (
	"encoding/binary"
	"math"

	"github.com/auditsql/auditsql/sqlstore"
)

// The keys of audits in a key/value store:
//
//	\x00AUD:  query id (32)                                                → canonical JSON
//	\x00AUDA: agent id (32) ':' timestamp (8, big-endian) ':' query id (32) → empty
//
// All parts have a fixed width, so a ':' inside a hash cannot confuse a scan. The timestamp is big-endian, so
// the order of bytes is the order of time. Neither prefix is a prefix of the other. An anonymous
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
	return sqlstore.AgentKey(agent, timestamp, id)
}

// AgentPrefix returns the prefix that the keys of an agent's records have, and no other keys.
func AgentPrefix(agent AgentID) []byte {
	key := append(make([]byte, 0, AgentKeyLen), AgentKeyPrefix...)
	return append(append(key, agent[:]...), ':')
}

// AgentRange returns the range of keys of an agent's records from the timestamp from to the timestamp to, both inclusive:
// its first key, and the first key after it. When to is Unbounded, end is nil: the range
// ends where the keys with AgentPrefix end.
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

// ParseKey reads a key of KeyOf, and reports false for any other key.
func ParseKey(key []byte) (id QueryID, ok bool) {
	if len(key) != KeyLen || string(key[:len(KeyPrefix)]) != KeyPrefix {
		return QueryID{}, false
	}
	return QueryID(key[len(KeyPrefix):]), true
}

// ParseAgentKey reads a key of AgentKeyOf, and reports false for any other key.
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
