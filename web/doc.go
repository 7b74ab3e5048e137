// Package web serves a store over HTTP: an API for programs, and pages for people.
//
//	db, err := audit.Open(dir)
//	server := web.Handler(db, web.Options{Tokens: tokens, Hosts: []string{"audit.example.com"}})
//	http.Handle("/", server)
//	…
//	server.Drain()       // no new requests; tails are told that it ends
//	err = db.Close()
//
// A request passes these parts, in this order:
//
//	request id ─► panic ─► log, metrics ─► headers ─► host ─► origin ─► draining ─► who ─► what it may ─► route
//
// Every route is one line of a table (routes): its method and path, the scope that it needs, and the parameters that it
// takes. The mux, the log, the metrics and the checks of scopes are made from that table, and a test holds the OpenAPI
// description to it. A parameter that a route does not know is refused, since a typing error in a filter would otherwise
// select too much in silence.
//
// What the package promises:
//
//   - A put has a 2xx only after the journal has synced it. Every other answer says whether nothing was stored, or whether
//     that is not known.
//   - The JSON, NDJSON and CSV of a question are byte for byte those of the command (auditsql … -o json).
//   - Every error is a problem document (RFC 9457). A mistake of the client is never a 5xx.
//   - Memory is bounded: bodies, answers, readers and tails have limits, and a limit that cuts says so.
//   - The log has routes, statuses, times and the names of tokens. It never has what somebody asked for or stored.
//
// It leaves to others: listening, TLS, tokens on disk, opening and closing the store.
package web
