package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/socket"
)

// A served store is one that a server has open.
type servedDir struct {
	*process
	dir  string
	url  string
	link string
	told string // the object that it printed
}

// serveStore makes a store and serves it on any port of this machine.
func serveStore(t *testing.T, flags ...string) *servedDir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", dir, "init"); code != exitDone {
		t.Fatal(said)
	}
	return serveDir(t, dir, flags...)
}

// serveDir serves a store that is there.
func serveDir(t *testing.T, dir string, flags ...string) *servedDir {
	t.Helper()
	args := append([]string{"-d", dir, "serve", "-o", "json", "--listen", "127.0.0.1:0"}, flags...)
	s := &servedDir{process: start(t, args...), dir: dir}
	line, err := s.answers.ReadString('\n')
	if err != nil {
		_ = s.Wait()
		t.Fatalf("the server says %s", s.said)
	}
	var told struct {
		Address string `json:"address"`
		LogIn   string `json:"log_in"`
	}
	if err := json.Unmarshal([]byte(line), &told); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	s.url, s.link, s.told = told.Address, told.LogIn, line
	return s
}

// token makes a token.
func (s *servedDir) token(t *testing.T, name string, flags ...string) string {
	t.Helper()
	out, said, code := auditsql(append([]string{"-d", s.dir, "token", "add", name}, flags...)...)
	if code != exitDone {
		t.Fatal(said)
	}
	return strings.TrimSpace(out)
}

// stop ends the server as systemd does, and checks that it ended in order.
func (s *servedDir) stop(t *testing.T) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()
	if code := s.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("the server ended with exit code %d: %s", code, s.said)
	}
	if needs, err := audit.NeedsRecovery(context.Background(), s.dir); err != nil || needs != "" {
		t.Errorf("the store was not closed: %v, %v", needs, err)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, socket.Name)); err == nil {
		t.Error("the socket is still there")
	}
}

// ask sends a request with a token, "" for none.
func (s *servedDir) ask(t *testing.T, token, method, path string, body io.Reader) (status int, answer string) {
	t.Helper()
	return askWith(t, http.DefaultClient, token, method, s.url+path, body)
}

func askWith(t *testing.T, c *http.Client, token, method, url string, body io.Reader) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return askRequest(t, c, r)
}

func askRequest(t *testing.T, c *http.Client, r *http.Request) (status int, answer string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func skipWithoutSignals(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent these signals there, and there are no sockets")
	}
}

// A program with a token writes and reads; without one, or with a scope too few, it is refused.
func TestServeWantsTokens(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	writer, reader := s.token(t, "writer", "--scope", "write"), s.token(t, "reader", "--scope", "read")
	line, id := record(1)
	for _, c := range []struct {
		token  string
		method string
		path   string
		body   string
		status int
	}{
		{"", http.MethodGet, "/healthz", "", http.StatusOK},
		{"", http.MethodGet, "/v1/recent", "", http.StatusUnauthorized},
		{"", http.MethodPost, "/v1/audits", line, http.StatusUnauthorized},
		{"asql_wrong", http.MethodGet, "/v1/recent", "", http.StatusUnauthorized},
		{reader, http.MethodPost, "/v1/audits", line, http.StatusForbidden},
		{writer, http.MethodGet, "/v1/recent", "", http.StatusForbidden},
		{writer, http.MethodPost, "/v1/audits", line, http.StatusCreated},
		{writer, http.MethodPost, "/v1/audits", line, http.StatusOK},
		{reader, http.MethodGet, "/v1/audits/" + id, "", http.StatusOK},
		{reader, http.MethodGet, "/local/1/about", "", http.StatusNotFound},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		if status, answer := s.ask(t, c.token, c.method, c.path, body); status != c.status {
			t.Errorf("%s %s with %.9s: status %d, want %d: %s", c.method, c.path, c.token, status, c.status, answer)
		}
	}
	s.stop(t)
	said := s.said.String()
	for _, secret := range []string{writer, reader, "asql_wrong", "once=", id} {
		if strings.Contains(said, secret) {
			t.Errorf("the log has %s in it", secret)
		}
	}
	for _, wanted := range []string{"token=writer", "status=201", `route="POST /v1/audits"`} {
		if !strings.Contains(said, wanted) {
			t.Errorf("the log does not have %s: %s", wanted, said)
		}
	}
	wantAnswered(t, s.dir, []string{id})
}

