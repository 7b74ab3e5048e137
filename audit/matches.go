package audit

// Matches reports whether a record meets the conditions of the filter: a list of a store that has the record would have it. It
// asks no store, so it also tells about a record that SQLite does not have yet, as Follow yields them. AsOf, After, Limit and
// the order are about a list, and count for nothing here.
func (f Filter) Matches(q *QueryAudit) bool {
	if f.none() {
		return false
	}
	row, g := toRow(q, nil), f.lower()
	return g.Matches(&row)
}
