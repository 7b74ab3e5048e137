package web

import (
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	sessionLasts = 12 * time.Hour
	mostSessions = 1000
	linkLasts    = 15 * time.Minute
	mostLinks    = 20
)

// sessions are the log-ins of people, in memory: they end with the server. What a browser or a link has is random, and only its
// hash is kept.
type sessions struct {
	mu    sync.Mutex
	by    map[[sha256.Size]byte]session
	links map[[sha256.Size]byte]time.Time // links to log in that nobody has used, and until when they are good
}

// A session is one log-in.
type session struct {
	token string // that the person has shown, "" for a link
	ends  time.Time
}

// linkID is who has logged in with a link.
const linkID = "login-link"

// begin makes a session, and returns what its cookie has. When there are too many, the one that ends first makes room.
func (s *sessions) begin(token string, now time.Time) (secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[[sha256.Size]byte]session{}
	}
	makeRoom(s.by, mostSessions, func(one session) time.Time { return one.ends }, now)
	secret = rand.Text()
	s.by[sha256.Sum256([]byte(secret))] = session{token, now.Add(sessionLasts)}
	return secret
}

// find returns a session that has not ended.
func (s *sessions) find(secret string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.by[sha256.Sum256([]byte(secret))]
	return one, ok && now.Before(one.ends)
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, sha256.Sum256([]byte(secret)))
}

// link makes the secret of a link.
func (s *sessions) link(now time.Time) (secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		s.links = map[[sha256.Size]byte]time.Time{}
	}
	makeRoom(s.links, mostLinks, func(until time.Time) time.Time { return until }, now)
	secret = rand.Text() + rand.Text()
	s.links[sha256.Sum256([]byte(secret))] = now.Add(linkLasts)
	return secret
}

// useLink reports whether a link is good, and makes it good for nothing.
func (s *sessions) useLink(secret string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := sha256.Sum256([]byte(secret))
	until, ok := s.links[digest]
	delete(s.links, digest)
	return ok && now.Before(until)
}

// makeRoom removes what has ended, and then whatever ends first, until there is room for one more.
func makeRoom[V any](all map[[sha256.Size]byte]V, most int, ends func(V) time.Time, now time.Time) {
	var first [sha256.Size]byte
	for {
		n := 0
		for key, one := range all {
			if !now.Before(ends(one)) {
				delete(all, key)
				continue
			}
			if n == 0 || ends(one).Before(ends(all[first])) {
				first = key
			}
			n++
		}
		if n < most {
			return
		}
		delete(all, first)
	}
}

// session returns who the cookie of a request belongs to. ok is false when there is no valid one. A session ends with the token
// that it was begun with.
func (s *Server) session(r *http.Request) (p Principal, ok bool) {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return p, false
	}
	one, ok := s.sessions.find(cookie.Value, s.now())
	if !ok {
		return p, false
	}
	if one.token == "" {
		return Principal{ID: linkID, Scopes: ScopeRead}, true
	}
	if p, ok = s.lookup(one.token); !ok {
		s.sessions.end(cookie.Value)
		return p, false
	}
	p.Scopes &= ScopeRead
	return p, ok
}

// cookieName is the name of the cookie. Browsers send a cookie to all ports of a host, so the port is a part of its name: two
// servers on one machine must not log each other's people out. Under TLS the prefix __Host- keeps other hosts of the same domain
// from setting it.
func cookieName(r *http.Request) string {
	name := "auditsql"
	if _, port, err := net.SplitHostPort(r.Host); err == nil && !strings.ContainsFunc(port, func(c rune) bool { return c < '0' || c > '9' }) {
		name += "_" + port
	}
	if isSecure(r) {
		name = "__Host-" + name
	}
	return name
}

// isSecure reports whether the browser speaks TLS, with this server or with a proxy before it. A client that lies about the proxy
// gets a cookie that it does not send back.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || slices.Contains(r.Header["X-Forwarded-Proto"], "https")
}

// setCookie gives a browser its session; "" takes it away.
func setCookie(w http.ResponseWriter, r *http.Request, secret string) {
	c := &http.Cookie{Name: cookieName(r), Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: isSecure(r), MaxAge: int(sessionLasts / time.Second)}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
