package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

func TestAPutIsStoredOnceAndAnswersWhereItIs(t *testing.T) {
	r := serve(t)
	body := record('a', 0, "")
	first := r.do(http.MethodPost, "/v1/audits", body)
	var stored struct {
		QueryID   string `json:"query_id"`
		Duplicate bool   `json:"duplicate"`
	}
	if err := json.Unmarshal([]byte(first.body), &stored); err != nil || first.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %s", first.StatusCode, first.body)
	}
	if want := `{"query_id":"` + stored.QueryID + `","duplicate":false}` + "\n"; first.body != want || first.Header.Get("Location") != "/v1/audits/"+stored.QueryID {
		t.Fatalf("got %q at %q, want %q", first.body, first.Header.Get("Location"), want)
	}
	again := r.do(http.MethodPost, "/v1/audits", body, "Content-Type", "application/json; charset=utf-8")
	if want := strings.Replace(first.body, "false", "true", 1); again.StatusCode != http.StatusOK || again.body != want {
		t.Fatalf("again: status %d, %q", again.StatusCode, again.body)
	}
	got := r.do(http.MethodGet, first.Header.Get("Location"), "")
	q, err := audit.ParseAudit([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := q.Canonical()
	if err != nil || got.body != string(canonical) {
		t.Fatalf("stored %q, want %q", got.body, canonical)
	}
	if n := r.records(); n != 1 {
		t.Fatalf("%d records", n)
	}
}

func TestAPutUnderAnID(t *testing.T) {
	r := serve(t)
	id := hash('d').String()
	for i, want := range []int{http.StatusCreated, http.StatusOK, http.StatusOK} {
		if a := r.do(http.MethodPut, "/v1/audits/"+id, record('a', 0, "")); a.StatusCode != want || !strings.Contains(a.body, id) {
			t.Fatalf("put %d: status %d, %s", i, a.StatusCode, a.body)
		}
	}
	p := r.fails(http.StatusConflict, "conflict", http.MethodPut, "/v1/audits/"+id, record('a', 1, ""))
	if p.Stored != "nothing" {
		t.Fatalf("%+v", p)
	}
	if a := r.do(http.MethodPut, "/v1/audits/"+id, record('a', 0, `,"query_id":"`+id+`"`)); a.StatusCode != http.StatusOK {
		t.Fatalf("with the id in the body: status %d, %s", a.StatusCode, a.body)
	}
	for _, mark := range []string{"", "\ufeff"} {
		other := hash('f').String() // nothing is stored under it
		p = r.fails(http.StatusUnprocessableEntity, "invalid", http.MethodPut, "/v1/audits/"+other, mark+record('a', 0, `,"query_id":"`+hash('e').String()+`"`))
		if p.Field != "query_id" {
			t.Fatalf("%+v", p)
		}
	}
	if a := r.do(http.MethodPut, "/v1/audits/"+id, "\ufeff"+record('a', 0, `,"query_id":"`+id+`"`)); a.StatusCode != http.StatusOK {
		t.Fatalf("a mark, and the id in the body: status %d, %s", a.StatusCode, a.body)
	}
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodPut, "/v1/audits/"+id[:8], record('a', 0, ""))
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodPut, "/v1/audits/"+strings.Repeat("0", 64), record('a', 0, ""))
	if n := r.records(); n != 1 {
		t.Fatalf("%d records", n)
	}
}

