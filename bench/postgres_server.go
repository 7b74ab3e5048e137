package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresServer is a PostgreSQL server of its own: it has its data in the folder of a store, and is started and stopped with
// the store. Nothing but this program can connect to it, because its socket is in that folder too, which is 0700.
type postgresServer struct {
	data string
	cmd  *exec.Cmd
	down chan struct{} // closed when the server has ended; then err is set
	err  error

	standbys []*postgresServer // with a copy of the data
	sockets  string            // a folder for the socket that standbys use; "": none
}

// postgresSettings are what postgresql.conf sets. README.md says why.
var postgresSettings = []string{
	// The promise: a put is on disk when it returns, and a power cut tears no page.
	"fsync = on",
	"synchronous_commit = on",
	"full_page_writes = on",
	// Memory.
	"shared_buffers = 2GB",
	"wal_buffers = 64MB",
	"work_mem = 32MB",
	"maintenance_work_mem = 512MB",
	// A page is written whole into the log at its first change after a checkpoint. So checkpoints are far apart.
	"max_wal_size = 16GB",
	"min_wal_size = 2GB",
	"checkpoint_timeout = 30min",
	"checkpoint_completion_target = 0.9",
	"wal_compression = lz4",
	"wal_level = minimal",
	"max_wal_senders = 0",
	// The statements are few, and each is prepared once.
	"plan_cache_mode = force_generic_plan",
	"jit = off",
	"random_page_cost = 1.1",
	"max_connections = 300",
	"update_process_title = off",
	// The socket is in the data folder, which is the server's working directory.
	"listen_addresses = ''",
	"unix_socket_directories = '.'",
}

// errNoPostgres means that PostgreSQL is not installed.
var errNoPostgres = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")

// postgresPrograms returns the folder with the programs of the newest PostgreSQL that is installed.
func postgresPrograms() (string, error) {
	if name, err := exec.LookPath("initdb"); err == nil {
		// It may be a link, and the other programs are beside what it leads to.
		if name, err = filepath.EvalSymlinks(name); err == nil {
			return filepath.Dir(name), nil
		}
	}
	// Debian keeps the programs of each version apart.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	newest, dir := 0.0, ""
	for _, name := range found {
		bin := filepath.Dir(name)
		version, err := strconv.ParseFloat(filepath.Base(filepath.Dir(bin)), 64)
		if err == nil && version > newest {
			newest, dir = version, bin
		}
	}
	if dir == "" {
		return "", errNoPostgres
	}
	return dir, nil
}

// postgresVersion returns what the server says of its version, or "".
func postgresVersion() string {
	bin, err := postgresPrograms()
	if err != nil {
		return ""
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// unprivileged makes a command run without the rights of root, which PostgreSQL refuses to have. Root's files stay
// readable for it, so no folder changes its owner: in a user namespace of its own the process has root's files and another
// user's number. The number must have a name, because initdb looks it up.
func unprivileged(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		return nil
	}
	var as *user.User
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		if as, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(as.Uid)
	gid, gerr := strconv.Atoi(as.Gid)
	if err = errors.Join(err, gerr); err != nil {
		return err
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: 0, Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: 0, Size: 1}}
	return nil
}

// startPostgres starts the server of a folder, and makes its database first if there is none.
func startPostgres(dir string) (*postgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	p := &postgresServer{data: postgresData(dir)}
	if _, err := os.Stat(filepath.Join(p.data, "PG_VERSION")); err != nil {
		if err := p.create(bin); err != nil {
			return nil, fmt.Errorf("make a database in %s: %w", p.data, err)
		}
	}
	// When this program is killed, its server is killed too, but the server's own processes end a moment later. Until then a
	// new server refuses to start.
	for until := time.Now().Add(10 * time.Second); ; {
		err := p.start(bin)
		if err == nil {
			return p, nil
		}
		if !strings.Contains(err.Error(), "still in use") || time.Now().After(until) {
			return nil, fmt.Errorf("start the server of %s: %w", p.data, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func postgresData(dir string) string { return filepath.Join(dir, "data") }

// create makes an empty database.
func (p *postgresServer) create(bin string) error {
	cmd := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", p.data, "--username", postgresUser, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C")
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return p.configure(postgresSettings...)
}

const postgresUser = "postgres"

// start starts the server and waits until it takes connections.
func (p *postgresServer) start(bin string) error {
	log, err := os.Create(filepath.Join(filepath.Dir(p.data), "server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", p.data)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := unprivileged(p.cmd); err != nil {
		return err
	}
	p.down = make(chan struct{})
	started := make(chan error)
	go func() {
		// The kernel kills the server when the thread ends that started it.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.down)
		}
	}()
	if err := <-started; err != nil {
		p.down = nil
		return err
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-p.down:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%w: %s", errors.Join(p.err, errors.New("the server has ended")), said)
		case <-look.C:
			pool, err := dialPostgres(filepath.Dir(p.data), 1)
			if err != nil {
				continue
			}
			err = pool.Ping(context.Background())
			pool.Close()
			if err == nil {
				return nil
			}
		}
	}
}

// stop ends the server, which then has everything in its files, and its standbys after it.
func (p *postgresServer) stop() (err error) {
	if p.down != nil {
		if err = p.cmd.Process.Signal(syscall.SIGINT); err == nil { // a fast shutdown
			<-p.down
			err = p.err
		}
	}
	for _, s := range p.standbys {
		err = errors.Join(err, s.stop())
	}
	if p.sockets != "" {
		err = errors.Join(err, os.RemoveAll(p.sockets))
	}
	return err
}

// processes returns the ids of the processes of the server and of its standbys.
func (p *postgresServer) processes() []int {
	pids := family(p.cmd.Process.Pid)
	for _, s := range p.standbys {
		pids = append(pids, s.processes()...)
	}
	return pids
}

// dialPostgres connects to the server of a folder, which this or another process has started.
func dialPostgres(dir string, connections int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("host=/ user=" + postgresUser + " dbname=postgres sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(connections)
	config.MaxConnLifetime, config.MaxConnIdleTime = time.Hour, time.Hour
	config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		// The address of a socket is at most 107 bytes long, and the path of a folder may be longer.
		folder, err := os.Open(postgresData(dir))
		if err != nil {
			return nil, err
		}
		defer folder.Close()
		var d net.Dialer
		return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/.s.PGSQL.5432", folder.Fd()))
	}
	return pgxpool.NewWithConfig(context.Background(), config)
}
