package main

import "fmt"

// target is a figure that auditsql should reach, and the figure that it has reached.
type target struct {
	What     string  `json:"what"`
	Want     string  `json:"want"`
	Measured float64 `json:"measured"`
	Met      bool    `json:"met"`
}

// reached compares the rows with the targets. It leaves out a target whose rows are missing.
func reached(rows []row) []target {
	found := []target{}
	find := func(store, workload, variant string, writers, readers int) *row {
		var best *row // of several sizes the smallest
		for i := range rows {
			r := &rows[i]
			if r.Store == store && r.Workload == workload && r.Variant == variant && r.Writers == writers &&
				r.Readers == readers && (best == nil || r.Records < best.Records) {
				best = r
			}
		}
		return best
	}
	largest := func(r *row) *row {
		for i := range rows {
			o := &rows[i]
			if o.Store == r.Store && o.Workload == r.Workload && o.Variant == r.Variant && o.Readers == r.Readers &&
				o.Records >= largeFactor*r.Records {
				return o
			}
		}
		return nil
	}
	atLeast := func(what string, want, have float64) {
		found = append(found, target{what, fmt.Sprintf("≥ %g", want), have, have >= want})
	}
	atMost := func(what string, want, have float64) {
		found = append(found, target{what, fmt.Sprintf("≤ %g", want), have, have <= want})
	}
	rate := func(what string, want float64, ours, theirs *row) {
		if ours != nil && theirs != nil && theirs.PerSecond > 0 {
			atLeast(what, want, ours.PerSecond/theirs.PerSecond)
		}
	}

	for _, c := range []struct {
		writers int
		against string
		want    float64
	}{{1, "pebble", 1}, {16, "pebble", 1}, {64, "pebble", 1.3}, {256, "pebble", 1.3}, {64, "sqlite", 25}, {64, "journal", .7}} {
		rate(fmt.Sprintf("put by %d: puts a second, divided by those of %s", c.writers, c.against), c.want,
			find("auditsql", "put", "", c.writers, 0), find(c.against, "put", "", c.writers, 0))
	}
	sustained := find("auditsql", "sustained", "", mixedWriters, 0)
	rate("sustained: puts a second, divided by those of pebble-full", 1, sustained, find("pebble-full", "sustained", "", mixedWriters, 0))
	if sustained != nil && len(sustained.WindowRates) > 1 {
		n := len(sustained.WindowRates)
		atLeast("sustained: the last stretch, divided by the first", .7, sustained.WindowRates[n-1]/sustained.WindowRates[0])
		grown := (sustained.WindowAnon[n-1] - sustained.WindowAnon[0]) * 1e6 / float64((n-1)*sustained.Window)
		atMost("sustained: bytes of memory a record, from the first stretch to the last", 2, grown)
	}
	rate("import: records a second, divided by the sustained rate", .8, find("auditsql", "import", "", 0, 0), sustained)
	for _, c := range []struct {
		workload string
		want     float64
	}{{"get", 1.5}, {"agent100", 1.2}} {
		ours, theirs := find("auditsql", c.workload, asRecord, 0, 1), find("sqlite-c", c.workload, asRaw, 0, 1)
		if ours != nil && theirs != nil && theirs.P50 > 0 {
			atMost(c.workload+": p50 of records, divided by that of the bare SELECT of sqlite-c", c.want, ours.P50/theirs.P50)
		}
		if raw := find("auditsql", c.workload, asRaw, 0, 1); raw != nil && theirs != nil && theirs.P50 > 0 {
			atMost(c.workload+": p50 of stored bytes, divided by that of the bare SELECT of sqlite-c", c.want, raw.P50/theirs.P50)
		}
	}
	for _, workload := range []string{"get", "agent100", "recent100", "impact"} {
		if small := find("auditsql", workload, asRecord, 0, 1); small != nil {
			if large := largest(small); large != nil && small.P50 > 0 {
				atMost(fmt.Sprintf("%s: p50 at %d records, divided by that at %d", workload, large.Records, small.Records), 2, large.P50/small.P50)
			}
		}
	}
	if gets := find("auditsql", "mixed", reads, mixedWriters, mixedReaders); gets != nil {
		atMost("mixed: p99 of gets, in ms", 5, gets.P99)
	}
	alone, beside := find("auditsql", "mixed", putsAlone, mixedWriters, 0), find("auditsql", "mixed", putsBeside, mixedWriters, mixedReaders)
	if alone != nil && beside != nil && alone.P999 > 0 {
		atMost("mixed: p99.9 of puts beside readers, divided by that without", 3, beside.P999/alone.P999)
	}
	if open := find("auditsql", "replay", afterClose, 0, 0); open != nil {
		atMost("replay: opening after a clean close, in ms", 50, open.P50)
	}
	if one := find("auditsql", "prove", proveOne, 0, 0); one != nil {
		atMost("prove: p50 of one record, in ms", 1, one.P50)
	}
	if many := find("auditsql", "prove", proveMany, 0, 0); many != nil {
		atLeast("prove: records a second into an archive", 5000, many.PerSecond)
	}
	one, alone1 := find("auditsql", "http", httpOne, httpConnections, 0), find("auditsql", "http", httpOneInProcess, httpConnections, 0)
	rate("http by 64: puts a second, one a request, divided by those in process", .25, one, alone1)
	if one != nil && alone1 != nil {
		atMost("http by 64: processor time of the server for a put, in µs, minus that in process", 35, one.ServerCPUPer-alone1.CPUPer)
	}
	rate("http by 64: puts a second, divided by those of postgres", 1.5, one, find("postgres", "http", httpOne, httpConnections, 0))
	rate("http by 64: puts a second, divided by those of postgres-one", 1, one, find("postgres-one", "http", httpOne, httpConnections, 0))
	rate("http by 64: puts a second, 100 a request, divided by those in process", .6,
		find("auditsql", "http", httpMany, httpConnections, 0), find("auditsql", "http", httpManyInProcess, httpConnections, 0))
	if open := find("auditsql", "http", httpOpen, httpConnections, 0); open != nil {
		atMost("http, 1,000 puts a second: p99, in ms", 5, open.P99)
		atMost("http, 1,000 puts a second: p99 from the acknowledgement until a tail has seen the record, in ms", 50, open.LagP99)
	}
	rate("http by 64: puts a second beside 100 tails, divided by those without", .9, find("auditsql", "http", httpOneBeside, httpConnections, 0), one)
	for _, writers := range []int{64, 256} {
		for _, peer := range []string{"postgres", "postgres-one"} {
			rate(fmt.Sprintf("cluster by %d: puts a second, divided by those of %s with two standbys", writers, peer), 1,
				find("cluster", "cluster", oneNode, writers, 0), find(peer, "cluster", withStandbys, writers, 0))
		}
	}
	for _, writers := range []int{0, httpConnections} {
		for _, p := range pages {
			variant, within := p.name, p.within
			if writers > 0 {
				variant, within = variant+besideWriters, pageBeside
			}
			if r := find("auditsql", "http", variant, writers, 1); r != nil {
				atMost(fmt.Sprintf("%s with %d records: p95, in ms", variant, r.Records), within, r.P95)
			}
		}
	}
	return found
}
