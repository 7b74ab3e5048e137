package web

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/auditsql/auditsql/audit"
)

// node is a store of a cluster, of which only the figures are asked.
type node struct {
	State
	heads []audit.NodeHead
}

func (n node) Stats(context.Context) (audit.Stats, error) { return audit.Stats{Heads: n.heads}, nil }

// The metrics say how many nodes of a cluster have other records, and nothing of the kind for another store.
func TestTheMetricsCountNodesThatDiffer(t *testing.T) {
	for _, test := range []struct {
		heads []audit.NodeHead
		want  map[string]float64
	}{
		{nil, map[string]float64{}},
		{[]audit.NodeHead{}, map[string]float64{"auditsql_cluster_nodes": 0, "auditsql_cluster_nodes_differ": 0}},
		{[]audit.NodeHead{{Node: "a"}, {Node: "b", Differs: &audit.IndexRange{From: 1, To: 2}}, {Node: "c"}},
			map[string]float64{"auditsql_cluster_nodes": 3, "auditsql_cluster_nodes_differ": 1}},
	} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(&statsCollector{node{heads: test.heads}, slog.New(slog.DiscardHandler)})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if n := f.GetName(); n == "auditsql_cluster_nodes" || n == "auditsql_cluster_nodes_differ" {
				got[n] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		if len(got) != len(test.want) {
			t.Errorf("%v: %v", test.heads, got)
		}
		for name, want := range test.want {
			if got[name] != want {
				t.Errorf("%v: %s is %v, want %v", test.heads, name, got[name], want)
			}
		}
	}
}
