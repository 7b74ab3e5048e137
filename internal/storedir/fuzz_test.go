package storedir

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// What is taken for a store.json is written again and read as the same.
func FuzzStoreFile(f *testing.F) {
	const whole = `{"format":2,"store_id":"00112233445566778899aabbccddeeff","time_unit":"us","wal_dir":"wal","wal_retain":"64MiB",` +
		`"segment_bytes":4096,"created_by":"x","created_at":"2026-11-23T10:00:00.125Z","used":true,"clean":true,"doubted":true}`
	f.Add([]byte(whole))
	for old, replacement := range map[string]string{
		`"format":2`: `"format":3`, `"us"`: `"min"`, `"64MiB"`: `-1`, `"64MiB" `: `"9007199254740993"`, `4096`: `1e3`, `true`: `null`,
		`2026-11-23T10:00:00.125Z`: `9999-12-31T23:59:59-23:59`, `00112233445566778899aabbccddeeff`: `\u0000`, `{`: `[`,
	} {
		f.Add([]byte(strings.Replace(whole, strings.TrimSpace(old), replacement, 1)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := rewrite(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("no JSON was accepted: %q", text)
		}
		twice, err := rewrite(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\nis written as\n%s\nand that as\n%s\n%v", text, once, twice, err)
		}
	})
}

// rewrite reads the content of a store.json and writes it again.
func rewrite(text []byte) ([]byte, error) {
	f, err := parse(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(f)
}
