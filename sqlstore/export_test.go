package sqlstore

// ShrinkSelect makes Select read in small pages, and look up few records, until the function it returns is
// called. Not for parallel tests.
func ShrinkSelect(page, lookup, stretch int) (restore func()) {
	a, b, c, d := selectPage, maxLookup, minStretch, maxStretch
	selectPage, maxLookup, minStretch, maxStretch = page, lookup, stretch, 2*stretch
	return func() { selectPage, maxLookup, minStretch, maxStretch = a, b, c, d }
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
