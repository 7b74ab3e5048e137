package web

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/auditsql/auditsql/audit"
)

// StoreMetrics are the measurements of a store, for Prometheus.
//
//	m := web.NewStoreMetrics(registry)
//	db, err := audit.Open(dir, audit.WithMetrics(m.Callbacks()))
//	m.Watch(db)
type StoreMetrics struct {
	registerer prometheus.Registerer

	syncSeconds, syncRecords prometheus.Histogram
	syncedBytes              prometheus.Counter
	applySeconds, applyLag   prometheus.Histogram
	applied                  prometheus.Counter
	backlogRecords           prometheus.Gauge
	backlogBytes             prometheus.Gauge
	signSeconds              prometheus.Histogram
	signFailures             prometheus.Counter
	deliveries               *prometheus.CounterVec
}

// The buckets: of what takes from some microseconds to a minute, and of how many records share something.
var (
	secondsBuckets = prometheus.ExponentialBucketsRange(50e-6, 60, 22)
	recordsBuckets = prometheus.ExponentialBuckets(1, 4, 8)
)

// NewStoreMetrics registers the measurements. It panics when they are registered there already.
func NewStoreMetrics(r prometheus.Registerer) *StoreMetrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &StoreMetrics{
		registerer:     r,
		syncSeconds:    histogram("auditsql_journal_sync_seconds", "How long a sync of the journal took.", secondsBuckets),
		syncRecords:    histogram("auditsql_journal_sync_records", "How many records shared a sync of the journal.", recordsBuckets),
		syncedBytes:    counter("auditsql_journal_synced_bytes_total", "Bytes that the journal has made durable."),
		applySeconds:   histogram("auditsql_apply_seconds", "How long it took to bring a batch of records into SQLite.", secondsBuckets),
		applyLag:       histogram("auditsql_apply_lag_seconds", "How long the oldest record of a batch was in the journal before SQLite had it.", secondsBuckets),
		applied:        counter("auditsql_applied_records_total", "Records that were brought into SQLite."),
		backlogRecords: gauge("auditsql_backlog_records", "Records that are acknowledged and not yet in SQLite."),
		backlogBytes:   gauge("auditsql_backlog_bytes", "Bytes of the records that are acknowledged and not yet in SQLite."),
		signSeconds:    histogram("auditsql_log_sign_seconds", "How long a signature of the log took, with its writes.", secondsBuckets),
		signFailures:   counter("auditsql_log_sign_failures_total", "How often the log was to be signed and was not."),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "auditsql_log_deliveries_total", Help: "Deliveries of checkpoints to places outside of the store.",
		}, []string{"place", "result"}),
	}
	r.MustRegister(m.syncSeconds, m.syncRecords, m.syncedBytes, m.applySeconds, m.applyLag, m.applied,
		m.backlogRecords, m.backlogBytes, m.signSeconds, m.signFailures, m.deliveries)
	return m
}

// Callbacks returns what audit.WithMetrics takes.
func (m *StoreMetrics) Callbacks() audit.Metrics {
	return audit.Metrics{
		Synced: func(took time.Duration, records int, bytes int64) {
			m.syncSeconds.Observe(took.Seconds())
			m.syncRecords.Observe(float64(records))
			m.syncedBytes.Add(float64(bytes))
		},
		Applied: func(took time.Duration, records int, lag time.Duration) {
			m.applySeconds.Observe(took.Seconds())
			m.applyLag.Observe(lag.Seconds())
			m.applied.Add(float64(records))
		},
		Backlog: func(records int, bytes int64) {
			m.backlogRecords.Set(float64(records))
			m.backlogBytes.Set(float64(bytes))
		},
		Signed:     func(_ uint64, took time.Duration) { m.signSeconds.Observe(took.Seconds()) },
		SignFailed: func(error) { m.signFailures.Inc() },
		Delivered: func(place string, _ time.Duration, err error) {
			result := "done"
			if err != nil {
				result = "failed"
			}
			// The kind of the place alone: a command or an address may have a secret in it.
			kind, _, _ := strings.Cut(place, " ")
			m.deliveries.WithLabelValues(kind, result).Inc()
		},
	}
}

