package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A measurement starts its program again. Here that program is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		main()
		return
	}
	os.Exit(m.Run())
}

// results is what -json prints. The rows are maps, as a program in another language reads them.
type results struct {
	Machine map[string]any
	Results []map[string]any
	Targets []map[string]any
}

func bench(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	var out, progress bytes.Buffer
	if err := measure(t.Context(), append(args, "-dir", t.TempDir()), &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	return out.String()
}

// Every workload gives a row for each store that it applies to, and every row has every field.
func TestEveryWorkloadOnEveryStore(t *testing.T) {
	t.Parallel()
	var got results
	svg := filepath.Join(t.TempDir(), "sustained.svg")
	stores, large := storeNames(), true
	if testing.Short() { // each measurement is a process, and there are some 150 of them
		stores, large = []string{"auditsql", "journal", "pebble-full"}, false
	}
	out := bench(t, "-n", "300", "-rounds", "1", "-seconds", "0.05", "-writers", "2", "-readers", "2", "-json", "-svg", svg,
		"-stores", strings.Join(stores, ","), fmt.Sprintf("-large=%t", large))
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	rows := map[string]int{}
	for _, r := range got.Results {
		rows[fmt.Sprint(r["store"], " ", r["workload"])]++
		if want := reflect.TypeFor[row]().NumField(); len(r) != want {
			t.Errorf("a row of %d fields, want %d: %v", len(r), want, r)
		}
		if r["n"].(float64) < 1 || r["per_second"].(float64) <= 0 || r["window_per_second"] == nil {
			t.Errorf("nothing was measured: %v", r)
		}
	}
	for _, store := range stores {
		for _, workload := range workloads {
			want := 1
			switch {
			case workload == "cluster":
				want = len(clusterVariants[store])
			case slices.Contains(notAlone, store):
				want = 0
			case proofWorkloads[workload] != nil && store != "auditsql":
				want = 0
			case proofWorkloads[workload] != nil:
				want = len(proofWorkloads[workload])
			case store == "burst" && workload == "replay":
				want = 2
			case slices.Contains(writtenOnly, store) && workload != "put" && workload != "sustained":
				want = 0
			case workload == "http" && store == "auditsql": // four variants by 2 and four by 64, and each page twice
				want = len(httpVariants(store)) + 2*len(pages)
			case workload == "http" && slices.Contains(httpStores, store):
				want = len(httpVariants(store))
			case workload == "http":
				want = 0
			case slices.Contains([]string{"pebble", "bbolt", "badger", "postgres-one"}, store) && slices.Contains([]string{"recent100", "impact"}, workload):
				want = 0
			case workload == "mixed":
				want = 3
			case workload == "replay" && store == "auditsql":
				want = 3
			case workload == "replay", slices.Contains([]string{"get", "agent100", "recent100", "impact"}, workload):
				want = 2
			}
			if large && slices.Contains(largeStores, store) && slices.Contains([]string{"get", "agent100", "recent100", "impact"}, workload) {
				want *= 2
			}
			if rows[store+" "+workload] != want {
				t.Errorf("%d rows of %s on %s, want %d", rows[store+" "+workload], workload, store, want)
			}
		}
	}
	if len(got.Targets) == 0 || got.Machine["cpus"].(float64) < 1 {
		t.Errorf("targets %v, machine %v", got.Targets, got.Machine)
	}
	wellFormed(t, svg, "auditsql", "pebble-full")
}

// A cluster is measured with all of its processes, which end with it.
func TestCluster(t *testing.T) {
	t.Parallel()
	for store, variants := range clusterVariants {
		if _, err := kindOf(store); err != nil {
			continue // PostgreSQL is not installed
		}
		for _, variant := range variants {
			if testing.Short() && variant != threeNodes && store != "postgres" {
				continue
			}
			t.Run(store+" "+variant, func(t *testing.T) {
				t.Parallel()
				var got results
				out := bench(t, "-workloads", "cluster", "-stores", store, "-only", variant, "-n", "300", "-rounds", "1", "-seconds", "0.2", "-writers", "4", "-json")
				if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatalf("%v:\n%s", err, out)
				}
				if len(got.Results) != 1 {
					t.Fatalf("%d rows of one measurement:\n%s", len(got.Results), out)
				}
				r := got.Results[0]
				if r["variant"] != variant || r["n"].(float64) < 1 || r["per_second"].(float64) <= 0 {
					t.Errorf("%v", r)
				}
				if variant == leaderKilled && r["silence_ms"].(float64) <= 0 {
					t.Errorf("nothing was killed: %v", r)
				}
				if shared := strings.Contains(fmt.Sprint(r["note"]), "share"); shared != (variant != oneMachine) {
					t.Errorf("the note is %q", r["note"])
				}
			})
		}
	}
}

