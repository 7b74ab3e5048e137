package storedir_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

const (
	storeID = "00112233445566778899aabbccddeeff"
	otherID = "ffeeddccbbaa99887766554433221100"
)

// facts are those of a store that is in order: it was closed cleanly, SQLite had everything up to offset 500, and the
// journal reaches back to the beginning.
func facts() storedir.Facts {
	meta := sqlstore.Meta{Exists: true, Cursor: 500, Reach: 500, StoreID: storeID, TimeUnit: "ms"}
	file := storedir.New("test")
	file.StoreID, file.Used, file.Clean = storeID, true, true
	file.Reached = &storedir.Reached{Cursor: 500}
	return storedir.Facts{
		Path: "audit.db", File: file, Segments: []wal.Segment{{Base: 0, Size: 500}},
		Exists: true, Both: meta, Alone: &meta,
	}
}

// The changes from which the rows of the table are put together.
type change func(*storedir.Facts)

func with(changes ...change) change {
	return func(f *storedir.Facts) {
		for _, c := range changes {
			c(f)
		}
	}
}

func unclean(f *storedir.Facts)  { f.File.Clean = false }
func withWAL(f *storedir.Facts)  { f.HasWAL = true }
func trimmed(f *storedir.Facts)  { f.Segments = []wal.Segment{{Base: 300, Size: 200}} }
func emptied(f *storedir.Facts)  { f.Segments = nil }
func examined(f *storedir.Facts) { f.Examined = true }
func doubted(f *storedir.Facts)  { f.File.Clean, f.File.Doubted = false, true }

// alone sets what the database says without its -wal.
func alone(set func(*sqlstore.Meta)) change {
	return func(f *storedir.Facts) {
		m := *f.Alone
		set(&m)
		f.Alone = &m
	}
}

func both(set func(*sqlstore.Meta)) change { return func(f *storedir.Facts) { set(&f.Both) } }

func reach(off uint64) func(*sqlstore.Meta) {
	return func(m *sqlstore.Meta) { m.Reach, m.Cursor = off, off }
}

func unread(err error) change {
	return func(f *storedir.Facts) { f.Unread, f.Both, f.Alone = err, sqlstore.Meta{}, nil }
}

// beside notes that the store was closed while a reader had SQLite open, and that SQLite had everything up to an offset.
func beside(off wal.Offset) change {
	return func(f *storedir.Facts) { f.File.Clean, f.File.Left = false, &off }
}

