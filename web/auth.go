package web

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// authenticate finds out who makes a request, and whether that is enough for the route.
//
// A Bearer token counts before a cookie, and a wrong token is never replaced by a cookie: whoever sends one means it. A
// cookie is only for reading.
func (s *Server) authenticate(r *http.Request, route *route) (Principal, error) {
	if route.open {
		return Principal{}, nil
	}
	p, known, err := s.principal(r)
	switch {
	case err != nil:
		return p, err
	case !known:
		return p, problem(kindUnauthorized, "the request has no token: send Authorization: Bearer TOKEN")
	case !p.Scopes.Has(route.scope):
		if _, loggedIn := s.session(r); loggedIn && r.Header.Get("Authorization") == "" {
			return p, problem(kindForbidden, "the log-in of a browser is for reading only, and this needs %s: send a token", route.scope)
		}
		return p, problem(kindForbidden, "the token %s may %s, and this needs %s", p.ID, orNothing(p.Scopes), route.scope)
	}
	return p, nil
}

// Admit reports who makes a request, and whether that one may do what a scope allows. It is for a handler beside this one, such as the
// receiver of spans: it has the same tokens, the same names of the host and the same limit for wrong tokens then. The error is a *Problem.
func (s *Server) Admit(r *http.Request, scope Scope) (Principal, error) {
	if err := s.checkSender(r); err != nil {
		return Principal{}, err
	}
	return s.authenticate(r, &route{scope: scope})
}

func orNothing(s Scope) string {
	if s == 0 {
		return "nothing"
	}
	return s.String()
}

func (s *Server) principal(r *http.Request) (p Principal, known bool, err error) {
	if len(r.Header.Values("Authorization")) > 1 {
		// A proxy that has checked another one of them than this server would must not be led round.
		return p, false, problem(kindUnauthorized, "the request has more than one Authorization header")
	}
	if header := r.Header.Get("Authorization"); header != "" {
		secret, ok := bearer(header)
		if !ok {
			return p, false, problem(kindUnauthorized, "the Authorization header wants Bearer and a token")
		}
		if p, known = s.lookup(secret); !known {
			return Principal{}, false, s.wrongSecret(r, "this token is not known here, or has expired")
		}
		return p, true, nil
	}
	if p, known = s.session(r); known {
		return p, true, nil
	}
	if t := s.options.Trusted; t != nil {
		return *t, true, nil
	}
	return p, false, nil
}

// bearer returns the token of an Authorization header. ok is false when the header has something else.
func bearer(header string) (secret string, ok bool) {
	kind, secret, _ := strings.Cut(header, " ")
	return strings.TrimSpace(secret), strings.EqualFold(kind, "Bearer")
}

// mayRead reports whether whoever makes a request may read, on whichever route it came. It counts no wrong token: authenticate does.
func (s *Server) mayRead(r *http.Request) bool {
	if !s.options.AnyHost && !s.knowsHost(r.Host) {
		return false
	}
	if headers := r.Header.Values("Authorization"); len(headers) > 0 && headers[0] != "" {
		secret, ok := bearer(headers[0])
		p, known := s.lookup(secret)
		return len(headers) == 1 && ok && known && p.Scopes.Has(ScopeRead)
	}
	p, known := s.session(r)
	if t := s.options.Trusted; !known && t != nil {
		p, known = *t, true
	}
	return known && p.Scopes.Has(ScopeRead)
}

// lookup returns who has a token.
func (s *Server) lookup(secret string) (Principal, bool) {
	if s.options.Tokens == nil || secret == "" {
		return Principal{}, false
	}
	return s.options.Tokens.Lookup(secret)
}

// wrongSecret is the answer to a token, or a link to log in, that is not valid. Somebody who tries many gets another one. A token
// cannot be guessed: this bounds what guesses cost, in the log too. Valid tokens are not held back, so nobody can lock others out.
func (s *Server) wrongSecret(r *http.Request, detail string) error {
	if !s.guesses.allow(r.RemoteAddr, s.now()) {
		p := problem(kindBusy, "too many wrong tokens came from this address")
		p.retryAfter = time.Second
		return p
	}
	return problem(kindUnauthorized, "%s", detail)
}

// How many wrong tokens an address may send.
const (
	guessesPerSecond = 1
	guessesAtOnce    = 20
	mostGuessers     = 10_000 // addresses that are remembered
)

// guesses count wrong tokens by address.
type guesses struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

// allow counts a wrong token, and reports whether its sender may learn so.
func (g *guesses) allow(addr string, now time.Time) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		// One client has a whole network of 64 bits.
		host = ip.Mask(net.CIDRMask(64, 128)).String()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.by[host]
	if l == nil {
		if len(g.by) >= mostGuessers {
			clear(g.by)
		}
		if g.by == nil {
			g.by = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(guessesPerSecond, guessesAtOnce)
		g.by[host] = l
	}
	return l.AllowN(now, 1)
}
