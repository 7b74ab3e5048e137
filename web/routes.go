package web

import "slices"

// A route is one line of the API's table, or one page.
type route struct {
	method string // GET also answers HEAD
	path   string // a pattern of http.ServeMux without the method

	// scope is what a caller needs. open routes need no token at all: health, log-in, assets.
	scope Scope
	open  bool

	// writes marks a route that a server with Options.ReadOnly does not have.
	writes bool

	// takes are the parameters of the query string. All others are refused.
	takes takes

	// page marks a page for people: its errors are pages too, and a cookie is enough to see it.
	page bool

	// part marks a page that can be a part of a case: it is about a number of records, and comes to its end by itself.
	part bool

	// alive marks a route that is answered also while the server drains.
	alive bool

	handle handler
}

// pattern is the route as http.ServeMux takes it.
func (r *route) pattern() string { return r.method + " " + r.path }

// routes are all routes of the server. A handler returns an error for everything that it has not answered: the server makes
// the problem document of it, or the page that shows it.
func (s *Server) routes() []route {
	return slices.Concat(s.apiRoutes(), s.pageRoutes(), s.sessionRoutes())
}
