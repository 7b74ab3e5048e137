package jetstream_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

var powerCuts = flag.Int("powercuts", 0, "how many power cuts TestPowerCuts makes of each kind; it needs root")

// disk is a file system of its own, in a file, whose power can be cut.
type disk struct {
	t     *testing.T
	image string
	dir   string
	on    bool
}

func newDisk(t *testing.T, name string) *disk {
	t.Helper()
	d := &disk{t: t, image: name + ".img", dir: name}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(512 << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.do("mkfs.ext4", "-q", "-F", d.image)
	d.mount()
	t.Cleanup(func() {
		if d.on {
			d.unmount()
		}
	})
	return d
}

func (d *disk) do(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (d *disk) mount() {
	d.t.Helper()
	d.do("mount", "-o", "loop", d.image, d.dir)
	d.on = true
}

func (d *disk) unmount() {
	d.t.Helper()
	d.do("umount", d.dir)
	d.on = false
}

// cut does to the file system what the loss of power does: nothing more reaches its disk, neither data nor its own journal.
func (d *disk) cut() {
	d.t.Helper()
	const (
		shutdown     = 0x8004587d // EXT4_IOC_SHUTDOWN
		withoutFlush = uint32(2)  // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	how := withoutFlush
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Fatalf("shut down %s: %v", d.dir, errno)
	}
}

// The power of all three servers fails at once. With each write synced nothing that was acknowledged is lost. With the default interval
// some of it must be, or this test does not cut anything.
func TestPowerCuts(t *testing.T) {
	if *powerCuts == 0 {
		t.Skip("-powercuts says how many")
	}
	for _, way := range []struct {
		name    string
		Default bool
	}{{"always", false}, {"default", true}} {
		t.Run(way.name, func(t *testing.T) {
			var acknowledged, lost, wrong int
			for range *powerCuts {
				a, l, w := powerCut(t, way.Default)
				acknowledged, lost, wrong = acknowledged+a, lost+l, wrong+w
			}
			t.Logf("sync_interval %s: %d power cuts of all three servers, %d acknowledged, lost %d, wrong %d", way.name, *powerCuts, acknowledged, lost, wrong)
			switch {
			case wrong > 0:
				t.Error("a message was replaced")
			case !way.Default && lost > 0:
				t.Error("acknowledged messages were lost")
			case way.Default && lost == 0:
				t.Error("nothing was lost with the default interval, so the power was not cut")
			}
		})
	}
}

// powerCut cuts the power of all servers once under load.
func powerCut(t *testing.T, byDefault bool) (acknowledged, lost, wrong int) {
	t.Helper()
	home, err := os.MkdirTemp("", "auditsql-power-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	var disks []*disk
	c := startServers(t, 3, func(s *serverSpec) {
		d := newDisk(t, filepath.Join(home, s.Name))
		disks = append(disks, d)
		s.Dir, s.Default = filepath.Join(d.dir, "server"), byDefault
	})
	defer func() {
		for i := range c.specs {
			c.kill(i)
		}
		for _, d := range disks {
			d.unmount()
		}
		os.RemoveAll(home)
	}()
	c.initStream(jetstream.Spec{})
	l := c.open()
	const clients, enough = 16, 4000
	var mu sync.Mutex
	acked := map[uint64]string{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reached := make(chan struct{})
	var running sync.WaitGroup
	for of := range clients {
		running.Go(func() {
			for i := of; ctx.Err() == nil; i += clients {
				raw, _ := sample(i).Canonical()
				one, done := context.WithTimeout(ctx, 10*time.Second)
				a := l.Append(one, []cluster.Message{cluster.NewRecord(sample(i).QueryID, raw)})[0]
				done()
				if a.Err != nil || a.Duplicate {
					continue
				}
				mu.Lock()
				if acked[a.Sequence] = string(raw); len(acked) == enough {
					close(reached)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-reached:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%d puts were acknowledged", len(acked))
	}
	for _, d := range disks {
		d.cut()
	}
	cancel()
	running.Wait()
	for i, d := range disks {
		c.kill(i)
		d.unmount()
		d.mount()
	}
	for i := range c.specs {
		c.start(i)
	}
	c.ready()
	have := whatIsLeft(t, c)
	for seq, raw := range acked {
		switch h, ok := have[seq]; {
		case !ok:
			lost++
		case h != raw:
			wrong++
		}
	}
	return len(acked), lost, wrong
}

// whatIsLeft reads the stream after the servers have found each other. There may be none any more.
func whatIsLeft(t *testing.T, c *servers) map[uint64]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var why error
	for {
		have, err := readAll(ctx, c)
		if err == nil {
			return have
		}
		why = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Logf("the stream cannot be read any more: %v", why)
			return nil
		}
	}
}

func readAll(ctx context.Context, c *servers) (map[uint64]string, error) {
	l, err := jetstream.Open(ctx, c.options())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	b, err := l.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	have := map[uint64]string{}
	for next := b.First; next <= b.Last; {
		ms, err := l.Read(ctx, "", next, 2000)
		if err != nil {
			return nil, err
		}
		if len(ms) == 0 {
			return nil, fmt.Errorf("nothing from message %d on, and the stream ends at %d", next, b.Last)
		}
		for _, m := range ms {
			have[m.Sequence], next = string(m.Payload), m.Sequence+1
		}
	}
	return have, nil
}
