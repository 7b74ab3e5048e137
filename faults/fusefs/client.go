package fusefs

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrUnsupported means that this machine or this user cannot mount FUSE file systems.
var ErrUnsupported = errors.New("no FUSE file system can be mounted here")

// FS is a mounted file system and the daemon that serves it.
type FS struct {
	dir    string
	daemon *exec.Cmd
	stdin  io.Closer
}

// Start starts the daemon with the running program, whose main must call Main first.
func Start() (*FS, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", ErrUnsupported)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnsupported, err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fusefs-")
	if err != nil {
		return nil, err
	}
	f := &FS{dir: dir}
	if err := f.start(program); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return f, nil
}

func (f *FS) start(program string) error {
	if err := os.Mkdir(f.Mount(), 0o700); err != nil {
		return err
	}
	f.daemon = exec.Command(program)
	f.daemon.Env = append(os.Environ(), daemonEnv+"="+f.dir)
	f.daemon.Stderr = os.Stderr
	stdin, err := f.daemon.StdinPipe()
	if err != nil {
		return err
	}
	f.stdin = stdin
	stdout, err := f.daemon.StdoutPipe()
	if err != nil {
		return err
	}
	if err := f.daemon.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line = strings.TrimSpace(line); line == ready {
		return nil
	}
	if err == io.EOF {
		err = nil
	}
	if strings.Contains(line, "not permitted") {
		err = ErrUnsupported
	}
	return errors.Join(fmt.Errorf("mount %s: %s", f.Mount(), line), err, f.stdin.Close(), f.daemon.Wait())
}

// Mount returns the mount point.
func (f *FS) Mount() string { return filepath.Join(f.dir, mountName) }

// Close unmounts the file system, even if some process has files of it open.
func (f *FS) Close() error {
	f.stdin.Close()
	err := f.daemon.Wait()
	return errors.Join(err, os.RemoveAll(f.dir))
}

// Files are the files of a disk: their contents by path from "/". A path that ends with "/" is a folder.
type Files map[string][]byte

// Machine is a disk and the life that uses it now: everything between two crashes. Several goroutines may call its methods;
// the calls wait for each other.
type Machine struct {
	fs *FS

	mu   sync.Mutex
	conn net.Conn
	in   *gob.Decoder
	out  *gob.Encoder
	now  response
}

// Machine makes a machine whose disk has these files, all of them durable. The seed decides what power cuts leave.
func (f *FS) Machine(seed uint64, files Files) (*Machine, error) {
	conn, err := net.Dial("unix", filepath.Join(f.dir, socketName))
	if err != nil {
		return nil, err
	}
	m := &Machine{fs: f, conn: conn, in: gob.NewDecoder(conn), out: gob.NewEncoder(conn)}
	if _, err := m.ask(request{Op: "machine", Seed: seed, Files: files}); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) ask(req request) (response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.out.Encode(req)
	var rep response
	if err == nil {
		err = m.in.Decode(&rep)
	}
	if err == nil && rep.Err != "" {
		err = errors.New(rep.Err)
	}
	if err != nil {
		return rep, fmt.Errorf("fusefs: %s: %w", req.Op, err)
	}
	m.now = rep
	return rep, nil
}

func (m *Machine) must(req request) response {
	rep, err := m.ask(req)
	if err != nil {
		panic(err) // the daemon is gone
	}
	return rep
}

// Drop ends the machine and deletes its disk.
func (m *Machine) Drop() error { return m.conn.Close() }

// Dir returns the folder of the current life: the root of the disk.
func (m *Machine) Dir() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return filepath.Join(m.fs.Mount(), m.now.Life)
}

// Plan says which of the next calls fail. It replaces the previous plan, and reports whether a fault of the previous plan
// has struck. No fault of that plan can strike after Plan has returned.
func (m *Machine) Plan(p ...Fault) (struck bool) {
	return slices.ContainsFunc(m.must(request{Op: "plan", Plan: p}).Struck, func(n int) bool { return n > 0 })
}

// TellCallerAlone makes the disk one that reports a failed sync to the call that failed, and to no other program or handle that has
// the file open: so do Linux before 4.13, some network file systems, and other systems than Linux.
func (m *Machine) TellCallerAlone() { m.must(request{Op: "caller alone"}) }

// Kill ends the life, keeps everything that was written, and begins the next life. From then on [Machine.Dir] is another
// folder.
func (m *Machine) Kill() { m.must(request{Op: "kill"}) }

// PowerCut ends the life, keeps what is durable and a random choice of what is not, and begins the next life. If the plan
// has ended the life already, PowerCut only begins the next one.
func (m *Machine) PowerCut() { m.must(request{Op: "cut"}) }

// State describes the calls of a machine.
type State struct {
	Dead   bool     // the plan has ended the life
	Calls  int      // over all lives
	Met    []int    // how many calls have matched each fault of the plan
	Struck []int    // and at how many of them it has struck
	Log    []string // the last calls
}

// State returns the state now.
func (m *Machine) State() State {
	r := m.must(request{Op: "state"})
	return State{r.Dead, r.Calls, r.Met, r.Struck, r.Log}
}

// Await returns when n more calls have matched the fault, whatever its verdict is. Other methods wait meanwhile.
func (m *Machine) Await(f Fault, n int) { m.must(request{Op: "wait", Fault: f, N: n}) }

// Remark adds a line to the log of calls.
func (m *Machine) Remark(format string, args ...any) {
	m.must(request{Op: "remark", Fault: Fault{Name: fmt.Sprintf(format, args...)}})
}

// Files returns the files of the disk as a program reads them. Another machine can begin with them.
func (m *Machine) Files() Files { return m.must(request{Op: "files"}).Files }
