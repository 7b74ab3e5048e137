package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are 1.6 % wide. So its size does not depend on how many were measured. A
// list of ten million latencies would be most of the measured memory of a process.
type histogram struct {
	counts [buckets]uint32
	n      uint64
	max    time.Duration
}

const (
	fine    = 6 // bits of a duration that are kept behind its first
	buckets = (40 - fine + 1) << fine
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(0, bits.Len64(v)-fine-1)
	return min(shift<<fine+int(v>>shift), buckets-1)
}

// valueOf returns the middle of a bucket.
func valueOf(bucket int) time.Duration {
	shift := max(0, bucket>>fine-1)
	low := uint64(bucket-shift<<fine) << shift
	return time.Duration(low + 1<<shift>>1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile returns, in milliseconds, the duration that a share p of all durations does not exceed.
func (h *histogram) quantile(p float64) float64 {
	if h.n == 0 {
		return 0
	}
	want := uint64(p*float64(h.n-1)) + 1
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += uint64(c); seen >= want {
			return ms(min(valueOf(i), h.max))
		}
	}
	return ms(h.max)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