// The link that is printed logs in once, for pages; the cookie does not write, and token link makes another link.
func TestALinkLogsInOnce(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar}
	}
	mine, other := browser(), browser()
	if status, page := askWith(t, mine, "", http.MethodGet, s.link, nil); status != http.StatusOK || !strings.Contains(page, "You are logged in") {
		t.Fatalf("status %d: %s", status, page)
	}
	if status, answer := askWith(t, mine, "", http.MethodGet, s.url+"/v1/recent", nil); status != http.StatusOK {
		t.Errorf("status %d: %s", status, answer)
	}
	line, _ := record(1)
	if status, answer := askWith(t, mine, "", http.MethodPost, s.url+"/v1/audits", strings.NewReader(line)); status != http.StatusForbidden {
		t.Errorf("the cookie writes: status %d: %s", status, answer)
	}
	if status, page := askWith(t, other, "", http.MethodGet, s.link, nil); status != http.StatusUnauthorized {
		t.Errorf("the link works twice: status %d: %s", status, page)
	}
	link, said, code := auditsql("-d", s.dir, "token", "link")
	if code != exitDone {
		t.Fatal(said)
	}
	if status, page := askWith(t, other, "", http.MethodGet, strings.TrimSpace(link), nil); status != http.StatusOK {
		t.Errorf("status %d: %s", status, page)
	}
	if status, _ := askWith(t, mine, "", http.MethodPost, s.url+"/logout", nil); status != http.StatusOK {
		t.Errorf("logout: status %d", status)
	}
	if status, _ := askWith(t, mine, "", http.MethodGet, s.url+"/v1/recent", nil); status != http.StatusUnauthorized {
		t.Errorf("after the logout: status %d", status)
	}
	s.stop(t)
	if _, said, code := auditsql("-d", s.dir, "token", "link"); code != exitFailed || !strings.Contains(said, "no server has the store open; try: auditsql -d ") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// What is followed with a token ends when the token is revoked, and so does a log-in that was made with it.
