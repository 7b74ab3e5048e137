package sqlstore

// sizes bound what is read, written or kept in memory at a time. They are a field of DB, so that a test can make them
// small and needs no large store.
type sizes struct {
	// pageBytes is where a page of rows ends early: a record may have 16 MiB.
	pageBytes int

	// selectPage is how many records Select reads at a time.
	selectPage int

	// lookup is how many records are looked up and sorted in memory, at most. What more records share is met often
	// enough on a walk.
	lookup int

	// few is how many records are looked up without counting them first.
	few int

	// minStretch and maxStretch bound how many rows a walk looks at in one read transaction.
	minStretch, maxStretch int

	// lookAfter is how many rows a walk passes before it is compared with the way by the evidence, see uses.go.
	lookAfter int

	// ties is how many places of records of one timestamp are sorted in memory at a time.
	ties int

	// hashes is how many hashes Apply remembers from batch to batch. A generation of records with three contributions has at most
	// 130,000. A hash takes some 60 bytes.
	hashes int

	// reindexPage is how many records a transaction of Reindex holds.
	reindexPage int

	// treePart and treeBytes are how many records, and bytes of them, a transaction of BuildTree has.
	treePart, treeBytes int

	// rollupPage is how many rows of table activity are read at a time.
	rollupPage int

	// corrections is how many records an answer as of an earlier moment subtracts from stored figures, at most. If there are
	// more, it counts the records of that moment. For a time only the records of that time matter.
	corrections int

	// keys is how many keys Frequencies remembers. A hash takes about 100 bytes.
	keys int

	// chainHashes is for how many hashes one query of a walk along chains looks, at most, and chainRows how many rows it reads. Then
	// the query ends, so that no read transaction is long. For the same reason a query that looks up hashes does so
	// chainLookups times, at most, unless they are more hashes than that in one generation.
	chainHashes, chainRows, chainLookups int
}

func defaultSizes() sizes {
	return sizes{
		pageBytes:    4 << 20,
		selectPage:   256,
		lookup:       1 << 13,
		few:          128,
		minStretch:   512,
		maxStretch:   8192,
		lookAfter:    1 << 15,
		ties:         1 << 18,
		hashes:       1 << 18,
		reindexPage:  4096,
		treePart:     20_000,
		treeBytes:    64 << 20,
		rollupPage:   8192,
		corrections:  100_000,
		keys:         1 << 20,
		chainHashes:  4096,
		chainRows:    4096,
		chainLookups: 1 << 13,
	}
}
