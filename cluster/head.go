package cluster

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/auditsql/auditsql/tree"
)

// A Head is what a node says about its copy: how many records it has, and the root of the tree over them (package tree).
//
// The order of the records follows from the log alone. So two nodes that have read it up to the same message have the same number of
// records with the same root, or one of them is wrong.
type Head struct {
	Node     string    `json:"node"`     // its name
	Cursor   uint64    `json:"cursor"`   // the number of the last message that it had read
	Size     uint64    `json:"size"`     // records
	Root     tree.Hash `json:"root"`     // of the tree over them
	Sequence uint64    `json:"sequence"` // the number of the message with the head
}

// headMark begins the payload of a head. No record begins like that.
const headMark = "auditsql head\n"

// maxName is how many bytes the name of a node may have.
const maxName = 255

// payload returns the head as the payload of a message: five lines.
func (h *Head) payload() []byte {
	return fmt.Appendf(nil, "%s%s\n%d\n%d\n%s\n", headMark, h.Node, h.Cursor, h.Size, base64.StdEncoding.EncodeToString(h.Root[:]))
}

// message returns the message with the head. id must differ from that of every other message.
func (h *Head) message(id string) Message {
	payload := h.payload()
	return Message{ID: id, Kind: HeadKind, Payload: payload, Sum: sumOf(payload)}
}

// isHead reports whether a payload is a head's, as its first line says.
func isHead(payload []byte) bool { return bytes.HasPrefix(payload, []byte(headMark)) }

// ParseHead reads the head that a message has. A head has one spelling.
func ParseHead(m *Stored) (h Head, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("message %d is no head: %w", m.Sequence, err)
		}
	}()
	if m.Kind != HeadKind || !m.Intact() {
		return Head{}, errors.New("it is of another kind, or not as its publisher made it")
	}
	lines := strings.Split(strings.TrimPrefix(string(m.Payload), headMark), "\n")
	if len(lines) != 5 {
		return Head{}, fmt.Errorf("it has %d lines", len(lines))
	}
	h = Head{Node: lines[0], Sequence: m.Sequence}
	if err := checkName(h.Node); err != nil {
		return Head{}, err
	}
	var errs [3]error
	h.Cursor, errs[0] = strconv.ParseUint(lines[1], 10, 64)
	h.Size, errs[1] = strconv.ParseUint(lines[2], 10, 64)
	root, err := base64.StdEncoding.DecodeString(lines[3])
	if errs[2] = err; err == nil && copy(h.Root[:], root) != len(root) {
		errs[2] = errors.New("the root has another length")
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Head{}, err
	}
	if !bytes.Equal(h.payload(), m.Payload) {
		return Head{}, errors.New("it is spelled otherwise than auditsql does")
	}
	// It was published after its node had read up to the cursor, and no entry takes less than a message.
	if h.Cursor >= m.Sequence || h.Size > h.Cursor {
		return Head{}, fmt.Errorf("it counts %d records up to message %d", h.Size, h.Cursor)
	}
	return h, nil
}

func checkName(name string) error {
	control := func(r rune) bool { return r < ' ' || r == utf8.RuneError || r == 0x7f }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, control) {
		return fmt.Errorf("the name %q of a node is empty, longer than %d bytes, or has characters that cannot be shown", name, maxName)
	}
	return nil
}

// nameOf is what a node is called that was given no name: no two folders have the same one.
func nameOf(dir string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return host + ":" + abs, nil
}
