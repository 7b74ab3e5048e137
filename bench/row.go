package main

import (
	"cmp"
	"reflect"
	"slices"
)

// row is one result: the medians over the rounds of one measurement. Every row has every field; 0 and "" mean that a
// field does not apply.
type row struct {
	Store    string `json:"store"`
	Workload string `json:"workload"`
	// Variant names one of several measurements of a workload: "record" and "raw" of get, "killed" of replay …
	Variant string `json:"variant"`
	Writers int    `json:"writers"`
	Readers int    `json:"readers"`
	Records int    `json:"records"` // in the store: before it for reads and mixed, after it for writes
	N       int    `json:"n"`       // operations that were measured
	Rounds  int    `json:"rounds"`

	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	// The slowest and the fastest round.
	PerSecondMin float64 `json:"per_second_min"`
	PerSecondMax float64 `json:"per_second_max"`

	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	CPU    float64 `json:"cpu_s"`      // user and system, of the process and of the store's servers
	CPUPer float64 `json:"cpu_us_per"` // microseconds of it an operation
	// ServerCPUPer is the servers' part of CPUPer. It is 0 for a store that works in the process that measures.
	ServerCPUPer float64 `json:"server_cpu_us_per"`

	// RSS is the process's peak of resident memory, mapped files included. Anon is the sampled peak of the part that
	// belongs to no file.
	RSS  float64 `json:"rss_mb"`
	Anon float64 `json:"anon_mb"`

	Disk    float64 `json:"disk_mb"`    // all of the store's files, when it was closed
	Payload float64 `json:"payload_mb"` // canonical JSON that was put
	// Written is write_bytes of /proc/self/io. It counts the pages that a process makes dirty, and all pages that the file
	// system keeps together with them: measured on Linux 6.18 with ext4, 1 MiB for a synced write of 1,000 bytes into a
	// file that had been filled with zeros in one piece. Device is what the disk received until the store was closed, from
	// this process and, on a machine that is not quiet, from others.
	Written    float64 `json:"written_mb"`
	WrittenPer float64 `json:"written_per_byte"`
	Device     float64 `json:"device_mb"`
	DevicePer  float64 `json:"device_per_byte"`

	// Mixed: the age of the newest record that another process saw. HTTP: the time from the acknowledgement of a record until
	// a tail saw it. Cluster: the time from the return of a put until another node had all that the first node had then.
	LagP50 float64 `json:"lag_p50_ms"`
	LagP99 float64 `json:"lag_p99_ms"`
	LagMax float64 `json:"lag_max_ms"`

	// Cluster: the longest time in which no put returned, from the instant at which a server was killed.
	Silence float64 `json:"silence_ms"`

	// Sustained: for each stretch of Window records the records a second, and the resident megabytes at its end. A record
	// counts when every question finds it. For WindowAcked it counts when its put has returned.
	Window       int       `json:"window"`
	WindowRates  []float64 `json:"window_per_second"`
	WindowAcked  []float64 `json:"window_acknowledged_per_second"`
	WindowRSS    []float64 `json:"window_rss_mb"`
	WindowAnon   []float64 `json:"window_anon_mb"`
	DrainSeconds float64   `json:"drain_s"` // from the last acknowledgement until all was applied
	CloseSeconds float64   `json:"close_s"`

	Note string `json:"note"`
}

// key identifies the rows of one measurement in all rounds. size is the number of records that was asked for. The real
// number may differ between rounds, when a store takes puts for a time.
type key struct {
	store, workload, variant string
	writers, readers, size   int
}

// medians makes one row from the rows of all rounds: the median of each figure, and the curves of the round with the
// median rate. rows must not be empty.
func medians(rows []row) row {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
	m := rows[len(rows)/2]
	out := reflect.ValueOf(&m).Elem()
	for i := range out.NumField() {
		column := make([]float64, len(rows))
		for k := range rows {
			switch f := reflect.ValueOf(rows[k]).Field(i); f.Kind() {
			case reflect.Float64:
				column[k] = f.Float()
			case reflect.Int:
				column[k] = float64(f.Int())
			}
		}
		slices.Sort(column)
		mid := (column[(len(column)-1)/2] + column[len(column)/2]) / 2
		switch f := out.Field(i); f.Kind() {
		case reflect.Float64:
			f.SetFloat(mid)
		case reflect.Int:
			f.SetInt(int64(mid))
		}
	}
	m.Rounds = len(rows)
	m.PerSecondMin, m.PerSecondMax = rows[0].PerSecond, rows[len(rows)-1].PerSecond
	// A list must not be null in JSON.
	for _, list := range []*[]float64{&m.WindowRates, &m.WindowAcked, &m.WindowRSS, &m.WindowAnon} {
		if *list == nil {
			*list = []float64{}
		}
	}
	return m
}
