// Package receive takes spans from exporters of OpenTelemetry, and makes records of them.
//
//	OTLP/HTTP ─┐                                                      settled traces
//	           ├─► decode ─► reduce ─► inbox (synced) ─► 200      ┌──► records ─► store
//	OTLP/gRPC ─┘                         │                        │
//	                                     └─► read again ─► Joiner ┘
//
// A [Receiver] is an http.Handler. gRPC is HTTP/2 with a frame around the message, so one handler answers both:
//
//	r, err := receive.Open(db, receive.Options{Allow: receive.Anyone})
//	…
//	server := &http.Server{Handler: r, Protocols: new(http.Protocols)}
//	server.Protocols.SetHTTP1(true)            // OTLP/HTTP
//	server.Protocols.SetUnencryptedHTTP2(true) // OTLP/gRPC without TLS
//	…
//	r.Drain()
//	server.Shutdown(ctx)
//	r.Close()
//	db.Close()
//
// # What it promises
//
// A request has its 200 when all its spans are in the inbox and synced. The inbox is a second journal, the folder inbox in the store's.
// It has a record for each span, as JSON, and never a text of a document or of an answer. One goroutine reads it and joins the spans.
// When a trace has settled, its records are put and synced, and then a record in the inbox notes that. A segment of the inbox is removed when all
// spans in it have settled. After a crash the inbox is read again from its oldest segment, without the spans that a note says have
// settled. So each span that was answered with 200 becomes what it must become, however often the process dies.
//
// The answers tell an exporter whether to send again. 429 and 503 mean that nothing is known to be stored, and that the same spans are
// taken later. What is sent twice is stored once. For retrievals that became no records this holds as long as they are among the last ones
// of these: see inbox.go. 500 is never answered, because exporters drop their spans then: when a handler fails,
// the connection is closed.
//
// Memory is bounded: that for requests, that for spans whose traces have not settled, and the size of the inbox.
//
// # What it leaves to others
//
// Listening, TLS, and who may send. It is a package of its own, and not a part of otlp: who only turns files into records needs no
// server, no journal and no clock.
package receive
