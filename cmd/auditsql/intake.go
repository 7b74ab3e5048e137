package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/socket"
)

// A recordIntake takes records.
type recordIntake interface {
	ingest.Store

	// close closes the store. It does not close that of a server.
	close() error
	// served reports whether it is a server.
	served() bool
}

// An intake is where records go: the store that this command has opened, or the server that has it open.
type intake interface {
	recordIntake
	Sign(ctx context.Context) (audit.Signature, error)
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	AddLabels(ctx context.Context, labels []audit.Label) error

	// checkLog returns audit.ErrNoLog when the store has no log.
	checkLog(ctx context.Context) error
}

// ownStore is a store that this command has opened.
type ownStore struct {
	*audit.DB
	a *app
}

func (s ownStore) checkLog(ctx context.Context) error {
	_, err := s.Log(ctx)
	return err
}

func (s ownStore) close() error { return s.a.closeWriter(s.DB) }
func (s ownStore) served() bool { return false }

// servedStore is a store that a server has open.
type servedStore struct{ *socket.Client }

func (s servedStore) checkLog(ctx context.Context) error { return s.CheckLog(ctx) }
func (s servedStore) close() error                       { return s.Close() }
func (s servedStore) served() bool                       { return true }

// openIntake opens the store, or finds the server that has it open.
func (a *app) openIntake(ctx context.Context, options ...audit.Option) (intake, error) {
	return a.serverOr(ctx, func() (*audit.DB, error) { return a.openOrMake(ctx, options...) })
}

// serverOr returns the server that has the store open, or else what open opens.
//
// The server is asked first: it keeps the lock for as long as it runs, so waiting for the lock would be in vain. It is asked once more
// when another process has the lock, since that may be a server that has just started.
func (a *app) serverOr(ctx context.Context, open func() (*audit.DB, error)) (intake, error) {
	c, err := socket.Dial(ctx, a.dir)
	if err == nil {
		return servedStore{c}, nil
	}
	// Who may not use the socket may not write to the store either, and opening it says so better.
	if !errors.Is(err, socket.ErrNoServer) && !errors.Is(err, fs.ErrPermission) {
		return nil, a.noAnswer(ctx, err)
	}
	db, err := open()
	if err == nil {
		return ownStore{db, a}, nil
	}
	if errors.Is(err, audit.ErrLocked) {
		if c, dialErr := socket.Dial(ctx, a.dir); dialErr == nil {
			return servedStore{c}, nil
		}
	}
	return nil, err
}

// noAnswer is the error of a server that is there and cannot be asked.
func (a *app) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &exitError{code: exitLocked, err: fmt.Errorf("a server has the store open, and this command cannot write through it: %w", err),
		try: "run it again later, or stop the server first"}
}
