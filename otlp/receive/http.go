package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditsql/auditsql/otlp"
)

// A protocol is how a request is read and answered: httpProtocol or grpcProtocol.
type protocol interface {
	// open checks what the request says of itself, and returns its message.
	open(q *http.Request, body io.Reader, most int64) (message, *fault)
	taken(w http.ResponseWriter, o *outcome)
	refused(w http.ResponseWriter, f *fault)
}

// A message is an export request that has not been read.
type message struct {
	in     io.Reader
	size   int64 // that it has as it comes; less than 0: not known
	packed bool  // compressed with gzip
	json   bool
}

// ServeHTTP answers OTLP/HTTP and OTLP/gRPC.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	about := Request{Transport: "http"}
	var p protocol = &httpProtocol{}
	if strings.HasPrefix(q.Header.Get("Content-Type"), grpcType) && q.ProtoMajor == 2 {
		about.Transport, p = "grpc", &grpcProtocol{}
	}
	begun := time.Now()
	wire := http.NewResponseController(w)
	if q.Body != nil && q.Body != http.NoBody {
		// net/http reads what is left of the body of a request that is refused, and waits for it as long as the client likes: also of one
		// that has no token.
		_ = wire.SetReadDeadline(begun.Add(r.options.Limits.Idle)) // not every connection has one
	}
	defer func() {
		if thrown := recover(); thrown != nil {
			r.log.Error("a handler has panicked", "panic", fmt.Sprint(thrown), "stack", string(debug.Stack()))
			about.Status, about.Err = 0, errors.New("the handler has panicked")
			if about.Transport == "grpc" { // to close the stream would be the code INTERNAL, and exporters drop what had that
				about.Status = http.StatusServiceUnavailable
				p.refused(w, refuse(unavailable, "the server has failed; send the spans again"))
			}
		}
		about.Took = time.Since(begun)
		r.ended(q, &about)
		if about.Status == 0 {
			panic(http.ErrAbortHandler) // closes the connection, or the stream of HTTP/2: exporters send again then
		}
	}()
	o, f := r.export(q, p, wire, &about)
	switch {
	case f == nil:
		about.Status, about.Spans, about.Unusable = http.StatusOK, o.taken, o.unusable
		p.taken(w, &o)
		return
	case about.Transport == "grpc" && f.kind == gone:
		f.status = http.StatusServiceUnavailable // gRPC has a code for it
	}
	about.Status, about.Err = f.status, f
	if f.status != 0 {
		p.refused(w, f)
	}
}

// export takes the spans of a request.
func (r *Receiver) export(q *http.Request, p protocol, answer *http.ResponseController, about *Request) (outcome, *fault) {
	if r.draining.Load() {
		return outcome{}, r.closing()
	}
	who, refused := r.options.Allow(q)
	if about.Who = who; refused != nil {
		return outcome{}, refused.fault()
	}
	ctx, cancel := context.WithCancelCause(q.Context())
	defer cancel(nil)
	most := r.options.Limits.Body
	body := &wire{body: q.Body, http: answer, idle: r.options.Limits.Idle, left: most + grpcPrefix}
	// After the body the connection is watched for a client that goes away, which a deadline would look like.
	unhook := context.AfterFunc(r.ending, func() {
		cancel(errEnding)
		body.end()
	})
	defer unhook()
	held := &share{r: r, ctx: ctx}
	defer held.free()
	m, f := p.open(q, body, most)
	if f == nil {
		_, f = r.ready() // before a body is read in vain
	}
	var text []byte
	if f == nil {
		text, f = r.message(m.in, m.packed, m.size, held)
	}
	body.over()
	if f != nil && context.Cause(ctx) == errEnding {
		f = r.closing()
	}
	if f != nil {
		return outcome{}, f
	}
	if about.Bytes = int64(len(text)); m.size >= 0 && !m.packed && about.Bytes < m.size {
		return outcome{}, refuse(malformed, "the request ends too early")
	}
	spans, f := r.decode(text, m.json, held)
	if f != nil {
		return outcome{}, f
	}
	return r.accept(q.Context(), spans)
}

// decode returns the spans of a message, of which some may be unusable.
func (r *Receiver) decode(text []byte, isJSON bool, held *share) (spans []*otlp.Span, f *fault) {
	count := otlp.ElementsProto
	if isJSON {
		count = otlp.ElementsJSON
	}
	n := count(text, maxElements)
	if n > maxElements {
		return nil, refuse(tooLarge, "the request has more than %d spans, attributes and parts of them", maxElements)
	}
	if f := held.grow(min(int64(cap(text))+int64(n)*elementBytes, r.options.Limits.Memory)); f != nil {
		return nil, f
	}
	var err error
	if isJSON {
		if spans, err = otlp.DecodeJSON(string(text)); err == otlp.ErrNoSpans {
			err = nil // as {}, which is a request without spans. The error that names another signal is another one
		}
	} else {
		spans, err = otlp.DecodeProto(text)
	}
	if err != nil {
		return nil, refuse(malformed, "%v", err)
	}
	return spans, nil
}

