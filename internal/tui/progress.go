package tui

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A Progress is a bar on standard error where that is a terminal, and nothing elsewhere. One goroutine may use it.
type Progress struct {
	screen *Screen
	bar    *progressbar.ProgressBar
	max    int64
}

// Progress begins a bar of total steps; -1 is an unknown number. With bytes the steps are bytes.
func (s *Screen) Progress(what string, total int64, bytes bool) *Progress {
	if !s.bars() {
		return &Progress{screen: s}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(s.Err),
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
	return &Progress{screen: s, bar: bar, max: total}
}

// bars reports whether standard error can show a bar.
func (s *Screen) bars() bool { return s.ErrTerm.Is && s.ErrTerm.Color && !s.Quiet }

// At moves the bar. A full bar would disappear, so it stops one step before.
func (p *Progress) At(done int64, what string) {
	if p.bar == nil {
		return
	}
	if p.max > 0 {
		done = min(done, p.max-1)
	}
	p.bar.Describe(what)
	_ = p.bar.Set64(done)
}

// Total sets how many steps there are, once that is known.
func (p *Progress) Total(n int64) {
	if p.bar != nil && n > 0 && p.max != n {
		p.max = n
		p.bar.ChangeMax64(n)
	}
}

// Say prints a line on standard error, without pieces of the bar before it.
func (p *Progress) Say(line string) {
	p.clear()
	fmt.Fprintln(p.screen.Err, line)
}

// clear takes the bar off the screen until it moves again.
func (p *Progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// End removes the bar.
func (p *Progress) End() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
	}
}
