package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// serverToken is the one token that the server knows.
const serverToken = "asql_bench"

// onlyToken is a set of one token.
type onlyToken struct{}

func (onlyToken) Lookup(secret string) (web.Principal, bool) {
	return web.Principal{ID: "bench", Scopes: web.AllScopes}, secret == serverToken
}

// runServe opens a store and serves it on a port of the loopback interface, until standard input ends. It says where on
// standard output.
func runServe(_ context.Context, j job) ([]row, error) {
	db, err := audit.Open(j.Dir)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	handler := web.Handler(db, web.Options{
		Tokens: onlyToken{},
		// Records have made-up times. The pages that show the last hour are to show the hour before the newest record.
		Now:       func() time.Time { return time.UnixMilli(firstTime + int64(j.N)) },
		MaxFuture: -1,
	})
	s := &http.Server{Handler: handler}
	told := untilTold()
	go func() {
		<-told
		handler.Drain()
		s.Shutdown(context.Background())
	}()
	if err := json.NewEncoder(os.Stdout).Encode(listener.Addr().String()); err != nil {
		return nil, err
	}
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return nil, errors.Join(err, db.Close())
	}
	return []row{}, db.Close()
}

// server is a process that serves a store.
type server struct {
	*attached
	address string
}

func startServer(ctx context.Context, j job) (*server, error) {
	j.Step = "serve"
	process, err := attach(ctx, j)
	if err != nil {
		return nil, err
	}
	s := &server{attached: process}
	line, err := s.out.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &s.address)
	}
	if err != nil {
		return nil, fmt.Errorf("the server was to say where it listens: %w", errors.Join(err, s.close()))
	}
	return s, nil
}

func (s *server) servers() []int { return []int{s.pid} }

// close ends the server, which closes its store.
func (s *server) close() error {
	_, err := s.end()
	return err
}
