package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// Somebody who may not read learns from no page of an error how many records there are, or how the store is.
func TestThePagesOfErrorsSayNothingOfTheStoreToStrangers(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.put(record('a', 1, ""))
	r.applied()
	ask := func(method, path string, h ...string) string {
		t.Helper()
		return r.do(method, path, "", append([]string{"Accept", "text/html"}, h...)...).body
	}
	for name, body := range map[string]string{
		"no such path":          ask("GET", "/nothing", "Authorization", ""),
		"a method":              ask("DELETE", "/list", "Authorization", ""),
		"another site":          ask("POST", "/login", "Authorization", "", "Origin", "http://evil.example"),
		"another host":          ask("GET", "/list", "Host", "evil.example"),
		"a parameter":           ask("GET", "/healthz?x=1", "Authorization", ""),
		"no such problem":       ask("GET", "/problems/none", "Authorization", ""),
		"a wrong token":         ask("GET", "/nothing", "Authorization", "Bearer wrong"),
		"a token that writes":   ask("GET", "/list", "Authorization", "Bearer write"),
		"a token without a way": ask("GET", "/nothing", "Authorization", "Basic read"),
	} {
		if !strings.Contains(body, "<h1") || strings.Contains(body, "1 record") || strings.Contains(body, "healthy") || strings.Contains(body, `href="/health"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
	if body := ask("GET", "/nothing", "Authorization", "Bearer read"); !strings.Contains(body, "1 record") {
		t.Errorf("for somebody who may read: %s", body)
	}
}

// Of two Authorization headers one may be what a proxy has checked, and the other one what it has not seen.
func TestTwoTokensAreNoToken(t *testing.T) {
	t.Parallel()
	r := serve(t)
	for _, two := range [][2]string{{"Bearer all", "Bearer wrong"}, {"Bearer wrong", "Bearer all"}, {"Bearer all", "Bearer all"}, {"Bearer all", ""}, {"", "Bearer all"}} {
		c := r.speak("GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + two[0] + "\r\nAuthorization: " + two[1] + "\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: status %d", two, response.StatusCode)
		}
	}
}

// speak writes a request as it is, and returns the connection.
func (r *rig) speak(request string) net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.http.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// A client that says that it sends a body, and sends none, holds its connection for so long only: whatever it asks for, and also
// when it has no token.
func TestABodyThatNeverComes(t *testing.T) {
	t.Parallel()
	r := serve(t, func(o *web.Options) { o.Limits.Idle = 50 * time.Millisecond })
	waiting := map[string]net.Conn{}
	for name, head := range map[string]string{
		"a put without a token": "POST /v1/audits HTTP/1.1\r\nHost: localhost\r\n",
		"a put of another form": "POST /v1/audits HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\nContent-Type: text/plain\r\n",
		"a log-in":              "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n",
		"a question":            "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\n",
		"health":                "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
		"another host":          "POST / HTTP/1.1\r\nHost: evil.example\r\n",
		"no such path":          "POST /nothing HTTP/1.1\r\nHost: localhost\r\n",
		"a verification":        "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\n",
		"a label":               "PUT /v1/labels HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\n",
	} {
		for _, body := range []string{"Content-Length: 9\r\n\r\n", "Content-Length: 9\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n9\r\n{"} {
			waiting[fmt.Sprintf("%s with %q", name, body)] = r.speak(head + body)
		}
	}
	for name, c := range waiting {
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A client that asks and asks, and takes no answer, is cut off.
func TestAClientThatTakesNoAnswer(t *testing.T) {
	t.Parallel()
	r := serve(t, func(o *web.Options) { o.Limits.Idle = 50 * time.Millisecond })
	c := r.speak("")
	request := []byte(strings.Repeat("GET /problems HTTP/1.1\r\nHost: localhost\r\n\r\n", 100))
	for {
		if _, err := c.Write(request); isTimeout(err) {
			t.Fatal("the server waits for the client for ever")
		} else if err != nil {
			return // the server has closed the connection
		}
	}
}

// A client that takes an answer slowly gets all of it.
func TestAClientThatTakesAnAnswerSlowly(t *testing.T) {
	t.Parallel()
	r := serve(t, func(o *web.Options) { o.Limits.Idle = 10 * time.Second })
	id := r.put(record('a', 1, attribute("large", strings.Repeat("x", 1<<20))))
	c := r.speak("GET /v1/audits/" + id + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, response.Body); err != nil || n != response.ContentLength {
		t.Errorf("%d bytes of %d, %v", n, response.ContentLength, err)
	}
}

// A panic in a part of a page is a failure of that part. It happens in a goroutine where net/http does not catch it.
func TestAPanicInAPartOfAPage(t *testing.T) {
	t.Parallel()
	r := faked(t, &fake{top: func(context.Context, audit.TopOptions) (*audit.TopList, error) { panic("a mistake in a part") }})
	for _, path := range []string{"/", "/case?u=/"} {
		body := r.get(path, "Accept", "text/html")
		if !strings.Contains(body, "the server has failed; its log says why") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "a mistake in a part") || !strings.Contains(log, "stack") {
		t.Errorf("the log: %s", log)
	}
}

// What goes wrong in the parts of a case stands in them, and is no problem of the request. The parts run at the same time.
func TestTheProblemsOfThePartsOfACase(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.get("/case?u=/q/"+strings.Repeat("1", 64)+"&u=/q/"+strings.Repeat("2", 64)+"&u=/list?from=x&u=/list?bad=1", "Accept", "text/html")
	if log := r.log.String(); strings.Contains(log, `"problem"`) {
		t.Errorf("the log: %s", log)
	}
}

// With HTTP/1.0 an answer that was broken off would look whole. A short one has a length.
func TestALongAnswerNeedsHTTP11(t *testing.T) {
	t.Parallel()
	r := serve(t)
	ask := func(path string) (status int, body string) {
		t.Helper()
		c := r.speak("GET " + path + " HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer all\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	r.put(record('a', 1, ""))
	r.applied()
	if status, body := ask("/v1/audits?format=ndjson"); status != http.StatusOK || strings.Count(body, "\n") != 1 {
		t.Errorf("a short answer: %d %s", status, body)
	}
	for i := range 4 {
		r.put(record('a', 2+i, attribute("large", strings.Repeat("x", 100<<10))))
	}
	r.applied()
	if status, body := ask("/v1/audits?format=ndjson"); status != http.StatusHTTPVersionNotSupported || !strings.Contains(body, "/problems/http-version") {
		t.Errorf("a long answer: %d %.300s", status, body)
	}
}

// A limit is a number of rows. One that is not meant for people costs no more than others, and breaks nothing.
func TestLimitsThatAreAbsurd(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.put(record('a', 1, ""))
	r.applied()
	for _, limit := range []string{"2147483648", "9223372036854775806", "9223372036854775807", "18446744073709551616"} {
		for _, path := range []string{"/v1/audits?format=ndjson&limit=", "/v1/audits?limit=", "/v1/timeline?limit=", "/v1/top?limit=", "/v1/agents?limit=", "/v1/recent?limit=", "/list?limit=", "/top?limit="} {
			r.fails(http.StatusBadRequest, "bad-parameter", "GET", path+limit, "")
		}
	}
	r.fails(http.StatusBadRequest, "bad-parameter", "GET", "/v1/timeline?by=minute&from=1970-01-01&to=2106-01-01&limit=10001", "")
	r.get("/v1/timeline?by=minute&from=1970-01-01&to=2106-01-01&limit=10000")
}

// A list of labels that is not exactly what the path takes changes nothing: a label that is left out by mistake would remove one.
func TestLabelsThatAreMisspelled(t *testing.T) {
	t.Parallel()
	r := serve(t)
	h := hash('a').String()
	if a := r.do("PUT", "/v1/labels/"+h, `{"label":"planner"}`, "Content-Type", "application/json"); a.StatusCode != http.StatusOK {
		t.Fatal(a.body)
	}
	const malformed = "malformed" // else the field at which the list is refused
	for body, field := range map[string]string{
		`[{"hash":"` + h + `","label":"x"}] []`:           malformed,
		`[{"hash":"` + h + `","label":"x"`:                malformed,
		`[{"hash":"` + h + `","label":"` + "\xff" + `"}]`: malformed,
		`[{"hash":"` + h + `","label":"\ud83d\\ude00"}]`:  malformed,
		`[{"hash":"` + h + `","label":"\ude00"}]`:         malformed,
		``:                                   malformed,
		`[{"hash":"` + h + `","lable":"x"}]`: "[0].lable",
		`[{"hash":"` + h + `","Label":"x"}]`: "[0].Label",
		`[{"hash":"` + h + `","label":"x","more":1}]`:                          "[0].more",
		`[{"hash":"` + h + `"}]`:                                               "[0].label",
		`[{"hash":"` + h + `","label":null}]`:                                  "[0].label",
		`[{"hash":"` + h + `","label":5}]`:                                     "[0].label",
		`[{"hash":"` + h + `","label":"y","label":"x"}]`:                       "[0].label",
		`[{"hash":"` + h + `","label":"x"},{"hash":"` + h + `","label":" x"}]`: "[1].label",
		`[{"label":"x"}]`:                                                      "[0].hash",
		`[{"hash":null,"label":"x"}]`:                                          "[0].hash",
		`[{"hash":"12","label":"x"}]`:                                          "[0].hash",
		`[{"hash":"` + h + `","label":"x"},null]`:                              "[1]",
		`[5]`:  "[0]",
		`[[]]`: "[0]",
		`null`: "",
		`{}`:   "",
		`5`:    "",
		`[{"hash":"` + h + `","label":"x"},{"label":""}]`: "[1].hash",
	} {
		status, kind := http.StatusUnprocessableEntity, "invalid"
		if field == malformed {
			status, kind, field = http.StatusBadRequest, malformed, ""
		}
		if p := r.fails(status, kind, "PUT", "/v1/labels", body, "Content-Type", "application/json"); p.Stored != "nothing" || p.Field != field || strings.Contains(p.Detail, "Go") {
			t.Errorf("%s: %+v", body, p)
		}
	}
	for body, kind := range map[string]string{
		`{"label":"` + "\xff" + `"}`:        malformed,
		`{"label":"\ud800"}`:                malformed,
		`{"label":"x"} {}`:                  malformed,
		`{"label":"y","label":"x"}`:         "invalid",
		`{"label":5}`:                       "invalid",
		`{}`:                                "invalid",
		`{"label":""}`:                      "invalid",
		`{"label":" x"}`:                    "invalid",
		`{"label":"x","` + h + `":"label"}`: "invalid",
	} {
		status := http.StatusUnprocessableEntity
		if kind == malformed {
			status = http.StatusBadRequest
		}
		if p := r.fails(status, kind, "PUT", "/v1/labels/"+h, body, "Content-Type", "application/json"); p.Stored != "nothing" || (p.Field == "") != (kind == malformed) {
			t.Errorf("%s: %+v", body, p)
		}
	}
	whole := strings.Repeat("2", 64) // an escape that is two halves of one character, and a backslash before what looks like one
	if a := r.do("PUT", "/v1/labels/"+whole, `{"label":"\ud83d\ude00 \\ud800 \ufffd"}`, "Content-Type", "application/json"); a.StatusCode == http.StatusBadRequest {
		t.Errorf("status %d, %s", a.StatusCode, a.body)
	}
	r.do("DELETE", "/v1/labels/"+whole, "")
	if got := r.get("/v1/labels"); strings.Count(got, "label") != 1 || !strings.Contains(got, fmt.Sprintf("%q", "planner")) {
		t.Errorf("the labels are %s", got)
	}
}

// A client that goes away while it is sent something is no failure of the server, however that shows.
func TestAClientThatGoesAwayIsNoFailure(t *testing.T) {
	t.Parallel()
	r := serve(t, func(o *web.Options) { o.Limits.Idle = 200 * time.Millisecond })
	for i := range 16 {
		r.put(record('a', 1+i, attribute("large", strings.Repeat("x", 1<<20))))
	}
	r.applied()
	end := map[string]func(net.Conn){
		"closes":        func(c net.Conn) { c.Close() },
		"breaks off":    func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"takes nothing": func(net.Conn) {},
	}
	for _, path := range []string{"/v1/audits?format=ndjson", "/v1/tail?after=0", "/v1/audits?format=csv"} {
		for name, how := range end {
			before := strings.Count(r.log.String(), `"msg":"request"`)
			c := r.speak("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\n\r\n")
			if _, err := io.ReadFull(c, make([]byte, 400<<10)); err != nil {
				t.Fatal(err)
			}
			how(c)
			for strings.Count(r.log.String(), `"msg":"request"`) == before {
				runtime.Gosched()
			}
			lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
			if last := lines[len(lines)-1]; strings.Contains(last, `"ERROR"`) || !strings.Contains(last, "client-gone") {
				t.Errorf("%s of a client that %s: %s", path, name, last)
			}
		}
	}
}