// ended tells of a request that has ended. The log has nothing that the client wrote, except what is wrong with it.
func (r *Receiver) ended(q *http.Request, about *Request) {
	level := slog.LevelInfo
	args := []any{"transport", about.Transport, "status", about.Status, "spans", about.Spans, "unusable", about.Unusable, "bytes", about.Bytes,
		"ms", float64(about.Took.Microseconds()) / 1000, "token", about.Who}
	if about.Err != nil {
		args = append(args, "error", about.Err.Error())
		if about.Status == 0 || about.Status >= 500 {
			level = slog.LevelError
		}
	}
	r.log.Log(q.Context(), level, "spans", args...)
	r.options.OnRequest(*about)
}

// The paths of OTLP/HTTP.
const tracesPath = "/v1/traces"

const (
	typeJSON  = "application/json"
	typeProto = "application/x-protobuf"
)

// httpProtocol is OTLP/HTTP.
type httpProtocol struct{ json bool }

func (p *httpProtocol) open(q *http.Request, body io.Reader, most int64) (message, *fault) {
	mediaType, _, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	p.json = err != nil || mediaType != typeProto && mediaType != "application/protobuf"
	switch {
	case q.URL.Path != tracesPath && strings.HasPrefix(q.URL.Path, "/v1/"):
		return message{}, refuse(otherSignal, "only traces are taken here, by POST %s", tracesPath)
	case q.URL.Path != tracesPath:
		return message{}, refuse(otherSignal, "spans are taken by POST %s", tracesPath)
	case q.Method != http.MethodPost:
		return message{}, refuse(otherMethod, "%s takes POST", tracesPath)
	case strings.HasPrefix(mediaType, grpcType):
		return message{}, refuse(otherForm, "gRPC needs HTTP/2; OTLP/HTTP wants the Content-Type %s or %s", typeProto, typeJSON)
	case p.json && mediaType != typeJSON:
		return message{}, refuse(otherForm, "the Content-Type is not %s or %s", typeProto, typeJSON)
	case q.ContentLength > most:
		return message{}, refuse(tooLarge, "the request has more than %d bytes", most)
	}
	m := message{in: body, size: q.ContentLength, json: p.json}
	switch encoding := strings.ToLower(strings.Join(q.Header.Values("Content-Encoding"), ",")); encoding {
	case "", "identity":
	case "gzip":
		m.packed = true
	default:
		return message{}, refuse(otherForm, "the Content-Encoding is not gzip or identity")
	}
	return m, nil
}

func (p *httpProtocol) taken(w http.ResponseWriter, o *outcome) {
	if !p.json {
		send(w, http.StatusOK, typeProto, exportResponse(o))
		return
	}
	type partial struct {
		Rejected string `json:"rejectedSpans"` // 64-bit numbers are texts in the JSON of protobuf
		Message  string `json:"errorMessage"`
	}
	var answer struct {
		Partial *partial `json:"partialSuccess,omitempty"`
	}
	if text := o.partial(); text != "" {
		answer.Partial = &partial{strconv.Itoa(o.unusable), text}
	}
	body, _ := json.Marshal(answer) // has no value that cannot be encoded
	send(w, http.StatusOK, typeJSON, body)
}

func (p *httpProtocol) refused(w http.ResponseWriter, f *fault) {
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.retry+time.Second-1)/time.Second)))
	}
	switch f.kind {
	case unknown:
		w.Header().Set("WWW-Authenticate", `Bearer realm="auditsql"`)
	case otherMethod:
		w.Header().Set("Allow", http.MethodPost)
	case unavailable:
		w.Header().Set("Connection", "close")
	}
	if !p.json {
		send(w, f.status, typeProto, rpcStatus(f))
		return
	}
	body, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{f.code, f.text})
	send(w, f.status, typeJSON, body)
}

func send(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// exportResponse is an ExportTraceServiceResponse. It is empty when all spans were taken.
func exportResponse(o *outcome) []byte {
	text := o.partial()
	if text == "" {
		return nil
	}
	var partial []byte
	partial = protowire.AppendTag(partial, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, uint64(o.unusable))
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, text)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

// rpcStatus is a google.rpc.Status, which is the body of an error in both protocols. With a time after which the client should send
// again it has a google.rpc.RetryInfo: an exporter that waits as long as the server says looks for that.
func rpcStatus(f *fault) []byte {
	var s []byte
	s = protowire.AppendTag(s, 1, protowire.VarintType)
	s = protowire.AppendVarint(s, uint64(f.code))
	s = protowire.AppendTag(s, 2, protowire.BytesType)
	s = protowire.AppendString(s, f.text)
	if f.retry <= 0 {
		return s
	}
	var delay []byte // a google.protobuf.Duration
	if seconds := int64(f.retry / time.Second); seconds > 0 {
		delay = protowire.AppendTag(delay, 1, protowire.VarintType)
		delay = protowire.AppendVarint(delay, uint64(seconds))
	}
	if nanos := int64(f.retry % time.Second); nanos > 0 {
		delay = protowire.AppendTag(delay, 2, protowire.VarintType)
		delay = protowire.AppendVarint(delay, uint64(nanos))
	}
	info := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), delay)
	var detail []byte // a google.protobuf.Any
	detail = protowire.AppendTag(detail, 1, protowire.BytesType)
	detail = protowire.AppendString(detail, "type.googleapis.com/google.rpc.RetryInfo")
	detail = protowire.AppendTag(detail, 2, protowire.BytesType)
	detail = protowire.AppendBytes(detail, info)
	s = protowire.AppendTag(s, 3, protowire.BytesType)
	return protowire.AppendBytes(s, detail)
}