func TestAPutThatIsRefusedStoresNothing(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.Limits.RecordBytes = 4 << 10 })
	post := func(status int, kind, field, body string, h ...string) {
		t.Helper()
		if p := r.fails(status, kind, http.MethodPost, "/v1/audits", body, h...); p.Field != field || p.Stored != "nothing" {
			t.Errorf("%q: %+v", body, p)
		}
	}
	good := record('a', 0, "")
	for _, body := range []string{"", "{", good[:len(good)-1], good + good, "not JSON", `{"timestamp":1,"params":{},"result_confidence":0,"attributes":{"a":"` + "\xff" + `"}}`} {
		post(http.StatusBadRequest, "malformed", "", body)
	}
	post(http.StatusUnprocessableEntity, "invalid", "", "["+good+"]")
	post(http.StatusUnprocessableEntity, "invalid", "params", `{"timestamp":1}`)
	post(http.StatusUnprocessableEntity, "invalid", "params", "\ufeff"+`{"timestamp":1}`)
	post(http.StatusUnprocessableEntity, "invalid", "params.lifecycle", `{"timestamp":1,"params":{"lifecycle":"Maybe"},"result_confidence":0}`)
	post(http.StatusUnprocessableEntity, "invalid", "timestamp", record('a', 3*86400, ""))
	post(http.StatusUnprocessableEntity, "invalid", "surprise", `{"surprise":1}`)
	post(http.StatusRequestEntityTooLarge, "too-large", "", record('a', 0, attribute("a", strings.Repeat("x", 4<<10))))
	post(http.StatusUnsupportedMediaType, "media-type", "", good, "Content-Type", "")
	post(http.StatusUnsupportedMediaType, "media-type", "", good, "Content-Type", "application/x-www-form-urlencoded")
	post(http.StatusUnsupportedMediaType, "media-type", "", good, "Content-Type", "application/json; charset=utf-16")
	post(http.StatusUnsupportedMediaType, "media-type", "", good, "Content-Encoding", "gzip")
	post(http.StatusForbidden, "wrong-agent", "agent_id", record('d', 0, ""), "Authorization", "Bearer bound")
	post(http.StatusForbidden, "wrong-agent", "agent_id", `{"timestamp":1,"params":{},"result_confidence":0}`, "Authorization", "Bearer bound")
	large := r.doWith(http.MethodPost, "/v1/audits", io.MultiReader(strings.NewReader(record('a', 0, attribute("a", strings.Repeat("x", 4<<10))))))
	if p := large.problem(t); p.Type != "/problems/too-large" {
		t.Errorf("a large body without a length: %+v", p)
	}
	// Also what is refused before the body is read says what became of it.
	for _, path := range []string{"/v1/audits", "/v1/labels"} {
		method := http.MethodPost
		if path == "/v1/labels" {
			method = http.MethodPut
		}
		for _, c := range []struct {
			status              int
			kind, query, header string
		}{
			{http.StatusUnauthorized, "unauthorized", "", "Bearer nobody"},
			{http.StatusForbidden, "forbidden", "", "Bearer read"},
			{http.StatusBadRequest, "bad-parameter", "?consistency=applied", "Bearer all"},
		} {
			if p := r.fails(c.status, c.kind, method, path+c.query, good, "Authorization", c.header); p.Stored != "nothing" {
				t.Errorf("%s: %+v", path, p)
			}
		}
	}
	if n := r.records(); n != 0 {
		t.Fatalf("%d records", n)
	}
	for _, charset := range []string{"UTF-8", "Utf-8", "UTF8", "utf8"} {
		if a := r.do(http.MethodPost, "/v1/audits", record('a', 9, ""), "Content-Type", "application/json; charset="+charset); a.StatusCode >= 300 {
			t.Errorf("%s: status %d, %s", charset, a.StatusCode, a.body)
		}
	}
	if a := r.do(http.MethodPost, "/v1/audits?max-future=0", record('a', 3*86400, "")); a.StatusCode != http.StatusCreated {
		t.Errorf("in the future, and allowed: status %d, %s", a.StatusCode, a.body)
	}
	if a := r.do(http.MethodPost, "/v1/audits", record('a', 0, ""), "Authorization", "Bearer bound"); a.StatusCode != http.StatusCreated {
		t.Errorf("of the agent of the token: status %d, %s", a.StatusCode, a.body)
	}
}

func TestAByteOrderMarkBeforeARecordIsNothing(t *testing.T) {
	r := serve(t)
	r.put("\ufeff" + record('a', 0, ""))
}

