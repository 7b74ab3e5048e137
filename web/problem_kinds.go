package web

import (
	"net/http"
	"time"
)

// A kind is a type of problem. /problems/SLUG shows it.
type kind struct {
	slug   string
	status int
	title  string
	means  string // what has happened
	try    string // what to do
	person string // what somebody does who looks at a page; "" where means and try say it

	retryAfter time.Duration // 0: no such header
}

// The kinds of problems. Programs distinguish them by their type.
var (
	kindMalformed = &kind{slug: "malformed", status: http.StatusBadRequest, title: "The request cannot be read",
		means: "The body is not JSON in UTF-8. Nothing of it is stored.",
		try:   "The detail says where the mistake is. Correct the body, and send it again."}
	kindParameter = &kind{slug: "bad-parameter", status: http.StatusBadRequest, title: "A parameter is wrong",
		means:  "A parameter of the URL does not exist, cannot be read, or does not go together with another one. The member field names it.",
		try:    "Correct that parameter. /v1/openapi.json lists the parameters of each path.",
		person: "Correct the value, or leave it out."}
	kindAmbiguous = &kind{slug: "ambiguous", status: http.StatusBadRequest, title: "Ambiguous name or prefix",
		means:  "Several ids or hashes begin with these digits, or have this label. The member candidates lists them.",
		try:    "Send one of them in full.",
		person: "Choose one of those that may be meant."}
	kindUnauthorized = &kind{slug: "unauthorized", status: http.StatusUnauthorized, title: "A token is needed",
		means:  "The request has no token, or one that is not known here or has expired. A token may also be revoked while a request goes on.",
		try:    "Send Authorization: Bearer TOKEN. auditsql token add NAME makes a token. What a stream of records got no answer for is sent again with that token.",
		person: "Log in with a token. On the machine of the store, auditsql token add NAME makes one."}
	kindForbidden = &kind{slug: "forbidden", status: http.StatusForbidden, title: "The token may not do this",
		means: "The token is known, and does not have the scope that this route needs.",
		try:   "Use a token with that scope. auditsql token list shows the scopes of each token."}
	kindWrongAgent = &kind{slug: "wrong-agent", status: http.StatusForbidden, title: "The record is of another agent",
		means: "The token may store records of one agent only, and the record has another agent or none. It is not stored.",
		try:   "Set agent_id to the agent of the token, or use a token without --agent."}
	kindOrigin = &kind{slug: "cross-origin", status: http.StatusForbidden, title: "The request comes from another site",
		means: "A browser says that a page of another site has made this request, which would change something.",
		try:   "Make such requests from a program, or from the pages of this server."}
	kindReadOnly = &kind{slug: "read-only", status: http.StatusForbidden, title: "This server only reads",
		means: "The server has the store open for reading. Nothing is stored.",
		try:   "Send the request to the server that writes."}
	kindNoRoute = &kind{slug: "no-such-path", status: http.StatusNotFound, title: "There is no such path",
		means:  "The server has nothing under this path.",
		try:    "/v1/openapi.json lists the paths.",
		person: "The links at the top lead to all pages."}
	kindNotFound = &kind{slug: "not-found", status: http.StatusNotFound, title: "Not found",
		means:  "The store has no record with this id, or nothing with this hash, label or checkpoint.",
		try:    "/v1/resolve?q=… says what some digits or a label stand for.",
		person: "Look for it in the box at the top: an id, a hash, a label, a subject or a time."}
	kindAsOf = &kind{slug: "beyond-the-store", status: http.StatusNotFound, title: "The store has fewer records",
		means:  "as_of asks for the store as it was when it had more records than it has now. The member records says how many it has.",
		try:    "Send a smaller as_of, or ask again when the store has that many.",
		person: "Take as_of out of the address, and the page shows the present."}
	kindDivided = &kind{slug: "divided", status: http.StatusNotImplemented, title: "Not available over several partitions",
		means: "The records of this store are divided among several logs. What was asked needs one order or one tree of all records, and there is none.",
		try:   "The detail says why. List by time, or ask the store of one partition."}
	kindMethod = &kind{slug: "method", status: http.StatusMethodNotAllowed, title: "Method not allowed",
		means: "The path exists, and does not take this method.",
		try:   "The header Allow lists the methods."}
	kindNotAcceptable = &kind{slug: "not-acceptable", status: http.StatusNotAcceptable, title: "Not acceptable",
		means: "The Accept header, or the parameter format, wants a form that this path does not have.",
		try:   "The detail lists the forms."}
	kindIncomplete = &kind{slug: "incomplete", status: http.StatusRequestTimeout, title: "Incomplete body",
		means: "The body, or a line of a stream, was cut off or came too slowly. Nothing of it is stored.",
		try:   "Send it again. In a stream this is the last answer: send that line and all after it again."}
	kindConflict = &kind{slug: "conflict", status: http.StatusConflict, title: "Another record has this id",
		means: "Other bytes are stored under this id. They stay, and this record is not stored.",
		try:   "A record that is meant to be another one needs another id. GET /v1/audits/{id} shows the one that is stored."}
	kindTrimmed = &kind{slug: "trimmed", status: http.StatusGone, title: "The journal no longer has this place",
		means: "The journal was trimmed after the place at which the tail was to go on. The member first is the first place that is left.",
		try:   "Read what is missing with GET /v1/audits, then tail with after=FIRST."}
	kindTooLarge = &kind{slug: "too-large", status: http.StatusRequestEntityTooLarge, title: "The body is too large",
		means: "The body, or a line of it, is larger than a record may be. It is not stored.",
		try:   "Send several records as application/x-ndjson, one on each line."}
	kindMediaType = &kind{slug: "media-type", status: http.StatusUnsupportedMediaType, title: "Unsupported media type",
		means: "The Content-Type, or the Content-Encoding, is not one that this path takes. Nothing is stored.",
		try:   "The detail lists those that it takes."}
	kindHost = &kind{slug: "host", status: http.StatusMisdirectedRequest, title: "Unknown host name",
		means: "The Host header is not a name of this server.",
		try:   "Use a name that the server knows, or start it with --host NAME."}
	kindInvalid = &kind{slug: "invalid", status: http.StatusUnprocessableEntity, title: "The record is refused",
		means: "The body is JSON, and not a record that can be stored. The member field names the field. The record is not stored.",
		try:   "Correct that field. GET /v1/openapi.json describes a record."}
	kindBusy = &kind{slug: "busy", status: http.StatusTooManyRequests, title: "Too many at the same time", retryAfter: time.Second,
		means:  "As many expensive questions, exports, long answers, tails or streams of records are under way as may be at the same time.",
		try:    "Ask again after the time in Retry-After.",
		person: "Load the page again in a moment."}
	kindInternal = &kind{slug: "internal", status: http.StatusInternalServerError, title: "The server has failed",
		means:  "Something went wrong in the server that is not the fault of the request. The log of the server has it under the request_id.",
		try:    "Ask again. If that does not help, give the request_id to whoever runs the server.",
		person: "Load the page again. If that does not help, give the number of the request to whoever runs the server."}
	kindDamaged = &kind{slug: "damaged", status: http.StatusInternalServerError, title: "A record is damaged",
		means: "What is stored is not what was put. The server does not serve it.",
		try:   "Whoever runs the server finds out more with auditsql verify and auditsql repair."}
	kindFull = &kind{slug: "backlog-full", status: http.StatusServiceUnavailable, title: "There is no room for more records now", retryAfter: 2 * time.Second,
		means: "As many records wait to be brought to SQLite as may wait. Nothing of the request is stored.",
		try:   "Send it again after the time in Retry-After."}
	kindFailed = &kind{slug: "failed", status: http.StatusServiceUnavailable, title: "The store takes no more records",
		means: "The journal or SQLite has failed, most often because of a disk. What was acknowledged is safe.",
		try:   "Whoever runs the server looks into its log, and starts it again."}
	kindNoSpans = &kind{slug: "no-spans", status: http.StatusServiceUnavailable, title: "No spans are taken",
		means: "The inbox, which keeps spans until their traces have settled, is damaged or cannot be written to. Exporters get 503, and send their spans again. Records can be stored and read.",
		try:   "Whoever runs the server looks into its log, and at auditsql stats."}
	kindReindexing = &kind{slug: "reindexing", status: http.StatusServiceUnavailable, title: "The tables are being rebuilt", retryAfter: 10 * time.Second,
		means:  "An answer from the tables would be incomplete now. Records can be stored, and read by their ids.",
		try:    "Ask again after the time in Retry-After.",
		person: "Load the page again in a moment."}
	kindDraining = &kind{slug: "draining", status: http.StatusServiceUnavailable, title: "The server is ending", retryAfter: 2 * time.Second,
		means:  "The server takes no new requests, since it is being stopped. Nothing of the request is stored.",
		try:    "Send it again after the time in Retry-After, when it may have started again.",
		person: "Load the page again when the server has started again."}
	kindOutcomeOpen = &kind{slug: "outcome-open", status: http.StatusServiceUnavailable, title: "It is not known whether the record is stored", retryAfter: time.Second,
		means: "The server could not wait until it was known whether the record is durable.",
		try:   "Send the same record again: it is stored once, however often it is sent."}
	kindBehind = &kind{slug: "behind", status: http.StatusServiceUnavailable, title: "SQLite does not have all records yet", retryAfter: time.Second,
		means:  "The question waits for records that were acknowledged, and SQLite did not get them in time.",
		try:    "Ask again, or ask with consistency=applied, which answers from what SQLite has.",
		person: "Load the page again in a moment."}
	kindOverBudget = &kind{slug: "over-budget", status: http.StatusServiceUnavailable, title: "The question takes too long",
		means: "The question was ended at the time that one question may take. Auditsql-Budget has that time.",
		try:   "Ask about less: a shorter period, or more filters."}
)

