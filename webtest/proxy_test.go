package webtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The name of the proxy, and the address of the server, in the configurations of docs/serving.md.
const (
	proxyName     = "audit.example.com"
	serverAddress = "127.0.0.1:7070"
)

// configuration returns the block of docs/serving.md in a language that has a text.
func configuration(t *testing.T, language, having string) string {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join("..", "docs", "serving.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(guide), -1) {
		if strings.Contains(m[1], having) {
			found = append(found, m[1])
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/serving.md has %d blocks with %q", len(found), having)
	}
	return found[0]
}

// replaced replaces texts that must be there, each once.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			t.Fatalf("the configuration has %q %d times:\n%s", pairs[i], n, text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// freePort returns a port on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certificate makes a certificate for a name, writes it and its key to files, and returns who trusts it.
func certificate(t *testing.T, name, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	save(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}

// start runs a program and ends it at the end of the test.
func start(t *testing.T, said io.Writer, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

// nginx with the configuration of the guide is a proxy through which everything works.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		missing(t, "nginx is not installed (Debian: apt-get install nginx)")
	}
	s := serve(t, demo(t), "--host", proxyName)
	dir, port := t.TempDir(), freePort(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := certificate(t, proxyName, cert, key)
	block := replaced(t, configuration(t, "", "listen 443 ssl;"),
		"listen 443 ssl;", "listen 127.0.0.1:"+port+" ssl;", "/etc/ssl/audit.pem", cert, "/etc/ssl/audit.key", key,
		serverAddress, strings.TrimPrefix(s.url, "http://"))
	config := filepath.Join(dir, "nginx.conf")
	root := ""
	if os.Geteuid() == 0 {
		root = "user root;\n" // the folder of the test is for nobody else
	}
	save(t, config, fmt.Appendf(nil, "%spid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path %[2]s/b;\nproxy_temp_path %[2]s/p;\n"+
		"fastcgi_temp_path %[2]s/f;\nuwsgi_temp_path %[2]s/u;\nscgi_temp_path %[2]s/s;\n%s}\n", root, dir, block))
	said := &lines{more: make(chan struct{}, 1)}
	start(t, said, nginx, "-p", dir, "-c", config, "-g", "daemon off;")
	s.throughProxy(t, port, pool, said)
}

// Caddy, likewise.
func TestCaddy(t *testing.T) {
	t.Parallel()
	caddy, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("caddy is not installed (Debian: apt-get install caddy)")
	}
	s := serve(t, demo(t), "--host", proxyName)
	dir, port := t.TempDir(), freePort(t)
	block := replaced(t, configuration(t, "", "reverse_proxy"), serverAddress, strings.TrimPrefix(s.url, "http://"))
	// The certificate is one of its own, in place of one that everybody trusts.
	options := fmt.Sprintf("{\n\tadmin off\n\tauto_https disable_redirects\n\tlocal_certs\n\tskip_install_trust\n\thttps_port %s\n\tstorage file_system %s\n}\n", port, dir)
	config := filepath.Join(dir, "Caddyfile")
	save(t, config, []byte(options+block))
	said := &lines{more: make(chan struct{}, 1)}
	start(t, said, caddy, "run", "--config", config, "--adapter", "caddyfile")
	pool := x509.NewCertPool()
	await(t, "the certificate of caddy", func() bool {
		root, err := os.ReadFile(filepath.Join(dir, "pki", "authorities", "local", "root.crt"))
		return err == nil && pool.AppendCertsFromPEM(root)
	})
	s.throughProxy(t, port, pool, said)
}

// throughProxy uses the server as somebody on another machine does, who knows the name of the proxy alone.
func (s *site) throughProxy(t *testing.T, port string, trusted *x509.CertPool, said fmt.Stringer) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		// As programs do. Caddy passes on a stream of both directions over HTTP/2 alone.
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	browser := &http.Client{Transport: transport, Jar: jar} // follows redirects, and keeps cookies
	program := &http.Client{Transport: transport}
	const base = "https://" + proxyName
	ask := func(client *http.Client, method, path string, body io.Reader, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v\nthe proxy says %s", method, path, err, said)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return answer, string(text)
	}
	await(t, "the proxy", func() bool {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: trusted, ServerName: proxyName})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})

	// Without a log-in a page leads to the form, under the name of the proxy.
	page := []string{"Accept", "text/html"}
	if answer, text := ask(browser, http.MethodGet, "/list", nil, page...); answer.StatusCode != http.StatusOK || answer.Request.URL.Path != "/login" ||
		answer.Request.URL.Host != proxyName || !strings.Contains(text, "Log in") {
		t.Errorf("/list leads to %s, status %d", answer.Request.URL, answer.StatusCode)
	}
	loggedIn := func(how string, client *http.Client) {
		t.Helper()
		answer, text := ask(client, http.MethodGet, "/", nil, page...)
		if answer.StatusCode != http.StatusOK || answer.Request.URL.Path != "/" || !strings.Contains(text, "Is something odd?") {
			t.Errorf("after %s / leads to %s, status %d", how, answer.Request.URL, answer.StatusCode)
		}
		cookies := client.Jar.Cookies(&url.URL{Scheme: "https", Host: proxyName, Path: "/"})
		if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Name, "__Host-") {
			t.Errorf("after %s the cookies are %v", how, cookies)
		}
	}
	// A link that logs in once, opened under the name of the proxy.
	link, err := url.Parse(strings.TrimSpace(auditsql(t, s.dir, "token", "link")))
	if err != nil {
		t.Fatal(err)
	}
	ask(browser, http.MethodGet, link.RequestURI(), nil, page...)
	loggedIn("the link", browser)
	// The form, with what a browser says of where it was sent from.
	jar2, _ := cookiejar.New(nil)
	other := &http.Client{Transport: transport, Jar: jar2}
	form := url.Values{"token": {s.token}, "next": {"/"}}.Encode()
	answer, _ := ask(other, http.MethodPost, "/login", strings.NewReader(form),
		"Content-Type", "application/x-www-form-urlencoded", "Origin", base, "Sec-Fetch-Site", "same-origin")
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the form: status %d", answer.StatusCode)
	}
	loggedIn("the form", other)
	if answer, _ := ask(other, http.MethodPost, "/login", strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("the form of another site: status %d", answer.StatusCode)
	}

	// A tail that begins before the records come, and gets each when it comes.
	token := []string{"Authorization", "Bearer " + s.token}
	for _, path := range []string{"/v1/tail", "/tail/rows"} {
		s.tailThroughProxy(t, program, base+path, token)
	}

	// A stream whose client waits for each answer before it sends the next record.
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/audits", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set(token[0], token[1])
	begun := recordsFrom(t, 200, 5)
	go func() { fmt.Fprintln(writer, begun[0]) }()
	stream, err := program.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	answers := bufio.NewScanner(stream.Body)
	for i := range begun {
		if !answers.Scan() || !strings.Contains(answers.Text(), `"status":201`) {
			t.Fatalf("line %d of a stream is answered with %q, %v", i+1, answers.Text(), answers.Err())
		}
		if i+1 < len(begun) {
			fmt.Fprintln(writer, begun[i+1])
		}
	}
	writer.Close()
	if !answers.Scan() || !strings.Contains(answers.Text(), `"done":true`) {
		t.Errorf("a stream ends with %q, %v", answers.Text(), answers.Err())
	}

	// A record of more than the megabyte that proxies take by themselves, and an export.
	_, line := record(t, 300)
	large := strings.TrimSuffix(line, "}}") + `,"text":"` + strings.Repeat("x", 4<<20) + `"}}`
	if answer, text := ask(program, http.MethodPost, "/v1/audits", strings.NewReader(large), append(token, "Content-Type", "application/json")...); answer.StatusCode != http.StatusCreated {
		t.Errorf("a large record: status %d, %.200s", answer.StatusCode, text)
	}
	if answer, text := ask(program, http.MethodGet, "/v1/audits?format=ndjson&consistency=acknowledged", nil, token...); answer.StatusCode != http.StatusOK || !strings.Contains(text, "pay-20931") || len(text) < 4<<20 {
		t.Errorf("an export: status %d, %d bytes", answer.StatusCode, len(text))
	}
}

// tailThroughProxy opens a tail, and wants each of a few records before it puts the next.
func (s *site) tailThroughProxy(t *testing.T, client *http.Client, address string, token []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(token[0], token[1])
	r.Header.Set("Accept", "text/event-stream")
	tail, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Body.Close()
	events := bufio.NewReader(tail.Body)
	until := func(prefix string) {
		t.Helper()
		for {
			line, err := events.ReadBytes('\n')
			if err != nil {
				t.Fatalf("%s: %v, and no %q", address, err, prefix)
			}
			if bytes.HasPrefix(line, []byte(prefix)) {
				return
			}
		}
	}
	until("id: ")
	first := 100 + 10*len(address)
	for i := range 3 {
		s.put(recordsFrom(t, first+i, 1))
		until("data: ")
	}
}
