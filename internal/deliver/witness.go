package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

const (
	// witnessTime is how long one witness may take for one checkpoint, with all its answers.
	witnessTime = 30 * time.Second
	// witnessTries is how often a witness is asked again after it has said from which size it wants the proof.
	witnessTries = 3
	// maxAnswer is how long the answer of a witness may be, in bytes. One with a few signatures has some hundred.
	maxAnswer = 64 << 10
	// sizeType is the media type of an answer that says from which size a witness wants the proof.
	sizeType = "text/x.tlog.size"
)

// ConflictError means that a witness has cosigned something that a checkpoint does not continue: the log was set back, or has
// two histories. Then nothing more may be signed until a person has found out why.
type ConflictError struct {
	Witness  string // its name in the policy
	Origin   string // of the log
	Size     int64  // of the checkpoint that the witness refuses
	Cosigned int64  // how many records the witness has cosigned
}

func (e *ConflictError) Error() string {
	if e.Cosigned > e.Size {
		return fmt.Sprintf("the witness %s has cosigned %d records of %s, and this checkpoint has %d: the store was set back, or somebody else signs with its key",
			e.Witness, e.Cosigned, e.Origin, e.Size)
	}
	return fmt.Sprintf("the witness %s refuses the checkpoint of %d records of %s, because it does not continue the %d that the witness has cosigned: the log has two histories (a fork)",
		e.Witness, e.Size, e.Origin, e.Cosigned)
}

// Witnesses are those that a policy names. They cosign checkpoints over HTTP (c2sp.org/tlog-witness).
//
// Its methods may be called from several goroutines; the calls wait for each other.
type Witnesses struct {
	witnesses []witness
	client    http.Client

	mu   sync.Mutex // held during Cosign
	last cosigned   // the newest checkpoint that was sent
}

// cosigned is what this process knows of what the witnesses have.
type cosigned struct {
	origin string
	size   int64            // of the newest checkpoint that a witness has cosigned for this process
	by     map[string]int64 // by verifier key: the size that the witness has cosigned
}

// witness is a witness, and the policy that trusts it alone: its answer is checked with that, so no witness answers for another.
type witness struct {
	evidence.Witness
	alone *evidence.Policy
	err   error // why it cannot be asked
}

// NewWitnesses returns the witnesses of a policy. If client is nil, http.DefaultTransport is used. No redirect is followed,
// whatever the client says.
func NewWitnesses(policy *evidence.Policy, client *http.Client) *Witnesses {
	w := &Witnesses{}
	if client != nil {
		w.client = *client
	}
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, named := range policy.Witnesses() {
		one := witness{Witness: named}
		one.alone, one.err = evidence.ParsePolicy([]byte("witness " + named.Name + " " + named.Key + "\nquorum none\n"))
		if one.err == nil {
			one.URL, one.err = addCheckpoint(named.URL)
		}
		w.witnesses = append(w.witnesses, one)
	}
	return w
}

// addCheckpoint returns the address of a call from that of a witness.
func addCheckpoint(prefix string) (string, error) {
	if prefix == "" {
		return "", errors.New("the policy has no URL for it")
	}
	u, err := url.Parse(prefix)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("%q is not the URL of a web server", prefix)
	}
	return u.JoinPath("add-checkpoint").String(), nil
}

// Cosign asks all witnesses at the same time to cosign the checkpoint. It returns the note with the cosignatures of those who
// did, each of them verified, and why the others did not, by their names in the policy. Each witness has half a minute.
//
// When a witness says that the checkpoint does not continue what it has cosigned, err is a [*ConflictError]; the note still has
// the other cosignatures. Any other err means that nobody was asked.
func (w *Witnesses) Cosign(ctx context.Context, s Signed) (note []byte, failed map[string]error, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	if w.last.origin != s.Checkpoint.Origin {
		w.last = cosigned{origin: s.Checkpoint.Origin, by: map[string]int64{}}
	}
	if w.last.size > s.Checkpoint.Size {
		return nil, nil, fmt.Errorf("a checkpoint of %d records was cosigned before this one of %d", w.last.size, s.Checkpoint.Size)
	}
	answers := make([]answer, len(w.witnesses))
	var asked sync.WaitGroup
	for i, one := range w.witnesses {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, witnessTime)
			defer cancel()
			answers[i] = w.ask(ctx, one, s, w.last.by[one.Key])
		})
	}
	asked.Wait()
	note, failed = s.Note, map[string]error{}
	for i, one := range w.witnesses {
		a := answers[i]
		if a.err == nil {
			a.err = one.signed(s, a.lines)
		}
		if a.err == nil {
			note, a.err = evidence.AddCosignatures(note, a.lines, one.alone)
		}
		var conflict *ConflictError
		switch {
		case a.err == nil:
			w.last.size, w.last.by[one.Key] = s.Checkpoint.Size, s.Checkpoint.Size
			continue
		case err == nil && errors.As(a.err, &conflict):
			err = conflict
		}
		failed[one.Name] = a.err
	}
	return note, failed, err
}

