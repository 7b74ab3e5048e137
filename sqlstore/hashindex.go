package sqlstore

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// How hashes are indexed. Evidence repeats, so a hash of it stands in a dictionary, table hash, and tables audit and
// contribution have its number. People type hex, so the dictionary has hex.
//
//	hash_by_hex                (generation, hex)   →  id      generation = index of the record >> 14
//	contribution_by_assertion  (assertion)         →  rows    an id of the dictionary
//
// Hashes are spread evenly, so in an index of hashes alone nearly every insert would touch a different page. With the
// generation in front, inserts touch only the pages of the newest generation. (migrations/00002_derived.sql has the
// figures.) So a hash has a number in each generation that has it. In SQL a search visits the generations one by one. It names the
// index: SQLite's skip-scan would do the same, but only while its statistics say that generations are few. This package finds the
// numbers of a hash by runs, see hashrun.go.
//
// A question finds the numbers of its hashes first, see resolve. Then it searches by number.
//
// The ids of records are in no dictionary, because they never repeat. Table audit has them in hex, with an index of the same form.

// generationShift is how many low bits of a record's index are dropped to get its generation. The SQL below and the
// migrations have the same number.
const generationShift = 14

// generationOf returns the generation of the record with this index.
func generationOf(idx int64) int64 { return idx >> generationShift }