var kindOldHTTP = &kind{slug: "http-version", status: http.StatusHTTPVersionNotSupported, title: "The answer is too long for HTTP/1.0",
	means: "With HTTP/1.0 a client cannot distinguish a long answer that was cut from one that is whole.",
	try:   "Ask with HTTP/1.1. A proxy may ask with HTTP/1.0 unless it is configured otherwise: nginx wants proxy_http_version 1.1. Or ask for less."}

// kindGone is for the log alone: the client does not wait for the answer any more. Its status is that which other servers
// write to their logs.
var kindGone = &kind{slug: "client-gone", status: 499, title: "The client has gone away"}

// kinds are all of them, in the order in which /problems lists them.
var kinds = []*kind{
	kindMalformed, kindParameter, kindAmbiguous, kindUnauthorized, kindForbidden, kindWrongAgent, kindOrigin, kindReadOnly,
	kindNoRoute, kindNotFound, kindAsOf, kindDivided, kindMethod, kindNotAcceptable, kindIncomplete, kindConflict, kindTrimmed, kindTooLarge, kindMediaType,
	kindHost, kindInvalid, kindBusy, kindInternal, kindDamaged, kindFull, kindFailed, kindNoSpans, kindReindexing, kindDraining,
	kindOutcomeOpen, kindBehind, kindOverBudget, kindOldHTTP,
}
