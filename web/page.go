package web

import "net/http"

// pageRoutes are the pages.
func (s *Server) pageRoutes() []route { return nil }

// problemPage shows a problem to a person. It reports false when there is no page for it, and then has written nothing.
func (s *Server) problemPage(http.ResponseWriter, *http.Request, *Problem) bool { return false }