func TestARevokedTokenIsWorthNothing(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	token := s.token(t, "reader", "--scope", "read")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/x-ndjson")
	tail, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Body.Close()
	lines := bufio.NewReader(tail.Body)
	line, id := record(1)
	if _, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone {
		t.Fatal(said)
	}
	for {
		got, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got, id) {
			break
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	form, err := browser.PostForm(s.url+"/login", map[string][]string{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	form.Body.Close()
	if status, answer := askWith(t, browser, "", http.MethodGet, s.url+"/v1/recent", nil); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, answer)
	}
	if _, said, code := auditsql("-d", s.dir, "token", "revoke", "reader"); code != exitDone {
		t.Fatal(said)
	}
	if status, answer := s.ask(t, token, http.MethodGet, "/v1/recent", nil); status != http.StatusUnauthorized {
		t.Errorf("status %d: %s", status, answer)
	}
	if status, answer := askWith(t, browser, "", http.MethodGet, s.url+"/v1/recent", nil); status != http.StatusUnauthorized {
		t.Errorf("the log-in is still good: status %d: %s", status, answer)
	}
	_, _ = io.Copy(io.Discard, lines) // ends when the tail is cut off, and not before
	s.stop(t)
}

// A damaged file with tokens lets nobody in, and the server says so; when it is put right, everybody is back.
func TestADamagedFileOfTokensLetsNobodyIn(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	token := s.token(t, "reader", "--scope", "read")
	name := filepath.Join(s.dir, "tokens")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	status := func() int {
		status, _ := s.ask(t, token, http.MethodGet, "/v1/recent", nil)
		return status
	}
	if got := status(); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	if err := os.WriteFile(name, whole[:len(whole)-4], 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := status(); got != http.StatusUnauthorized {
			t.Errorf("status %d", got)
		}
	}
	if _, said, code := auditsql("-d", s.dir, "token", "list"); code != exitFailed || !strings.Contains(said, "cannot be used, and no token is valid until it can") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	s.stop(t)
	if strings.Count(s.said.String(), `"no token is valid"`) != 1 { // not once for each request
		t.Errorf("the log says %s", s.said)
	}
}

// certify writes a certificate for 127.0.0.1 and its key.
func certify(t *testing.T, cert, key, name string, issuer *tls.Certificate) *tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: issuer == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, any(private)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// A server does TLS with a certificate that can be replaced while it runs, also by one that cannot be used, and wants certificates
// of clients when it is told to.
func TestServeDoesTLS(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	first := certify(t, cert, key, "first.example", nil)
	authority := certify(t, filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key"), "authority", nil)
	mine := certify(t, filepath.Join(folder, "mine.pem"), filepath.Join(folder, "mine.key"), "mine", authority)
	s := serveStore(t, "--tls-cert", cert, "--tls-key", key, "--client-ca", filepath.Join(folder, "ca.pem"))
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Errorf("it serves at %s", s.url)
	}
	token := s.token(t, "reader", "--scope", "read")
	client := func(trusted *tls.Certificate, own ...tls.Certificate) *http.Client {
		pool := x509.NewCertPool()
		pool.AddCert(trusted.Leaf)
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own}, DisableKeepAlives: true}}
	}
	get := func(c *http.Client) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/recent", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if status, err := get(client(first, *mine)); err != nil || status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	if status, err := get(client(first)); err == nil {
		t.Errorf("a client without a certificate gets in: status %d", status)
	}
	second := certify(t, cert, key, "second.example", nil)
	if status, err := get(client(second, *mine)); err != nil || status != http.StatusOK {
		t.Errorf("with the new certificate: status %d, %v", status, err)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, err := get(client(second, *mine)); err != nil || status != http.StatusOK {
		t.Errorf("with a file that is none: status %d, %v", status, err)
	}
	s.stop(t)
	if !strings.Contains(s.said.String(), "the new certificate cannot be used; the old one stays") {
		t.Errorf("the log says %s", s.said)
	}
}

// A second server on a store is refused and says who has it; with --read-only it stands beside the first and writes nothing.
func TestTwoServersOnOneStore(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	// Most often the second one is told to listen where the first one does.
	for _, listen := range []string{"127.0.0.1:0", strings.TrimPrefix(s.url, "http://")} {
		_, said, code := auditsql("-d", s.dir, "serve", "--listen", listen)
		if want := fmt.Sprintf("stop auditsql serve first, which has the store open as pid %d (%s)", s.Process.Pid, s.url); code != exitLocked || !strings.Contains(said, want) {
			t.Errorf("--listen %s: exit code %d: %s", listen, code, said)
		}
	}
	token := s.token(t, "both", "--scope", "read,write")
	reader := serveDir(t, s.dir, "--read-only")
	line, id := record(1)
	if status, answer := s.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(line)); status != http.StatusCreated {
		t.Fatalf("status %d: %s", status, answer)
	}
	if status, answer := reader.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(line)); status != http.StatusForbidden {
		t.Errorf("the reader writes: status %d: %s", status, answer)
	}
	if status, answer := s.ask(t, token, http.MethodGet, "/v1/audits?consistency=acknowledged&format=ndjson", nil); status != http.StatusOK || !strings.Contains(answer, id) {
		t.Errorf("status %d: %s", status, answer)
	}
	if status, answer := reader.ask(t, token, http.MethodGet, "/v1/audits?format=ndjson", nil); status != http.StatusOK || !strings.Contains(answer, id) {
		t.Errorf("the reader does not show it: status %d: %s", status, answer)
	}
	if err := reader.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = reader.Wait()
	if code := reader.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d: %s", code, reader.said)
	}
	// The socket of the first is still there.
	if _, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone {
		t.Errorf("exit code %d: %s", code, said)
	}
	s.stop(t)
}

