package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A GoneError says that the server could not be reached any more, and that it got nothing of the request.
type GoneError struct{ Err error }

func (e *GoneError) Error() string {
	return fmt.Sprintf("the server that had the store open has ended or is ending, and took nothing of this: %v", e.Err)
}

func (e *GoneError) Unwrap() error { return e.Err }

// Is makes a GoneError an audit.ErrLocked: the store is about to be free, and trying again later helps.
func (e *GoneError) Is(target error) bool { return target == audit.ErrLocked }

// An OpenError says that the server ended before it answered. Records of the request may be stored or not; storing them again is
// harmless.
//
// It does not wrap its cause. Most often that is an EPIPE, and a command would take it for the end of its own output.
type OpenError struct {
	Records int // of the request
	Err     error
}

func (e *OpenError) Error() string {
	if e.Records == 0 {
		return fmt.Sprintf("the server that has the store open ended before it answered: %v", e.Err)
	}
	return fmt.Sprintf("the server that has the store open ended before it answered: whether the last %d records are stored is not known, and storing them again is harmless: %v",
		e.Records, e.Err)
}

// A Client writes to a store that a server has open. Its methods are those of audit.DB, and several goroutines may use it.
type Client struct {
	http  http.Client
	about About
	wrote atomic.Bool // records were put
}

// answerWait is how long Dial waits for the first answer.
const answerWait = 5 * time.Second

// reuseWithin is how long a connection may be idle and still be used again. It must be less than the server waits for the next
// request (two minutes): a request on a connection that the server is just closing would have an open outcome.
const reuseWithin = 30 * time.Second

// Dial connects to the server that has the store in dir open. ErrNoServer: there is none. Any other error means that there is one,
// or that it is not known.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := &Client{http: http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir) },
		DisableCompression: true,
		MaxIdleConns:       4,
		IdleConnTimeout:    reuseWithin,
	}}}
	ctx, cancel := context.WithTimeoutCause(ctx, answerWait, fmt.Errorf("no answer within %v", answerWait))
	defer cancel()
	if err := c.ask(ctx, http.MethodGet, aboutPath, nil, &c.about); err != nil {
		c.Close()
		if errors.Is(err, ErrNoServer) {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, Name), err)
	}
	return c, nil
}

// Close waits a moment until other processes see what was put, and closes the connections.
func (c *Client) Close() error {
	if c.wrote.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*settleWait)
		defer cancel()
		_ = c.ask(ctx, http.MethodPost, settlePath, []byte{}, &struct{}{}) // everything is stored, so that the server has gone is no error
	}
	c.http.CloseIdleConnections()
	return nil
}

// About returns what the server says about itself.
func (c *Client) About() About { return c.about }

// TimeUnit returns the unit of the store's timestamps.
func (c *Client) TimeUnit() audit.TimeUnit { return c.about.TimeUnit }

// PutAudits stores records; see audit.DB. Besides its errors there are *GoneError and *OpenError.
func (c *Client) PutAudits(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	return c.put(ctx, qs, putPath, false)
}

// CheckAudits is that of audit.DB, which the server does.
func (c *Client) CheckAudits(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	results, err := c.put(ctx, qs, checkPath, false)
	var open *OpenError
	if errors.As(err, &open) {
		open.Records = 0 // nothing was to be stored
	}
	return results, err
}

// PutUntilRefused stores records up to the first that is refused; see audit.DB.
func (c *Client) PutUntilRefused(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	return c.put(ctx, qs, putPath+"?"+untilParam, true)
}

