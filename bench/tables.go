package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// titles of the tables, by workload.
var titles = map[string]string{
	"put":       "put: durable puts, each writer waiting for its own",
	"sustained": "sustained: durable puts by 64 writers until all are applied",
	"import":    "import: from NDJSON until every question finds the records",
	"get":       "get: one record by its id",
	"agent100":  "agent100: 100 records of an agent from a time on",
	"recent100": "recent100: the newest 100 records",
	"impact":    "impact: the answers that used an assertion",
	"mixed":     "mixed: 64 writers at full rate and 8 readers",
	"replay":    "replay: opening a store, up to the first answer",
	"prove":     "prove: records with proofs that lead to a checkpoint",
	"check":     "check: records and their proofs, or an export, without the store",
	"verify":    "verify: the whole store, and its records against a checkpoint",
	"http":      "http: puts over HTTP, the tail, pages and questions",
	"cluster":   "cluster: durable puts on two of three machines, all of which are this one",
}

// printTables prints a table for each workload, and one of the targets.
func printTables(out io.Writer, m machine, rows []row, markdown bool) {
	fmt.Fprintf(out, "%s\n", m)
	if leftOut != "" {
		fmt.Fprintf(out, "%s\n", leftOut)
	}
	render := func(title string, t table.Writer) {
		if markdown {
			fmt.Fprintf(out, "\n### %s\n\n%s\n", title, t.RenderMarkdown())
			return
		}
		t.SetStyle(table.StyleLight)
		t.Style().Format.Header = text.FormatDefault
		fmt.Fprintf(out, "\n%s\n%s\n", title, t.Render())
	}
	for _, workload := range workloads {
		var of []row
		for _, r := range rows {
			if r.Workload == workload {
				of = append(of, r)
			}
		}
		if len(of) > 0 {
			render(titles[workload], tableOf(workload, grouped(of), rows))
		}
		if workload == "sustained" && len(of) > 0 {
			render(fmt.Sprintf("sustained: records a second in each stretch of %d, counted when every question finds them", of[0].Window), windowTable(of))
		}
	}
	if found := reached(rows); len(found) > 0 {
		t := table.NewWriter()
		t.AppendHeader(table.Row{"target", "want", "measured", ""})
		for _, g := range found {
			verdict := "missed"
			if g.Met {
				verdict = "met"
			}
			t.AppendRow(table.Row{g.What, g.Want, figure(g.Measured), verdict})
		}
		render("targets", t)
	}
}

// grouped sorts rows so that all stores with the same task stand together.
func grouped(of []row) []row {
	of = slices.Clone(of)
	slices.SortStableFunc(of, func(a, b row) int {
		size := 0
		if a.Readers > 0 && a.Writers == 0 { // others end with as many records as they could put
			size = cmp.Compare(a.Records, b.Records)
		}
		return cmp.Or(size, cmp.Compare(variantOrder(a), variantOrder(b)), cmp.Compare(a.Writers, b.Writers),
			cmp.Compare(a.Readers, b.Readers), cmp.Compare(storeOrder(a), storeOrder(b)))
	})
	return of
}

func variantOrder(r row) int {
	if r.Workload == "cluster" { // puts by as many writers stand together
		return slices.Index([]string{"", newNode, leaderKilled}, r.Variant)
	}
	if p, ok := pageOf(r.Variant); ok {
		after := 1000 * r.Writers // pages come after all others, and those beside writers last
		return 1000 + after + slices.IndexFunc(pages, func(q page) bool { return q.name == p.name })
	}
	return slices.Index([]string{asRecord, asRaw, putsAlone, putsBeside, reads, afterClose, afterKill, afterDelete, proveOne, proveMany, checkMany, checkExport,
		httpOneInProcess, httpOne, httpOneBeside, httpManyInProcess, httpMany, httpOpenInProcess, httpOpen, httpOpenBeside}, r.Variant)
}

func storeOrder(r row) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.name == r.Store })
}

// column is a column of a workload's table.
type column struct {
	name  string
	value func(r row) string
	only  func(workload string) bool // nil: in every table
}

func in(names ...string) func(string) bool {
	return func(workload string) bool {
		return strings.Contains(" "+strings.Join(names, " ")+" ", " "+workload+" ")
	}
}

func not(names ...string) func(string) bool {
	named := in(names...)
	return func(workload string) bool { return !named(workload) }
}

