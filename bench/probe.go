package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// probe measures what this process and the servers of its store use between begin and end. On a system without /proc the
// figures that come from there are 0.
type probe struct {
	began   time.Time
	servers func() []int // processes that do the store's work beside this one; nil: none
	cpu     time.Duration
	apart   time.Duration // of cpu that of the servers
	written int64
	device  func() int64 // bytes that the disk below the store has been given, by anybody
	before  int64
	anon    float64 // megabytes, the highest sample
	stop    chan struct{}
	stopped chan struct{}
}

// sampleEvery is the time between two samples of the anonymous memory. The kernel does not record its peak.
const sampleEvery = 100 * time.Millisecond

// begin begins to measure a store, which may be nil.
func begin(dir string, s store) *probe {
	// The kernel now begins a new peak of resident memory.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	p := &probe{stop: make(chan struct{}), stopped: make(chan struct{}), device: deviceOf(dir)}
	p.of(s)
	p.apart, p.written = p.serverCPU(), p.hasWritten()
	p.cpu = p.apart + cpu()
	p.before, p.began = p.device(), time.Now()
	p.anon = status("RssAnon")
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.anon = max(p.anon, status("RssAnon"))
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// end sets the figures of a row, for n operations that put so many payload bytes.
func (p *probe) end(r *row, n int, payload int64) {
	took := time.Since(p.began)
	close(p.stop)
	<-p.stopped
	r.N, r.Seconds = n, took.Seconds()
	apart := p.serverCPU()
	r.CPU = (apart + cpu() - p.cpu).Seconds()
	if n > 0 {
		r.ServerCPUPer = (apart - p.apart).Seconds() * 1e6 / float64(n)
	}
	r.RSS, r.Anon = status("VmHWM"), max(p.anon, status("RssAnon"))
	if p.servers != nil {
		rss, anon := memoryOf(p.servers())
		r.RSS, r.Anon = r.RSS+rss, r.Anon+anon
	}
	r.Payload, r.Written = float64(payload)/1e6, float64(p.hasWritten()-p.written)/1e6
	p.disk(r)
	r.rates()
}

// disk sets the bytes that have been written up to now.
func (p *probe) disk(r *row) {
	r.Device = float64(p.device()-p.before) / 1e6
	if r.Payload > 0 {
		r.WrittenPer, r.DevicePer = r.Written/r.Payload, r.Device/r.Payload
	}
}

// rates sets the figures that follow from N and Seconds.
func (r *row) rates() {
	if r.N > 0 && r.Seconds > 0 {
		r.PerSecond = float64(r.N) / r.Seconds
		r.CPUPer = r.CPU * 1e6 / float64(r.N)
	}
}

func (r *row) latencies(h *histogram) {
	r.P50, r.P95, r.P99, r.P999, r.Max = h.quantile(.5), h.quantile(.95), h.quantile(.99), h.quantile(.999), ms(h.max)
}

// of adds the servers of a store to what is measured.
func (p *probe) of(s store) {
	if s, ok := s.(served); ok {
		p.servers = s.servers
	}
}

// serverCPU returns the processor time that the servers have used.
func (p *probe) serverCPU() time.Duration {
	if p.servers == nil {
		return 0
	}
	return cpuOf(p.servers())
}

// hasWritten returns the bytes that this process and the servers have caused to be written to disk.
func (p *probe) hasWritten() int64 {
	n := written()
	if p.servers != nil {
		n += writtenBy(p.servers())
	}
	return n
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// written returns the bytes that this process has caused to be written to disk.
func written() int64 { return writtenBy([]int{os.Getpid()}) }

// deviceOf returns a function that reads how many bytes were written to the device of a folder since the machine was
// started. It returns 0 where that is not known.
func deviceOf(dir string) func() int64 {
	none := func() int64 { return 0 }
	fi, err := os.Stat(dir)
	if err != nil {
		return none
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return none
	}
	dev := uint64(st.Dev)
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	file := fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor)
	return func() int64 {
		content, err := os.ReadFile(file)
		fields := strings.Fields(string(content))
		if err != nil || len(fields) < 7 {
			return 0
		}
		sectors, _ := strconv.ParseInt(fields[6], 10, 64)
		return sectors * 512
	}
}

// status returns a size from /proc/self/status in megabytes.
func status(name string) float64 {
	kb, _ := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/self/status", name), " kB"), 64)
	return kb * 1024 / 1e6
}

// procField returns the value of a line "name: value".
func procField(file, name string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// diskMB returns the space that the files below dir take on disk, in megabytes. It counts blocks, because some stores make
// their files longer than their contents.
func diskMB(dir string) float64 {
	total := int64(0)
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a file that a store has just removed
		}
		if fi, err := d.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512
			} else {
				total += fi.Size()
			}
		}
		return nil
	})
	return float64(total) / 1e6
}
