package fusefs

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/auditsql/auditsql/internal/crashfs"
)

// daemonEnv makes a process the daemon; its value is the folder for the mount point and the socket.
const daemonEnv = "AUDITSQL_FUSEFS"

const (
	mountName  = "mnt"
	socketName = "control"
	ready      = "ready"
)

// Main returns at once, unless Start has started this process. Then it serves the file system and does not return. A test
// binary calls it first.
func Main() {
	dir := os.Getenv(daemonEnv)
	if dir == "" {
		return
	}
	if err := serve(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts the file system and serves it until standard input ends. That happens when the process that started this one
// ends. Signals to all processes of a terminal or a job do not end it, because then the mount would stay.
func serve(dir string) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	mnt := filepath.Join(dir, mountName)
	s := newServer()
	fs, err := fuse.NewServer(s, mnt, &fuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, DisableXAttrs: true, DisableReadDirPlus: true,
		ExplicitDataCacheControl: true, FsName: "auditsql-faults", Name: "faults", MaxWrite: 512 << 10, DisableSplice: true,
	})
	if err != nil {
		return err
	}
	go fs.Serve()
	if err := fs.WaitMount(); err != nil {
		return err
	}
	// A process that still has files open gets errors from now on.
	defer func() {
		if err := syscall.Unmount(mnt, syscall.MNT_DETACH); err == nil {
			os.RemoveAll(dir) // also when the parent process was killed
		}
	}()
	socket, err := net.Listen("unix", filepath.Join(dir, socketName))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			go s.control(conn, fs)
		}
	}()
	fmt.Println(ready)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// request is one request to the daemon. Each connection controls one machine.
type request struct {
	Op    string
	Seed  uint64
	Files Files
	Plan  Plan
	Fault Fault
	N     int
}

type response struct {
	Err    string
	Life   string // the folder of the machine's life
	Dead   bool
	Calls  int
	Met    []int
	Struck []int
	Log    []string
	Files  Files
}

// control answers the requests for one machine, one after the other. The machine ends with the connection.
func (s *server) control(conn net.Conn, fs *fuse.Server) {
	defer conn.Close()
	in, out := gob.NewDecoder(conn), gob.NewEncoder(conn)
	var m *machine
	defer func() {
		if m != nil {
			s.drop(m, fs)
		}
	}()
	for {
		var req request
		if in.Decode(&req) != nil {
			return
		}
		var rep response
		var err error
		switch {
		case req.Op == "machine":
			m, err = s.build(req)
		case m == nil:
			err = errors.New("no machine yet")
		default:
			err = s.command(m, req, &rep, fs)
		}
		if err != nil {
			rep.Err = err.Error()
		}
		if m != nil {
			m.mu.Lock()
			rep.Life, rep.Dead, rep.Calls = m.now.name, m.now.p.Dead(), m.disk.Calls()
			m.mu.Unlock()
		}
		if out.Encode(rep) != nil {
			return
		}
	}
}

func (s *server) build(req request) (*machine, error) {
	m := &machine{id: s.ids.Add(1), disk: crashfs.New(req.Seed), judge: &judge{random: rand.New(rand.NewPCG(req.Seed, 6))}}
	if err := load(m.disk, req.Files); err != nil {
		return nil, err
	}
	m.disk.TruncateInOneStep()
	m.disk.Hook(m.judge.verdict)
	s.mu.Lock()
	s.machines[m.id] = m
	s.mu.Unlock()
	s.begin(m)
	return m, nil
}

func (s *server) command(m *machine, req request, rep *response, fs *fuse.Server) error {
	switch req.Op {
	case "plan":
		rep.Struck = m.judge.set(req.Plan)
	case "state":
		rep.Met, rep.Struck, rep.Log = m.judge.state()
	case "caller alone":
		m.callerAlone.Store(true)
	case "wait":
		<-m.judge.wait(req.Fault, req.N)
	case "remark":
		m.judge.remark("%s", req.Fault.Name)
	case "files":
		rep.Files = Files{}
		unload(m.disk, "/", rep.Files)
	case "kill":
		s.restart(m, fs, "killed", m.now.p.Kill)
	case "cut":
		s.restart(m, fs, "power cut", m.disk.PowerCut)
	default:
		return fmt.Errorf("no such request: %s", req.Op)
	}
	return nil
}

// restart ends a machine's life and begins the next.
func (s *server) restart(m *machine, fs *fuse.Server, what string, how func()) {
	m.judge.set(nil)
	m.judge.remark("%s", what)
	was := m.now.name
	s.end(m, how)
	s.begin(m)
	fs.EntryNotify(fuse.FUSE_ROOT_ID, was)
}

func (s *server) drop(m *machine, fs *fuse.Server) {
	was := m.now.name
	s.end(m, m.now.p.Kill)
	m.mu.Lock()
	m.disk, m.judge = nil, nil
	m.mu.Unlock()
	s.mu.Lock()
	delete(s.machines, m.id)
	s.mu.Unlock()
	fs.EntryNotify(fuse.FUSE_ROOT_ID, was)
}
