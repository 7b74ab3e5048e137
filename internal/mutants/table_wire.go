package main

// wireMutants are about what a server sends to many, and takes from many.
var wireMutants = []mutant{
	{"the place within a block where a tail goes on", "web/tail_block.go",
		"	return t.text[t.starts[first]:]", "	return t.text",
		"web", "^TestATailGoesOnWhereItWasCutWithoutAHoleOrADouble$", []string{"-test.timeout", "1m"}},
	{"the waking of the tails for what was gathered", "web/tail_hub.go",
		"h.due = time.AfterFunc(wait, func() { h.change(run, h.wake) })", "h.due = time.AfterFunc(wait, func() { h.change(run, func() {}) })",
		"web", "^TestAHubGathersForAMoment$", nil},
	{"the records that come before the end of the reader of the tails", "web/tail_hub.go",
		"	h.failed = err\n	h.wake()", "	h.failed, h.gathered = err, nil\n	h.wake()",
		"web", "^TestAHubGathersForAMoment$", nil},
	{"the number of the reader that changes a hub", "web/tail_hub.go",
		"	if run == h.run && h.tails > 0 {", "	if h.tails > 0 {",
		"web", "^TestTheReaderThatWasLeftChangesNothing$", nil},
	{"the order of two batches of lines", "web/put_reader.go",
		"			in.batches <- before // this is the only sender, so there is room\n", "			in.batches <- in.batch\n			in.batch = before\n",
		"web", "^TestLinesThatComeMeanwhileAreStoredTogether$", []string{"-test.timeout", "20s"}},
	{"the end of a body that is cut, when its lines join others", "web/put_reader.go",
		"append(b.lines, later.lines...), later.fatal", "append(b.lines, later.lines...), b.fatal",
		"web", "^TestABodyThatIsCutWhileItsLinesAreStored$", []string{"-test.timeout", "20s"}},
	{"the silence after the line that says done", "web/api_put_lines.go",
		"	if b.fatal != nil && !p.ended {", "	if b.fatal != nil {",
		"web", "^TestABodyThatIsCutWhileItsLinesAreStored$", []string{"-test.timeout", "20s"}},
	{"the limit of the lines that are stored together", "web/put_reader.go",
		"	if len(b.lines)+len(later.lines) > maxBatch || ", "	if ",
		"web", "^TestLinesThatComeMeanwhileAreStoredTogether$", []string{"-test.timeout", "20s"}},
}