func TestLinesAreAnsweredInOrderAndRefusedOnesStopNobody(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.Limits.RecordBytes = 20 << 10 })
	taken := record('a', 0, `,"query_id":"`+hash('d').String()+`"`)
	long := record('a', 2, attribute("a", strings.Repeat("x", 300<<10)))
	body := strings.Join([]string{
		record('a', 1, ""), taken, "", record('a', 1, ""), `{"timestamp":`, record('a', 5, `,"query_id":"`+hash('d').String()+`"`),
		`{"timestamp":1}`, long, record('a', 6, ""),
	}, "\n") // no line end after the last
	a := r.do(http.MethodPost, "/v1/audits", body, "Content-Type", "application/x-ndjson")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("status %d, %v", a.StatusCode, a.Header)
	}
	var got []string
	for _, line := range lines(t, a.body) {
		if line["done"] != nil {
			got = append(got, fmt.Sprintf("%v %v %v", line["inserted"], line["duplicate"], line["rejected"]))
			continue
		}
		got = append(got, fmt.Sprintf("%v %v %v", line["line"], line["status"], line["field"]))
	}
	want := []string{"1 201 <nil>", "2 201 <nil>", "4 200 <nil>", "5 400 <nil>", "6 409 <nil>", "7 422 params", "8 413 <nil>", "9 201 <nil>", "3 1 4"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got  %v\nwant %v\n%s", got, want, a.body)
	}
	if n := r.records(); n != 3 {
		t.Fatalf("%d records", n)
	}
}

// A client that waits for each answer gets it while its body is still open.
func TestAClientMayWaitForEachAnswer(t *testing.T) {
	r := serve(t)
	body, in := io.Pipe()
	response := r.start(http.MethodPost, "/v1/audits", body, "Content-Type", "application/x-ndjson")
	defer response.Body.Close()
	answers := bufio.NewReader(response.Body)
	for i := range 20 {
		if _, err := io.WriteString(in, record('a', i, "")+"\n"); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got := lines(t, line)[0]
		if got["line"] != float64(i+1) || got["status"] != float64(http.StatusCreated) {
			t.Fatalf("line %d: %v", i+1, got)
		}
		id, err := audit.ParseHash(got["query_id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.db.GetRaw(t.Context(), id); err != nil {
			t.Fatalf("answered and not stored: %v", err)
		}
	}
	in.Close()
	rest, err := io.ReadAll(answers)
	if want := `{"done":true,"inserted":20,"duplicate":0,"rejected":0}` + "\n"; err != nil || string(rest) != want {
		t.Fatalf("%q, %v", rest, err)
	}
}

// A raced is a store to which somebody else puts a record when another put begins.
type raced struct {
	web.Store
	other audit.QueryAudit
}

func (s raced) PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if _, err := s.Store.PutAudits(ctx, []*audit.QueryAudit{&s.other}); err != nil {
		return nil, err
	}
	return s.Store.PutAudits(ctx, records)
}

func (s raced) PutUntilRefused(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if _, err := s.Store.PutAudits(ctx, []*audit.QueryAudit{&s.other}); err != nil {
		return nil, err
	}
	return s.Store.PutUntilRefused(ctx, records)
}

// A conflict with a record that somebody else has just stored ends a strict stream too: no line after it is stored.
func TestStrictStopsAtAConflictWithAnotherWriter(t *testing.T) {
	db := serve(t).db
	id := `,"query_id":"` + hash('d').String() + `"`
	other, err := audit.ParseAudit([]byte(record('a', 0, id)))
	if err != nil {
		t.Fatal(err)
	}
	r := serveStore(t, raced{db, other})
	r.db = db
	body := record('a', 1, "") + "\n" + record('a', 2, id) + "\n" + record('a', 3, "") + "\n"
	a := r.do(http.MethodPost, "/v1/audits?strict", body, "Content-Type", "application/x-ndjson")
	if got := lines(t, a.body); len(got) != 3 || got[1]["status"] != float64(http.StatusConflict) || got[2]["done"] != true {
		t.Errorf("%s", a.body)
	}
	if n := r.records(); n != 2 { // the other one, and the first line
		t.Errorf("%d records were stored", n)
	}
}

