package phrase

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
)

// literal writes a text as SQL. One that nobody could read or type is written as its bytes.
func literal(s string) string {
	if legible.Text(s) != s {
		return "CAST(x'" + hex.EncodeToString([]byte(s)) + "' AS TEXT)"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func hashLiteral(h audit.Hash) string { return "'" + h.String() + "'" }

// notApproved is what the lifecycle of evidence that nobody approved is compared with. Evidence of which no lifecycle is known does not
// count.
const notApproved = "IN ('Proposed', 'UnderReview', 'Deprecated', 'Rejected')"

// within returns the condition for a span of timestamps, nil when there is none.
func within(from, to *uint64) []string {
	at := func(t uint64) string { return strconv.FormatUint(min(t, audit.MaxTimestamp), 10) }
	switch {
	case from != nil && to != nil:
		return []string{"timestamp BETWEEN " + at(*from) + " AND " + at(*to)}
	case from != nil:
		return []string{"timestamp >= " + at(*from)}
	case to != nil:
		return []string{"timestamp <= " + at(*to)}
	}
	return nil
}

// conditions are those of a filter on the view audits.
func conditions(f *audit.Filter) []string {
	all := ofRecord(f)
	for _, c := range ofEvidence(f) {
		all = append(all, "idx IN (SELECT idx FROM contributions WHERE "+c+")")
	}
	if f.Unapproved {
		all = append(all, "EXISTS (SELECT 1 FROM contributions c WHERE c.idx = audits.idx AND c.lifecycle "+notApproved+")")
	}
	if f.Lifecycle != nil {
		all = append(all, fmt.Sprintf("lifecycle = '%s'", *f.Lifecycle))
	}
	all = append(all, lists(f, func(*audit.Filter) bool { return true }, conditions)...)
	if f.AsOf != nil {
		all = append(all, fmt.Sprintf("idx < %d", *f.AsOf))
	}
	if f.After != nil && !f.ByAdmission {
		comparison := ">"
		if f.Descending {
			comparison = "<"
		}
		all = append(all, fmt.Sprintf("(timestamp, query_id) %s (%d, %s)", comparison, f.After.Timestamp, hashLiteral(f.After.ID)))
	}
	return all
}

// lists are the conditions of those lists of a filter that have a wanted filter. of has the conditions of one filter in them.
func lists(f *audit.Filter, wanted func(*audit.Filter) bool, of func(*audit.Filter) []string) (all []string) {
	any := func(list []audit.Filter) (joined string, want bool) {
		var alternatives []string
		for i := range list {
			want = want || wanted(&list[i])
			conditions := of(&list[i])
			alternative := strings.Join(conditions, " AND ")
			switch {
			case len(conditions) == 0:
				alternative = "TRUE"
			case len(list) > 1 && len(conditions) > 1:
				alternative = "(" + alternative + ")"
			}
			alternatives = append(alternatives, alternative)
		}
		if len(alternatives) == 0 {
			return "FALSE", want
		}
		return strings.Join(alternatives, " OR "), want
	}
	for _, list := range f.AnyOf {
		if joined, want := any(list); want {
			all = append(all, "("+joined+")")
		}
	}
	for i := range f.NoneOf {
		if joined, want := any(f.NoneOf[i : i+1]); want {
			all = append(all, "("+joined+") IS NOT TRUE")
		}
	}
	return all
}

// ofRecord are the conditions that a filter itself has for records, without those of evidence.
func ofRecord(f *audit.Filter) []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if f.Agent != nil {
		add("agent_id = %s", hashLiteral(*f.Agent))
	}
	if f.Anonymous {
		add("agent_id IS NULL")
	}
	all = append(all, within(f.From, f.To)...)
	if f.Subject != nil {
		add("subject = %s", literal(*f.Subject))
	}
	if glob := f.SubjectGlob; glob != nil {
		if strings.ContainsAny(*glob, "*?[") {
			add("subject GLOB %s", literal(audit.SQLGlob(*glob)))
		} else {
			add("subject = %s", literal(*glob))
		}
	}
	if f.Predicate != nil {
		add("predicate = %s", literal(*f.Predicate))
	}
	if f.Lens != nil {
		add("lens = %s", literal(*f.Lens))
	}
	if f.Result != nil {
		add("result_hash = %s", hashLiteral(*f.Result))
	}
	for _, a := range f.Attributes {
		add("idx IN (SELECT idx FROM attributes WHERE key = %s AND value = %s)", literal(a.Key), literal(a.Value))
	}
	if f.MinConfidence != nil {
		add("result_confidence >= %s", number(*f.MinConfidence))
	}
	if f.MaxConfidence != nil {
		add("result_confidence <= %s", number(*f.MaxConfidence))
	}
	return all
}

// ofEvidence are the assertion and the source that a filter itself names, as conditions on the view contributions.
func ofEvidence(f *audit.Filter) []string {
	var all []string
	if f.Assertion != nil {
		all = append(all, "assertion_hash = "+hashLiteral(*f.Assertion))
	}
	if f.Source != nil {
		all = append(all, "source_hash = "+hashLiteral(*f.Source))
	}
	return all
}

// ofPiece are the conditions of a filter on the view contributions, where pieces of evidence are counted.
func ofPiece(f *audit.Filter) []string {
	return append(onePiece(f), lists(f, namesEvidence, wholePiece)...)
}

// onePiece are those that a filter itself has.
func onePiece(f *audit.Filter) []string {
	all := ofEvidence(f)
	if f.Unapproved {
		all = append(all, "lifecycle "+notApproved)
	}
	if f.Lifecycle != nil {
		all = append(all, fmt.Sprintf("lifecycle = '%s'", *f.Lifecycle))
	}
	return all
}

// wholePiece are all conditions of a filter in a list: of the piece and of its record.
func wholePiece(f *audit.Filter) []string {
	all := append(onePiece(f), lists(f, func(*audit.Filter) bool { return true }, wholePiece)...)
	if record := ofRecord(f); len(record) > 0 {
		all = append(all, "idx IN (SELECT idx FROM audits WHERE "+strings.Join(record, " AND ")+")")
	}
	return all
}

// ofRecords is a filter without the conditions that ofPiece has.
func ofRecords(f audit.Filter) audit.Filter {
	f.Lifecycle, f.Assertion, f.Source, f.Unapproved = nil, nil, nil, false
	f.AnyOf = slices.DeleteFunc(slices.Clone(f.AnyOf), func(list []audit.Filter) bool {
		return slices.ContainsFunc(list, func(g audit.Filter) bool { return namesEvidence(&g) })
	})
	f.NoneOf = slices.DeleteFunc(slices.Clone(f.NoneOf), func(g audit.Filter) bool { return namesEvidence(&g) })
	return f
}

// namesEvidence reports whether a filter has conditions of evidence, where pieces of evidence are counted.
func namesEvidence(f *audit.Filter) bool {
	nested := func(g audit.Filter) bool { return namesEvidence(&g) }
	return len(onePiece(f)) > 0 || slices.ContainsFunc(f.NoneOf, nested) ||
		slices.ContainsFunc(f.AnyOf, func(list []audit.Filter) bool { return slices.ContainsFunc(list, nested) })
}

// number writes a confidence with the digits that people see, which the views have too.
func number(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

// where joins conditions.
func where(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return "\nWHERE " + strings.Join(conditions, "\n  AND ")
}

func limited(n int) string {
	if n <= 0 {
		return ";"
	}
	return fmt.Sprintf("\nLIMIT %d;", n)
}

// Records is the SQL that lists the records of a filter, in its order and with its limit.
func Records(f audit.Filter) string {
	all := conditions(&f)
	order := "timestamp, query_id"
	switch {
	case f.ByAdmission && f.Descending:
		order = "idx DESC"
	case f.ByAdmission:
		order = "idx"
	case f.Descending:
		order = "timestamp DESC, query_id DESC"
	}
	return "SELECT time, query_id, agent_label, subject, predicate, lifecycle, lens, result_hash, result_confidence\nFROM audits" +
		where(all) + "\nORDER BY " + order + limited(f.Limit)
}

// Timeline is the SQL that counts the records of a filter by minute, quarter of an hour, hour or day of UTC.
func Timeline(by string, f audit.Filter) string {
	length := map[string]int{"minute": 16, "day": 10}[by]
	if length == 0 {
		length = 13
	}
	start := fmt.Sprintf("substr(time, 1, %d)", length)
	if by == "quarter" {
		start = "substr(time, 1, 14) || printf('%02d', substr(time, 15, 2) / 15 * 15)"
	}
	return fmt.Sprintf("SELECT %s AS start, count(*) AS records, count(DISTINCT agent_id) AS agents,\n"+
		"  sum(EXISTS (SELECT 1 FROM contributions c WHERE c.idx = audits.idx AND c.lifecycle %s)) AS not_approved\nFROM audits", start, notApproved) +
		where(conditions(&f)) + "\nGROUP BY 1\nORDER BY 1;"
}

// Evidence is the SQL that shows the evidence of a record, the weightiest first.
func Evidence(id audit.QueryID) string {
	return "SELECT weight, lifecycle, assertion_hash, assertion_label, source_hash, source_label\nFROM contributions\nWHERE query_id = " +
		hashLiteral(id) + "\nORDER BY weight DESC, position;"
}

// Origins is the SQL that shows the evidence of a record, the evidence of the earlier answers that this was, and so on, as of a number of records
// if that is given.
func Origins(id audit.QueryID, asOf *uint64) string {
	moment := ""
	if asOf != nil {
		moment = fmt.Sprintf(" AND a.idx < %d", *asOf)
	}
	return "WITH RECURSIVE earlier (idx, timestamp, distance) AS (\n  SELECT idx, timestamp, 1 FROM audits WHERE query_id = " + hashLiteral(id) +
		"\n  UNION\n  SELECT a.idx, a.timestamp, e.distance + 1\n" +
		"  FROM earlier e JOIN contributions c ON c.idx = e.idx JOIN audits a ON a.result_hash = c.assertion_hash\n" +
		"  WHERE e.distance < " + strconv.Itoa(mostSteps) + " AND a.timestamp <= e.timestamp AND a.idx <> e.idx" + moment +
		"\n)\nSELECT min(e.distance) AS distance, c.query_id, c.agent_label, c.weight, c.lifecycle, c.assertion_hash, c.source_hash, c.source_label\n" +
		"FROM earlier e CROSS JOIN contributions c ON c.idx = e.idx\nGROUP BY c.idx, c.position\nORDER BY distance, c.timestamp, c.query_id, c.position;"
}

// Stored is the SQL that shows the bytes of a record as they are stored.
func Stored(id audit.QueryID) string {
	return "SELECT CAST(value AS TEXT) AS record\nFROM kv\nWHERE key = x'004155443A" + id.String() + "';"
}

// Impact is the SQL that lists the answers that an assertion or a source went into.
func Impact(h audit.Hash, source bool, f audit.Filter) string {
	column := "assertion_hash"
	if source {
		column = "source_hash"
	}
	records := ofRecords(f)
	pieces := append([]string{column + " = " + hashLiteral(h)}, ofPiece(&f)...)
	return "SELECT c.time, c.query_id, c.agent_label, a.subject, a.predicate, c.weight, c.lifecycle,\n  a.result_hash IS c.assertion_hash AS answer\n" +
		"FROM (\n  SELECT * FROM contributions" + strings.ReplaceAll(where(pieces), "\n", "\n  ") + "\n) c JOIN (\n  SELECT * FROM audits" +
		strings.ReplaceAll(where(conditions(&records)), "\n", "\n  ") +
		"\n) a ON a.idx = c.idx\nORDER BY c.timestamp, c.query_id, c.position" + limited(f.Limit)
}

// Downstream is the SQL that lists the answers that came of an assertion or a source, the nearest first. Without a depth, 0, it takes
// mostSteps steps: in a cycle SQL alone finds no end.
func Downstream(h audit.Hash, source bool, depth int, anyOrder bool, f audit.Filter) string {
	column := "assertion_hash"
	if source {
		column = "source_hash"
	}
	if depth == 0 {
		depth = mostSteps
	}
	// The filter says which answers are shown. Only the moment counts for those on the way.
	var moment []string
	if f.AsOf != nil {
		moment = []string{fmt.Sprintf("a.idx < %d", *f.AsOf)}
	}
	limit := f.Limit
	f.AsOf, f.Limit, f.After = nil, 0, nil
	first := append([]string{"c." + column + " = " + hashLiteral(h)}, moment...)
	next := []string{"r.distance < " + strconv.Itoa(depth), "r.result_hash IS NOT r.through"}
	if !anyOrder {
		next = append(next, "c.timestamp >= r.timestamp")
	}
	next = append(append(next, "c.idx <> r.idx"), moment...)
	inside := func(all []string) string { return strings.ReplaceAll(where(all), "\n", "\n  ") }
	through := "c.assertion_hash"
	if source {
		through = "NULL" // the first answers are not of the source itself
	}
	return "WITH RECURSIVE reached (idx, timestamp, through, result_hash, distance) AS (\n" +
		"  SELECT a.idx, a.timestamp, " + through + ", a.result_hash, 1\n  FROM contributions c JOIN audits a ON a.idx = c.idx" + inside(first) +
		"\n  UNION\n  SELECT a.idx, a.timestamp, c.assertion_hash, a.result_hash, r.distance + 1\n" +
		"  FROM reached r JOIN contributions c ON c.assertion_hash = r.result_hash JOIN audits a ON a.idx = c.idx" + inside(next) +
		"\n)\nSELECT min(distance) AS distance, time, query_id, agent_label, subject, predicate, result_hash, result_confidence\n" +
		"FROM (SELECT idx, distance FROM reached) JOIN audits USING (idx)" + where(conditions(&f)) + "\nGROUP BY idx\nORDER BY 1, timestamp, query_id" + limited(limit)
}

// mostSteps is how many steps SQL takes that has no depth.
const mostSteps = 20

// Answers is the SQL that lists the answers to a question, each beside the one before it. The view answers compares with the one before from
// whomever; with a filter an answer is compared with the one before that fits too.
func Answers(subject, predicate string, f audit.Filter) string {
	f.Subject, f.SubjectGlob, f.Predicate, f.After = &subject, nil, &predicate, nil
	times := within(f.From, f.To)
	f.From, f.To = nil, nil
	fits := conditions(&f)
	order := "timestamp, query_id"
	if f.Descending {
		order = "timestamp DESC, query_id DESC"
	}
	if len(fits) == 2 { // subject and predicate
		return "SELECT time, query_id, agent_label, lens, result_hash, result_confidence, flipped, previous_id\nFROM answers" +
			where(append(fits, times...)) + "\nORDER BY " + order + limited(f.Limit)
	}
	return "SELECT time, query_id, agent_label, lens, result_hash, result_confidence, flipped, previous_id\nFROM (\n" +
		"  SELECT *, lag(query_id) OVER w IS NOT NULL AND result_hash IS NOT lag(result_hash) OVER w AS flipped,\n    lag(query_id) OVER w AS previous_id\n  FROM audits" +
		strings.ReplaceAll(where(fits), "\n", "\n  ") + "\n  WINDOW w AS (ORDER BY timestamp, query_id)\n)" +
		where(times) + "\nORDER BY " + order + limited(f.Limit)
}

// Diff is the SQL that shows the evidence of two records side by side.
func Diff(a, b audit.QueryID) string {
	side := func(id audit.QueryID) string {
		return "(SELECT * FROM contributions WHERE query_id = " + hashLiteral(id) + ")"
	}
	return "SELECT assertion_hash, source_hash, a.weight AS weight_before, b.weight AS weight_after,\n  a.lifecycle AS lifecycle_before, b.lifecycle AS lifecycle_after\nFROM " +
		side(a) + " a\nFULL JOIN " + side(b) + " b USING (assertion_hash, source_hash)\nORDER BY a.weight IS NOT NULL, b.weight IS NULL;"
}

// Agents is the SQL that counts the records of a filter for each agent.
func Agents(f audit.Filter) string {
	f.Descending, f.ByAdmission = false, false
	all := conditions(&f)
	if len(all) == 0 {
		return "SELECT agent_id, label, audits, first, last\nFROM agents\nORDER BY agent_id IS NULL, audits DESC, agent_id" + limited(f.Limit)
	}
	return "SELECT agent_id, agent_label, count(*) AS audits, min(time) AS first, max(time) AS last\nFROM audits" +
		where(all) + "\nGROUP BY agent_id\nORDER BY agent_id IS NULL, audits DESC, agent_id" + limited(f.Limit)
}

// rankedOf returns the view that has what is ranked, its column, and what is counted.
func rankedOf(by audit.TopBy) (view, column, counted string) {
	switch _, attribute := by.Attribute(); {
	case attribute:
		return "attributes", "value", "records"
	case by == audit.TopAgents:
		return "audits", "agent_id", "records"
	case by == audit.TopLifecycles:
		return "contributions", string(by), "pieces"
	case by.OfEvidence():
		return "contributions", string(by) + "_hash", "pieces"
	}
	return "audits", string(by), "records"
}

// Top is the SQL that ranks what the records of a filter have.
func Top(by audit.TopBy, newSince *uint64, f audit.Filter) string {
	if newSince != nil && (f.From == nil || *f.From < *newSince) {
		f.From = newSince
	}
	all := conditions(&f)
	view, column, counted := rankedOf(by)
	key, attribute := by.Attribute()
	switch {
	case attribute:
		if len(all) > 0 {
			all = []string{"idx IN (SELECT idx FROM audits" + where(all) + ")"}
		}
		all = append([]string{"key = " + literal(key)}, all...)
	case by.OfEvidence():
		all = recordConditions(ofRecords(f))
		all = append(all, ofPiece(&f)...)
	}
	all = append(all, column+" IS NOT NULL")
	if newSince != nil {
		asOf := ""
		if f.AsOf != nil {
			asOf = fmt.Sprintf(" AND o.idx < %d", *f.AsOf)
		}
		if attribute {
			asOf += " AND o.key = " + literal(key)
		}
		all = append(all, fmt.Sprintf("NOT EXISTS (SELECT 1 FROM %[1]s o WHERE o.%[2]s = %[1]s.%[2]s AND o.timestamp < %[3]d%[4]s)", view, column, *newSince, asOf))
	}
	agents := "count(DISTINCT agent_id) AS agents, "
	if attribute {
		agents = "" // the view has no agents
	}
	return "SELECT " + column + ", count(*) AS " + counted + ", " + agents + "min(time) AS first, max(time) AS last\nFROM " + view +
		where(all) + "\nGROUP BY " + column + "\nORDER BY " + counted + " DESC, " + column + limited(f.Limit)
}

// Compare is the SQL that counts what the records of a filter have in each of two windows.
func Compare(by audit.TopBy, before, after audit.Window, f audit.Filter) string {
	side := func(w audit.Window) string {
		g := f
		g.From, g.To, g.Limit = &w.From, &w.To, 0
		return "(\n  " + strings.ReplaceAll(strings.TrimSuffix(Top(by, nil, g), ";"), "\n", "\n  ") + "\n)"
	}
	_, column, counted := rankedOf(by)
	return fmt.Sprintf("SELECT %[1]s, coalesce(b.%[2]s, 0) AS before, coalesce(a.%[2]s, 0) AS after\nFROM %[3]s b FULL JOIN %[4]s a USING (%[1]s)\nORDER BY %[1]s;",
		column, counted, side(before), side(after))
}

// recordConditions are those of a filter of records on the view contributions, which has the time of the record too.
func recordConditions(f audit.Filter) []string {
	bare := f
	bare.From, bare.To = nil, nil
	if all := conditions(&f); len(conditions(&bare)) > 0 {
		return []string{"idx IN (SELECT idx FROM audits" + where(all) + ")"}
	}
	return within(f.From, f.To)
}
