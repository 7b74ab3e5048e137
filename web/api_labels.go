package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// A label is a hash with the name that people gave it.
type label struct {
	Hash  audit.Hash `json:"hash"`
	Label string     `json:"label"`
}

// labels answers GET /v1/labels with all of them.
func (s *Server) labels(w http.ResponseWriter, r *http.Request, q *question) error {
	all, err := s.store.Labels(r.Context())
	if err != nil {
		return err
	}
	a := s.newAnswer(w, r, q)
	out := tui.NewRows(a.Screen, q.form, tui.Column{Name: "hash"}, tui.Column{Name: "label"})
	err = show.Labels(out, all.All(), func(h audit.Hash) tui.Cell { return tui.Text(h.String()) })
	if err != nil {
		return err
	}
	return a.end()
}

// labelOf answers GET /v1/labels/{hash}.
func (s *Server) labelOf(w http.ResponseWriter, r *http.Request, _ *question) error {
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("hash"), audit.AnyHash)
	if err != nil {
		return err
	}
	all, err := s.store.Labels(r.Context())
	if err != nil {
		return err
	}
	text := all.Of(h)
	if text == "" {
		return problem(kindNotFound, "%s has no label", h)
	}
	return s.object(w, r, &label{h, text})
}

// putLabel answers PUT /v1/labels/{hash}.
func (s *Server) putLabel(w http.ResponseWriter, r *http.Request, _ *question) error {
	var text string
	err := s.readJSON(w, r, func(body json.RawMessage) error {
		members, err := readMembers(body, "", "label")
		if err != nil {
			return err
		}
		if text, err = readText(members, "", "label"); err == nil && text == "" {
			err = refusal("label", "is empty; DELETE removes a label")
		}
		if err == nil {
			err = s.checkLabel("label", text)
		}
		return err
	})
	if err != nil {
		return err
	}
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("hash"), audit.AnyHash)
	if err != nil {
		return s.problemOf(err).stored(storedNothing)
	}
	if err := s.setLabels(r.Context(), []audit.Label{{Hash: h, Label: text}}); err != nil {
		return err
	}
	return s.object(w, r, &label{h, text})
}

// setLabels sets labels, or says what became of them.
func (s *Server) setLabels(ctx context.Context, labels []audit.Label) error {
	err := s.store.PutLabels(ctx, labels)
	if err == nil {
		return nil
	}
	p := s.problemOf(err)
	switch {
	case p.Stored != "": // it says so already
	case errors.Is(err, audit.ErrClosed), errors.Is(err, audit.ErrReadOnly), errors.Is(err, audit.ErrInvalid):
		p.Stored = storedNothing
	default:
		p.Stored = storedUnknown
	}
	return p
}

// checkLabel refuses a text that cannot be a label.
func (s *Server) checkLabel(field, text string) error {
	if err := audit.CheckLabel(text); err != nil {
		return s.problemOf(err).at(field)
	}
	return nil
}

// deleteLabel answers DELETE /v1/labels/{hash}. Deleting a label that is not there is no mistake.
func (s *Server) deleteLabel(w http.ResponseWriter, r *http.Request, _ *question) error {
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("hash"), audit.AnyHash)
	if err != nil {
		return s.problemOf(err).stored(storedNothing)
	}
	if err := s.setLabels(r.Context(), []audit.Label{{Hash: h}}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// putLabels answers PUT /v1/labels: it sets all labels of a list, or none. An empty label removes the one that there is.
func (s *Server) putLabels(w http.ResponseWriter, r *http.Request, _ *question) error {
	var set []audit.Label
	err := s.readJSON(w, r, func(body json.RawMessage) error {
		if body[0] != '[' {
			return refusal("", "want a list of labels")
		}
		// One after the other: the list of what a body of a few bytes an element may have takes many times the memory that the body has
		// reserved, and the first element that is no label ends it.
		list := json.NewDecoder(bytes.NewReader(body))
		_, _ = list.Token() // [
		for list.More() {
			var one json.RawMessage
			_ = list.Decode(&one) // it is valid JSON
			l, err := s.readLabel(one, fmt.Sprintf("[%d]", len(set)))
			if err != nil {
				return err
			}
			set = append(set, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.setLabels(r.Context(), set); err != nil {
		return err
	}
	return s.object(w, r, &struct {
		Labels int `json:"labels"` // that were set or removed
	}{len(set)})
}

// labelBytes bounds a body with labels.
const labelBytes = 4 << 20

// readLabel reads a label of a list. An empty one removes the one that there is, so a member that is missing must not be taken for an
// empty one.
func (s *Server) readLabel(text json.RawMessage, where string) (l audit.Label, err error) {
	members, err := readMembers(text, where, "hash", "label")
	if err != nil {
		return l, err
	}
	hash, err := readText(members, where, "hash")
	if err != nil {
		return l, err
	}
	if l.Hash, err = audit.ParseHash(hash); err != nil {
		return l, refusal(where+".hash", "want 64 hex digits")
	}
	if l.Label, err = readText(members, where, "label"); err == nil && l.Label != "" {
		err = s.checkLabel(where+".label", l.Label)
	}
	return l, err
}

// readJSON hands over the body of a request that is no record, without white space around it.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, read func(body json.RawMessage) error) error {
	kind, err := bodyType(r)
	if err == nil && kind != typeJSON {
		err = wrongType(typeJSON)
	}
	if err != nil {
		return err
	}
	body, free, err := s.readBody(w, r, labelBytes)
	if err != nil {
		return err
	}
	defer free()
	if err := checkJSON(body); err != nil {
		return err
	}
	return read(bytes.TrimSpace(body))
}
