package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/wal"
	"github.com/auditsql/auditsql/web"
)

// The addresses at which exporters look for a receiver of spans.
const (
	usualOTLP     = "127.0.0.1:4318"
	usualOTLPGRPC = "127.0.0.1:4317"
)

// usualSettle is how long after its last span a trace settles.
const usualSettle = 20 * time.Second

// otlpOptions are the flags of serve for spans.
type otlpOptions struct {
	http, grpc string // addresses; "" for none
	settle     durationFlag
	spans      spanOptions
	mapping    *otlp.Mapping // what they say; nil until the store is served
}

func (o *otlpOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.http, "otlp", "", "take spans at this `address`, usually "+usualOTLP)
	flags.StringVar(&o.grpc, "otlp-grpc", "", "take spans at this `address` too, usually "+usualOTLPGRPC)
	flags.Var(&o.settle, "settle", "how long after its last span a trace becomes records (default 20s)")
	o.spans.maps.Add(cmd)
}

// check refuses flags that do not go together.
func (o *otlpOptions) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("settle") && o.settle.Duration <= 0 {
		return usage("--settle must be above 0")
	}
	for _, name := range []string{"otlp", "otlp-grpc"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return usage("--%s names no address", name)
		}
	}
	if o.http == "" && o.grpc == "" {
		for _, name := range []string{"settle", "map", "lifecycle", "text"} {
			if cmd.Flags().Changed(name) {
				return usage("--%s goes with --otlp", name)
			}
		}
	}
	return nil
}

// addresses are those that the flags name.
func (o *otlpOptions) addresses() (all []serving.Address) {
	for _, l := range []serving.Address{{Flag: "otlp", Address: o.http, Usual: usualOTLP}, {Flag: "otlp-grpc", Address: o.grpc, Usual: usualOTLPGRPC}} {
		if l.Address != "" {
			all = append(all, l)
		}
	}
	return all
}

// listen reads the map and takes the ports, before the store is opened.
func (o *otlpOptions) listen(ctx context.Context) (all []net.Listener, err error) {
	if o.mapping, err = o.spans.mapping(ctx); err != nil {
		return nil, err
	}
	for _, l := range o.addresses() {
		listener, err := net.Listen("tcp", l.Address)
		if err != nil {
			closeAll(all)
			return nil, trying(fmt.Errorf("--%s: listen: %w", l.Flag, err), "another port with --%s", l.Flag)
		}
		all = append(all, listener)
	}
	return all, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// join says when traces settle. The three times stay in proportion.
func (o *otlpOptions) join() otlp.JoinOptions {
	settle := usualSettle
	if o.settle.Duration > 0 {
		settle = o.settle.Duration
	}
	return otlp.JoinOptions{AfterLast: settle, AfterRoot: settle * 3 / 10, AfterFirst: settle * 15}
}

// startReceiver begins to take spans. A store whose inbox has spans from an earlier run gets a receiver in any case: these spans were
// acknowledged.
func (s *served) startReceiver(o *serveOptions, listeners []net.Listener, m *web.Metrics) error {
	if len(listeners) == 0 && (s.a.readOnly || !hasInbox(s.a.dir)) {
		return nil
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "auditsql_otlp_requests_total", Help: "Requests with spans that have ended. Status 0: the connection was closed.",
	}, []string{"transport", "status"})
	unusable := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "auditsql_otlp_unusable_spans_total", Help: "Spans that were refused in requests that were taken.",
	})
	for _, transport := range []string{"http", "grpc"} {
		requests.WithLabelValues(transport, "200") // so that it is there before the first request
	}
	receiver, err := receive.Open(s.db, receive.Options{
		Allow: s.allowSpans, Mapping: o.otlp.mapping, Join: o.otlp.join(), MaxFuture: o.future.Limit(), Now: s.a.now, Logger: s.log,
		OnRequest: func(r receive.Request) {
			requests.WithLabelValues(r.Transport, strconv.Itoa(r.Status)).Inc()
			unusable.Add(float64(r.Unusable))
		},
	})
	if err != nil {
		return err
	}
	s.receiver.Store(receiver)
	if len(listeners) == 0 {
		s.log.Info("spans of an earlier run are in the inbox, and become records; no others are taken without --otlp")
	}
	m.Registry().MustRegister(requests, unusable, &spanMetrics{receiver})
	for _, l := range listeners {
		s.Also(receiver, l, func(server *http.Server) {
			// OTLP over gRPC without TLS is HTTP/2 without TLS.
			server.Protocols = new(http.Protocols)
			server.Protocols.SetHTTP1(true)
			server.Protocols.SetHTTP2(true)
			server.Protocols.SetUnencryptedHTTP2(true)
		})
	}
	return nil
}

// hasInbox reports whether a store has an inbox.
func hasInbox(dir string) bool {
	segs, err := wal.Segments(audit.InboxDir(dir), wal.Options{})
	return err == nil && len(segs) > 0
}