func TestDecide(t *testing.T) {
	t.Parallel()
	malformed := fmt.Errorf("page 7: %w", sqlstore.ErrMalformed)
	busy := errors.New("disk I/O error")
	const missing = "its -wal is missing"
	for name, c := range map[string]struct {
		change change
		action storedir.Action
		doubt  string // a part of it; "" is none
		refuse error
	}{
		"closed cleanly":                    {with(), storedir.Keep, "", nil},
		"killed":                            {with(unclean, withWAL), storedir.Keep, "", nil},
		"never used":                        {with(unclean, func(f *storedir.Facts) { f.File.Used, f.File.Reached = false, nil }), storedir.Keep, "", nil},
		"no database":                       {func(f *storedir.Facts) { f.Exists, f.Both, f.Alone = false, sqlstore.Meta{}, nil }, storedir.Keep, "", nil},
		"a store.json without a checkpoint": {with(unclean, withWAL, func(f *storedir.Facts) { f.File.Reached = nil }), storedir.Keep, "", nil},
		"killed, and the -wal removed":      {unclean, storedir.Rebuild, missing, nil},
		"killed, and the -wal removed, and trimmed":                   {with(unclean, trimmed), storedir.Check, missing, nil},
		"killed, and the -wal removed, without a journal":             {with(unclean, emptied), storedir.Check, missing, nil},
		"killed, and the -wal removed, and trimmed after what it has": {with(unclean, trimmed, both(reach(200)), alone(reach(200)), examined, func(f *storedir.Facts) { f.File.Reached = nil }), storedir.Keep, missing, wal.ErrGap},
		"found suspect before":                                        {with(doubted, withWAL), storedir.Rebuild, "an opening found it suspect", nil},
		"found suspect before, trimmed":                               {with(doubted, withWAL, trimmed), storedir.Check, "an opening found it suspect", nil},
		"found suspect before, for a reason":                          {with(doubted, withWAL, func(f *storedir.Facts) { f.File.Doubt = "its -wal is missing" }), storedir.Rebuild, "its -wal is missing, and since then", nil},
		"store.json was lost":                                         {with(doubted, withWAL, func(f *storedir.Facts) { f.File.Lost = "store.json is missing" }), storedir.Rebuild, "store.json is missing, and with it", nil},
		"closed beside a reader that ended":                           {beside(500), storedir.Examine, "the last reader to close", nil},
		"closed beside a reader that ended, examined":                 {with(beside(500), examined), storedir.Keep, "", nil},
		"closed beside a reader that ended, examined and damaged":     {with(beside(500), examined, func(f *storedir.Facts) { f.AloneProblems = []string{"page 3"}; f.BothProblems = f.AloneProblems }), storedir.Rebuild, "SQLite finds: page 3", nil},
		"closed beside a reader, at another place":                    {beside(400), storedir.Rebuild, missing, nil},

		"an older database":                                               {with(both(reach(400)), alone(reach(400))), storedir.Examine, "had everything up to 500", nil},
		"an older database, examined":                                     {with(both(reach(400)), alone(reach(400)), examined), storedir.Rebuild, "had everything up to 500", nil},
		"an older database, examined and trimmed":                         {with(both(reach(400)), alone(reach(400)), examined, trimmed), storedir.Check, "had everything up to 500", nil},
		"an older database below its -wal":                                {with(unclean, withWAL, alone(reach(400)), examined), storedir.Rebuild, "had everything up to 500", nil},
		"an older database below its -wal, not examined":                  {with(unclean, withWAL, alone(reach(400))), storedir.Examine, "had everything up to 500", nil},
		"an older database below its -wal, in the middle of a checkpoint": {with(unclean, withWAL, alone(reach(400)), examined, func(f *storedir.Facts) { f.AloneProblems = []string{"page 3"} }), storedir.Keep, "", nil},
		"an older -wal":                                                   {with(unclean, withWAL, both(reach(500)), alone(reach(700)), examined), storedir.Rebuild, "that -wal is older", nil},
		"an older -wal, trimmed":                                          {with(unclean, withWAL, trimmed, alone(reach(700)), examined, func(f *storedir.Facts) { f.AloneProblems = []string{"page 3"}; f.Both.Reach = 400 }), storedir.Keep, "with its -wal it ends at offset 400", storedir.ErrMismatch},
		"both older":                                                      {with(unclean, withWAL, both(reach(400)), func(f *storedir.Facts) { f.Alone = nil }), storedir.Rebuild, "with its -wal it ends at offset 400", nil},
		"both older, trimmed":                                             {with(unclean, withWAL, trimmed, both(reach(400)), func(f *storedir.Facts) { f.Alone = nil }), storedir.Keep, "with its -wal it ends at offset 400", storedir.ErrMismatch},
		"more than a clean close left":                                    {both(reach(600)), storedir.Rebuild, "with its -wal it ends at offset 600", nil},
		"problems, trimmed, with a -wal":                                  {with(unclean, withWAL, trimmed, examined, func(f *storedir.Facts) { f.BothProblems = []string{"page 3"}; f.AloneProblems = f.BothProblems }), storedir.Keep, "SQLite finds", sqlstore.ErrMalformed},
		"older, in the middle of a rebuild":                               {with(unclean, withWAL, both(reach(100)), alone(reach(100)), func(f *storedir.Facts) { f.File.Rebuilding = "aside-1" }), storedir.Keep, "", nil},

		"malformed":                    {unread(malformed), storedir.Rebuild, "page 7", nil},
		"malformed, trimmed":           {with(unread(malformed), trimmed), storedir.Keep, "page 7", sqlstore.ErrMalformed},
		"malformed, without a journal": {with(unread(malformed), emptied), storedir.Keep, "page 7", sqlstore.ErrMalformed},
		"not readable now":             {unread(busy), storedir.Keep, "", busy},

		"another store's":                                    {with(both(func(m *sqlstore.Meta) { m.StoreID = otherID })), storedir.Keep, "", storedir.ErrMismatch},
		"with another unit":                                  {with(both(func(m *sqlstore.Meta) { m.TimeUnit = "s" })), storedir.Keep, "", storedir.ErrMismatch},
		"another store's below a -wal of this one":           {with(unclean, withWAL, alone(func(m *sqlstore.Meta) { m.StoreID = otherID })), storedir.Examine, otherID, nil},
		"another store's below a -wal of this one, examined": {with(unclean, withWAL, examined, alone(func(m *sqlstore.Meta) { m.StoreID = otherID })), storedir.Keep, "", storedir.ErrMismatch},
		"another store's below a -wal of this one, in the middle of a checkpoint, alone": {with(unclean, withWAL, examined, alone(func(m *sqlstore.Meta) { m.StoreID = otherID }), func(f *storedir.Facts) { f.AloneProblems = []string{"page 3"} }), storedir.Keep, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			c.change(&f)
			plan := storedir.Decide(f)
			if plan.Action != c.action || !errors.Is(plan.Refuse, c.refuse) || plan.Refuse != nil && c.refuse == nil {
				t.Errorf("action %d, refused: %v; want %d, %v", plan.Action, plan.Refuse, c.action, c.refuse)
			}
			if !strings.Contains(plan.Doubt, c.doubt) || c.doubt == "" && plan.Doubt != "" {
				t.Errorf("doubt %q, want %q", plan.Doubt, c.doubt)
			}
			if plan.Refuse != nil && !errors.Is(plan.Refuse, busy) && !strings.Contains(plan.Refuse.Error(), "audit.db") {
				t.Errorf("the refusal does not name the file: %v", plan.Refuse)
			}
		})
	}
}