// A store whose path is too long for a socket is served all the same.
func TestASocketWithALongPath(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has short names for open folders")
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 50), "store")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, said, code := auditsql("-d", dir, "init"); code != exitDone {
		t.Fatal(said)
	}
	s := serveDir(t, dir)
	line, id := record(1)
	if out, said, code := auditsqlReading(line, "-d", dir, "put"); code != exitDone || out != id+"\n" {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	if about, err := os.Lstat(filepath.Join(dir, socket.Name)); err != nil || about.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", about, err)
	}
	s.stop(t)
	wantAnswered(t, dir, []string{id})
}

// A socket that a killed server has left is in nobody's way: commands open the store by themselves, and the next server replaces it.
func TestALeftSocketIsReplaced(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()
	if _, err := os.Lstat(filepath.Join(s.dir, socket.Name)); err != nil {
		t.Fatal(err)
	}
	line, id := record(1)
	if out, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone || out != id+"\n" {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	again := serveDir(t, s.dir)
	line, id = record(2)
	if out, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone || out != id+"\n" {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	again.stop(t)
}

// What the commands print, and how they end, is the same whether they have opened the store or a server has.
func TestCommandsWriteThroughAServer(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	one, two := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "store")
	key := filepath.Join(t.TempDir(), "key")
	if _, said, code := auditsql("key", "new", "log.example.com/served", "-o", key); code != exitDone {
		t.Fatal(said)
	}
	for _, dir := range []string{one, two} {
		if _, said, code := auditsql("-d", dir, "init"); code != exitDone {
			t.Fatal(said)
		}
	}
	s := serveDir(t, two)
	line := func(i int) string { line, _ := record(i); return line + "\n" }
	other := func(i int) string {
		return strings.Replace(line(i), `"result_confidence":1`, `"result_confidence":7`, 1)
	}
	_, id := record(1)
	gz := filepath.Join(t.TempDir(), "records.ndjson.gz")
	if err := os.WriteFile(gz, gzipped(t, line(20)+line(21)), 0o600); err != nil {
		t.Fatal(err)
	}
	spans, changed := filepath.Join("..", "..", "otlp", "testdata", "conventions", "openinference.jsonl"), filepath.Join(t.TempDir(), "changed.jsonl")
	content, err := os.ReadFile(spans)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, bytes.ReplaceAll(content, []byte("0.9"), []byte("0.8")), 0o600); err != nil {
		t.Fatal(err)
	}
	far := `{"timestamp":9999999999999999,"params":{},"result_confidence":1}` + "\n"
	for i, c := range []struct {
		in   string
		args []string
	}{
		{line(1), []string{"put"}},
		{line(1), []string{"put"}},
		{line(1), []string{"put", "-o", "json"}},
		{other(1), []string{"put"}},
		{"nonsense", []string{"put"}},
		{far, []string{"put"}},
		{far, []string{"put", "--max-future", "0"}},
		{other(2), []string{"put"}},
		{"", []string{"put", "--subject", "x", "--confidence", "1", "--timestamp", "5"}},
		{line(1) + line(3) + "nonsense\n" + other(1) + line(4), []string{"import", "-"}},
		{line(1) + line(5) + "nonsense\n" + other(1) + line(6), []string{"import", "-", "--ack"}},
		{line(7) + line(8) + other(7) + line(9), []string{"import", "-", "--strict"}},
		{line(10) + "nonsense\n" + line(11), []string{"import", "-", "--strict", "--ack"}},
		{line(12) + "nonsense\n", []string{"import", "-", "--json"}},
		{line(12) + "nonsense\n", []string{"import", "-", "--ack", "--json"}},
		{"[" + line(13) + "]", []string{"import", "-"}},
		{"", []string{"import", gz}},
		{"", []string{"import", "missing.ndjson"}},
		{far, []string{"import", "-", "--max-future", "0"}},
		{"", []string{"import", "-", "--every", "1h"}},
		{"", []string{"import", "--format", "otlp", spans}},
		{"", []string{"import", "--format", "otlp", spans, "--json"}},
		{"", []string{"import", "--format", "otlp", changed, "--json"}},
		{"", []string{"log", "sign"}},
		{"", []string{"name", id, "first"}},
		{"", []string{"name", "first", "second"}},
		{"", []string{"name", "second"}},
		{id + "\tthird\n" + strings.Repeat("a", 64) + "\tthird\n", []string{"name", "--import", "-"}},
		{"", []string{"name", "--remove", strings.Repeat("a", 64)}},
		{"", []string{"name", "--export"}},
	} {
		wantSame := func(dir string) string {
			out, said, code := auditsqlReading(c.in, append([]string{"-d", dir}, c.args...)...)
			return strings.ReplaceAll(fmt.Sprintf("exit code %d\n%s---\n%s", code, out, said), dir, "DIR")
		}
		if direct, through := wantSame(one), wantSame(two); direct != through {
			t.Errorf("%d: %q: with the store open it says\n%s\nthrough the server\n%s", i, c.args, direct, through)
		}
	}
	rejects := func(dir string) string {
		file := filepath.Join(t.TempDir(), "rejects")
		auditsqlReading(line(14)+"nonsense\n"+other(1), "-d", dir, "import", "-", "--rejects", file)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return string(content)
	}
	if direct, through := rejects(one), rejects(two); direct != through || direct == "" {
		t.Errorf("rejected are %q and %q", direct, through)
	}
	s.stop(t)
	all := func(dir string) string { out, _, _ := auditsql("-d", dir, "export"); return out }
	if direct, through := all(one), all(two); direct != through || direct == "" {
		t.Errorf("the stores differ:\n%s\n%s", direct, through)
	}

	// With a log.
	for _, dir := range []string{one, two} {
		mine := filepath.Join(filepath.Dir(dir), "key")
		content, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mine, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, said, code := auditsql("-d", dir, "log", "init", "--key", mine, "--every", "1h", "--exec", "false"); code != exitPartly {
			t.Fatalf("exit code %d: %s", code, said)
		}
	}
	s = serveDir(t, two)
	for _, args := range [][]string{{"log", "sign"}, {"log", "sign", "-o", "json"}, {"import", "-", "--every", "1h"}, {"log", "sign", "-o", "json"}} {
		run := func(dir string) string {
			out, said, code := auditsqlReading(line(30), append([]string{"-d", dir}, args...)...)
			return strings.ReplaceAll(fmt.Sprintf("exit code %d\n%s---\n%s", code, out, said), dir, "DIR")
		}
		if direct, through := run(one), run(two); direct != through {
			t.Errorf("%q: with the store open it says\n%s\nthrough the server\n%s", args, direct, through)
		}
	}
	for _, args := range [][]string{{"reindex"}, {"repair", "--apply"}, {"wal", "repair", "--apply"}, {"import", "--catch-up", gz}, {"init", "--wal-retain", "all"}} {
		if _, said, code := auditsql(append([]string{"-d", two}, args...)...); code != exitLocked || !strings.Contains(said, fmt.Sprintf("as pid %d (%s)", s.Process.Pid, s.url)) {
			t.Errorf("%q: exit code %d: %s", args, code, said)
		}
	}
	s.stop(t)
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each flag does what its help says.
func TestTheFlagsOfServe(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	dir, key := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{
		{"key", "new", "log.example.com/served", "-o", key},
		{"-d", dir, "init"},
		{"-d", dir, "log", "init", "--key", key, "--every", "1h"},
	} {
		if _, said, code := auditsql(args...); code != exitDone {
			t.Fatal(said)
		}
	}
	s := serveDir(t, dir, "--host", "audit.example.com", "--log-format", "json", "--max-future", "0", "--sign-every", "10ms")
	token := s.token(t, "all", "--scope", "read,write")
	for host, want := range map[string]int{"audit.example.com": http.StatusOK, "AUDIT.example.com:7070": http.StatusOK, "localhost:1": http.StatusOK, "evil.example": http.StatusMisdirectedRequest} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/recent", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("host %s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
	far := `{"timestamp":9999999999999,"params":{},"result_confidence":1}`
	if status, answer := s.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(far)); status != http.StatusCreated {
		t.Errorf("status %d: %s", status, answer)
	}
	for signed := 0; signed != 1; {
		out, said, code := auditsql("-d", dir, "log", "status", "-o", "json")
		var log struct {
			Signed int `json:"signed"`
		}
		if err := json.Unmarshal([]byte(out), &log); err != nil || code != exitDone {
			t.Fatalf("%v: %s%s", err, out, said)
		}
		signed = log.Signed
	}
	s.stop(t)
	n := 0
	for line := range strings.Lines(s.said.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Errorf("no JSON: %s", line)
		}
		n++
	}
	if n == 0 {
		t.Error("the log is empty")
	}

	usual := serveDir(t, dir)
	if status, answer := usual.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(strings.Replace(far, "9999999999999", "9999999999998", 1))); status != http.StatusUnprocessableEntity {
		t.Errorf("status %d: %s", status, answer)
	}
	usual.stop(t)
}

