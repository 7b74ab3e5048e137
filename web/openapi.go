package web

import (
	_ "embed"
	"net/http"
)

// description is the API in OpenAPI 3.1. It is written by hand. A test holds it to the routes.
//
//go:embed openapi.json
var description []byte

// openAPI answers GET /v1/openapi.json.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request, _ *question) error {
	w.Header().Set("Content-Type", typeJSON)
	_, err := w.Write(description)
	return err
}
