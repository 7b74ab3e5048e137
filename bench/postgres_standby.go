package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A put to a server with standbys is synced by that server and by one of the two standbys when it returns, whichever is the first. So it
// is on the disks of a majority of three, as it is with a log of three replicas.
const postgresStandbys = 2

// replicating is what the configuration of a server with standbys has otherwise.
var replicating = []string{
	"wal_level = replica",
	"max_wal_senders = 8",
	"wal_keep_size = 8GB", // a standby never lacks what it has not read yet
	"synchronous_standby_names = 'ANY 1 (standby1, standby2)'",
	// Three servers share the memory of one machine.
	"shared_buffers = 1GB",
}

// startPostgresWithStandbys starts a server, and two more ones with a copy each of its data. It makes them first if there are none.
func startPostgresWithStandbys(dir string) (_ *postgresServer, err error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	p := &postgresServer{data: postgresData(dir)}
	_, err = os.Stat(filepath.Join(p.data, "PG_VERSION"))
	fresh := err != nil
	if fresh {
		if err := p.create(bin); err != nil {
			return nil, fmt.Errorf("make a database in %s: %w", p.data, err)
		}
		if err := p.configure(replicating...); err != nil {
			return nil, err
		}
	}
	// The address of a socket is at most 107 bytes long, and the folder of the data may have a longer path.
	sockets, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	p.sockets = sockets
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	if err := p.configure("unix_socket_directories = '., " + sockets + "'"); err != nil {
		return nil, err
	}
	if err := p.start(bin); err != nil {
		return nil, err
	}
	for i := range postgresStandbys {
		name := fmt.Sprintf("standby%d", i+1)
		s := &postgresServer{data: postgresData(filepath.Join(dir, name))}
		if fresh {
			if err := s.copyOf(bin, sockets); err != nil {
				return nil, fmt.Errorf("copy the database to %s: %w", s.data, err)
			}
		}
		// Of two settings with one name the last one counts.
		if err := s.configure("unix_socket_directories = '.'", "synchronous_standby_names = ''",
			fmt.Sprintf("primary_conninfo = 'host=%s user=%s application_name=%s'", sockets, postgresUser, name)); err != nil {
			return nil, err
		}
		if err := s.start(bin); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		p.standbys = append(p.standbys, s)
	}
	return p, p.awaitStandbys()
}

// copyOf makes the data of a standby: a copy of that of the server whose socket is in a folder.
func (p *postgresServer) copyOf(bin, sockets string) error {
	if err := os.MkdirAll(filepath.Dir(p.data), 0o700); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "pg_basebackup"), "--host", sockets, "--username", postgresUser, "--pgdata", p.data,
		"--wal-method", "stream", "--checkpoint", "fast")
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	// The socket is in the folder of the data, and the file that locks it was copied.
	if err := os.Remove(filepath.Join(p.data, ".s.PGSQL.5432.lock")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(p.data, "standby.signal"), nil, 0o600)
}

// configure adds settings to those of a server that does not run.
func (p *postgresServer) configure(settings ...string) error {
	f, err := os.OpenFile(filepath.Join(p.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(settings, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// awaitStandbys waits until each standby follows the server, and the server waits for one of them with each commit.
func (p *postgresServer) awaitStandbys() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := dialPostgres(filepath.Dir(p.data), 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for n := 0; ; {
		// A statement that writes nothing waits for no standby.
		err := pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'`).Scan(&n)
		if err == nil && n == postgresStandbys {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d standbys follow: %w", n, postgresStandbys, errors.Join(err, ctx.Err()))
		}
	}
}
