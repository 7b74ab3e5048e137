package sqlstore

import "context"

// ShrinkSelect makes Select read in small pages, and look up few records, until the function it returns is
// called. Not for parallel tests.
func ShrinkSelect(page, lookup, stretch int) (restore func()) {
	a, b, c, d := selectPage, maxLookup, minStretch, maxStretch
	selectPage, maxLookup, minStretch, maxStretch = page, lookup, stretch, 2*stretch
	return func() { selectPage, maxLookup, minStretch, maxStretch = a, b, c, d }
}

// ShrinkPages makes pages of rows end early, until the function it returns is called. Not for parallel tests.
func ShrinkPages(bytes int) (restore func()) {
	old := pageBytes
	pageBytes = bytes
	return func() { pageBytes = old }
}

// LookUp looks records up as Select does for a filter, and tells whether it found them so, or has to walk.
func LookUp(ctx context.Context, db *DB, f Filter) (n int, found bool, err error) {
	s := selection{db: db.readers, f: &f}
	if some, err := s.start(ctx); err != nil || !some {
		return 0, true, err
	}
	rows, found, err := s.rare(ctx)
	return len(rows), found, err
}

// ShrinkReindex makes Reindex work in small transactions, until the function it returns is called.
func ShrinkReindex(page int) (restore func()) {
	old := reindexPage
	reindexPage = page
	return func() { reindexPage = old }
}

// ShrinkFrequencies makes Frequencies remember few keys, until the function it returns is called.
func ShrinkFrequencies(keys int) (restore func()) {
	old := maxKeys
	maxKeys = keys
	return func() { maxKeys = old }
}

// Alone calls f while nobody else in this process may open the database at path.
func Alone(ctx context.Context, path string, f func()) bool { return alone(ctx, path, f) }
