package web

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A statsCollector asks the store for its figures whenever somebody reads the metrics.
type statsCollector struct {
	store State
	log   *slog.Logger
}

func statsDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("auditsql_"+name, help, nil, nil)
}

var (
	descStatsFailed  = statsDesc("stats_failed", "1 when the figures of the store cannot be read, otherwise 0. Then they are missing here.")
	descAgents       = statsDesc("store_agents", "Agents that have records.")
	descRejected     = statsDesc("store_rejected_records", "Records of the journal that SQLite could not take.")
	descJournal      = statsDesc("journal_file_bytes", "Bytes of the journal's files.")
	descSegments     = statsDesc("journal_segments", "Files of the journal.")
	descSQLite       = statsDesc("sqlite_file_bytes", "Bytes of SQLite's database.")
	descSQLiteWAL    = statsDesc("sqlite_wal_file_bytes", "Bytes of SQLite's own log.")
	descNodes        = statsDesc("cluster_nodes", "Nodes whose head was compared with this store.")
	descNodesDiffer  = statsDesc("cluster_nodes_differ", "Nodes that have other records than this store, as their heads say.")
	descLogSigned    = statsDesc("log_signed_records", "Records that the newest checkpoint covers.")
	descLogSignedAt  = statsDesc("log_signed_timestamp_seconds", "When the newest checkpoint was signed, as Unix time; missing while nothing is signed.")
	descLogProblem   = statsDesc("log_problem", "1 when the log cannot be signed.")
	descLogUnsigned  = statsDesc("log_unsigned_records", "Records after the newest checkpoint.")
	descPlacesFailed = statsDesc("log_places_failed", "Places whose last delivery of a checkpoint failed.")
)

// Describe implements prometheus.Collector.
func (c *statsCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descStatsFailed, descAgents, descRejected, descJournal, descSegments, descSQLite, descSQLiteWAL,
		descNodes, descNodesDiffer, descLogSigned, descLogSignedAt, descLogProblem, descLogUnsigned, descPlacesFailed} {
		to <- d
	}
}

// statsWait is how long the figures of a store may take.
const statsWait = 5 * time.Second

// Collect implements prometheus.Collector. When the store cannot be asked, its figures are missing, and the log has the reason. All other
// metrics are there: it is then that somebody needs them.
func (c *statsCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	ctx, cancel := context.WithTimeout(context.Background(), statsWait)
	defer cancel()
	st, err := c.store.Stats(ctx)
	if gauge(descStatsFailed, number(err != nil)); err != nil {
		c.log.Error("the figures of the store cannot be read", "error", err.Error())
		return
	}
	gauge(descAgents, float64(st.Agents))
	gauge(descRejected, float64(st.Rejected))
	gauge(descJournal, float64(st.JournalBytes))
	gauge(descSegments, float64(st.Segments))
	gauge(descSQLite, float64(st.SQLiteBytes))
	gauge(descSQLiteWAL, float64(st.SQLiteWAL))
	if st.Heads != nil {
		differ := 0
		for _, h := range st.Heads {
			if h.Differs != nil {
				differ++
			}
		}
		gauge(descNodes, float64(len(st.Heads)))
		gauge(descNodesDiffer, float64(differ))
	}
	if st.Log == nil {
		return
	}
	places := 0
	for _, p := range st.Log.Places {
		if p.Error != "" {
			places++
		}
	}
	gauge(descLogSigned, float64(st.Log.Size))
	if !st.Log.SignedAt.IsZero() {
		gauge(descLogSignedAt, float64(st.Log.SignedAt.UnixMilli())/1000)
	}
	gauge(descLogProblem, number(st.Log.Problem != nil))
	gauge(descLogUnsigned, float64(st.Audits-min(st.Log.Size, st.Audits)))
	gauge(descPlacesFailed, float64(places))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
