package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/auditsql/auditsql/audit"
)

// A page is a page or a question of the API. path is what to ask for, with a record that is there and one that has the same
// subject.
type page struct {
	name   string // with the names of what varies
	within float64
	path   func(q *audit.QueryAudit, other audit.QueryID) string
}

// allPages is what -only is for all pages, and nothing else of http.
const allPages = "pages"

// What each of them may take, in milliseconds: p95.
const (
	quickPage  = 20  // one record, or a page of a list
	usualPage  = 100 // everything else
	pageBeside = 250 // anything beside 64 writers
)

// pages are what is measured, each with its defaults.
var pages = []page{
	{"/", usualPage, fixed("/")},
	{"/timeline", usualPage, fixed("/timeline")},
	{"/timeline?unapproved", usualPage, fixed("/timeline?unapproved=true")},
	{"/list", quickPage, fixed("/list")},
	{"/q/{id}", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/q/" + q.QueryID.String() }},
	{"/q/{id}/record", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/q/" + q.QueryID.String() + "/record" }},
	{"/impact/{hash}", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/impact/" + q.ResultHash.String() }},
	{"/answers", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/answers?" + subjectOf(q) }},
	{"/diff/{a}/{b}", usualPage, func(q *audit.QueryAudit, other audit.QueryID) string {
		return "/diff/" + q.QueryID.String() + "/" + other.String()
	}},
	{"/agents", usualPage, fixed("/agents")},
	{"/agents/{id}", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/agents/" + q.AgentID.String() }},
	{"/top", usualPage, fixed("/top")},
	{"/top?by=source", usualPage, fixed("/top?by=source")},
	{"/find", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/find?q=" + q.QueryID.String()[:12] }},
	{"/health", usualPage, fixed("/health")},
	{"/v1/audits/{id}", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/v1/audits/" + q.QueryID.String() }},
	{"/v1/audits", quickPage, fixed("/v1/audits")},
	{"/v1/recent", quickPage, fixed("/v1/recent")},
	{"/v1/agents", usualPage, fixed("/v1/agents")},
	{"/v1/agents/{id}/audits", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string {
		return "/v1/agents/" + q.AgentID.String() + "/audits"
	}},
	{"/v1/audits/{id}/trace", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string {
		return "/v1/audits/" + q.QueryID.String() + "/trace"
	}},
	{"/v1/impact/{hash}", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/v1/impact/" + q.ResultHash.String() }},
	{"/v1/answers", usualPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/v1/answers?" + subjectOf(q) }},
	{"/v1/diff/{a}/{b}", usualPage, func(q *audit.QueryAudit, other audit.QueryID) string {
		return "/v1/diff/" + q.QueryID.String() + "/" + other.String()
	}},
	{"/v1/timeline", usualPage, fixed("/v1/timeline")},
	{"/v1/top", usualPage, fixed("/v1/top")},
	{"/v1/resolve", quickPage, func(q *audit.QueryAudit, _ audit.QueryID) string { return "/v1/resolve?q=" + q.QueryID.String()[:12] }},
	{"/v1/stats", usualPage, fixed("/v1/stats")},
}

func fixed(path string) func(*audit.QueryAudit, audit.QueryID) string {
	return func(*audit.QueryAudit, audit.QueryID) string { return path }
}

func subjectOf(q *audit.QueryAudit) string {
	return url.Values{"subject": {*q.Params.Subject}, "predicate": {*q.Params.Predicate}}.Encode()
}

// runPages measures each page and question, one after the other, with one reader. With writers it does so beside puts at full
// rate.
func runPages(ctx context.Context, j job) (rows []row, err error) {
	served, err := startServer(ctx, j)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, served.close()) }()
	stop := make(chan struct{})
	written := make(chan error, 1)
	if j.Writers > 0 {
		writer, err := dialHTTP(served, j.Writers)
		if err != nil {
			return nil, err
		}
		w := writing{store: writer, world: j.world(), writers: j.Writers, next: new(atomic.Int64), until: 1 << 40, stop: stop}
		k, err := readKept(j.Dir)
		if err == nil && k == nil {
			err = fmt.Errorf("%s is missing", keptFile(j.Dir))
		}
		if err != nil {
			return nil, err
		}
		w.next.Store(k.Next)
		defer func() {
			k.Next = w.next.Load()
			err = errors.Join(err, k.write(j.Dir))
		}()
		go func() {
			_, err := w.run(ctx)
			written <- errors.Join(err, writer.hangUp())
		}()
	} else {
		written <- nil
	}
	end := sync.OnceValue(func() error {
		close(stop)
		return <-written
	})
	defer func() { err = errors.Join(err, end()) }()
	reader, err := dialHTTP(served, 1)
	if err != nil {
		return nil, err
	}
	defer reader.hangUp()
	for _, page := range pages {
		r := row{Store: j.Store, Workload: "http", Variant: page.name, Writers: j.Writers, Readers: 1, Records: j.N}
		if j.Writers > 0 {
			r.Variant += besideWriters
		}
		if j.Only != "" && j.Only != r.Variant {
			continue
		}
		a := asking{readers: 1, seed: j.Seed, store: reader, ask: func(ctx context.Context, no int) error {
			q := j.world().record(no % j.N)
			_, err := reader.get(ctx, page.path(q, j.world().id((no+1)%j.N)))
			return err
		}}
		if _, err := a.measure(ctx, j, &r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// pageOf returns the page that a variant measures.
func pageOf(variant string) (page, bool) {
	name, _ := strings.CutSuffix(variant, besideWriters)
	for _, p := range pages {
		if p.name == name {
			return p, true
		}
	}
	return page{}, false
}
