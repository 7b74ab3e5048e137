package web

import (
	"errors"
	"net/http"

	"github.com/auditsql/auditsql/internal/tui"
)

// object answers with one struct as JSON.
func (s *Server) object(w http.ResponseWriter, r *http.Request, object any) error {
	return s.objectIn(w, r, &question{form: tui.JSON}, object)
}

// objectIn answers with one struct, in the form that a question asks for.
func (s *Server) objectIn(w http.ResponseWriter, r *http.Request, q *question, object any) error {
	a := s.newAnswer(w, r, q)
	if err := a.Object(q.form, object); err != nil {
		return err
	}
	return a.end()
}

// asError is errors.As with the type that is looked for.
func asError[T error](err error) (T, bool) {
	var as T
	ok := errors.As(err, &as)
	return as, ok
}
