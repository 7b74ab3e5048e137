// Command bench measures auditsql beside other stores that keep the same promise. README.md says how each store is
// configured, and why.
//
//	go run . [-stores a,b] [-workloads a,b] [-n N] [-quick] [-json | -markdown] [-svg FILE]
//	go run . -from a.json,b.json [-json | -markdown] [-svg FILE]
//
// Each measurement runs in a process of its own: this program, started again with a job.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		if err := child(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// output says what to print.
type output struct {
	json, markdown bool
	svg            string
	from           []string // files with what -json printed before: shown in place of measuring
}

func parse(args []string, stderr io.Writer) (*plan, output, error) {
	p := &plan{progress: stderr, sizes: maps.Clone(defaults)}
	var o output
	var stores, names, writers, readers, form string
	var quick bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&stores, "stores", "", "the stores, separated by commas (all: "+strings.Join(storeNames(), ",")+")")
	f.StringVar(&names, "workloads", "", "the workloads, separated by commas (all: "+strings.Join(workloads, ",")+")")
	f.IntVar(&p.n, "n", 0, "records in every workload, and the largest number of puts in put (0: 1,000,000 for sustained, 300,000 for import and reads, 100,000 for mixed, 200,000 for replay, 1,000,000 for prove, check and verify; the records that a new node reads in cluster: 100,000)")
	f.StringVar(&writers, "writers", "1,16,64,256", "writers of put and cluster")
	f.StringVar(&readers, "readers", "1,8", "readers of get, agent100, recent100 and impact")
	f.IntVar(&p.rounds, "rounds", 3, "how many times each measurement runs; the tables show medians")
	f.Float64Var(&p.seconds, "seconds", 10, "how long put, cluster and each phase of mixed run; reads run for a third of that")
	f.StringVar(&p.keep, "keep", "", "the `folder` of the store of auditsql that reads and the pages of http ask: it is loaded if it is not there, and stays. Pages beside writers add records to it")
	f.DurationVar(&p.limit, "limit", 10*time.Minute, "how long sustained may take for a store")
	f.BoolVar(&p.large, "large", true, "also read with ten times the records, for "+strings.Join(largeStores, ", "))
	f.StringVar(&form, "shape", string(shapePartly), "evidence: partly (half of it repeats) or new (all of it is new, the worst case)")
	f.Uint64Var(&p.seed, "seed", 1, "the seed of the records")
	f.StringVar(&p.dir, "dir", os.TempDir(), "the folder for the stores, on the disk to be measured; needs up to 20 GB")
	f.StringVar(&p.profile, "profile", "", "write a CPU profile of each measurement into this `folder`")
	f.StringVar(&p.only, "only", "", "of http and cluster, measure this `variant` alone, as the tables call it; pages: all pages")
	f.BoolVar(&quick, "quick", false, "put by 1 and 64, and get, for auditsql, journal, pebble and sqlite, in under four minutes")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.BoolVar(&o.markdown, "markdown", false, "print the tables as Markdown")
	f.Func("from", "measure nothing, and show the output of earlier runs with -json from these `files`, separated by commas", func(list string) error {
		o.from = strings.Split(list, ",")
		return nil
	})
	f.StringVar(&o.svg, "svg", "", "draw the sustained curves into this `file`")
	if err := f.Parse(args); err != nil {
		return nil, o, err
	}
	if f.NArg() > 0 {
		return nil, o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(g *flag.Flag) { given[g.Name] = true })
	p.variants = []string{asRecord, asRaw}
	if quick {
		fallback := func(name string, set func()) {
			if !given[name] {
				set()
			}
		}
		fallback("stores", func() { stores = "auditsql,journal,pebble,sqlite" })
		fallback("workloads", func() { names = "put,get" })
		fallback("writers", func() { writers = "1,64" })
		fallback("readers", func() { readers = "1" })
		fallback("rounds", func() { p.rounds = 2 })
		fallback("seconds", func() { p.seconds = 4 })
		fallback("n", func() { p.sizes["get"] = 50_000 })
		fallback("large", func() { p.large = false })
	}
	var err error
	if p.stores, err = choose("store", stores, storeNames()); err != nil {
		return nil, o, err
	}
	if p.workloads, err = choose("workload", names, workloads); err != nil {
		return nil, o, err
	}
	if p.writers, err = numbers("writers", writers); err != nil {
		return nil, o, err
	}
	if p.readers, err = numbers("readers", readers); err != nil {
		return nil, o, err
	}
	p.shape = shape(form)
	if p.shape != shapePartly && p.shape != shapeNew {
		return nil, o, fmt.Errorf("unknown shape %q", form)
	}
	if p.rounds < 1 || p.seconds <= 0 || p.n < 0 || p.limit <= 0 {
		return nil, o, errors.New("-rounds, -seconds and -limit must be above 0, and -n must not be below 0")
	}
	if o.json && o.markdown {
		return nil, o, errors.New("use -json or -markdown, not both")
	}
	return p, o, nil
}

func storeNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// choose returns those of all that are named, or all if none is named.
func choose(what, named string, all []string) ([]string, error) {
	if named == "" {
		return all, nil
	}
	chosen := strings.Split(named, ",")
	for _, c := range chosen {
		if !slices.Contains(all, c) {
			err := fmt.Errorf("unknown %s %q: there are %s", what, c, strings.Join(all, ", "))
			if leftOut != "" {
				err = fmt.Errorf("%w (%s)", err, leftOut)
			}
			return nil, err
		}
	}
	return chosen, nil
}

func numbers(what, list string) ([]int, error) {
	var ns []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-%s: %q is no number above 0", what, s)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func measure(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	p, o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.from != nil {
		m, rows, err := printed(o.from)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r row) bool {
			return !slices.Contains(p.stores, r.Store) || !slices.Contains(p.workloads, r.Workload)
		})
		return report(stdout, m, rows, o)
	}
	if inMemory(p.dir) {
		return fmt.Errorf("%s lies in memory, where a sync costs nothing: choose a folder on a disk with -dir", p.dir)
	}
	if p.dir, err = os.MkdirTemp(p.dir, "auditsql-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	m, err := look(p.dir, p)
	if err != nil {
		return err
	}
	if leftOut != "" {
		fmt.Fprintln(stderr, leftOut)
	}
	rows, err := p.run(ctx)
	if len(rows) > 0 { // also when it was interrupted
		err = errors.Join(err, report(stdout, m, rows, o))
	}
	return err
}

// printed reads the outputs of -json of runs on one machine. It returns the machine of the first output.
func printed(files []string) (m machine, rows []row, err error) {
	for i, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return m, nil, err
		}
		var r struct {
			Machine machine `json:"machine"`
			Results []row   `json:"results"`
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return m, nil, fmt.Errorf("%s: %w", name, err)
		}
		if i == 0 {
			m = r.Machine
		}
		rows = append(rows, r.Results...)
	}
	return m, rows, nil
}

func report(stdout io.Writer, m machine, rows []row, o output) error {
	if o.svg != "" {
		picture := svgOf(rows)
		if picture == "" {
			return errors.New("-svg: no sustained curve was measured")
		}
		if err := os.WriteFile(o.svg, []byte(picture), 0o644); err != nil {
			return err
		}
	}
	if !o.json {
		printTables(stdout, m, rows, o.markdown)
		return nil
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", " ")
	return e.Encode(struct {
		Machine machine  `json:"machine"`
		Results []row    `json:"results"`
		Targets []target `json:"targets"`
	}{m, rows, reached(rows)})
}
