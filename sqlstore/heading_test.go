package sqlstore_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// heading reads what a sample begins with.
func heading(record []byte) (sqlstore.Heading, bool) {
	var s sample
	if err := json.Unmarshal(record, &s); err != nil {
		return sqlstore.Heading{}, false
	}
	at := sqlstore.Heading{QueryID: unhex(s.ID), Anonymous: s.Agent == nil, Timestamp: s.Time}
	if s.Agent != nil {
		at.AgentID = unhex(*s.Agent)
	}
	if s.Subject != nil {
		at.Subject = []byte(*s.Subject)
	}
	return at, true
}

// crowd returns samples of which four have each timestamp: two of one agent, one of another, and one of nobody.
func crowd() (list []sample) {
	for i := range 40 {
		s := sample{ID: hx(fmt.Sprint("query ", i)), Time: int64(i / 4), Subject: ptr(fmt.Sprint("subject ", i%2)), Confidence: 0.5}
		if i%4 < 3 {
			s.Agent = ptr(hx(fmt.Sprint("agent ", i%4/2)))
		}
		list = append(list, s)
	}
	return list
}

// Whatever table audit says about the rows of kv, a short list has the records that belong to it, each once and in order.
func TestAShortListHasItsRecords(t *testing.T) {
	t.Parallel()
	all := crowd()
	row := func(i int) string {
		return `(SELECT rowid FROM kv WHERE key = x'004155443a` + all[i].ID + `')`
	}
	names := func(i, j int) string { return fmt.Sprintf(`UPDATE audit SET kv_row = %s WHERE idx = %d`, row(j), i) }
	foreign := func(change func(*sample)) string {
		s := all[20]
		change(&s)
		r := s.record(0)
		return fmt.Sprintf(`INSERT INTO kv (key, value, leaf) VALUES (x'7a', x'%x', x'%x')`, r.Payload, r.Leaf[:])
	}
	const own = `UPDATE audit SET kv_row = (SELECT rowid FROM kv WHERE key = x'7a') WHERE idx = 20`
	for name, statements := range map[string][]string{
		"as they are":                          nil,
		"another time":                         {names(20, 24)},
		"another agent":                        {names(20, 22)},
		"nobody":                               {names(20, 23)},
		"an agent in place of nobody":          {names(23, 20)},
		"another subject":                      {names(22, 23), names(23, 22)},
		"the same agent and time":              {names(20, 21)},
		"the last one":                         {names(39, 38)},
		"exchanged":                            {names(20, 21), names(21, 20)},
		"all of one time exchanged":            {names(20, 23), names(21, 22), names(22, 21), names(23, 20)},
		"a key of a program's own":             {foreign(func(*sample) {}), own},
		"a key of a program's own, another id": {foreign(func(s *sample) { s.ID = hx("another") }), own},
		"no record":                            {`UPDATE audit SET kv_row = NULL WHERE idx = 20`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.db")
			db := open(t, path, sqlstore.Options{})
			var rs []sqlstore.Record
			for i, s := range all {
				rs = append(rs, s.record(uint64(i)*100))
			}
			apply(t, db, rs...)
			mustClose(t, db)
			tamper(t, path, statements...)
			for _, read := range []func([]byte) (sqlstore.Heading, bool){heading, nil} {
				db := open(t, path, sqlstore.Options{Heading: read})
				for what, f := range map[string]sqlstore.Filter{
					"everything": {}, "of an agent": {Agent: ptr(h("agent 0"))}, "of the other agent": {Agent: ptr(h("agent 1"))},
					"of nobody": {Anonymous: true}, "of a subject": {Subject: ptr("subject 0")}, "of the other subject": {SubjectGlob: ptr("subject 1")},
					"of a time": {From: ptr[int64](5), To: ptr[int64](8)}, "of an agent and a time": {Agent: ptr(h("agent 0")), From: ptr[int64](5)},
				} {
					for _, f.Descending = range []bool{false, true} {
						for _, f.Limit = range []int{1, 2, 3, 7, 20, 21, 22, 23, 39, 40, 41} {
							if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, slices.Equal) {
								t.Errorf("%s, %d of them, descending %v: %d records, which are not those of a plain program, or %d", what, f.Limit, f.Descending, len(got), len(want))
							}
						}
					}
				}
				mustClose(t, db)
			}
		})
	}
}

// A short list by time reads an index and the records. So it does not depend on table entry.
func TestAShortListNeedsNoEntries(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	rs := samples(0, 60)
	apply(t, db, rs...)
	mustClose(t, db)
	tamper(t, path, `UPDATE entry SET query_id = zeroblob(32)`)
	db = open(t, path, sqlstore.Options{Heading: heading})
	for what, f := range map[string]sqlstore.Filter{
		"everything": {Limit: 60}, "the newest": {Limit: 10, Descending: true}, "of an agent": {Limit: 5, Agent: rs[8].AgentID}, "of a subject": {Limit: 5, Subject: rs[8].Subject},
	} {
		if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, slices.Equal) || len(got) == 0 {
			t.Errorf("%s: %d records, or in another order than the %d of a plain program", what, len(got), len(want))
		}
	}
}
