package receive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/kvshim"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/wal"
)

// A step is a span of a test.
type step struct {
	trace, id, parent int
	name              string
	attributes        [][2]string
}

// secret is in the text of each document and each answer. No file of a store may have it.
const secret = "the-words-of-a-document"

func document(id string) [][2]string {
	return [][2]string{
		{"openinference.span.kind", "RETRIEVER"}, {"input.value", "refund window"},
		{"retrieval.documents.0.document.id", id}, {"retrieval.documents.0.document.content", secret + " " + id},
		{"retrieval.documents.0.document.metadata", `{"source": "policy.pdf"}`},
	}
}

// conversation is a trace with an agent, a wrapper, a retrieval in it, and a model's answer.
func conversation(trace int) []step {
	return []step{
		{trace, 1, 0, "SupportAgent", [][2]string{{"openinference.span.kind", "AGENT"}, {"session.id", fmt.Sprint("s-", trace)}}},
		{trace, 2, 1, "Search", [][2]string{{"openinference.span.kind", "RETRIEVER"}, {"input.value", "refund window"}}},
		{trace, 3, 2, "KnowledgeBase", document(fmt.Sprint("policy-", trace))},
		{trace, 4, 1, "ChatModel", [][2]string{{"openinference.span.kind", "LLM"}, {"output.value", secret + " answer"}}},
	}
}

// idOf is the id of the one record that a conversation has.
func idOf(trace int) audit.QueryID {
	var t otlp.TraceID
	binary.BigEndian.PutUint32(t[12:], uint32(trace))
	return otlp.QueryID(t, otlp.SpanID{7: 3})
}

func request(steps ...step) *tracepb.TracesData {
	var spans []*tracepb.Span
	for _, s := range steps {
		p := &tracepb.Span{
			TraceId: make([]byte, 16), SpanId: make([]byte, 8), Name: s.name,
			StartTimeUnixNano: 1795424400e9 + uint64(s.id)*1e9, EndTimeUnixNano: 1795424401e9 + uint64(s.id)*1e9,
		}
		binary.BigEndian.PutUint32(p.TraceId[12:], uint32(s.trace))
		binary.BigEndian.PutUint32(p.SpanId[4:], uint32(s.id))
		if s.parent != 0 {
			p.ParentSpanId = make([]byte, 8)
			binary.BigEndian.PutUint32(p.ParentSpanId[4:], uint32(s.parent))
		}
		for _, a := range s.attributes {
			p.Attributes = append(p.Attributes, attribute(a[0], a[1]))
		}
		spans = append(spans, p)
	}
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{attribute("service.name", "shop")}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}}
}

