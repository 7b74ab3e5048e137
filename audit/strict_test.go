package audit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/auditsql/auditsql/audit"
)

// strictAudit is a second reading of what a record is on input: encoding/json's tokens, and upon them the rules of
// the format's description, without a line of package audit's decoder. The QueryID stays zero when it is to be
// derived. It takes its time and knows no limit of size.
func strictAudit(line []byte) (q audit.QueryAudit, err error) {
	defer func() {
		if r := recover(); r != nil {
			refused, ok := r.(strictError)
			if !ok {
				panic(r)
			}
			err = refused
		}
	}()
	// What encoding/json puts right in silence.
	strict(utf8.Valid(line), "not UTF-8")
	strict(json.Valid(line), "not JSON")
	strict(!loneSurrogate(line), "a lone surrogate")

	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	record := strictValue(d)
	_, err = d.Token()
	strict(errors.Is(err, io.EOF), "something follows")
	o := strictObject(record, "query_id", "agent_id", "timestamp", "params", "result_hash", "result_confidence",
		"contributing_assertions", "attributes")

	if v, ok := o["query_id"]; ok {
		q.QueryID = strictHash(v)
	}
	q.AgentID = orNull(o["agent_id"], strictHash)
	literal := string(strictNumber(o["timestamp"]))
	strict(regexp.MustCompile(`^[0-9]+$`).MatchString(literal), "timestamp")
	at, err := strconv.ParseUint(literal, 10, 63)
	strict(err == nil, "timestamp")
	q.Timestamp = at
	p := strictObject(o["params"], "subject", "predicate", "lifecycle", "epoch", "lens")
	q.Params = audit.QueryParams{
		Subject: orNull(p["subject"], strictText), Predicate: orNull(p["predicate"], strictText),
		Lifecycle: orNull(p["lifecycle"], strictLifecycle), Epoch: orNull(p["epoch"], strictHash), Lens: orNull(p["lens"], strictText),
	}
	q.ResultHash = orNull(o["result_hash"], strictHash)
	q.ResultConfidence = strictFloat32(o["result_confidence"])
	if v, ok := o["contributing_assertions"]; ok {
		list, ok := v.([]any)
		strict(ok, "contributing_assertions")
		for _, v := range list {
			c := strictObject(v, "assertion_hash", "weight", "source_hash", "lifecycle")
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
				AssertionHash: strictHash(c["assertion_hash"]), Weight: strictFloat32(c["weight"]),
				SourceHash: strictHash(c["source_hash"]), Lifecycle: strictLifecycle(c["lifecycle"]),
			})
		}
	}
	if v, ok := o["attributes"]; ok {
		all, ok := v.(map[string]any)
		strict(ok && len(all) <= 64, "attributes")
		for key, v := range all {
			strict(!strings.Contains(key, "\x00"), "a NUL")
			if q.Attributes == nil {
				q.Attributes = map[string]any{}
			}
			q.Attributes[key] = strictAttribute(v)
		}
	}
	return q, nil
}

type strictError string

func (e strictError) Error() string { return string(e) }

func strict(ok bool, format string, args ...any) {
	if !ok {
		panic(strictError(fmt.Sprintf(format, args...)))
	}
}

// strictValue reads one value; no object has a field twice.
func strictValue(d *json.Decoder) any {
	token, err := d.Token()
	strict(err == nil, "%v", err)
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			strict(err == nil, "%v", err)
			_, doubled := object[name.(string)]
			strict(!doubled, "%q is doubled", name)
			object[name.(string)] = strictValue(d)
		}
		token, err = d.Token()
		strict(err == nil && token == json.Delim('}'), "an object does not end")
		return object
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, strictValue(d))
		}
		token, err = d.Token()
		strict(err == nil && token == json.Delim(']'), "a list does not end")
		return list
	}
	return token
}

func strictObject(v any, known ...string) map[string]any {
	object, ok := v.(map[string]any)
	strict(ok, "no object")
	for name := range object {
		strict(slices.Contains(known, name), "unknown field %q", name)
	}
	return object
}

// orNull reads what may be null or missing.
func orNull[T any](v any, read func(any) T) *T {
	if v == nil {
		return nil
	}
	value := read(v)
	return &value
}

func strictText(v any) string {
	text, ok := v.(string)
	strict(ok && !strings.Contains(text, "\x00"), "no text")
	return text
}

func strictHash(v any) audit.Hash {
	b, err := hex.DecodeString(strictText(v))
	strict(err == nil && len(b) == 32, "no hash")
	return audit.Hash(b)
}

func strictLifecycle(v any) audit.Lifecycle {
	lower := strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, strictText(v))
	if lower == "under_review" {
		return audit.UnderReview
	}
	i := slices.Index([]string{"proposed", "underreview", "approved", "deprecated", "rejected", "unstated"}, lower)
	strict(i >= 0, "no lifecycle")
	return []audit.Lifecycle{audit.Proposed, audit.UnderReview, audit.Approved, audit.Deprecated, audit.Rejected, audit.Unstated}[i]
}

func strictNumber(v any) json.Number {
	n, ok := v.(json.Number)
	strict(ok, "no number")
	return n
}

func strictFloat32(v any) float32 {
	f, err := strconv.ParseFloat(string(strictNumber(v)), 32)
	strict(err == nil, "no 32-bit float")
	return float32(f) + 0 // -0 is 0
}

func strictAttribute(v any) any {
	switch v := v.(type) {
	case string:
		return strictText(v)
	case bool:
		return v
	}
	literal := string(strictNumber(v))
	f, err := strconv.ParseFloat(literal, 64)
	strict(err == nil && f <= 1<<53 && f >= -1<<53, "beyond a 64-bit float or 2^53")
	if f == 1<<53 || f == -1<<53 {
		// It may have been rounded to that.
		exact, ok := new(big.Rat).SetString(literal)
		strict(ok && exact.Abs(exact).Cmp(big.NewRat(1<<53, 1)) <= 0, "beyond 2^53")
	}
	return f + 0
}

// loneSurrogate reports whether some \u escape of valid JSON is half of a pair without the other half.
func loneSurrogate(line []byte) bool {
	high := rune(0) // what the escape just read was, if it was the first half
	for i := 0; i < len(line); i++ {
		r := rune(0)
		if line[i] == '\\' {
			i++
			if line[i] == 'u' {
				n, _ := strconv.ParseUint(string(line[i+1:i+5]), 16, 16)
				r = rune(n)
				i += 4
			}
		}
		switch {
		case high != 0 && utf16.DecodeRune(high, r) == utf8.RuneError:
			return true
		case high != 0:
			high = 0
		case utf16.IsSurrogate(r) && r >= 0xdc00:
			return true
		case utf16.IsSurrogate(r):
			high = r
		}
	}
	return high != 0
}
