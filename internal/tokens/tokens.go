// Package tokens keeps the tokens of a server: who may use it, and for what.
//
// A token is a text that begins with asql_ and has 256 random bits. It is shown once, when it is made. The file DIR/tokens has
// what is needed to recognize it, and not the token itself:
//
//		{
//		 "version": 1,
//		 "tokens": [
//		  {"name": "planner", "sha256": "9f86d0…", "scopes": ["write"], "agent": "0a0000…", "created": "2026-11-23T12:30:15Z", "expires": "2027-01-01T00:00:00Z"}
//		 ]
//		}
//
//	  - name: 1 to 64 letters, digits, dots, hyphens, underscores or at signs; no two tokens have the same.
//	  - sha256: the SHA-256 of the token's text, in hex.
//	  - scopes: what the token is for, at least one of [Scopes].
//	  - agent: left out unless the token may write records of this agent alone.
//	  - created, expires: RFC 3339. A token without expires is valid until it is revoked.
//
// The file is for its owner alone (0600). It is replaced as a whole, and [Add] and [Revoke] hold the lock DIR/tokens.lock
// meanwhile: of two that run at the same time, neither is lost. A file that is not as described here is an error that names it.
// Then no token is valid until somebody has put it right: a token that was revoked must not come back with a mistake in the file.
//
// The package leaves to others what a scope allows, and how many guesses somebody has.
package tokens

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
)

// Prefix is what every token begins with, so that people and scanners for secrets recognize one.
const Prefix = "asql_"

// secretBytes is how many random bytes a token has.
const secretBytes = 32

// Scopes are what a token can be for. Package web has a bit for each, in this order. Nothing changes them.
var Scopes = []string{"read", "write", "label", "ops", "metrics"}

var (
	// ErrExists says that there is a token of this name already.
	ErrExists = errors.New("there is a token of this name already")
	// ErrNoToken says that there is no token of this name.
	ErrNoToken = errors.New("there is no token of this name")
	// ErrInvalid refuses a token that cannot be added.
	ErrInvalid = errors.New("invalid token")
)

// A Token is what is known of a token.
type Token struct {
	Name    string
	Digest  [sha256.Size]byte // of the token's text
	Scopes  []string
	Agent   *audit.AgentID // that it may write for; nil: for all
	Created time.Time
	Expires time.Time // zero: never
}

// Expired reports whether the token is no longer valid.
func (t *Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// Digest is what the file has of a token.
func Digest(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// CheckName returns ErrInvalid for a text that cannot be the name of a token.
func CheckName(name string) error {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_@", r)
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("%w: a name has 1 to 64 letters, digits, dots, hyphens, underscores or at signs", ErrInvalid)
	}
	return nil
}

// check refuses what the file must not have.
func (t *Token) check() error {
	if err := CheckName(t.Name); err != nil {
		return err
	}
	if len(t.Scopes) == 0 {
		return fmt.Errorf("%w: it has no scope", ErrInvalid)
	}
	for i, s := range t.Scopes {
		if !slices.Contains(Scopes, s) {
			return fmt.Errorf("%w: there is no scope %q; the scopes are %s", ErrInvalid, s, strings.Join(Scopes, ", "))
		}
		if slices.Contains(t.Scopes[:i], s) {
			return fmt.Errorf("%w: it has the scope %s twice", ErrInvalid, s)
		}
	}
	if t.Agent != nil && !slices.Contains(t.Scopes, "write") {
		return fmt.Errorf("%w: an agent binds what a token writes, and it has no scope write", ErrInvalid)
	}
	return nil
}

// path is the file with the tokens of a store.
func path(dir string) string { return filepath.Join(dir, storedir.TokensName) }

// Add makes a token for the store in dir, and returns its text, which cannot be shown again. It takes everything but the digest
// from t. The token is on disk when it returns. ErrExists: revoke the other one first. ErrInvalid: t cannot be a token.
func Add(ctx context.Context, dir string, t Token) (secret string, err error) {
	if err := t.check(); err != nil {
		return "", err
	}
	random := make([]byte, secretBytes)
	rand.Read(random) // does not fail
	secret = Prefix + base64.RawURLEncoding.EncodeToString(random)
	t.Digest = Digest(secret)
	err = change(ctx, dir, func(all []Token) ([]Token, error) {
		if slices.ContainsFunc(all, func(had Token) bool { return had.Name == t.Name }) {
			return nil, fmt.Errorf("%s: %w", t.Name, ErrExists)
		}
		return append(all, t), nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Revoke removes a token of the store in dir. It is no longer valid when Revoke returns. ErrNoToken: there is none of this name.
func Revoke(ctx context.Context, dir, name string) error {
	return change(ctx, dir, func(all []Token) ([]Token, error) {
		i := slices.IndexFunc(all, func(t Token) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s: %w", name, ErrNoToken)
		}
		return slices.Delete(all, i, i+1), nil
	})
}

// List returns the tokens of the store in dir in the order in which they were made. A store without the file has none.
func List(dir string) ([]Token, error) {
	all, _, err := read(path(dir), nil)
	return all, err
}

// change replaces the tokens under the lock.
func change(ctx context.Context, dir string, edit func([]Token) ([]Token, error)) (err error) {
	unlock, err := durable.Lock(ctx, filepath.Join(dir, storedir.TokensLockName), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	all, err := List(dir)
	if err != nil {
		return err
	}
	if all, err = edit(all); err != nil {
		return err
	}
	content, err := encode(all)
	if err != nil {
		return err
	}
	return durable.WriteBytes(path(dir), "", content)
}

// find returns the token with this digest. It compares with all of them, and takes as long wherever they differ.
func find(all []Token, digest [sha256.Size]byte) (found *Token) {
	for i := range all {
		if subtle.ConstantTimeCompare(all[i].Digest[:], digest[:]) == 1 {
			found = &all[i]
		}
	}
	return found
}