func wellFormed(t *testing.T, file string, texts ...string) {
	t.Helper()
	picture, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
	for _, text := range texts {
		if !bytes.Contains(picture, []byte(">"+text+"<")) {
			t.Errorf("no curve of %s in the picture", text)
		}
	}
	if bytes.Contains(picture, []byte("NaN")) || bytes.Contains(picture, []byte("Inf")) {
		t.Errorf("points that are no numbers:\n%s", picture)
	}
}

func TestTablesAsMarkdown(t *testing.T) {
	t.Parallel()
	out := bench(t, "-n", "50", "-rounds", "2", "-seconds", "0.05", "-stores", "journal,auditsql", "-workloads", "put",
		"-writers", "1", "-markdown")
	for _, want := range []string{"### put: ", "| store |", "| auditsql |", "| journal |", "| 1.00 |"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestRefusedArguments(t *testing.T) {
	for _, args := range [][]string{{"-stores", "redis"}, {"-workloads", "delete"}, {"-writers", "0"}, {"-rounds", "0"}, {"-shape", "old"}, {"-json", "-markdown"}, {"more"}} {
		if err := measure(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// The same number gives the same record in any process. Evidence repeats in one shape and never in the other.
func TestRecords(t *testing.T) {
	t.Parallel()
	for _, s := range []shape{shapePartly, shapeNew} {
		w := world{7, s}
		seen, repeated, total := map[string]bool{}, 0, 0
		for no := range 5_000 {
			q := w.record(no)
			raw := canonical(t, q)
			if no < 100 && !bytes.Equal(raw, canonical(t, w.record(no))) {
				t.Fatalf("record %d is another one the second time", no)
			}
			if total += len(raw); q.QueryID != w.id(no) {
				t.Fatalf("record %d has another id", no)
			}
			for _, c := range q.ContributingAssertions {
				if seen[c.AssertionHash.String()] {
					repeated++
				}
				seen[c.AssertionHash.String()] = true
			}
		}
		if size := total / 5_000; size < 900 || size > 1300 {
			t.Errorf("records of %d bytes", size)
		}
		if repeats := repeated > 0; repeats != (s == shapePartly) {
			t.Errorf("shape %s: %d assertions repeat", s, repeated)
		}
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var low, high histogram
	for i := 1; i <= 1000; i++ {
		h := &low
		if i > 500 {
			h = &high
		}
		h.add(time.Duration(i) * time.Millisecond)
	}
	low.merge(&high)
	for _, c := range []struct{ p, want float64 }{{0, 1}, {.5, 500}, {.99, 990}, {.999, 999}, {1, 1000}} {
		if got := low.quantile(c.p); got < c.want*.98 || got > c.want*1.02 {
			t.Errorf("quantile %g: %g ms, want %g", c.p, got, c.want)
		}
	}
	for d := time.Duration(1); d < time.Hour; d = d*5/3 + 1 {
		if got := valueOf(bucketOf(d)); d < 15*time.Minute && (got < d-d/60-1 || got > d+d/60+1) {
			t.Errorf("%d is counted as %d", d, got)
		}
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	m := medians([]row{
		{Store: "x", PerSecond: 30, P99: 1, N: 3, WindowRates: []float64{30}},
		{Store: "x", PerSecond: 10, P99: 9, N: 1, WindowRates: []float64{10}},
		{Store: "x", PerSecond: 20, P99: 2, N: 2, WindowRates: []float64{20}},
	})
	want := row{Store: "x", PerSecond: 20, PerSecondMin: 10, PerSecondMax: 30, P99: 2, N: 2, Rounds: 3,
		WindowRates: []float64{20}, WindowAcked: []float64{}, WindowRSS: []float64{}, WindowAnon: []float64{}}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v\nwant %+v", m, want)
	}
}
