package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// job is one measurement, or a step that prepares one. Each runs in a process of its own, so that memory, CPU time and
// written bytes are those of one store, and no store inherits the heap of another.
type job struct {
	Step    string  `json:"step"` // of steps
	Store   string  `json:"store"`
	Variant string  `json:"variant"`
	Dir     string  `json:"dir"`   // the store's folder
	Input   string  `json:"input"` // NDJSON, of import
	Writers int     `json:"writers"`
	Readers int     `json:"readers"`
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"` // of measuring, at most
	Seed    uint64  `json:"seed"`
	Shape   shape   `json:"shape"`
	Profile string  `json:"profile"` // folder for a CPU profile; "": none
	Only    string  `json:"only"`    // the one variant of http that is measured; "": all
}

func (j job) world() world { return world{j.Seed, j.Shape} }

func (j job) span() time.Duration { return time.Duration(j.Seconds * float64(time.Second)) }

func (j job) open() (store, error) {
	k, err := kindOf(j.Store)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return nil, err
	}
	return k.open(settings{
		dir: j.Dir, writers: j.Writers, shared: j.Step == "observe", whole: j.Variant == afterDelete, standbys: j.Variant == withStandbys,
		profile: j.Profile,
	})
}

// steps are the jobs that a child process can run. It returns rows to the parent.
var steps = map[string]func(context.Context, job) ([]row, error){
	"put":       runPut,
	"sustained": runSustained,
	"import":    runImport,
	"load":      runLoad,
	"get":       runRead,
	"agent100":  runRead,
	"recent100": runRead,
	"impact":    runRead,
	"mixed":     runMixed,
	"observe":   runObserve,
	"victim":    runVictim,
	"replay":    runReplay,
	"prove":     runProve,
	"check":     runCheck,
	"verify":    runVerify,
	"http":      runHTTP,
	"pages":     runPages,
	"serve":     runServe,
	"tails":     runTails,
	"ndjson":    runNDJSON,
	"cluster":   runCluster,
	"nats":      runNATS,
	"follow":    runFollow,
}

// childFlag begins the arguments of a child process; a job in JSON follows.
const childFlag = "-child"

// child runs the job that the parent has passed, and prints its rows.
func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	step, ok := steps[j.Step]
	if !ok {
		return fmt.Errorf("unknown step %q", j.Step)
	}
	rows, err := profiled(j, func() ([]row, error) { return step(context.Background(), j) })
	if err != nil {
		return fmt.Errorf("%s of %s: %w", j.Step, j.Store, err)
	}
	return json.NewEncoder(os.Stdout).Encode(rows)
}

// profiled writes a CPU profile of f, if the job asks for one. Each round overwrites the profile of the one before.
func profiled(j job, f func() ([]row, error)) ([]row, error) {
	if j.Profile == "" {
		return f()
	}
	if err := os.MkdirAll(j.Profile, 0o755); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-%s-%d.pprof", j.Step, j.Store, max(j.Writers, j.Readers))
	if j.Variant != "" {
		name = j.Variant + "-" + name
	}
	out, err := os.Create(filepath.Join(j.Profile, name))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	rows, err := f()
	pprof.StopCPUProfile()
	return rows, errors.Join(err, out.Close())
}

// command returns the child process for a job.
func command(ctx context.Context, j job) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, childFlag, string(text))
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// run runs a job in a process of its own and returns its rows.
func run(ctx context.Context, j job) ([]row, error) {
	cmd, err := command(ctx, j)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", j.Step, j.Store, errors.Join(ctx.Err(), err))
	}
	var rows []row
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("%s of %s answered %q: %w", j.Step, j.Store, out, err)
	}
	return rows, nil
}

// attached is a job that runs beside this one, in a process of its own, until it is told to end.
type attached struct {
	pid  int
	stop io.Closer
	out  *bufio.Reader
	wait func() error
	kill func() error // ends it at once, as the death of its process does
}

// attach starts a job that ends when its standard input does.
func attach(ctx context.Context, j job) (*attached, error) {
	cmd, err := command(ctx, j)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	kill := func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return err
	}
	return &attached{cmd.Process.Pid, in, bufio.NewReader(out), cmd.Wait, kill}, nil
}

// isReady waits until the job says that it is ready.
func (a *attached) isReady() error {
	said := make([]byte, len(ready))
	if _, err := io.ReadFull(a.out, said); err != nil || string(said) != ready {
		_, eerr := a.end()
		return fmt.Errorf("it was to say that it is ready, and said %q: %w", said, errors.Join(err, eerr))
	}
	return nil
}

// untilTold returns a channel that is closed when standard input ends.
func untilTold() <-chan struct{} {
	told := make(chan struct{})
	go func() {
		defer close(told)
		io.Copy(io.Discard, os.Stdin)
	}()
	return told
}

// end tells the job to end and returns its rows.
func (a *attached) end() (rows []row, err error) {
	err = a.stop.Close()
	if derr := json.NewDecoder(a.out).Decode(&rows); derr != nil {
		err = errors.Join(err, fmt.Errorf("read its rows: %w", derr))
	}
	return rows, errors.Join(err, a.wait())
}

// kill runs a job until it says on its standard output that it is ready, and kills it there.
func kill(ctx context.Context, j job) error {
	cmd, err := command(ctx, j)
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said := make([]byte, len(ready))
	_, err = io.ReadFull(out, said)
	kerr := cmd.Process.Kill()
	cmd.Wait() // it was killed
	if err != nil || !bytes.Equal(said, []byte(ready)) {
		return fmt.Errorf("%s of %s was to say that it is ready: %w", j.Step, j.Store, errors.Join(err, kerr))
	}
	return kerr
}

const ready = "ready\n"
