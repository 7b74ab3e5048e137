package main

import (
	"cmp"
	"reflect"
	"slices"
)

// row is one result: the medians over the rounds of one measurement. Every row has every field; 0 and "" stand
// for what does not apply.
type row struct {
	Store    string `json:"store"`
	Workload string `json:"workload"`
	// Variant tells apart what one workload measures several of: get "record" and "raw", replay "killed" …
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
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	CPU    float64 `json:"cpu_s"`      // user and system, of the process
	CPUPer float64 `json:"cpu_us_per"` // microseconds of it an operation

	// RSS is the process's peak of resident memory, mapped files included; Anon of it what is no file's, as
	// sampled.
	RSS  float64 `json:"rss_mb"`
	Anon float64 `json:"anon_mb"`

	Disk    float64 `json:"disk_mb"`    // all of the store's files, when it was closed
	Payload float64 `json:"payload_mb"` // canonical JSON that was put
	// Written is write_bytes of /proc/self/io, which counts the pages that a process makes dirty, and where they
	// hang together all of them: measured on Linux 6.18 with ext4, 1 MiB for a synced write of 1,000 bytes into a
	// file that had been written with zeros in one piece. Device is what the disk itself was given meanwhile, up to
	// the store's close, by this process and, on a machine that is not quiet, others.
	Written    float64 `json:"written_mb"`
	WrittenPer float64 `json:"written_per_byte"`
	Device     float64 `json:"device_mb"`
	DevicePer  float64 `json:"device_per_byte"`

	// Mixed: how old the newest record was that another process saw.
	LagP50 float64 `json:"lag_p50_ms"`
	LagP99 float64 `json:"lag_p99_ms"`
	LagMax float64 `json:"lag_max_ms"`

	// Sustained: records a second, and resident megabytes at the end, of each stretch of Window records. A record
	// counts when every question finds it in its place; WindowAcked counts it when its put has returned.
	Window       int       `json:"window"`
	WindowRates  []float64 `json:"window_per_second"`
	WindowAcked  []float64 `json:"window_acknowledged_per_second"`
	WindowRSS    []float64 `json:"window_rss_mb"`
	WindowAnon   []float64 `json:"window_anon_mb"`
	DrainSeconds float64   `json:"drain_s"` // from the last acknowledgement until all was applied
	CloseSeconds float64   `json:"close_s"`

	Note string `json:"note"`
}

// key is what the rows of the rounds of one measurement have in common. size is what was asked for: how many
// records a store has after puts for a time differs from round to round.
type key struct {
	store, workload, variant string
	writers, readers, size   int
}

// medians makes one row out of those of the rounds: the median of each figure, and the curves of the round
// whose rate was in the middle. rows must not be empty.
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
	// No list is null in JSON.
	for _, list := range []*[]float64{&m.WindowRates, &m.WindowAcked, &m.WindowRSS, &m.WindowAnon} {
		if *list == nil {
			*list = []float64{}
		}
	}
	return m
}