func attribute(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func inProto(t testing.TB, d *tracepb.TracesData) []byte {
	t.Helper()
	b, err := proto.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inJSON writes a request as the JSON of OTLP has it, with ids in hex.
func inJSON(t testing.TB, d *tracepb.TracesData) []byte {
	t.Helper()
	type object = map[string]any
	pairs := func(all []*commonpb.KeyValue) []object {
		list := []object{}
		for _, a := range all {
			list = append(list, object{"key": a.Key, "value": object{"stringValue": a.Value.GetStringValue()}})
		}
		return list
	}
	var groups []object
	for _, g := range d.ResourceSpans {
		spans := []object{}
		for _, s := range g.ScopeSpans[0].Spans {
			spans = append(spans, object{
				"traceId": hex.EncodeToString(s.TraceId), "spanId": hex.EncodeToString(s.SpanId), "parentSpanId": hex.EncodeToString(s.ParentSpanId),
				"name": s.Name, "startTimeUnixNano": fmt.Sprint(s.StartTimeUnixNano), "endTimeUnixNano": fmt.Sprint(s.EndTimeUnixNano),
				"attributes": pairs(s.Attributes),
			})
		}
		groups = append(groups, object{"resource": object{"attributes": pairs(g.Resource.Attributes)}, "scopeSpans": []object{{"spans": spans}}})
	}
	b, err := json.Marshal(object{"resourceSpans": groups})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// post sends a body, and returns the answer. aborted says that the connection was closed in place of one.
func post(r http.Handler, body []byte, headers ...string) (answer *httptest.ResponseRecorder, aborted bool) {
	q := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
	q.Header.Set("Content-Type", "application/x-protobuf")
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	answer = httptest.NewRecorder()
	defer func() {
		if thrown := recover(); thrown != nil {
			if thrown != http.ErrAbortHandler {
				panic(thrown)
			}
			aborted = true
		}
	}()
	r.ServeHTTP(answer, q)
	return answer, false
}

// sent sends steps, which must be taken.
func sent(t testing.TB, r http.Handler, steps ...step) {
	t.Helper()
	if a, _ := post(r, inProto(t, request(steps...))); a.Code != http.StatusOK || a.Body.Len() > 0 {
		t.Fatalf("status %d: %q", a.Code, a.Body)
	}
}

// openStore opens a store on disk.
func openStore(t testing.TB, dir string) *audit.DB {
	t.Helper()
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func open(t testing.TB, s receive.Store, o receive.Options) *receive.Receiver {
	t.Helper()
	o.Allow = receive.Anyone
	if o.MaxFuture == 0 {
		o.MaxFuture = -1 // time begins in the year 2000 in these tests
	}
	r, err := receive.Open(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// settle lets so much time pass that all traces settle, and what settles is stored.
func settle() {
	time.Sleep(time.Hour)
	synctest.Wait()
}

// stored are all records of a store, in canonical JSON, in the order of their ids.
func stored(t testing.TB, db *audit.DB) []string {
	t.Helper()
	var all []string
	for q, err := range db.Audits(context.Background(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	slices.Sort(all)
	return all
}

// A memoryStore keeps records in memory, as long as the process lives that the disk of its inbox belongs to. What it has survives that
// process.
type memoryStore struct {
	records *audit.KVAudits
	fs      wal.FS
	dead    func() bool
	segment int64

	hold chan struct{} // puts wait until it is closed; nil: they do not

	mu     sync.Mutex
	ids    map[audit.QueryID]bool
	labels map[audit.Hash]string
	failed error
	damage string // what NoteInbox was told
	lost   int64
}

func newMemoryStore() *memoryStore {
	return &memoryStore{records: audit.NewStore(kvshim.NewMemory()), ids: map[audit.QueryID]bool{}, labels: map[audit.Hash]string{}, segment: 4 << 10}
}

// of returns the store as a process has it.
func (m *memoryStore) of(fs wal.FS, dead func() bool) *memoryStore {
	return &memoryStore{records: m.records, fs: fs, dead: dead, segment: m.segment, ids: m.ids, labels: m.labels}
}

// makeStore makes the folder of a store on a disk.
func makeStore(t testing.TB, disk *crashfs.Disk) {
	t.Helper()
	p := disk.Process()
	if err := errors.Join(p.Mkdir("/store"), p.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
}

func immortal() bool { return false }

// onDisk is a store whose process does not die.
func onDisk(t testing.TB) *memoryStore {
	t.Helper()
	disk := crashfs.New(1)
	makeStore(t, disk)
	return newMemoryStore().of(disk.Process(), immortal)
}

var errDead = fmt.Errorf("the process is dead")

func (m *memoryStore) PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if m.hold != nil {
		select {
		case <-m.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	results := make([]audit.PutResult, len(records))
	for i, q := range records {
		if m.dead() {
			return nil, errDead
		}
		id, err := m.records.PutAudit(ctx, q)
		results[i] = audit.PutResult{ID: id, Duplicate: err == nil && m.ids[id], Err: err}
		if err == nil {
			m.ids[id] = true
		}
	}
	return results, nil
}

// has reports whether a record was put. The receiver may be putting others meanwhile.
func (m *memoryStore) has(id audit.QueryID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ids[id]
}

func (m *memoryStore) GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error) {
	return m.records.GetAudit(ctx, id)
}

func (m *memoryStore) AddLabels(_ context.Context, labels []audit.Label) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range labels {
		m.labels[l.Hash] = l.Label
	}
	return nil
}

func (m *memoryStore) Inbox() (string, wal.Options, error) {
	return "/store/inbox", wal.Options{FS: m.fs, Identity: []byte("a store"), SegmentBytes: m.segment}, nil
}

func (m *memoryStore) NoteInbox(damage string, lost int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.damage, m.lost = damage, lost
}

func (m *memoryStore) Sync(context.Context) error { return nil }

func (m *memoryStore) TimeUnit() audit.TimeUnit { return audit.Milliseconds }

func (m *memoryStore) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// filesHave reports which files below a folder have a text in them.
func filesHave(t testing.TB, dir, text string) (found []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := readFile(name); err != nil {
			found = append(found, filesHave(t, name, text)...)
		} else if strings.Contains(string(b), text) {
			found = append(found, name)
		}
	}
	return found
}
