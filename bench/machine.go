package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine describes the machine on which the figures were measured.
type machine struct {
	OS         string  `json:"os"`
	Kernel     string  `json:"kernel"`
	Arch       string  `json:"arch"`
	CPU        string  `json:"cpu"`
	CPUs       int     `json:"cpus"`
	MemoryGB   float64 `json:"memory_gb"`
	FileSystem string  `json:"file_system"`
	// SyncMS is the median time of a write of 4 KiB with a sync, in the folder of the measurements.
	SyncMS   float64           `json:"sync_ms"`
	Load     float64           `json:"load_1m"` // when it began: a busy machine measures its neighbours
	Go       string            `json:"go"`
	Versions map[string]string `json:"versions"` // of the other stores
	Date     string            `json:"date"`
	Seed     uint64            `json:"seed"`
	Shape    shape             `json:"shape"`
	LeftOut  string            `json:"left_out"`
}

func look(dir string, p *plan) (machine, error) {
	m := machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		CPU: procField("/proc/cpuinfo", "model name"), Date: time.Now().UTC().Format(time.RFC3339),
		Seed: p.seed, Shape: p.shape, LeftOut: leftOut, Versions: map[string]string{},
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(b), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	kb, _ := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64)
	m.MemoryGB = float64(int(kb*1024/1e8)) / 10
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, d := range build.Deps {
			switch d.Path {
			case "github.com/cockroachdb/pebble/v2", "go.etcd.io/bbolt", "github.com/dgraph-io/badger/v4",
				"modernc.org/sqlite", "github.com/mattn/go-sqlite3", "github.com/jackc/pgx/v5", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go":
				m.Versions[d.Path] = d.Version
			}
		}
	}
	if version := postgresVersion(); version != "" {
		m.Versions["postgres"] = version
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return m, err
	}
	magic := int64(st.Type)
	m.FileSystem = fileSystems[magic]
	if m.FileSystem == "" {
		m.FileSystem = fmt.Sprintf("0x%x", magic)
	}
	var err error
	m.SyncMS, err = syncTime(dir)
	return m, err
}

var fileSystems = map[int64]string{
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", tmpfs: "tmpfs", 0x794c7630: "overlay", 0x2fc12fc1: "zfs",
}

const tmpfs = 0x01021994

// inMemory reports whether a folder is in memory, where a sync costs nothing.
func inMemory(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && int64(st.Type) == tmpfs
}

func syncTime(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var h histogram
	for range 100 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		h.add(time.Since(began))
	}
	return h.quantile(.5), nil
}

func (m machine) String() string {
	return fmt.Sprintf("%s %s, %s, %d × %s, %.1f GB, %s, sync %.2f ms, load %.2f, %s, %s records, seed %d, %s",
		m.OS, m.Kernel, m.Arch, m.CPUs, m.CPU, m.MemoryGB, m.FileSystem, m.SyncMS, m.Load, m.Go, m.Shape, m.Seed, m.Date)
}
