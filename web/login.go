package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// The parameters of /login.
const (
	onceName  = "once"  // the secret of a link
	nextName  = "next"  // where to go then: a path of this server
	tokenName = "token" // of the form
)

const loginPath = "/login"

// mostForm is how long the form of a log-in may be.
const mostForm = 16 << 10

// sessionRoutes are the routes with which a person logs in and out.
func (s *Server) sessionRoutes() []route {
	return []route{
		{method: http.MethodGet, path: loginPath, open: true, page: true, takes: takes{own: []string{onceName, nextName}}, handle: s.getLogin},
		{method: http.MethodPost, path: loginPath, open: true, page: true, handle: s.postLogin},
		{method: http.MethodPost, path: "/logout", open: true, page: true, handle: s.postLogout},
	}
}

// LoginLink returns a path with which one person can log in once, for reading, within a quarter of an hour.
func (s *Server) LoginLink() string {
	return loginPath + "?" + url.Values{onceName: {s.sessions.link(s.now())}}.Encode()
}

// getLogin shows the form, or logs in who has a link.
func (s *Server) getLogin(w http.ResponseWriter, r *http.Request, q *question) error {
	next := localPath(q.own(nextName, "/"))
	if !q.values.Has(onceName) {
		_, in := s.session(r)
		return s.showLogin(w, http.StatusOK, loginPage{Next: next, In: in})
	}
	// A browser may ask for a page that nobody has asked to see yet, and a program may look whether it is there.
	if r.Method != http.MethodGet || strings.Contains(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose"), "prefetch") {
		return s.showLogin(w, http.StatusOK, loginPage{Next: next})
	}
	if !s.sessions.useLink(q.values.Get(onceName), s.now()) {
		if _, in := s.session(r); in {
			return s.enter(w, next) // the link was opened twice, and the browser has its cookie
		}
		return s.refuseLogin(w, r, next, "This link was used already, or is too old.", s.wrongSecret(r, ""))
	}
	setCookie(w, r, s.sessions.begin("", s.now()))
	return s.enter(w, next)
}

// postLogin logs in who has a token that may read.
func (s *Server) postLogin(w http.ResponseWriter, r *http.Request, _ *question) error {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		return problem(kindMalformed, "the form cannot be read")
	}
	next, secret := localPath(r.PostForm.Get(nextName)), strings.TrimSpace(r.PostForm.Get(tokenName))
	p, known := s.lookup(secret)
	if !known {
		return s.refuseLogin(w, r, next, "This token is not known here, or has expired.", s.wrongSecret(r, ""))
	}
	about(r).principal = p.ID
	if !p.Scopes.Has(ScopeRead) {
		return s.refuseLogin(w, r, next, "This token may not read.", problem(kindForbidden, "the token %s may %s, and this needs %s", p.ID, orNothing(p.Scopes), ScopeRead))
	}
	setCookie(w, r, s.sessions.begin(secret, s.now()))
	return s.enter(w, next)
}

// postLogout ends the session.
func (s *Server) postLogout(w http.ResponseWriter, r *http.Request, _ *question) error {
	if cookie, err := r.Cookie(cookieName(r)); err == nil {
		s.sessions.end(cookie.Value)
	}
	setCookie(w, r, "")
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
	return nil
}

// enter leads a person who has just logged in to the next page. It is not a redirect: when the link was in a page or a mail of
// somebody else, a browser does not send a SameSite=Strict cookie with the request that follows a redirect. It does with one that a
// page of this server leads to.
func (s *Server) enter(w http.ResponseWriter, next string) error {
	w.Header().Set("Refresh", "0; url="+next)
	return s.showLogin(w, http.StatusOK, loginPage{Next: next, In: true, Entered: true})
}

// refuseLogin shows the form again. The problem gives the status and the line in the log.
func (s *Server) refuseLogin(w http.ResponseWriter, r *http.Request, next, why string, err error) error {
	var p *Problem
	if !errors.As(err, &p) || p.kind == kindBusy {
		return err
	}
	note(r, p)
	return s.showLogin(w, p.Status, loginPage{Next: next, Why: why})
}

// askToLogIn leads a person who has no session, and wants to see a page, to the form. It reports false for anybody else.
func (s *Server) askToLogIn(w http.ResponseWriter, r *http.Request, route *route, err error) bool {
	var p *Problem
	if !route.page || !errors.As(err, &p) || p.kind != kindUnauthorized || r.Header.Get("Authorization") != "" ||
		r.Method != http.MethodGet || !wantsPage(r) {
		return false
	}
	http.Redirect(w, r, loginPath+"?"+url.Values{nextName: {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
	return true
}

// localPath is a path of this server, "/" for anything that could lead to another one.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsFunc(next, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }) {
		return "/"
	}
	return next
}

// A loginPage is the page of a log-in.
type loginPage struct {
	Next    string
	Why     string // it failed
	In      bool   // the person is logged in
	Entered bool   // just now
}

// showLogin shows the form, and who is logged in the way on and out.
func (s *Server) showLogin(w http.ResponseWriter, status int, l loginPage) error {
	next := addressOf(l.Next)
	page := &pages.Page{Frame: pages.Frame{Title: "Log in", Kind: "auditsql", Heading: line(pages.Words("Log in")), Bare: true}}
	if l.In {
		page.Title, page.Heading = "Logged in", line(pages.Words("You are logged in"))
		on := pages.Section{Links: line(pages.To(next, "Go on"))}
		if !l.Entered {
			on.Form = &pages.Form{Action: phrase.To("/logout", nil), Post: true, Label: "Log out", Submit: "Log out"}
		}
		page.Sections = append(page.Sections, on)
	}
	if !l.Entered {
		section := pages.Section{Form: &pages.Form{
			Action: phrase.To(loginPath, nil), Post: true, Label: "Log in", Submit: "Log in", Hidden: []pages.Field{{Name: nextName, Value: string(next)}},
			Fields: []pages.Field{{Name: tokenName, Label: "A token with the scope read", Kind: "password", Wide: true, Required: true}},
		}}
		if l.Why != "" {
			section.Findings = [][]pages.Part{line(pages.Words(l.Why))}
		}
		section.Notes = [][]pages.Part{line(pages.Words("Whoever runs the server makes a token with"), pages.Part{Text: "auditsql token add NAME --scope read", Style: pages.Code},
			pages.Words("and a link that logs in once with"), pages.Part{Text: "auditsql token link", Style: pages.Code}, pages.Words("."))}
		page.Sections = append(page.Sections, section)
	}
	return writePage(w, status, page)
}

// addressOf is the address of a local path. It is encoded again, so that nothing but its path and its parameters is left of it.
func addressOf(next string) phrase.Address {
	u, err := url.Parse(localPath(next))
	if err != nil || !strings.HasPrefix(u.EscapedPath(), "/") || strings.HasPrefix(u.EscapedPath(), "//") {
		return phrase.To("/", nil)
	}
	return phrase.To(u.EscapedPath(), u.Query())
}
