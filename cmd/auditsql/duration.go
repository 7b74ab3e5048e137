package main

import (
	"time"

	"github.com/auditsql/auditsql/internal/when"
)

// A durationFlag is a length of time, with days and weeks besides what Go reads.
type durationFlag struct{ time.Duration }

func (f *durationFlag) String() string {
	if f.Duration == 0 {
		return ""
	}
	return when.FormatDuration(f.Duration)
}

func (f *durationFlag) Type() string { return "duration" }

func (f *durationFlag) Set(s string) (err error) {
	f.Duration, err = when.ParseDuration(s)
	return err
}