func TestReachedThen(t *testing.T) {
	t.Parallel()
	newest := &sqlstore.Entry{Index: 4, QueryID: [32]byte{7}, JournalOffset: 90}
	for name, c := range map[string]struct {
		was  *storedir.Reached
		done sqlstore.Checkpoint
		want storedir.Reached
	}{
		"the first":           {nil, sqlstore.Checkpoint{Applied: 100}, storedir.Reached{Cursor: 100}},
		"a later one":         {&storedir.Reached{Cursor: 60, Before: 20}, sqlstore.Checkpoint{Applied: 100}, storedir.Reached{Cursor: 100, Before: 60}},
		"one that found none": {&storedir.Reached{Cursor: 100, Before: 60}, sqlstore.Checkpoint{Applied: 100}, storedir.Reached{Cursor: 100, Before: 60}},
	} {
		if got := *c.was.Then(c.done); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	got := (*storedir.Reached)(nil).Then(sqlstore.Checkpoint{Applied: 100, Newest: newest})
	if got.Newest == nil || *got.Newest != (storedir.Milestone{Offset: 90, QueryID: storedir.ID{7}}) {
		t.Errorf("%+v", got.Newest)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	for i, unit := range []storedir.Unit{"s", "ms", "us", "ns"} {
		file := storedir.New("test")
		file.TimeUnit = unit
		identity := file.Identity()
		if len(identity) != 17 || identity[16] != byte(i) {
			t.Errorf("%s: %x", unit, identity)
		}
		if id, u, ok := storedir.ParseIdentity(identity); !ok || id != file.StoreID || u != unit {
			t.Errorf("%s: read as %s, %s, %v", unit, id, u, ok)
		}
	}
	for _, wrong := range [][]byte{nil, make([]byte, 16), make([]byte, 18), append(make([]byte, 16), 4)} {
		if _, _, ok := storedir.ParseIdentity(wrong); ok {
			t.Errorf("%x was read", wrong)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"all": "all", "None": "none", "0": "none", "512MiB": "536870912", "1": "1"} {
		r, err := storedir.ParseRetention(text)
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v", text, r, err)
		}
	}
	for _, wrong := range []string{"", "some", "-1", "9223372036854775807", strings.Repeat("\x1b", 1000)} {
		if r, err := storedir.ParseRetention(wrong); err == nil || len(err.Error()) > 400 {
			t.Errorf("%q: %s, %.500v", wrong, r, err)
		}
	}
}

// A -wal that does not fit the database is moved aside if the database is whole without it, and if the journal has all that came
// after it.
func TestDecideWithoutTheWAL(t *testing.T) {
	t.Parallel()
	older := with(unclean, withWAL, trimmed, alone(reach(700)), both(reach(500)))
	torn := func(f *storedir.Facts) {
		f.Unread, f.Both = fmt.Errorf("page 7: %w", sqlstore.ErrMalformed), sqlstore.Meta{}
	}
	sick := with(unclean, withWAL, trimmed, func(f *storedir.Facts) { f.BothProblems = []string{"page 3"} })
	for name, c := range map[string]struct {
		change change
		action storedir.Action
		drop   bool
	}{
		"an older -wal":                           {older, storedir.Examine, false},
		"an older -wal, examined":                 {with(older, examined), storedir.Check, true},
		"the two cannot be read":                  {with(unclean, withWAL, trimmed, torn), storedir.Examine, false},
		"the two cannot be read, examined":        {with(unclean, withWAL, trimmed, torn, examined), storedir.Check, true},
		"the two are not whole, examined":         {with(sick, examined), storedir.Check, true},
		"the journal reaches back":                {with(unclean, withWAL, torn, examined), storedir.Rebuild, false},
		"the database is not whole either":        {with(older, torn, examined, func(f *storedir.Facts) { f.AloneProblems = []string{"page 3"} }), storedir.Keep, false},
		"the database cannot be read alone":       {with(older, torn, examined, func(f *storedir.Facts) { f.Alone = nil }), storedir.Keep, false},
		"the database is older than was noted":    {with(sick, torn, examined, alone(reach(499))), storedir.Keep, false},
		"the journal begins after the database":   {with(sick, torn, examined, func(f *storedir.Facts) { f.Segments[0].Base = 501 }), storedir.Keep, false},
		"nothing was noted":                       {with(sick, torn, examined, func(f *storedir.Facts) { f.File.Reached = nil }), storedir.Keep, false},
		"in the middle of a rebuild":              {with(sick, torn, examined, func(f *storedir.Facts) { f.File.Rebuilding = "aside-1" }), storedir.Keep, false},
		"the database alone is of another store":  {with(sick, torn, examined, alone(func(m *sqlstore.Meta) { m.StoreID = otherID })), storedir.Keep, false},
		"there is no journal":                     {with(sick, torn, examined, emptied), storedir.Keep, false},
		"there is no -wal, and it cannot be read": {with(unclean, trimmed, torn), storedir.Keep, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			c.change(&f)
			if p := storedir.Decide(f); p.Action != c.action || p.DropWAL != c.drop || p.Action == storedir.Keep && p.Refuse == nil {
				t.Errorf("action %d, without -wal %v, refused: %v; want %d, %v", p.Action, p.DropWAL, p.Refuse, c.action, c.drop)
			}
		})
	}
}
