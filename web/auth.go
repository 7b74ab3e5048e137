package web

import (
	"net/http"
	"strings"
)

// authenticate finds out who makes a request, and whether that is enough for the route.
//
// A Bearer token counts before a cookie, and a wrong token is never replaced by a cookie: whoever sends one means it. A
// cookie is only for reading.
func (s *Server) authenticate(r *http.Request, route *route) (Principal, error) {
	p, known, err := s.principal(r)
	switch {
	case err != nil && !route.open:
		return p, err
	case route.open:
		return p, nil
	case !known:
		return p, problem(kindUnauthorized, "the request has no token: send Authorization: Bearer TOKEN")
	case !p.Scopes.Has(route.scope):
		return p, problem(kindForbidden, "the token %s may %s, and this needs %s", p.ID, orNothing(p.Scopes), route.scope)
	}
	return p, nil
}

func orNothing(s Scope) string {
	if s == 0 {
		return "nothing"
	}
	return s.String()
}

func (s *Server) principal(r *http.Request) (p Principal, known bool, err error) {
	if header := r.Header.Get("Authorization"); header != "" {
		kind, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(kind, "Bearer") {
			return p, false, problem(kindUnauthorized, "the Authorization header wants Bearer and a token")
		}
		if s.options.Tokens != nil {
			p, known = s.options.Tokens.Lookup(strings.TrimSpace(secret))
		}
		if !known {
			return Principal{}, false, problem(kindUnauthorized, "this token is not known here, or has expired")
		}
		return p, true, nil
	}
	if p, known = s.session(r); known {
		p.Scopes &= ScopeRead
		return p, true, nil
	}
	if t := s.options.Trusted; t != nil {
		return *t, true, nil
	}
	return p, false, nil
}