func columns(rows []row) []column {
	puts := in("put", "sustained", "import", "mixed", "http", "cluster")
	many := not("replay", "prove", "check", "verify", "cluster") // once a round, or for one store
	timed := not("import", "replay", "check", "verify")          // one call each
	return []column{
		{"store", func(r row) string { return r.Store }, nil},
		{"", func(r row) string { return r.Variant }, in("get", "agent100", "recent100", "impact", "mixed", "replay", "prove", "check", "http", "cluster")},
		{"records", func(r row) string { return fmt.Sprint(r.Records) }, in("get", "agent100", "recent100", "impact", "sustained", "import", "prove", "check", "verify", "http", "cluster")},
		{"writers", func(r row) string { return fmt.Sprint(r.Writers) }, in("put", "mixed", "http", "cluster")},
		{"readers", func(r row) string { return fmt.Sprint(r.Readers) }, in("get", "agent100", "recent100", "impact", "mixed")},
		{"a second", func(r row) string { return figure(r.PerSecond) }, nil},
		{"spread", func(r row) string { return figure(r.PerSecondMin) + " – " + figure(r.PerSecondMax) }, nil},
		{"auditsql/this", func(r row) string { return ratio(r, rows) }, many},
		{"cluster/this", func(r row) string { return clusterRatio(r, rows) }, in("cluster")},
		{"s", func(r row) string { return figure(r.Seconds) }, in("prove", "check", "verify")},
		{"ms", func(r row) string { return figure(r.P50) }, in("replay")},
		{"p50 ms", func(r row) string { return figure(r.P50) }, timed},
		{"p95 ms", func(r row) string { return figure(r.P95) }, in("http")},
		{"p99 ms", func(r row) string { return figure(r.P99) }, timed},
		{"p99.9 ms", func(r row) string { return figure(r.P999) }, timed},
		{"seen after, p50/p99 ms", func(r row) string {
			if r.LagMax == 0 {
				return ""
			}
			return figure(r.LagP50) + " / " + figure(r.LagP99)
		}, in("mixed", "http", "cluster")},
		{"nothing returned for, ms", func(r row) string {
			if r.Silence == 0 {
				return ""
			}
			return figure(r.Silence)
		}, in("cluster")},
		{"CPU s", func(r row) string { return figure(r.CPU) }, nil},
		{"CPU µs each", func(r row) string { return figure(r.CPUPer) }, nil},
		{"of it servers", func(r row) string { return figure(r.ServerCPUPer) }, in("put", "http", "cluster")},
		{"RSS MB", func(r row) string { return figure(r.RSS) }, nil},
		{"of it anon", func(r row) string { return figure(r.Anon) }, nil},
		{"disk MB", func(r row) string { return figure(r.Disk) }, nil},
		{"written/byte", func(r row) string { return figure(r.WrittenPer) }, puts},
		{"device/byte", func(r row) string { return figure(r.DevicePer) }, puts},
		{"note", func(r row) string { return r.Note }, in("sustained", "mixed", "replay", "http", "cluster")},
	}
}

func tableOf(workload string, of, rows []row) table.Writer {
	t := table.NewWriter()
	var shown []column
	var header table.Row
	var numbers []table.ColumnConfig
	for _, c := range columns(rows) {
		if c.only != nil && !c.only(workload) {
			continue
		}
		shown, header = append(shown, c), append(header, c.name)
		if c.name != "store" && c.name != "" && c.name != "note" {
			numbers = append(numbers, table.ColumnConfig{Number: len(shown), Align: text.AlignRight})
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(numbers)
	for _, r := range of {
		line := make(table.Row, len(shown))
		for i, c := range shown {
			line[i] = c.value(r)
		}
		t.AppendRow(line)
	}
	return t
}

func windowTable(of []row) table.Writer {
	t := table.NewWriter()
	header, longest := table.Row{"after"}, 0
	for _, r := range of {
		header = append(header, r.Store)
		longest = max(longest, len(r.WindowRates))
	}
	t.AppendHeader(header)
	for i := range longest {
		line := table.Row{fmt.Sprint((i + 1) * of[0].Window)}
		for _, r := range of {
			if i < len(r.WindowRates) {
				line = append(line, figure(r.WindowRates[i]))
			} else {
				line = append(line, "")
			}
		}
		t.AppendRow(line)
	}
	return t
}

// ratio returns the rate of auditsql in the same task, divided by the rate of the row.
func ratio(r row, rows []row) string {
	for _, a := range rows {
		if a.Store == "auditsql" && a.Workload == r.Workload && a.Variant == r.Variant && a.Writers == r.Writers &&
			a.Readers == r.Readers && (a.Records == r.Records || r.Variant == "") && r.PerSecond > 0 {
			return fmt.Sprintf("%.2f", a.PerSecond/r.PerSecond)
		}
	}
	return ""
}

// clusterRatio returns the rate of the cluster with as many writers, divided by the rate of the row.
func clusterRatio(r row, rows []row) string {
	if r.Variant == newNode || r.Variant == leaderKilled || r.PerSecond <= 0 {
		return ""
	}
	for _, c := range rows {
		if c.Store == "cluster" && c.Workload == "cluster" && c.Variant == oneNode && c.Writers == r.Writers {
			return fmt.Sprintf("%.2f", c.PerSecond/r.PerSecond)
		}
	}
	return ""
}

// figure prints a number with three significant digits.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v <= -1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}
