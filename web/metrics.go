package web

import (
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/auditsql/auditsql/audit"
)

// Metrics are the measurements of a server and of its store, for Prometheus. Make one before the store is opened:
//
//	m := web.NewMetrics()
//	db, err := audit.Open(dir, audit.WithMetrics(m.Store()))
//	server := web.Handler(db, web.Options{Metrics: m})
//
// All names begin with auditsql_, also those of the Go runtime and the process (auditsql_go_, auditsql_process_). No label has a value that a client makes up.
type Metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec   // method, route, status
	seconds  *prometheus.HistogramVec // method, route
	sent     *prometheus.CounterVec   // method, route
	lines    *prometheus.CounterVec   // outcome

	synced, applied           prometheus.Histogram
	syncedRecords, syncedSize prometheus.Counter
	appliedRecords            prometheus.Counter
	appliedLag                prometheus.Gauge
	backlogRecords            prometheus.Gauge
	backlogSize               prometheus.Gauge
	signSeconds               prometheus.Histogram
	signFailures              prometheus.Counter
	deliveries                *prometheus.CounterVec // outcome
}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	r := prometheus.NewRegistry()
	prometheus.WrapRegistererWithPrefix("auditsql_", r).MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "auditsql_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "auditsql_" + name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "auditsql_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	fast := prometheus.ExponentialBuckets(0.0005, 2, 15) // 0.5 ms to 8 s
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "auditsql_" + name, Help: help, Buckets: fast})
		r.MustRegister(h)
		return h
	}
	m := &Metrics{
		registry: r,
		requests: counters("http_requests_total", "Requests that have ended.", "method", "route", "status"),
		sent:     counters("http_sent_bytes_total", "Bytes of the bodies of responses.", "method", "route"),
		lines:    counters("put_records_total", "Records that clients have put.", "outcome"),

		synced:         histogram("journal_sync_seconds", "How long a sync of the journal takes."),
		syncedRecords:  counter("journal_records_total", "Records that the journal has synced."),
		syncedSize:     counter("journal_bytes_total", "Bytes that the journal has synced."),
		applied:        histogram("apply_seconds", "How long a batch takes that is committed to SQLite."),
		appliedRecords: counter("applied_records_total", "Records that were committed to SQLite."),
		appliedLag:     gauge("apply_lag_seconds", "How old the oldest record of the last batch was when it was committed to SQLite."),
		backlogRecords: gauge("backlog_records", "Records that are acknowledged and not in SQLite yet."),
		backlogSize:    gauge("backlog_bytes", "Bytes of these records."),
		signSeconds:    histogram("log_sign_seconds", "How long a signature of the log takes, with its writes."),
		signFailures:   counter("log_sign_failures_total", "Times that the log was to be signed and was not."),
		deliveries:     counters("log_deliveries_total", "Deliveries of checkpoints to places outside of the store.", "outcome"),
	}
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "auditsql_http_request_seconds", Help: "How long requests take, until the last byte is written.", Buckets: fast,
	}, []string{"method", "route"})
	r.MustRegister(m.seconds)
	return m
}

// Registry is where the metrics are. A program may register its own there.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Store returns the callbacks for audit.WithMetrics.
func (m *Metrics) Store() audit.Metrics {
	return audit.Metrics{
		Synced: func(took time.Duration, records int, bytes int64) {
			m.synced.Observe(took.Seconds())
			m.syncedRecords.Add(float64(records))
			m.syncedSize.Add(float64(bytes))
		},
		Applied: func(took time.Duration, records int, lag time.Duration) {
			m.applied.Observe(took.Seconds())
			m.appliedRecords.Add(float64(records))
			m.appliedLag.Set(lag.Seconds())
		},
		Backlog: func(records int, bytes int64) {
			m.backlogRecords.Set(float64(records))
			m.backlogSize.Set(float64(bytes))
		},
		Signed:     func(_ uint64, took time.Duration) { m.signSeconds.Observe(took.Seconds()) },
		SignFailed: func(error) { m.signFailures.Inc() },
		Delivered: func(_ string, _ time.Duration, err error) {
			outcome := "delivered"
			if err != nil {
				outcome = "failed"
			}
			m.deliveries.WithLabelValues(outcome).Inc()
		},
	}
}

// The outcomes of records that are put.
const (
	putInserted  = "inserted"
	putDuplicate = "duplicate"
	putRejected  = "rejected"
)

// put counts records that were put.
func (m *Metrics) put(outcome string, n int) {
	if m != nil && n > 0 {
		m.lines.WithLabelValues(outcome).Add(float64(n))
	}
}

// request counts a request that has ended.
func (m *Metrics) request(method, route string, status int, took time.Duration, sent int64) {
	if m == nil {
		return
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(method, route).Observe(took.Seconds())
	m.sent.WithLabelValues(method, route).Add(float64(sent))
}

// serves adds what a server knows to its metrics.
func (m *Metrics) serves(s *Server) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "auditsql_" + name, Help: help}, value))
	}
	gauge("store_records", "Records that SQLite has.", func() float64 { return float64(s.store.Progress().Records) })
	gauge("store_lag_bytes", "Bytes of journal that SQLite does not have yet; NaN while it is not known.", func() float64 {
		p := s.store.Progress()
		if p.Unknown {
			return math.NaN()
		}
		return float64(p.LagBytes)
	})
	gauge("store_ready", "1 when the server takes what it should take, apart from spans, otherwise 0.", func() float64 {
		if len(s.unready()) > 0 {
			return 0
		}
		return 1
	})
	m.registry.MustRegister(&statsCollector{s.store, s.log})
	if s.following != nil {
		gauge("follow_behind_messages", "Messages that the log has that the store follows, and that the store does not have yet; NaN while the log does not answer.", func() float64 {
			behind, err := s.following.now()
			if err != nil {
				return math.NaN()
			}
			return float64(behind)
		})
	}
	gauge("tails", "Tails that are open.", func() float64 { return float64(len(s.tailing)) })
	gauge("put_streams", "Streams of records that are open.", func() float64 { return float64(len(s.streams)) })
	gauge("expensive_questions", "Expensive questions that run.", func() float64 { return float64(len(s.questions)) })
}

// serveMetrics answers GET /metrics.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request, _ *question) error {
	o := promhttp.HandlerOpts{
		DisableCompression: true,
		// What one collector cannot tell takes nothing away from the others.
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelError),
	}
	promhttp.HandlerFor(s.metrics.registry, o).ServeHTTP(w, r)
	return nil
}
