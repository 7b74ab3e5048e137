package web

import (
	"context"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tokens"
)

// A Scope is a set of things that somebody may do.
type Scope uint8

// The scopes. None of them contains another one.
const (
	ScopeRead    Scope = 1 << iota // ask, and see pages
	ScopeWrite                     // store records
	ScopeLabel                     // change labels
	ScopeOps                       // run verify
	ScopeMetrics                   // read /metrics

	// AllScopes are all of them.
	AllScopes = ScopeRead | ScopeWrite | ScopeLabel | ScopeOps | ScopeMetrics
)

// scopeNames are the names of the scopes, in the order of their bits.
var scopeNames = tokens.Scopes

// Has reports whether all of the wanted scopes are in s.
func (s Scope) Has(wanted Scope) bool { return s&wanted == wanted }

// String returns the names with commas between them, as ParseScope reads them.
func (s Scope) String() string {
	var names []string
	for i, name := range scopeNames {
		if s.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// ParseScope reads names with commas between them, as in "read,write".
func ParseScope(text string) (Scope, error) {
	var s Scope
names:
	for name := range strings.SplitSeq(text, ",") {
		for i, known := range scopeNames {
			if strings.TrimSpace(name) == known {
				s |= 1 << i
				continue names
			}
		}
		return 0, fmt.Errorf("%q is no scope: want %s", name, strings.Join(scopeNames, ", "))
	}
	return s, nil
}

// A Principal is who makes a request.
type Principal struct {
	// ID names the token, or another way in. It stands in the log, so it is no secret.
	ID     string
	Scopes Scope

	// Agent, when it is not nil, is the only agent whose records the principal may store.
	Agent *audit.AgentID
}

// Tokens says who has a token. Its methods may be called from several goroutines.
type Tokens interface {
	// Lookup returns who has a secret. ok is false for a secret that nobody has, or that has expired. The time that it takes
	// does not depend on how much of a secret is right.
	Lookup(secret string) (p Principal, ok bool)
}

type contextKey int

const (
	principalKey contextKey = iota
	requestKey
)

// principalOf returns who makes the request of a context. It is the zero Principal on routes that need no scope.
func principalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey).(Principal)
	return p
}

func withPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey, p)
}
