package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/tree"
)

// WitnessOptions say for what a node is a witness.
type WitnessOptions struct {
	// Key cosigns. It is not the key of a log, and belongs to this node alone.
	Key *evidence.Cosigner
	// Memory is the file that remembers what was cosigned. It must last as long as the key, and so should lie beside it, outside of the
	// copy: who begins again with an empty copy has not forgotten what it has cosigned. It is locked meanwhile.
	Memory string
	// Logs are the verifier keys whose checkpoints are cosigned: those of the node, or nodes, that sign.
	Logs []string
	// Wait is how long the node waits until it has as many records as a checkpoint; 10 seconds if 0.
	Wait time.Duration
	Now  func() time.Time // nil: time.Now
}

// A Witness cosigns the checkpoints that another node signs, if the copy of this node has the same records. It is an http.Handler that
// speaks c2sp.org/tlog-witness: the signing node asks it as it asks any other witness of its policy.
//
// A witness on the internet sees that a checkpoint continues the one before. This one has computed the root itself, from the messages of
// the log. So its cosignature also says that the signing node has not left out, added or changed a record of the log. What it has
// cosigned it remembers on disk before it answers. It never cosigns two roots of one size, nor a smaller size than before.
type Witness struct {
	node   *Node
	opts   WitnessOptions
	policy *evidence.Policy
	logger *slog.Logger
	unlock func() error

	mu       sync.Mutex // held while a checkpoint is cosigned
	cosigned map[string]witnessed
	closed   bool // the memory may be another process's
}

// witnessed is the newest checkpoint of a log that was cosigned.
type witnessed struct {
	Size int64     `json:"size"`
	Root tree.Hash `json:"root"`
}

// Witness makes the node a witness. The caller closes it before the node.
func (n *Node) Witness(ctx context.Context, o WitnessOptions) (_ *Witness, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait <= 0 {
		o.Wait = 10 * time.Second
	}
	w := &Witness{node: n, opts: o, logger: n.opts.Logger, cosigned: map[string]witnessed{}}
	if len(o.Logs) == 0 {
		return nil, errors.New("a witness needs the verifier key of a log")
	}
	if w.policy, err = evidence.KeyPolicy(o.Logs...); err != nil {
		return nil, fmt.Errorf("the logs of the witness: %w", err)
	}
	// Two processes with one memory could each cosign what the other one must not know of.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if w.unlock, err = durable.Lock(ctx, o.Memory+".lock", ""); err != nil {
		return nil, fmt.Errorf("the memory of the witness: %w", err)
	}
	b, err := os.ReadFile(o.Memory)
	if err == nil {
		err = json.Unmarshal(b, &w.cosigned)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the memory of the witness, %s: %w", o.Memory, err), w.unlock())
	}
	return w, nil
}

// Close gives the memory free.
func (w *Witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.unlock()
}

// maxWitnessRequest is how long a request may be, in bytes: a note, and at most 63 hashes.
const maxWitnessRequest = 64 << 10

// refusal is the answer to a request that is not cosigned.
type refusal struct {
	status int
	text   string
	size   int64 // of 409: what the witness has cosigned
}

func (r *refusal) Error() string { return r.text }

// ServeHTTP answers POST …/add-checkpoint.
func (w *Witness) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/add-checkpoint") || r.Method != http.MethodPost {
		http.Error(to, "the witness answers POST add-checkpoint", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(to, r.Body, maxWitnessRequest))
	if err != nil {
		http.Error(to, "the request cannot be read", http.StatusBadRequest)
		return
	}
	line, err := w.Cosign(r.Context(), body)
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusConflict:
		to.Header().Set("Content-Type", "text/x.tlog.size")
		to.WriteHeader(http.StatusConflict)
		fmt.Fprintf(to, "%d\n", refused.size)
	case errors.As(err, &refused):
		w.logger.Warn("a checkpoint was not cosigned", "why", refused.text)
		http.Error(to, refused.text, refused.status)
	case err != nil:
		w.logger.Error("a checkpoint was not cosigned", "why", err.Error())
		http.Error(to, "the witness has failed", http.StatusInternalServerError)
	default:
		to.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = to.Write(line)
	}
}