// allowSpans lets those send spans who have a token that may write.
func (s *served) allowSpans(r *http.Request) (who string, refused *receive.Refusal) {
	p, err := s.Public().Admit(r, web.ScopeWrite)
	var problem *web.Problem
	switch {
	case errors.As(err, &problem):
		return p.ID, &receive.Refusal{Status: problem.Status, Text: problem.Detail, RetryAfter: problem.RetryAfter()}
	case err != nil:
		return p.ID, &receive.Refusal{Status: http.StatusUnauthorized, Text: "the request has no token that is valid here"}
	case p.Agent != nil:
		return p.ID, &receive.Refusal{Status: http.StatusForbidden, Text: "the token " + p.ID + " may store records of one agent only, and spans name their agents by themselves"}
	}
	return p.ID, nil
}

// spans is how the receiver is, for /readyz.
func (s *served) spans() *web.Spans {
	if !s.takesSpans {
		return nil
	}
	receiver := s.receiver.Load()
	if receiver == nil {
		return &web.Spans{Refused: "no spans are taken yet"}
	}
	state := receiver.State()
	told := &web.Spans{Replaying: state.Replaying, Waiting: state.Waiting != nil}
	switch {
	case errors.Is(state.Err, receive.ErrDamaged):
		told.Refused = "no spans are taken, since the inbox is damaged"
	case state.Err != nil:
		told.Refused = "no spans are taken, since the inbox or the store cannot be written to"
	}
	return told
}

// otlpFacts say where spans are taken.
func (s *served) otlpFacts(o *serveOptions, listeners []net.Listener) (facts []tui.Fact) {
	scheme := "http"
	if s.TLS() {
		scheme = "https"
	}
	for i, l := range listeners {
		name, title := "otlp", "spans"
		if o.otlp.addresses()[i].Flag != name {
			name, title = "otlp_grpc", "spans over gRPC"
		}
		facts = append(facts, fact(name, title, tui.Text(scheme+"://"+l.Addr().String())))
	}
	return facts
}

// spanMetrics are what a receiver knows, for Prometheus.
type spanMetrics struct{ receiver *receive.Receiver }

var (
	spansReady     = prometheus.NewDesc("auditsql_otlp_ready", "1 when spans are taken, otherwise 0.", nil, nil)
	spansWaiting   = prometheus.NewDesc("auditsql_otlp_waiting", "1 while no span becomes a record, since labels cannot be added, otherwise 0.", nil, nil)
	spansReplaying = prometheus.NewDesc("auditsql_otlp_replaying", "1 while spans of an earlier start are still being read, otherwise 0.", nil, nil)
	spansHeld      = prometheus.NewDesc("auditsql_otlp_held_spans", "Spans whose traces have not settled.", nil, nil)
	spansInbox     = prometheus.NewDesc("auditsql_otlp_inbox_bytes", "Bytes of the inbox that are not removed yet.", nil, nil)
	spansLost      = prometheus.NewDesc("auditsql_otlp_inbox_lost_bytes", "Bytes at the end of the inbox that were found damaged when it was opened: spans that were acknowledged may be lost.", nil, nil)
	spansBecame    = prometheus.NewDesc("auditsql_otlp_spans_total", "Spans whose traces have settled, by what became of them.", []string{"became"}, nil)
	spansInserted  = prometheus.NewDesc("auditsql_otlp_records_total", "Records that were made of spans.", []string{"outcome"}, nil)
	spansEarly     = prometheus.NewDesc("auditsql_otlp_early_traces_total", "Traces that were joined early, since too many spans were held.", nil, nil)
	spansLate      = prometheus.NewDesc("auditsql_otlp_late_spans_total", "Spans of context that came when their trace had settled.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *spanMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements prometheus.Collector.
func (c *spanMetrics) Collect(to chan<- prometheus.Metric) {
	s := c.receiver.State()
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	is := func(d *prometheus.Desc, so bool) {
		v := 0.0
		if so {
			v = 1
		}
		gauge(d, v)
	}
	is(spansReady, s.Err == nil)
	is(spansWaiting, s.Waiting != nil)
	is(spansReplaying, s.Replaying)
	gauge(spansHeld, float64(s.Held))
	gauge(spansInbox, float64(s.InboxBytes))
	gauge(spansLost, float64(s.Lost.Bytes))
	count(spansBecame, s.Counts.Records, string(otlp.BecameRecord))
	count(spansBecame, s.Counts.Wrapped, string(otlp.BecameWrapped))
	count(spansBecame, s.Counts.Context, string(otlp.BecameContext))
	count(spansBecame, s.Counts.Other, string(otlp.BecameOther))
	count(spansBecame, s.Counts.Rejected, string(otlp.BecameRejected))
	count(spansInserted, s.Inserted, "inserted")
	count(spansInserted, s.Duplicate, "duplicate")
	count(spansEarly, s.Early)
	count(spansLate, s.Late)
}
