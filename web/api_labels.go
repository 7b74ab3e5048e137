package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	var body struct {
		Label *string `json:"label"`
	}
	if err := s.readJSON(w, r, &body); err != nil {
		return err
	}
	if body.Label == nil || *body.Label == "" {
		return problem(kindInvalid, "is missing, or empty; DELETE removes a label").at("label").stored(storedNothing)
	}
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("hash"), audit.AnyHash)
	if err != nil {
		return err
	}
	if err := audit.CheckLabel(*body.Label); err != nil {
		return s.problemOf(err).at("label")
	}
	if err := s.store.PutLabels(r.Context(), []audit.Label{{Hash: h, Label: *body.Label}}); err != nil {
		return err
	}
	return s.object(w, r, &label{h, *body.Label})
}

// deleteLabel answers DELETE /v1/labels/{hash}. Deleting a label that is not there is no mistake.
func (s *Server) deleteLabel(w http.ResponseWriter, r *http.Request, _ *question) error {
	h, err := s.store.ResolveHash(r.Context(), r.PathValue("hash"), audit.AnyHash)
	if err != nil {
		return err
	}
	if err := s.store.PutLabels(r.Context(), []audit.Label{{Hash: h}}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// putLabels answers PUT /v1/labels: it sets all labels of a list, or none. An empty label removes the one that there is.
func (s *Server) putLabels(w http.ResponseWriter, r *http.Request, _ *question) error {
	var body []*struct {
		Hash  *audit.Hash `json:"hash"`
		Label *string     `json:"label"`
	}
	if err := s.readJSON(w, r, &body); err != nil {
		return err
	}
	if body == nil {
		return problem(kindInvalid, "want a list of labels, not null").stored(storedNothing)
	}
	set := make([]audit.Label, len(body))
	for i, one := range body {
		switch where := fmt.Sprintf("[%d]", i); {
		case one == nil:
			return problem(kindInvalid, "want an object, not null").at(where).stored(storedNothing)
		case one.Hash == nil:
			return problem(kindInvalid, "is missing").at(where + ".hash").stored(storedNothing)
		case one.Label == nil:
			return problem(kindInvalid, "is missing; an empty label removes the one that there is").at(where + ".label").stored(storedNothing)
		}
		set[i] = audit.Label{Hash: *one.Hash, Label: *one.Label}
	}
	if err := s.store.PutLabels(r.Context(), set); err != nil {
		return err
	}
	return s.object(w, r, &struct {
		Labels int `json:"labels"` // that were set or removed
	}{len(set)})
}

// labelBytes bounds a body with labels.
const labelBytes = 4 << 20

// readJSON reads the body of a request that is no record.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, into any) error {
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
	// A member that is spelled wrong must not be taken for one that is not there: an empty label removes one.
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	if err != nil {
		return problem(kindMalformed, "the body is not the JSON that this path takes: %v", err).stored(storedNothing)
	}
	return nil
}
