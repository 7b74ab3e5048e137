package web

import "net/http"

// sessionRoutes are the routes with which a person logs in and out.
func (s *Server) sessionRoutes() []route { return nil }

// session returns who the cookie of a request belongs to. ok is false when there is no valid one.
func (s *Server) session(*http.Request) (p Principal, ok bool) { return Principal{}, false }