func TestStrictStopsAtTheFirstRefusedLine(t *testing.T) {
	r := serve(t)
	id := `,"query_id":"` + hash('d').String() + `"`
	r.put(record('a', 0, id))
	for name, refused := range map[string]string{"no record": `{"timestamp":1}`, "a conflict": record('a', 1, id)} {
		before := r.records()
		body := record('a', 10+len(name), "") + "\n" + refused + "\n" + record('a', 30+len(name), "") + "\n"
		a := r.do(http.MethodPost, "/v1/audits?strict", body, "Content-Type", "application/x-ndjson")
		if got := lines(t, a.body); len(got) != 3 || got[2]["rejected"] != float64(1) || got[2]["done"] != true {
			t.Errorf("%s: %s", name, a.body)
		}
		if n := r.records() - before; n != 1 {
			t.Errorf("%s: %d records were stored", name, n)
		}
	}
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodPost, "/v1/audits?strict", record('a', 0, ""))
}

// What the body of a client that goes away had in whole lines may be stored; the line that was cut is not.
func TestABodyThatIsCut(t *testing.T) {
	r := serve(t)
	whole, cut := record('a', 1, ""), record('a', 2, "")
	body, in := io.Pipe()
	response := r.start(http.MethodPost, "/v1/audits", body, "Content-Type", "application/x-ndjson")
	defer response.Body.Close()
	if _, err := io.WriteString(in, whole+"\n"+cut[:len(cut)-1]); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"status":201`) {
		t.Fatalf("%q, %v", line, err)
	}
	in.CloseWithError(io.ErrUnexpectedEOF)
	for range 3 {
		r.http.CloseClientConnections()
	}
	if n := r.records(); n != 1 {
		t.Fatalf("%d records", n)
	}
	// One record, of which the last byte never comes.
	body, in = io.Pipe()
	go func() {
		_, _ = io.WriteString(in, cut[:len(cut)-1])
		in.CloseWithError(io.ErrUnexpectedEOF)
	}()
	request, err := http.NewRequest(http.MethodPost, r.http.URL+"/v1/audits", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer all")
	request.Header.Set("Content-Type", "application/json")
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Fatalf("status %d", response.StatusCode)
	}
	if n := r.records(); n != 1 {
		t.Fatalf("%d records", n)
	}
}

func TestManyLinesAtOnce(t *testing.T) {
	r := serve(t)
	const n = 3000
	var body bytes.Buffer
	for i := range n {
		body.WriteString(record('a', i, attribute("i", i)) + "\r\n")
	}
	a := r.doWith(http.MethodPost, "/v1/audits", &body, "Content-Type", "application/x-ndjson")
	got := lines(t, a.body)
	if len(got) != n+1 || got[n]["inserted"] != float64(n) {
		t.Fatalf("%d answers, the last %v", len(got), got[len(got)-1])
	}
	for i := range n {
		if got[i]["line"] != float64(i+1) {
			t.Fatalf("answer %d is %v", i, got[i])
		}
	}
	if stored := r.records(); stored != n {
		t.Fatalf("%d records", stored)
	}
}

// A failing is a body whose second read fails as nothing should.
type failing struct{ first io.Reader }

func (f *failing) Read(p []byte) (int, error) {
	if f.first == nil {
		panic("a mistake in a reader")
	}
	n, err := f.first.Read(p)
	f.first = nil
	return n, err
}

// A stream whose lines were not all looked at never says that it is done.
func TestAStreamIsDoneOnlyAtItsEnd(t *testing.T) {
	server := web.Handler(putting{put: inserted}, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
	request := httptest.NewRequest(http.MethodPost, "http://localhost/v1/audits", &failing{strings.NewReader(record('a', 0, "") + "\n")})
	request.ContentLength = -1
	request.Header.Set("Authorization", "Bearer all")
	request.Header.Set("Content-Type", "application/x-ndjson")
	answer := httptest.NewRecorder()
	broken := func() (thrown any) {
		defer func() { thrown = recover() }()
		server.ServeHTTP(answer, request)
		return nil
	}()
	if got := lines(t, answer.Body.String()); len(got) != 1 || got[0]["status"] != 201.0 || broken != http.ErrAbortHandler {
		t.Errorf("%v, and %v", got, broken)
	}
}

// A connection goes on after a stream of records: the next request on it is a request like any other.
func TestTheConnectionOfAStreamIsUsedAgain(t *testing.T) {
	r := serve(t)
	for i := range 40 {
		a := r.do(http.MethodPost, "/v1/audits", record('a', i, "")+"\n", "Content-Type", "application/x-ndjson")
		if !strings.Contains(a.body, `"done":true,"inserted":1`) {
			t.Fatalf("stream %d: %s", i, a.body)
		}
		r.get("/v1/recent?limit=1&consistency=acknowledged")
	}
}

// A putting is a store that does nothing but put, as a test says.
type putting struct {
	web.Store
	put func(records []*audit.QueryAudit) []audit.PutResult
}

func (s putting) Err() error               { return nil }
func (s putting) TimeUnit() audit.TimeUnit { return audit.Milliseconds }

func (s putting) PutAudits(_ context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	return s.put(records), nil
}

func (s putting) PutUntilRefused(_ context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	return s.put(records), nil
}

// stream begins a stream of records into a store, and returns its body and a function that waits for the whole answer.
func stream(put func(records []*audit.QueryAudit) []audit.PutResult, query string) (in *io.PipeWriter, answer func() string) {
	server := web.Handler(putting{put: put}, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
	return streamTo(server, query, -1)
}

// streamTo begins a stream of records to a server. length is what the client says of the body, -1 nothing.
func streamTo(server http.Handler, query string, length int64) (in *io.PipeWriter, answer func() string) {
	body, in := io.Pipe()
	request := httptest.NewRequest(http.MethodPost, "http://localhost/v1/audits"+query, body)
	request.ContentLength = length
	request.Header.Set("Authorization", "Bearer all")
	request.Header.Set("Content-Type", "application/x-ndjson")
	recorded := httptest.NewRecorder()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		defer func() { _ = recover() }() // the connection is broken
		server.ServeHTTP(recorded, request)
	}()
	return in, func() string {
		<-ended
		return recorded.Body.String()
	}
}

// inserted are the results of puts that nobody refuses.
func inserted(records []*audit.QueryAudit) []audit.PutResult {
	results := make([]audit.PutResult, len(records))
	for i, q := range records {
		results[i].ID = q.QueryID
	}
	return results
}

// A body that is cut while lines of it are stored: all lines that came whole have their answer, and then it is said. With strict
// nothing follows the line that says done.
func TestABodyThatIsCutWhileItsLinesAreStored(t *testing.T) {
	for query, want := range map[string]string{
		"":        "1 201, 2 201, 3 422, 4 408, ",
		"?strict": "1 201, 2 201, 3 422, done, ",
	} {
		synctest.Test(t, func(t *testing.T) {
			next := make(chan bool)
			in, answer := stream(func(records []*audit.QueryAudit) []audit.PutResult {
				<-next
				return inserted(records)
			}, query)
			for i, line := range []string{record('a', 1, ""), record('a', 2, ""), `{"timestamp":1}`} {
				if _, err := io.WriteString(in, line+"\n"); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					synctest.Wait() // until the store has it
				}
			}
			if _, err := io.WriteString(in, `{"time`); err != nil {
				t.Fatal(err)
			}
			in.CloseWithError(io.ErrUnexpectedEOF)
			synctest.Wait()
			next <- true
			next <- true
			got := ""
			for _, line := range lines(t, answer()) {
				if line["done"] != nil {
					got += "done, "
					continue
				}
				got += fmt.Sprintf("%v %v, ", line["line"], line["status"])
			}
			if got != want {
				t.Errorf("%q: %s; want %s", query, got, want)
			}
		})
	}
}

