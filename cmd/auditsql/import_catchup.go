package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
)

// catchUp is import --catch-up.
func (a *app) catchUp(ctx context.Context, names []string) error {
	if len(names) > 1 {
		return usage("--catch-up takes one FILE: an export, which has its records in their order")
	}
	name := names[0]
	if name == "-" {
		return usage("--catch-up reads its FILE twice, and standard input can be read once")
	}
	about, err := os.Stat(name)
	if err == nil && !about.Mode().IsRegular() {
		return usage("--catch-up reads %s twice, so it must be a file", name)
	}
	if err == nil {
		err = a.checkInput(name, about)
	}
	if err != nil {
		return err
	}
	read := new(atomic.Int64)
	bar := a.progress("comparing", about.Size(), true)
	report, err := audit.CatchUp(ctx, a.dir, audit.CatchUpOptions{
		Open: func() (io.ReadCloser, error) {
			file, err := importing.Uninterrupted(ctx, func() (*os.File, error) { return os.Open(name) })
			if err != nil {
				return nil, err
			}
			read.Store(0)
			text, err := ingest.Decompress(importing.Counted{In: file, N: read})
			if err != nil {
				file.Close()
				return nil, err
			}
			return readCloser{text, file}, nil
		},
		Progress: func(stage string, lines uint64) {
			bar.At(read.Load(), fmt.Sprintf("%s, %s lines", stage, humanize.Comma(int64(lines))))
		},
	}, audit.WithLockWait(a.lockWait.Duration))
	bar.End()
	a.noteRecovery(report.Recovery)
	if err != nil {
		return err
	}
	them := "them"
	if report.Beyond == 1 {
		them = "it"
	}
	switch {
	case report.Stored == 0:
		a.note("nothing is missing: the store has the %s that were signed", plural(report.Signed.Size, "record", "records"))
	case report.Beyond > 0:
		a.note("%s left out; auditsql -d %s import --max-future 0 %s stores %s",
			plural(report.Beyond, "line after the signed records was", "lines after the signed records were"), shellQuote(a.dir), shellQuote(name), them)
	}
	return a.facts(a.form(""),
		fact("had", "records before", tui.Number(report.Had)),
		fact("stored", "records put back", tui.Number(report.Stored)),
		fact("signed", "signed", tui.Number(report.Signed.Size)),
		fact("left_out", "lines left out", tui.Number(report.Beyond)))
}

// readCloser reads from one and closes the other.
type readCloser struct {
	io.Reader
	io.Closer
}
