// Package foreign runs a second process with connections to SQLite databases. Tests use it for what a shell or another
// program may do to the files of a store. It is a process because SQLite's locks work between processes.
//
// The process executes one command at a time, and ends with the process that started it.
package foreign

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	_ "modernc.org/sqlite"
)

const env = "AUDITSQL_FOREIGN"

type command struct {
	Op   string // open, query, close
	Conn int
	Text string // a path, or SQL
}

type answer struct {
	Conn int
	Rows [][]string
	Err  string
}

// Main returns at once, unless Start has started this process. Then it executes commands and does not return. A test
// binary calls it first.
func Main() {
	if os.Getenv(env) == "" {
		return
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	w := worker{conns: map[int]*sql.Conn{}, pools: map[int]*sql.DB{}}
	for {
		var c command
		if err := in.Decode(&c); err != nil {
			os.Exit(0)
		}
		a, err := w.do(c)
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

type worker struct {
	last  int
	pools map[int]*sql.DB
	conns map[int]*sql.Conn
}

func (w *worker) do(c command) (answer, error) {
	ctx := context.Background()
	if c.Op == "open" {
		pool, err := sql.Open("sqlite", c.Text)
		if err != nil {
			return answer{}, err
		}
		conn, err := pool.Conn(ctx)
		if err != nil {
			return answer{}, errors.Join(err, pool.Close())
		}
		w.last++
		w.pools[w.last], w.conns[w.last] = pool, conn
		return answer{Conn: w.last}, nil
	}
	conn := w.conns[c.Conn]
	if conn == nil {
		return answer{}, fmt.Errorf("no connection %d", c.Conn)
	}
	if c.Op == "close" {
		err := errors.Join(conn.Close(), w.pools[c.Conn].Close())
		delete(w.conns, c.Conn)
		delete(w.pools, c.Conn)
		return answer{}, err
	}
	rows, err := conn.QueryContext(ctx, c.Text)
	if err != nil {
		return answer{}, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return answer{}, err
	}
	var a answer
	for rows.Next() {
		row := make([]string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return a, err
		}
		a.Rows = append(a.Rows, row)
	}
	return a, rows.Err()
}

// Process is the second process. Several goroutines may use it; their calls wait for each other.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu  sync.Mutex
	in  *json.Decoder
	out *json.Encoder
}

// Start starts a process with the running program, whose main must call Main first.
func Start() (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(program)}
	p.cmd.Env = append(os.Environ(), env+"=1")
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = json.NewDecoder(bufio.NewReader(stdout)), json.NewEncoder(p.stdin)
	return p, p.cmd.Start()
}

// Close asks the process to end, and waits for it.
func (p *Process) Close() error {
	p.stdin.Close()
	return p.cmd.Wait()
}

// Kill ends the process at once.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// ErrGone means that the process has ended.
var ErrGone = errors.New("the foreign process is gone")

func (p *Process) do(c command) (answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var a answer
	if err := p.out.Encode(c); err != nil {
		return a, fmt.Errorf("%w: %v", ErrGone, err)
	}
	if err := p.in.Decode(&a); err != nil {
		return a, fmt.Errorf("%w: %v", ErrGone, err)
	}
	if a.Err != "" {
		return a, errors.New(a.Err)
	}
	return a, nil
}

// Conn is a connection of the process.
type Conn struct {
	p  *Process
	id int
}

// Open opens a database with the default settings of SQLite.
func (p *Process) Open(path string) (*Conn, error) {
	a, err := p.do(command{Op: "open", Text: path})
	if err != nil {
		return nil, err
	}
	return &Conn{p, a.Conn}, nil
}

// Do runs one statement and returns its rows.
func (c *Conn) Do(text string) ([][]string, error) {
	a, err := c.p.do(command{Op: "query", Conn: c.id, Text: text})
	return a.Rows, err
}

// Close closes the connection.
func (c *Conn) Close() error {
	_, err := c.p.do(command{Op: "close", Conn: c.id})
	return err
}