// The first lines of a body of known length wait a moment for those that follow. A client that waits for their answer gets it all the
// same, and beside other streams nobody waits.
func TestTheFirstLinesWaitForThoseThatFollow(t *testing.T) {
	const moment = 2 * time.Millisecond
	for name, c := range map[string]struct {
		pause  time.Duration // of the client, after its first line
		beside bool          // another stream is open
		puts   []int
		after  time.Duration // of the first put
	}{
		"all lines come":               {0, false, []int{3}, 0},
		"the others come in time":      {moment / 2, false, []int{3}, moment / 2},
		"the client waits":             {time.Minute, false, []int{1, 2}, moment},
		"another stream is open":       {0, true, []int{1, 2}, 0},
		"the client waits, beside one": {time.Minute, true, []int{1, 2}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var puts []int
				var after time.Duration
				began := time.Now()
				server := web.Handler(putting{put: func(records []*audit.QueryAudit) []audit.PutResult {
					if puts = append(puts, len(records)); len(puts) == 1 {
						after = time.Since(began)
					}
					return inserted(records)
				}}, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
				if c.beside {
					in, answer := streamTo(server, "", -1)
					defer answer()
					defer in.Close()
					synctest.Wait()
				}
				first, others := record('a', 1, "")+"\n", record('a', 2, "")+"\n"+record('a', 3, "")+"\n"
				in, answer := streamTo(server, "", int64(len(first)+len(others)))
				if _, err := io.WriteString(in, first); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(c.pause)
				if _, err := io.WriteString(in, others); err != nil {
					t.Fatal(err)
				}
				in.Close()
				got := lines(t, answer())
				if fmt.Sprint(puts) != fmt.Sprint(c.puts) || after != c.after {
					t.Errorf("the puts have %v lines, the first one after %s; want %v after %s", puts, after, c.puts, c.after)
				}
				if len(got) != 4 || got[3]["done"] != true || got[2]["line"] != 3.0 {
					t.Errorf("answers: %v", got)
				}
			})
		})
	}
}

