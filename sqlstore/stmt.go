package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
)

// stmt is a prepared statement of the driver itself, for the writer's loops that run millions of times: database/sql
// would check, convert and lock each time. Arguments are int64, float64, []byte, string or nil,
// and are not kept. One goroutine at a time may use it, inside the Raw of its connection.
//
// It runs without a context: the driver would start a goroutine for each run to watch it. The loops check
// their context between records instead.
type stmt struct {
	exe  driver.StmtExecContext
	que  driver.StmtQueryContext
	args []driver.NamedValue
	row  []driver.Value
}

// preparer prepares statements on a connection, until the first error.
type preparer struct {
	conn driver.ConnPrepareContext
	all  []driver.Stmt
	err  error
}

func (p *preparer) prepare(query string) *stmt {
	if p.err != nil {
		return nil
	}
	s, err := p.conn.PrepareContext(context.Background(), query)
	if err != nil {
		p.err = err
		return nil
	}
	p.all = append(p.all, s)
	return &stmt{exe: s.(driver.StmtExecContext), que: s.(driver.StmtQueryContext)}
}

// close finalizes the statements. SQLite keeps a connection half open as long as it has one.
func (p *preparer) close() error {
	var errs []error
	for _, s := range p.all {
		errs = append(errs, s.Close())
	}
	p.all = nil
	return errors.Join(errs...)
}

func (s *stmt) bind(args []any) []driver.NamedValue {
	for len(s.args) < len(args) {
		s.args = append(s.args, driver.NamedValue{Ordinal: len(s.args) + 1})
	}
	for i, a := range args {
		s.args[i].Value = a
	}
	return s.args[:len(args)]
}

func (s *stmt) exec(args ...any) error {
	_, err := s.exe.ExecContext(context.Background(), s.bind(args))
	return err
}

// insert is exec for an INSERT. It returns the row id of the last row.
func (s *stmt) insert(args ...any) (int64, error) {
	done, err := s.exe.ExecContext(context.Background(), s.bind(args))
	if err != nil {
		return 0, err
	}
	return done.LastInsertId()
}

// query returns the first row of the result, valid until the next call, or nil if there is none.
func (s *stmt) query(args ...any) ([]driver.Value, error) {
	rows, err := s.que.QueryContext(context.Background(), s.bind(args))
	if err != nil {
		return nil, err
	}
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
	}
	err = rows.Next(s.row)
	if closing := rows.Close(); err == nil {
		err = closing
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s.row, nil
}

// queryInt is query for one integer column. It returns 0 for NULL and if there is no row.
func (s *stmt) queryInt(args ...any) (int64, error) {
	row, err := s.query(args...)
	if row == nil {
		return 0, err
	}
	n, _ := row[0].(int64)
	return n, nil
}

// each is query for all rows of the result. A row is valid until visit returns.
func (s *stmt) each(visit func(row []driver.Value), args ...any) error {
	rows, err := s.que.QueryContext(context.Background(), s.bind(args))
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err = rows.Next(row); err != nil {
			break
		}
		visit(row)
	}
	if closing := rows.Close(); errors.Is(err, io.EOF) {
		err = closing
	}
	return err
}