// signed checks that the witness has cosigned the checkpoint in its answer. What else is in the answer does not count.
func (one witness) signed(s Signed, lines []byte) error {
	first, rest, _ := bytes.Cut(s.Note, []byte("\n\n"))
	signature, _, _ := bytes.Cut(rest, []byte("\n"))
	bare := slices.Concat(first, []byte("\n\n"), signature, []byte("\n"))
	with, err := evidence.AddCosignatures(bare, lines, one.alone)
	if err == nil && bytes.Equal(with, bare) {
		err = fmt.Errorf("its answer has no signature by its key %s", one.Key)
	}
	return err
}

// answer is how a witness has answered.
type answer struct {
	lines []byte // signatures, none of them verified
	err   error
}

// ask asks one witness for its cosignature, with a proof that begins at the size old. If the witness has another size, it says
// so, and is asked again with the proof from there.
func (w *Witnesses) ask(ctx context.Context, one witness, s Signed, old int64) answer {
	if one.err != nil {
		return answer{err: one.err}
	}
	for tries := 0; ; tries++ {
		body, err := addRequest(s, old)
		if err != nil {
			return answer{err: err}
		}
		r, err := w.post(ctx, one.URL, body)
		if err != nil {
			return answer{err: err}
		}
		conflict := &ConflictError{Witness: one.Name, Origin: s.Checkpoint.Origin, Size: s.Checkpoint.Size, Cosigned: old}
		switch r.status {
		case http.StatusOK:
			return answer{lines: r.body}
		case http.StatusUnprocessableEntity:
			return answer{err: conflict}
		case http.StatusConflict:
			size, err := r.size()
			switch {
			case err != nil && old == s.Checkpoint.Size:
				// Earlier versions of c2sp.org/tlog-witness have this answer, without a size, for another root at the same size.
				return answer{err: conflict}
			case err != nil:
				return answer{err: err}
			case size > s.Checkpoint.Size:
				conflict.Cosigned = size
				return answer{err: conflict}
			case size == old || tries == witnessTries:
				return answer{err: fmt.Errorf("it says again and again that it has another size, now %d", size)}
			}
			old = size
		default:
			return answer{err: r.refusal()}
		}
	}
}

// addRequest returns the body of a request: the old size, the proof that the log continues it, and the note.
func addRequest(s Signed, old int64) ([]byte, error) {
	was, err := tree.Root(s.Tiles, old)
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	proof, err := tree.Consistency(s.Tiles, old, s.Checkpoint.Size)
	if err != nil {
		return nil, fmt.Errorf("make the proof from %d records: %w", old, err)
	}
	// A proof that is wrong because the stored tree is corrupt would look like a fork to the witness.
	if err := tree.VerifyConsistency(proof, old, s.Checkpoint.Size, was, s.Checkpoint.Root); err != nil {
		return nil, fmt.Errorf("make the proof from %d records: %w: %w", old, err, ErrCorrupt)
	}
	return slices.Concat(fmt.Appendf(nil, "old %d\n", old), evidence.FormatHashes(proof), []byte("\n"), s.Note), nil
}

// reply is what came back over HTTP.
type reply struct {
	status    int
	mediaType string
	location  string // where a redirect leads
	body      []byte
}

func (w *Witnesses) post(ctx context.Context, address string, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := w.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	r := reply{status: response.StatusCode, location: response.Header.Get("Location")}
	r.mediaType, _, _ = mime.ParseMediaType(response.Header.Get("Content-Type"))
	if r.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return reply{}, err
	}
	if len(r.body) > maxAnswer {
		return reply{}, fmt.Errorf("its answer (%d) is longer than %d bytes", r.status, maxAnswer)
	}
	return r, nil
}

// size returns the size in an answer that says from which one the witness wants the proof.
func (r reply) size() (int64, error) {
	digits, ended := strings.CutSuffix(string(r.body), "\n")
	size, err := strconv.ParseInt(digits, 10, 64)
	if r.mediaType != sizeType || !ended || err != nil || size < 0 || size > tree.MaxSize || strconv.FormatInt(size, 10) != digits {
		return 0, fmt.Errorf("it has cosigned another size, and does not say which: %w", r.refusal())
	}
	return size, nil
}

// refusal is the error for an answer that is no cosignature.
func (r reply) refusal() error {
	about := strings.TrimSpace(string(r.body[:min(len(r.body), 200)]))
	switch {
	case r.status == http.StatusForbidden:
		about = "it does not know the key that signed the checkpoint"
	case r.status == http.StatusNotFound:
		about = "it does not know the log, or there is no witness at this address"
	case r.status >= 300 && r.status < 400 && r.location != "":
		about = fmt.Sprintf("it redirects to %q, and no redirect is followed: write that address into the policy", r.location)
	case about != "":
		about = strconv.Quote(about)
	default:
		about = "without a reason"
	}
	return fmt.Errorf("it answered %d %s: %s", r.status, http.StatusText(r.status), about)
}
