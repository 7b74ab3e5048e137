package audit_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

func TestKeysToTheByte(t *testing.T) {
	id, agent := fill(0xaa), fill(':')
	want := append([]byte("\x00AUD:"), id[:]...)
	if got := audit.KeyOf(id); !bytes.Equal(got, want) || len(got) != 37 || audit.KeyLen != 37 {
		t.Errorf("KeyOf: %q of %d bytes", got, len(got))
	}

	want = append([]byte("\x00AUDA:"), agent[:]...)
	want = append(want, ":\x01\x02\x03\x04\x05\x06\x07\x08:"...)
	want = append(want, id[:]...)
	got := audit.AgentKeyOf(agent, 0x0102030405060708, id)
	if !bytes.Equal(got, want) || len(got) != 80 || audit.AgentKeyLen != 80 {
		t.Errorf("AgentKeyOf: %q of %d bytes", got, len(got))
	}
	if prefix := audit.AgentPrefix(agent); !bytes.Equal(prefix, want[:6+32+1]) {
		t.Errorf("AgentPrefix: %q", prefix)
	}
}

func TestParseKeys(t *testing.T) {
	key, agentKey := audit.KeyOf(fill(1)), audit.AgentKeyOf(fill(2), math.MaxUint64, fill(3))
	if id, ok := audit.ParseKey(key); !ok || id != fill(1) {
		t.Errorf("ParseKey: %s, %v", id, ok)
	}
	agent, timestamp, id, ok := audit.ParseAgentKey(agentKey)
	if !ok || agent != fill(2) || timestamp != math.MaxUint64 || id != fill(3) {
		t.Errorf("ParseAgentKey: %s, %d, %s, %v", agent, timestamp, id, ok)
	}

	for name, key := range map[string][]byte{
		"nil":              nil,
		"prefix alone":     []byte("\x00AUD:"),
		"one byte short":   key[:36],
		"one byte more":    append(bytes.Clone(key), 0),
		"another family":   append([]byte("\x00AUX:"), key[5:]...),
		"an agent's key":   agentKey,
		"agent's, cut":     agentKey[:37],
		"without its NUL":  append([]byte("AUD::"), key[5:]...),
		"upside-down case": append([]byte("\x00aud:"), key[5:]...),
	} {
		if id, ok := audit.ParseKey(key); ok {
			t.Errorf("ParseKey took %s for %s", name, id)
		}
	}
	for name, change := range map[string]func(key []byte) []byte{
		"nil":                       func([]byte) []byte { return nil },
		"one byte short":            func(key []byte) []byte { return key[:79] },
		"one byte more":             func(key []byte) []byte { return append(key, 0) },
		"another prefix":            func(key []byte) []byte { key[4] = 'B'; return key },
		"no colon before timestamp": func(key []byte) []byte { key[38] = ';'; return key },
		"no colon after timestamp":  func(key []byte) []byte { key[47] = 0; return key },
	} {
		if _, _, _, ok := audit.ParseAgentKey(change(bytes.Clone(agentKey))); ok {
			t.Errorf("ParseAgentKey took a key that is wrong: %s", name)
		}
	}
}

func TestAgentRangeHasBothEnds(t *testing.T) {
	agent := fill(0xff)
	within := func(start, end []byte, timestamp uint64, id audit.QueryID) bool {
		key := audit.AgentKeyOf(agent, timestamp, id)
		return bytes.Compare(key, start) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
	}
	const most = uint64(math.MaxUint64)
	for _, r := range [][2]uint64{{0, 0}, {0, 255}, {255, 256}, {7, most - 1}, {0, most}, {most, most}, {most - 1, most - 1}} {
		from, to := r[0], r[1]
		start, end := audit.AgentRange(agent, from, to)
		for _, timestamp := range []uint64{0, 1, 6, 7, 8, 254, 255, 256, 257, most - 2, most - 1, most} {
			for _, id := range []audit.QueryID{{}, fill(0xff)} {
				if got, want := within(start, end, timestamp, id), from <= timestamp && timestamp <= to; got != want {
					t.Errorf("%d to %d has %d: %v, want %v", from, to, timestamp, got, want)
				}
			}
		}
	}
}