// With --lock-wait a server begins when the other writer has ended.
func TestAServerWaitsForTheLock(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	dir := filepath.Join(t.TempDir(), "store")
	w := start(t, "-d", dir, "import", "-", "--ack")
	line, id := record(1)
	w.write(t, line)
	w.answer(t)
	waiting := start(t, "-d", dir, "serve", "-o", "json", "--listen", "127.0.0.1:0", "--lock-wait", "1m")
	w.in.Close()
	if err := w.Wait(); err != nil {
		t.Fatal(w.said)
	}
	waiting.answer(t)
	s := &servedDir{process: waiting, dir: dir}
	s.stop(t)
	wantAnswered(t, dir, []string{id})
}

// The demo's store is served with a link, at the time of its story, and is gone afterwards.
func TestTheDemoIsServed(t *testing.T) {
	skipWithoutSignals(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	p := start(t, "demo", "--serve")
	link, told := "", ""
	for link == "" {
		line := p.answer(t)
		told += line
		_, link, _ = strings.Cut(line, "log_in\t")
	}
	if !strings.Contains(told, "Ctrl-C ends the server") {
		t.Errorf("it does not say how it ends: %s", told)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	if status, page := askWith(t, browser, "", http.MethodGet, link, nil); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, page)
	}
	home, _, _ := strings.Cut(link, "/login")
	status, page := askWith(t, browser, "", http.MethodGet, home+"/list?subject=supplier%2FNorthwind", nil)
	if status != http.StatusOK || !strings.Contains(page, "supplier/Northwind") {
		t.Errorf("status %d: %s", status, page)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("exit code %d: %s", code, p.said)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left", left, err)
	}
}

// The socket speaks the API, for its owner alone and without a token.
func TestTheSocketSpeaksTheAPI(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	local := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, socket.Name))
	}}}
	defer local.CloseIdleConnections()
	line, id := record(1)
	if status, answer := askWith(t, local, "", http.MethodPost, "http://localhost/v1/audits", strings.NewReader(line)); status != http.StatusCreated {
		t.Errorf("status %d: %s", status, answer)
	}
	if status, answer := askWith(t, local, "", http.MethodGet, "http://localhost/v1/audits/"+id, nil); status != http.StatusOK || !strings.Contains(answer, id) {
		t.Errorf("status %d: %s", status, answer)
	}
	if status, answer := askWith(t, local, "asql_wrong", http.MethodGet, "http://localhost/v1/recent", nil); status != http.StatusUnauthorized {
		t.Errorf("a wrong token: status %d: %s", status, answer)
	}
	local.CloseIdleConnections()
	s.stop(t)
	wantAnswered(t, s.dir, []string{id})
}
