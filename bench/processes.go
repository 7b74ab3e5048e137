package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// family returns the ids of a process and of its descendants.
func family(pid int) []int {
	pids := []int{pid}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				pids = append(pids, family(n)...)
			}
		}
	}
	return pids
}

// cpuOf returns the processor time of processes, and of those of their children that have ended. The kernel counts it in
// hundredths of a second.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		// The name of the program is in brackets, and may contain anything.
		_, rest, _ := strings.Cut(string(content[strings.LastIndexByte(string(content), ')'):]), " ")
		fields := strings.Fields(rest)
		const utime, cstime = 11, 14 // after the name
		for i := utime; i <= cstime && i < len(fields); i++ {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// writtenBy returns the bytes that processes have caused to be written to disk.
func writtenBy(pids []int) (sum int64) {
	for _, pid := range pids {
		n, _ := strconv.ParseInt(procField(fmt.Sprintf("/proc/%d/io", pid), "write_bytes"), 10, 64)
		sum += n
	}
	return sum
}

// memoryOf returns the memory that processes have now, in megabytes: all of it, and the part that belongs to no file. What several
// of them share is counted once.
func memoryOf(pids []int) (rss, anon float64) {
	for _, pid := range pids {
		file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		for name, to := range map[string]*float64{"Pss": &rss, "Pss_Anon": &anon} {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(procField(file, name), " kB"), 64)
			*to += kb * 1024 / 1e6
		}
	}
	return rss, anon
}