// A table gen with column n, for WITH: generations has all generations of table audit as it is now. generationsIn has those from one to
// another, which are the first two values that are bound.
const (
	generations   = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit)) `
	generationsIn = `WITH RECURSIVE gen (n) AS (SELECT ?1 WHERE ?1 <= ?2 UNION ALL SELECT n + 1 FROM gen WHERE n < ?2) `
)

// hexLen is the length of a hash in hex.
const hexLen = 2 * hashLen

// hexOf returns a hash as the tables have it.
func hexOf(h *[32]byte) string { return hex.EncodeToString(h[:]) }

// hashOf is the inverse of hexOf. It reports false for text that is no hash: somebody wrote it by hand.
func hashOf(text string) (h [32]byte, ok bool) {
	if len(text) != hexLen || strings.ContainsAny(text, "ABCDEF") {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err == nil
}

// agentNumber is the number of the agent whose hash is bound, as hexOf writes it, or NULL.
const agentNumber = `(SELECT id FROM agent WHERE agent_hex = ?)`

// hashIndex is an index that begins with the generation and has texts.
type hashIndex struct {
	name, table string
	columns     []string // after the generation
}

// The indexes that begin with the generation, besides that of the dictionary. Nothing changes these variables.
var (
	byQuery     = hashIndex{"audit_by_query", "audit", []string{"query_hex"}}
	byAttribute = hashIndex{"attribute_by_value", "attribute", []string{"key", "value"}}
)

// named returns, for FROM, the index's table under an alias. SQLite must read it by this index.
func (x *hashIndex) named(alias string) string {
	return x.table + ` ` + alias + ` INDEXED BY ` + x.name
}

// from returns what follows FROM to read the index generation by generation.
func (x *hashIndex) from(alias string) string { return `gen CROSS JOIN ` + x.named(alias) }

// match is the condition for rows of generation gen.n that have the values bound for the index's columns.
func (x *hashIndex) match(alias string) string {
	var b strings.Builder
	b.WriteString(alias + `.generation = gen.n`)
	for _, c := range x.columns {
		b.WriteString(` AND ` + alias + `.` + c + ` = ?`)
	}
	return b.String()
}

// numberIndex is an index of the numbers that stand for hashes.
type numberIndex struct{ name, table, column string }

// The indexes of numbers. Nothing changes these variables.
var (
	byResult    = numberIndex{"audit_by_result", "audit", "result"}
	byAssertion = numberIndex{"contribution_by_assertion", "contribution", "assertion"}
	bySource    = numberIndex{"contribution_by_source", "contribution", "source"}
)

// named returns, for FROM, the index's table under an alias. SQLite must read it by this index.
func (x *numberIndex) named(alias string) string {
	return x.table + ` ` + alias + ` INDEXED BY ` + x.name
}

// hashed returns, for FROM, the rows that have one of the numbers of a bound list. The numbers must stand for a bound hash: a Reindex may have
// given them to other hashes since they were found. matchListed is the condition.
func (x *numberIndex) hashed(alias string) string {
	return `json_each(?) j CROSS JOIN hash h ON h.id = j.value AND h.hex = ? CROSS JOIN ` + x.named(alias)
}

// listed returns, for FROM, the rows that have one of the numbers of a bound list. matchListed is the condition.
func (x *numberIndex) listed(alias string) string {
	return `json_each(?) j CROSS JOIN ` + x.named(alias)
}

func (x *numberIndex) matchListed(alias string) string { return alias + `.` + x.column + ` = j.value` }

// alias is the name of the index's table in a query that also has table audit, as a.
func (x *numberIndex) alias() string {
	if x.table == "audit" {
		return "a"
	}
	return "x"
}

// join adds table audit, as a, to a query that has the index's table under its alias.
func (x *numberIndex) join() string { return joinAudit(x.table) }

func joinAudit(table string) string {
	if table == "audit" {
		return ``
	}
	return ` CROSS JOIN audit a ON a.idx = x.audit`
}

// next returns a query for the least hash of evidence in some generations, which are the first two values to bind: that is not less
// than the third one, and less than the fourth. It searches each generation once, and there passes over hashes that are no such evidence.
func (x *numberIndex) next() string {
	return generationsIn + `SELECT min((SELECT h.hex FROM hash h INDEXED BY hash_by_hex WHERE h.generation = gen.n AND h.hex >= ?3 AND h.hex < ?4
		AND EXISTS (SELECT 1 FROM ` + x.named("c") + ` WHERE c.` + x.column + ` = h.id) ORDER BY h.hex LIMIT 1)) FROM gen`
}

// evidenceAmong returns a query for the hashes of a list of numbers that are such evidence.
func (x *numberIndex) evidenceAmong() string {
	return `SELECT h.hex FROM json_each(?) j CROSS JOIN hash h ON h.id = j.value
		WHERE EXISTS (SELECT 1 FROM ` + x.named("c") + ` WHERE c.` + x.column + ` = h.id)`
}

// span returns a query for the first and the last record that have one of the numbers of a bound list.
func (x *numberIndex) span() string {
	in := ` FROM ` + x.named("c") + ` WHERE c.` + x.column + ` = j.value`
	return `SELECT min((SELECT min(c.audit)` + in + `)), max((SELECT max(c.audit)` + in + `)) FROM json_each(?) j`
}

// tally is a query for the hashes of a generation, each with how often it is such evidence of records up to a bound one. The
// values to bind are this record and the generation. The index has the record's number too.
func (x *numberIndex) tally() string {
	return `SELECT h.hex, (SELECT count(*) FROM ` + x.named("c") + ` WHERE c.` + x.column + ` = h.id AND c.audit <= ?)
		FROM hash h INDEXED BY hash_by_hex WHERE h.generation = ?`
}

// usesOf is a query for eachUse: for the records that have some evidence of this kind. A row begins with the place of the number in the
// list, and what identifies the record. more are further columns, which may have values to bind.
func (x *numberIndex) usesOf(more string) string {
	return `SELECT j.key, a.idx, a.timestamp, e.query_id, ` + more + ` FROM json_each(?) j CROSS JOIN ` + x.named("c") +
		` CROSS JOIN audit a` + withEntry + ` WHERE c.` + x.column + ` = j.value
		AND c.audit > CASE j.key WHEN 0 THEN ? ELSE -1 END AND c.audit < ? AND a.idx = c.audit LIMIT ?`
}

// eachUse calls use with the rows of a query of usesOf for some numbers, at most page of them in one read transaction: number by number,
// and of each number in the order of admission, of the records before end. It gives the place of the number. It ends early when use returns
// false. bound are the values to bind for further columns.
func (db *DB) eachUse(ctx context.Context, query string, bound []any, numbers []int64, end int64, page int, use func(place int, row []driver.Value) bool) error {
	for done, after := 0, int64(-1); done < len(numbers); {
		rows, place, more := 0, 0, true
		args := append(slices.Clone(bound), listOfNumbers(numbers[done:]), after, end, page)
		err := db.readers.each(ctx, query, args, func(row []driver.Value) bool {
			rows++
			place, after = int(integer(row[0])), integer(row[1])
			more = use(done+place, row)
			return more
		})
		if err != nil || !more || rows < page {
			return err
		}
		done += place // perhaps there are more rows: go on after the last one
	}
	return nil
}

// audits is table audit, as a, narrowed to the records that have the evidence with a number. All are of one generation.
func (x *numberIndex) audits(number int64) clause {
	return clause{`(SELECT DISTINCT u.audit AS idx FROM ` + x.named("u") + ` WHERE u.` + x.column +
		` = ?) j CROSS JOIN audit a ON a.idx = j.idx`, []any{number}}
}

// resolve finds the numbers of the hashes that a filter names, so that its conditions search by number, and of further ones. Records
// that are admitted later may have others. A question that asks for a hash does not find these, and need not: it began before. A
// question that excludes one would show them. So a filter that excludes a hash, and has no moment yet, gets the present one first.
func (db *DB) resolve(ctx context.Context, f *Filter, also ...*[32]byte) error {
	return db.resolveIn(ctx, f, everything, also...)
}

// resolveIn is resolve for a filter whose records are known to be in some generations.
func (db *DB) resolveIn(ctx context.Context, f *Filter, generations span, also ...*[32]byte) error {
	missing := f.numbers.missing(append(f.hashes(nil), also...))
	if len(missing) == 0 {
		return nil
	}
	if f.AsOf == nil && f.excludesHashes() {
		now := int64(0)
		if err := first(ctx, db.readers, `SELECT max(idx) FROM audit`, nil, func(row []driver.Value) {
			if newest, ok := row[0].(int64); ok {
				now = newest + 1
			}
		}); err != nil {
			return err
		}
		f.AsOf = &now
	}
	found, err := db.numbersOf(ctx, missing, generations)
	if err != nil {
		return err
	}
	maps.Copy(found, f.numbers)
	*f = f.with(found)
	return nil
}

// hashes appends the hashes that have numbers and that a filter names, also in its lists.
func (f *Filter) hashes(all []*[32]byte) []*[32]byte {
	all = append(all, f.Result, f.Assertion, f.Source)
	for _, list := range f.AnyOf {
		for i := range list {
			all = list[i].hashes(all)
		}
	}
	for i := range f.NoneOf {
		all = f.NoneOf[i].hashes(all)
	}
	return all
}

// excludesHashes reports whether a record that lacks a hash may match because it lacks it.
func (f *Filter) excludesHashes() bool {
	named := func(h *[32]byte) bool { return h != nil }
	for i := range f.NoneOf {
		if slices.ContainsFunc(f.NoneOf[i].hashes(nil), named) {
			return true
		}
	}
	return slices.ContainsFunc(f.AnyOf, func(list []Filter) bool {
		return slices.ContainsFunc(list, func(g Filter) bool { return g.excludesHashes() })
	})
}

// with returns the filter with the numbers of hashes, also for the filters in its lists.
func (f Filter) with(n numbers) Filter {
	f.numbers = n
	f.NoneOf = withAll(f.NoneOf, n)
	lists := make([][]Filter, len(f.AnyOf))
	for i := range lists {
		lists[i] = withAll(f.AnyOf[i], n)
	}
	if f.AnyOf != nil {
		f.AnyOf = lists
	}
	return f
}

func withAll(list []Filter, n numbers) []Filter {
	if list == nil {
		return nil
	}
	all := make([]Filter, len(list))
	for i := range all {
		all[i] = list[i].with(n)
	}
	return all
}

// has is the condition that a column of numbers has that of a hash, which resolve has found.
func (f *Filter) has(column string, h *[32]byte) clause {
	return clause{column + ` IN (SELECT value FROM json_each(?))`, []any{f.numbers.list(h)}}
}

// hexOfNumber is the hash that a number stands for, in SQL.
func hexOfNumber(column string) string { return `(SELECT hex FROM hash WHERE id = ` + column + `)` }

// withHash joins the dictionary, under an alias, with a column that may be NULL.
func withHash(alias, column string) string {
	return ` LEFT JOIN hash ` + alias + ` ON ` + alias + `.id = ` + column
}

// storedHash is SQL for the hash that a column has the number of, for a check: NULL if the column is NULL, and 'unknown', which no
// hash is, if the dictionary lacks the number or has it for another generation than that of the record. The dictionary is joined under an
// alias, see withHash.
func storedHash(alias, column, record string) string {
	return `CASE WHEN ` + column + ` IS NULL THEN NULL WHEN ` + alias + `.generation = ` + record + ` >> 14 THEN ` + alias + `.hex ELSE 'unknown' END`
}