// Lines that come while others are stored are stored together afterwards, as many as a batch may have, and answered in their order.
func TestLinesThatComeMeanwhileAreStoredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan bool)
		var puts []int
		in, answer := stream(func(records []*audit.QueryAudit) []audit.PutResult {
			puts = append(puts, len(records))
			<-next
			return inserted(records)
		}, "")
		const n, most = 1000, 512
		for i := range n {
			if _, err := io.WriteString(in, record('a', 0, attribute("i", i))+"\n"); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // until the store has the first one
			}
			if i == most {
				break // the reader has one batch for the store, and one that is full
			}
		}
		synctest.Wait()
		go func() {
			for i := most + 1; i < n; i++ {
				_, _ = io.WriteString(in, record('a', 0, attribute("i", i))+"\n")
			}
			in.Close()
		}()
		synctest.Wait()
		for range 3 {
			next <- true
			synctest.Wait()
		}
		text := answer()
		if want := []int{1, most, n - 1 - most}; fmt.Sprint(puts) != fmt.Sprint(want) {
			t.Errorf("the puts have %v lines, want %v", puts, want)
		}
		got := lines(t, text)
		if len(got) != n+1 || got[n]["done"] != true {
			t.Fatalf("%d answers, the last %v", len(got), got[len(got)-1])
		}
		for i := range n {
			q, err := audit.ParseAudit([]byte(record('a', 0, attribute("i", i))))
			if err != nil {
				t.Fatal(err)
			}
			if got[i]["line"] != float64(i+1) || got[i]["query_id"] != q.QueryID.String() {
				t.Fatalf("answer %d is %v, want the id %s", i, got[i], q.QueryID)
			}
		}
	})
}

// The note about a confidence says what is odd about it, and not the number alone.
func TestTheNoteAboutAConfidence(t *testing.T) {
	r := serve(t)
	a := r.do(http.MethodPost, "/v1/audits", `{"timestamp":1795429152000,"params":{},"result_confidence":95}`)
	if got := a.Header.Values("Auditsql-Note"); a.StatusCode != http.StatusCreated || !slices.Contains(got, "result_confidence: 95 is outside of 0 to 1") {
		t.Errorf("status %d, %q", a.StatusCode, got)
	}
}