// Watched is what Watch asks a store for.
type Watched interface {
	Stats(ctx context.Context) (audit.Stats, error)
	Err() error
}

// Watch registers the measurements that a store is asked for whenever somebody reads the metrics.
func (m *StoreMetrics) Watch(store Watched) { m.registerer.MustRegister(&storeCollector{store}) }

// A storeCollector asks a store for its figures.
type storeCollector struct{ store Watched }

func storeDesc(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

var (
	descUp           = storeDesc("auditsql_store_up", "1 when the store takes records, or is open for reading only; 0 when it has failed.")
	descRecords      = storeDesc("auditsql_records", "Records that the store has.")
	descAgents       = storeDesc("auditsql_agents", "Agents that have records.")
	descRejected     = storeDesc("auditsql_rejected_records", "Records of the journal that SQLite could not take.")
	descLag          = storeDesc("auditsql_lag_bytes", "Bytes of the journal that SQLite does not have yet.")
	descJournal      = storeDesc("auditsql_journal_bytes", "Bytes of the journal's files.")
	descSegments     = storeDesc("auditsql_journal_segments", "Files of the journal.")
	descSQLite       = storeDesc("auditsql_sqlite_bytes", "Bytes of SQLite's database.")
	descSQLiteWAL    = storeDesc("auditsql_sqlite_wal_bytes", "Bytes of SQLite's own log.")
	descSignedSize   = storeDesc("auditsql_log_signed_records", "Records that the newest checkpoint of the log covers.")
	descSignedAt     = storeDesc("auditsql_log_signed_timestamp_seconds", "When the newest checkpoint of the log was signed.")
	descSignProblem  = storeDesc("auditsql_log_problem", "1 when the log cannot be signed.")
	descPlacesFailed = storeDesc("auditsql_log_places_failed", "Places that did not get the newest checkpoint of the log.")
)

// Describe implements prometheus.Collector.
func (c *storeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descRecords, descAgents, descRejected, descLag, descJournal, descSegments, descSQLite, descSQLiteWAL,
		descSignedSize, descSignedAt, descSignProblem, descPlacesFailed} {
		to <- d
	}
}

// statsWait is how long the figures of a store may take.
const statsWait = 5 * time.Second

// Collect implements prometheus.Collector. When the store cannot be asked, its figures are missing, which Prometheus sees.
func (c *storeCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	up := 1.0
	if err := c.store.Err(); err != nil && !errors.Is(err, audit.ErrReadOnly) {
		up = 0
	}
	gauge(descUp, up)
	ctx, cancel := context.WithTimeout(context.Background(), statsWait)
	defer cancel()
	st, err := c.store.Stats(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(descRecords, err)
		return
	}
	gauge(descRecords, float64(st.Audits))
	gauge(descAgents, float64(st.Agents))
	gauge(descRejected, float64(st.Rejected))
	gauge(descLag, float64(st.LagBytes))
	gauge(descJournal, float64(st.JournalBytes))
	gauge(descSegments, float64(st.Segments))
	gauge(descSQLite, float64(st.SQLiteBytes))
	gauge(descSQLiteWAL, float64(st.SQLiteWAL))
	if st.Log == nil {
		return
	}
	gauge(descSignedSize, float64(st.Log.Size))
	if !st.Log.SignedAt.IsZero() {
		gauge(descSignedAt, float64(st.Log.SignedAt.UnixNano())/1e9)
	}
	problem, failed := 0.0, 0
	if st.Log.Problem != nil {
		problem = 1
	}
	for _, p := range st.Log.Places {
		if p.Error != "" {
			failed++
		}
	}
	gauge(descSignProblem, problem)
	gauge(descPlacesFailed, float64(failed))
}
