package main

// filterMutants are about which records and which pieces of evidence a filter selects.
var filterMutants = []mutant{
	{"the records without a value that a negation selects", "sqlstore/filter.go",
		"IS NOT TRUE\", c.args", "= FALSE\", c.args",
		"sqlstore", "^TestEachConditionOfAFilter$", nil},
	{"the lists that a filter's conditions have", "sqlstore/filter.go",
		"	return append(cs, f.ofLists(func(bool) bool { return true }, (*Filter).conditions)...)", "	return cs",
		"sqlstore", "^TestEachConditionOfAFilter$", nil},
	{"the one piece that meets all conditions of evidence", "sqlstore/filter.go",
		"			cs = append(cs, someEvidence(and(piece)))", "			for _, c := range piece {\n				cs = append(cs, someEvidence(c))\n			}",
		"sqlstore", "^TestEachConditionOfAFilter$", nil},
	{"the conditions of the pieces that a ranking counts", "sqlstore/evidence.go",
		"append(cs, f.ofPiece()...)", "cs",
		"sqlstore", "^TestCountsAreOfWhatSelectFinds$", thorough},
	{"the rule that all alternatives of a lookup have an index", "sqlstore/plan.go",
		"		if len(ls) == 0 {\n			return nil, false\n		}", "		if len(ls) == 0 {\n			continue\n		}",
		"sqlstore", "^TestEachConditionOfAFilter$", nil},
	{"the negation of a set in a pattern, as a shell writes it", "audit/glob.go",
		`			b.WriteString("[^" + pattern[2:length])`, `			b.WriteString("[!" + pattern[2:length])`,
		"audit", "^TestAPatternIsThatOfAShell$", nil},
	{"the limit on the values of a parameter", "audit/ask/filter.go",
		"		if len(values) > MaxValues {", "		if false {",
		"audit/ask", "^TestRefusalsNameTheirParameters$", nil},
	{"the rate that an agent needs to be silent", "audit/silence.go",
		"	if n < MinRated || last <= first || to <= from {", "	if last <= first || to <= from {",
		"audit", "^TestAFewRecordsHaveNoRate$", nil},
}
