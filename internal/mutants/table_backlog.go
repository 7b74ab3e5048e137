package main

// backlogMutants are about the records that are acknowledged and not in SQLite yet: which lists have them, and for how long the applier
// rests before it takes them. The last is about counts on two processors.
var backlogMutants = []mutant{
	{"the records that SQLite does not have yet, in a list by time", "audit/read.go",
		"	if db.shownEarly(f) {", "	if false {",
		"audit", "^TestAListByTimeHasWhatIsNotApplied$", nil},
	{"the rule that the backlog is asked for an agent and a time alone", "audit/unapplied.go",
		"f.AsOf == nil && f.timed()", "f.AsOf == nil",
		"audit", "^TestAListByTimeHasWhatIsNotApplied$", nil},
	{"the record that a list goes on after, among those that SQLite does not have yet", "audit/unapplied.go",
		"f.before(at, *f.After) <= 0 ||", "f.before(at, *f.After) < 0 ||",
		"audit", "^TestAListByTimeHasWhatIsNotApplied$", nil},
	{"the record that was applied during a list, which both have", "audit/unapplied.go",
		"			if err == nil && len(places) > 0 && places[0] == at {", "			if false {",
		"audit", "^TestARecordThatIsAppliedDuringAListIsInItOnce$", nil},
	{"the rest of SQLite's list after the limit", "audit/unapplied.go",
		"			if full() && (err == nil || ofRecord(err)) {\n				continue", "			if full() && (err == nil || ofRecord(err)) {\n				return",
		"audit", "^TestAListOfWhatIsNotAppliedHidesNoLoss$", nil},
	{"the end of the applier's rest when a call waits", "audit/source.go",
		"				b.hurried = true", "				b.hurried = false",
		"audit", "^TestTheApplierRestsUntilSomebodyWaits$", nil},
	{"the end of a count at a part that could not be read", "sqlstore/ahead.go",
		"		if j.err != nil || !take(", "		if !take(",
		"sqlstore", "^TestWorkAheadComesInOrder$", nil},
}
