package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// serveMetrics are the measurements of a server: of its process, its store and its requests.
type serveMetrics struct {
	registry *prometheus.Registry
	ofStore  *web.StoreMetrics
}

func newServeMetrics() *serveMetrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "auditsql_build_info", Help: "Which program this is; always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	built.Set(1)
	r.MustRegister(built)
	return &serveMetrics{registry: r, ofStore: web.NewStoreMetrics(r)}
}

// store are the callbacks for opening the store.
func (m *serveMetrics) store() audit.Metrics { return m.ofStore.Callbacks() }

// watch asks the store for its figures from now on.
func (m *serveMetrics) watch(db *audit.DB) { m.ofStore.Watch(db) }

func (m *serveMetrics) web() *web.Metrics { return nil }
