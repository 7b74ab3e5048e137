package serving

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// TLSFiles are the files of a server that does TLS; all are "" for one that does not.
type TLSFiles struct{ Cert, Key, ClientCA string }

// load reads the files. Without them it returns nil.
func (f TLSFiles) load(log *slog.Logger) (*tls.Config, error) {
	if f.Cert == "" {
		return nil, nil
	}
	c := &certificate{files: f, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
	if f.ClientCA != "" {
		pem, err := os.ReadFile(f.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--client-ca: %s has no certificate in PEM", f.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// A certificate is that of the server. It is read again when one of its files has changed, so that a new one needs no restart.
type certificate struct {
	files TLSFiles
	log   *slog.Logger

	mu   sync.Mutex
	now  *tls.Certificate
	cert fs.FileInfo // of the files when they were read
	key  fs.FileInfo
}

// read reads both files.
func (c *certificate) read() error {
	// Their state comes first: a file that changes while it is read is read again.
	cert, err := os.Stat(c.files.Cert)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	key, err := os.Stat(c.files.Key)
	if err != nil {
		return fmt.Errorf("--tls-key: %w", err)
	}
	c.cert, c.key = cert, key
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.now = &pair
	return nil
}

// get returns the certificate for a connection. When the new files cannot be used, the old certificate stays: the two files may have
// been replaced one after the other. The next connection after the next change tries again.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if unchanged(c.cert, c.files.Cert) && unchanged(c.key, c.files.Key) {
		return c.now, nil
	}
	if err := c.read(); err != nil {
		c.log.Error("the new certificate cannot be used; the old one stays", "why", err.Error())
		return c.now, nil
	}
	c.log.Info("the certificate was read again", "file", c.files.Cert, "until", c.now.Leaf.NotAfter)
	return c.now, nil
}

func unchanged(was fs.FileInfo, name string) bool {
	is, err := os.Stat(name)
	return err == nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

// certifiedNames are the names and addresses in a server's certificate. Under these people call it.
func certifiedNames(config *tls.Config) (names []string) {
	if config == nil {
		return nil
	}
	pair, err := config.GetCertificate(nil)
	if err != nil || pair.Leaf == nil {
		return nil
	}
	for _, name := range pair.Leaf.DNSNames {
		if !strings.HasPrefix(name, "*") {
			names = append(names, name)
		}
	}
	for _, ip := range pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