// Cosign answers the body of a request: the size that the client believes to be cosigned, the proof from there, and the signed
// checkpoint. It returns the line with the cosignature.
func (w *Witness) Cosign(ctx context.Context, request []byte) ([]byte, error) {
	old, proof, note, err := parseAddCheckpoint(request)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	if said, err := evidence.ReadUnverified(note); err == nil && !slices.ContainsFunc(w.policy.Logs(), func(l evidence.Log) bool { return l.Origin == said.Origin }) {
		return nil, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("%q is no log of this witness", said.Origin)}
	}
	v := evidence.VerifyCheckpoint(note, w.policy)
	if v.Outcome != evidence.Proven {
		return nil, &refusal{status: http.StatusForbidden, text: fmt.Sprintf("the checkpoint is not signed by a log of this witness: %v", v.Err())}
	}
	c := v.Checkpoint
	if old > c.Size {
		return nil, &refusal{status: http.StatusBadRequest, text: "the old size is greater than that of the checkpoint"}
	}
	// What does not continue what was cosigned is refused at once, with the answer that stops whoever signs. Only what continues it is worth
	// the wait for this copy.
	w.mu.Lock()
	err = w.continues(old, proof, c)
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	same, err := w.same(ctx, c)
	if err != nil {
		return nil, err
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed { // while the request waited for its records
		return nil, &refusal{status: http.StatusServiceUnavailable, text: "this witness is closed"}
	}
	// Once more: meanwhile another request may have been cosigned.
	if err := w.continues(old, proof, c); err != nil {
		return nil, err
	}
	if !same {
		return nil, &refusal{status: http.StatusServiceUnavailable,
			text: fmt.Sprintf("this node has other records than the %d of the checkpoint; auditsql-cluster verify says which node is wrong", c.Size)}
	}
	line, err := w.opts.Key.Cosign(note, w.opts.Now())
	if err != nil {
		return nil, err
	}
	// The memory is on disk before anybody has the cosignature. If the process dies in between, the client asks again: the size that it
	// names is another one then, and it makes the proof anew.
	now := maps.Clone(w.cosigned)
	now[c.Origin] = witnessed{c.Size, c.Root}
	b, err := json.Marshal(now)
	if err == nil {
		err = durable.WriteBytes(w.opts.Memory, "", append(b, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("remember what is cosigned: %w", err)
	}
	w.cosigned = now
	return line, nil
}

// continues returns a *refusal unless a checkpoint continues what was cosigned last, which has the size old. It compares with the memory, also
// if this copy has been replaced since then. w.mu is held.
func (w *Witness) continues(old int64, proof []tree.Hash, c evidence.Checkpoint) error {
	last := w.cosigned[c.Origin]
	if last.Size == 0 {
		last.Root = tree.EmptyRoot()
	}
	if old != last.Size {
		return &refusal{status: http.StatusConflict, text: "another size was cosigned", size: last.Size}
	}
	if err := tree.VerifyConsistency(proof, old, c.Size, last.Root, c.Root); err != nil {
		return &refusal{status: http.StatusUnprocessableEntity, text: fmt.Sprintf("the checkpoint does not continue the %d records that were cosigned", last.Size)}
	}
	return nil
}

// same reports whether this copy has the records of a checkpoint. It waits until it has as many.
func (w *Witness) same(ctx context.Context, c evidence.Checkpoint) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Wait)
	defer cancel()
	n := w.node
	for {
		n.mu.Lock()
		cursor, changed, closed := n.cursor, n.changed, n.closed
		n.mu.Unlock()
		// The tree is in SQLite, which gets what was decided a moment later, and wakes nobody here.
		err := n.copy.Await(ctx, cursor)
		var size uint64
		var tiles tree.TileReader
		if err == nil {
			size, tiles, err = n.copy.Tree(ctx)
		}
		switch {
		case err == nil && int64(size) >= c.Size:
			root, err := tree.Root(tiles, c.Size)
			return err == nil && root == c.Root, err
		case err != nil && ctx.Err() == nil:
			return false, err
		case closed:
			return false, &refusal{status: http.StatusServiceUnavailable, text: "this node is being closed"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, &refusal{status: http.StatusServiceUnavailable, text: fmt.Sprintf("this node has %d records yet, and the checkpoint has %d", size, c.Size)}
		}
	}
}

// parseAddCheckpoint reads the body of a request (c2sp.org/tlog-witness).
func parseAddCheckpoint(b []byte) (old int64, proof []tree.Hash, note []byte, err error) {
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	first, hashes, _ := bytes.Cut(head, []byte("\n"))
	digits, isOld := strings.CutPrefix(string(first), "old ")
	if !ok || !isOld {
		return 0, nil, nil, errors.New("the request does not have the form of add-checkpoint")
	}
	if old, err = strconv.ParseInt(digits, 10, 64); err != nil || old < 0 || strconv.FormatInt(old, 10) != digits {
		return 0, nil, nil, errors.New("the old size is no number")
	}
	if len(hashes) > 0 {
		if proof, err = evidence.ParseHashes(append(slices.Clone(hashes), '\n')); err != nil {
			return 0, nil, nil, err
		}
	}
	return old, proof, note, nil
}