func (c *Client) put(ctx context.Context, qs []*audit.QueryAudit, path string, until bool) ([]audit.PutResult, error) {
	var body bytes.Buffer
	results := make([]audit.PutResult, len(qs))
	var sent []int // which of the records are in the body
	for i, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			results[i].Err = err
			if until {
				results = results[:i+1]
				break
			}
			continue
		}
		body.Write(raw)
		body.WriteByte('\n')
		sent = append(sent, i)
	}
	if len(sent) == 0 {
		return results, nil
	}
	var a putAnswer
	if err := c.ask(ctx, http.MethodPost, path, body.Bytes(), &a); err != nil {
		var open *OpenError
		if errors.As(err, &open) {
			open.Records = len(sent)
		}
		return nil, err
	}
	if err := a.Error.decode(); err != nil {
		return nil, err
	}
	if len(a.Results) > len(sent) || len(a.Results) < len(sent) && !until {
		return nil, &OpenError{len(sent), fmt.Errorf("it answered %d records of %d", len(a.Results), len(sent))}
	}
	c.wrote.Store(true)
	for n, r := range a.Results {
		results[sent[n]] = audit.PutResult{ID: r.ID, Duplicate: r.Duplicate, Err: r.Error.decode()}
	}
	if len(a.Results) < len(sent) {
		results = results[:sent[len(a.Results)]]
	}
	return results, nil
}

// GetAudit returns a record; see audit.DB.
func (c *Client) GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error) {
	var raw json.RawMessage
	if err := c.ask(ctx, http.MethodGet, recordPath+"?"+idParam+"="+id.String(), nil, &raw); err != nil {
		return nil, err
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return nil, fmt.Errorf("record %s from the server: %w", id, err)
	}
	return &q, nil
}

// PutLabels sets labels; see audit.DB.
func (c *Client) PutLabels(ctx context.Context, labels []audit.Label) error {
	return c.label(ctx, labels, labelsPath)
}

// AddLabels gives labels to hashes that have none; see audit.DB.
func (c *Client) AddLabels(ctx context.Context, labels []audit.Label) error {
	return c.label(ctx, labels, labelsPath+"?"+unnamedParam)
}

func (c *Client) label(ctx context.Context, labels []audit.Label, path string) error {
	send := make([]labelJSON, len(labels))
	for i, l := range labels {
		send[i] = labelJSON{l.Hash, l.Label}
	}
	body, err := json.Marshal(send)
	if err != nil {
		return err
	}
	return c.ask(ctx, http.MethodPost, path, body, &struct{}{})
}

// Sign signs the log; see audit.DB.
func (c *Client) Sign(ctx context.Context) (audit.Signature, error) {
	var a signAnswer
	if err := c.ask(ctx, http.MethodPost, signPath, []byte{}, &a); err != nil {
		return audit.Signature{}, err
	}
	s := audit.Signature{Origin: a.Origin, Size: a.Size, Root: a.Root, Note: a.Note, New: a.New, Failed: map[string]error{}}
	for place, why := range a.Failed {
		s.Failed[place] = &remoteError{text: why}
	}
	return s, nil
}

// CheckLog returns audit.ErrNoLog when the store has no log.
func (c *Client) CheckLog(ctx context.Context) error {
	return c.ask(ctx, http.MethodGet, logPath, nil, &struct{}{})
}

// LoginLink returns a new link with which a person logs in once.
func (c *Client) LoginLink(ctx context.Context) (link string, err error) {
	err = c.ask(ctx, http.MethodPost, loginPath, []byte{}, &link)
	return link, err
}

// ask sends a request, and reads its answer into v.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, v any) error {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return c.failed(ctx, err)
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return &GoneError{errors.New(http.StatusText(resp.StatusCode))}
	case resp.StatusCode == http.StatusOK:
		if err := json.Unmarshal(answer, v); err != nil {
			return &OpenError{Err: err}
		}
		return nil
	}
	e := &errorJSON{}
	if err := json.Unmarshal(answer, e); err != nil || e.Text == "" {
		return fmt.Errorf("the server answers %s %s with %s: it is another version of auditsql, or no auditsql", method, path, resp.Status)
	}
	return e.decode()
}

// failed says what is known after a request without an answer.
func (c *Client) failed(ctx context.Context, err error) error {
	var dial *net.OpError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrNoServer) && c.about.PID == 0:
		return err
	case errors.Is(err, ErrNoServer), errors.As(err, &dial) && dial.Op == "dial":
		return &GoneError{err}
	}
	return &OpenError{Err: err}
}
