package sqlstore

import (
	"encoding/hex"
	"strings"
)

// How hashes are indexed. A hash that people search for is stored as hex text, because that is what they type.
// Its index begins with the generation of the record:
//
//	(generation, assertion_hash)     generation = index of the record >> 14
//
// Hashes are spread evenly, so in an index of hashes alone nearly every insert would touch a different page. With the
// generation in front, inserts touch only the pages of the newest generation. (migrations/00002_derived.sql has the
// figures.) A search goes through the generations one by one. It names the index: SQLite's skip-scan would do the same,
// but only while its statistics say that generations are few.

// generationShift is how many low bits of a record's index are dropped to get its generation. The SQL below and the
// migrations have the same number.
const generationShift = 14

// generationOf returns the generation of the record with this index.
func generationOf(idx int64) int64 { return idx >> generationShift }

// A table gen with column n, for WITH: generations has all generations of table audit as it is now. generationsTo has
// those up to a number, which is the first value that is bound.
const (
	generations   = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit)) `
	generationsTo = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < ?1) `
)

// hexLen is the length of a hash in hex.
const hexLen = 2 * hashLen

// hexOf returns a hash as the tables have it.
func hexOf(h *[32]byte) string { return hex.EncodeToString(h[:]) }

// hashOf is the inverse of hexOf. It reports false for text that is no hash: somebody wrote it by hand.
func hashOf(text string) (h [32]byte, ok bool) {
	if len(text) != hexLen {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err == nil
}

// agentNumber is the number of the agent whose hash is bound, as hexOf writes it, or NULL.
const agentNumber = `(SELECT id FROM agent WHERE agent_hex = ?)`

// hashIndex is an index that begins with the generation.
type hashIndex struct {
	name, table string
	columns     []string // after the generation
}

// The indexes that begin with the generation. Nothing changes these variables.
var (
	byQuery     = hashIndex{"audit_by_query", "audit", []string{"query_hex"}}
	byResult    = hashIndex{"audit_by_result", "audit", []string{"result_hash"}}
	byAssertion = hashIndex{"contribution_by_assertion", "contribution", []string{"assertion_hash"}}
	bySource    = hashIndex{"contribution_by_source", "contribution", []string{"source_hash"}}
	byAttribute = hashIndex{"attribute_by_value", "attribute", []string{"key", "value"}}
)

// named returns, for FROM, the index's table under an alias. SQLite must read it by this index.
func (x *hashIndex) named(alias string) string {
	return x.table + ` ` + alias + ` INDEXED BY ` + x.name
}

// alias is the name of the index's table in a query that also has table audit, as a.
func (x *hashIndex) alias() string {
	if x.table == "audit" {
		return "a"
	}
	return "x"
}

// join adds table audit, as a, to a query that has the index's table under its alias.
func (x *hashIndex) join() string {
	if x.table == "audit" {
		return ``
	}
	return ` CROSS JOIN audit a ON a.idx = x.audit`
}

// from returns what follows FROM to read the index generation by generation.
func (x *hashIndex) from(alias string) string { return `gen CROSS JOIN ` + x.named(alias) }

// match is the condition for rows of generation gen.n that have the values bound for the index's columns.
func (x *hashIndex) match(alias string) string { return x.equal(alias, `gen.n`) }

// equal is match for the generation that an SQL expression gives.
func (x *hashIndex) equal(alias, generation string) string {
	var b strings.Builder
	b.WriteString(alias + `.generation = ` + generation)
	for _, c := range x.columns {
		b.WriteString(` AND ` + alias + `.` + c + ` = ?`)
	}
	return b.String()
}

// next returns a query for the least hash that is not less than the first bound text, and less than the second. It
// searches each generation once.
func (x *hashIndex) next() string {
	c := `c.` + x.columns[0]
	return generations + `SELECT min((SELECT min(` + c + `) FROM ` + x.named("c") +
		` WHERE c.generation = gen.n AND ` + c + ` >= ? AND ` + c + ` < ?)) FROM gen`
}

// span returns a query for the first and the last record that have a piece of evidence. The values to bind are the newest
// generation and the hash.
func (x *hashIndex) span() string {
	in := ` FROM ` + x.named("c") + ` WHERE c.generation = gen.n AND c.` + x.columns[0] + ` = ?2`
	return generationsTo + `SELECT min((SELECT min(c.audit)` + in + `)), max((SELECT max(c.audit)` + in + `)) FROM gen`
}

// tally is a query for the hashes of one bound generation, each with the number of its rows of records up to a bound one. Equal
// hashes stand together in the index, so SQLite does not sort. The index has the record's number too.
func (x *hashIndex) tally() string {
	c := `c.` + x.columns[0]
	return `SELECT ` + c + `, count(*) FROM ` + x.named("c") + ` WHERE c.generation = ? AND c.audit <= ? GROUP BY ` + c
}

// usesOf is a query for the records that have some evidence of this kind. The values to bind are the newest generation, a JSON list of
// hashes, an index, another one, and a limit. Of the first hash it finds records after the first index alone, and of
// all hashes records before the second one. A row is the place of the hash in the list, and what identifies the record: hash by hash, and of
// each hash in the order of admission.
func (x *hashIndex) usesOf() string {
	return generationsTo + `SELECT j.key, a.idx, a.timestamp, a.query_id, a.agent, a.result_hash FROM json_each(?) j CROSS JOIN ` + x.from("c") +
		` CROSS JOIN audit a WHERE c.generation = gen.n AND c.` + x.columns[0] + ` = j.value
		AND c.audit > CASE j.key WHEN 0 THEN ? ELSE -1 END AND c.audit < ? AND a.idx = c.audit LIMIT ?`
}

// audits is table audit, as a, narrowed to the records of one generation that have a piece of evidence.
func (x *hashIndex) audits(generation int64, h *[32]byte) clause {
	return clause{`(SELECT DISTINCT u.audit AS idx FROM ` + x.named("u") + ` WHERE ` + x.equal("u", "?") +
		`) j CROSS JOIN audit a ON a.idx = j.idx`, []any{generation, hexOf(h)}}
}
