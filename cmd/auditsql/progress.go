package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress is a bar on a terminal's standard error, and nothing elsewhere. It is used by one goroutine.
type progress struct {
	a   *app
	bar *progressbar.ProgressBar
	max int64
}

// progress begins a bar of total steps; -1 is an unknown number. With bytes the steps are bytes.
func (a *app) progress(what string, total int64, bytes bool) *progress {
	if !a.errTerm.is || !a.errTerm.color {
		return &progress{a: a}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSpinnerType(14),
	}
	if bytes {
		options = append(options, progressbar.OptionShowCount(), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	}
	bar := progressbar.NewOptions64(total, options...)
	_ = bar.RenderBlank()
	return &progress{a: a, bar: bar, max: total}
}

// at moves the bar. A bar that is full would be taken away, so it stops one step before.
func (p *progress) at(done int64, what string) {
	if p.bar == nil {
		return
	}
	if p.max > 0 {
		done = min(done, p.max-1)
	}
	p.bar.Describe(what)
	_ = p.bar.Set64(done)
}

// total sets how many steps there are, once that is known.
func (p *progress) total(n int64) {
	if p.bar != nil && n > 0 && p.max != n {
		p.max = n
		p.bar.ChangeMax64(n)
	}
}

// say prints a line on standard error without leaving pieces of the bar before it.
func (p *progress) say(line string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.a.err, line)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
	}
}
