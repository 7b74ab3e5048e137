package wal_test

import (
	"context"

	"github.com/auditsql/auditsql/wal"
)

// Programs are compiled against these signatures. A change of one of them breaks these programs, so it must not compile here either.
var (
	_ func(string, wal.Options) (*wal.Journal, wal.Recovery, error)                          = wal.Open
	_ func(*wal.Journal, context.Context, []byte) (wal.Offset, error)                        = (*wal.Journal).Append
	_ func(*wal.Journal, context.Context, [][]byte) ([]wal.Offset, error)                    = (*wal.Journal).AppendBatch
	_ func(*wal.Journal, wal.Offset) error                                                   = (*wal.Journal).RemoveBefore
	_ func(string, wal.Offset, wal.Options) (*wal.Reader, error)                             = wal.OpenReader
	_ func(*wal.Reader, context.Context) (wal.Record, error)                                 = (*wal.Reader).Next
	_ func(string, wal.Options) (wal.Report, error)                                          = wal.Verify
	_ func(context.Context, string, wal.Options, func(wal.Record) error) (wal.Report, error) = wal.VerifyContext
	_ func(string, wal.RepairOptions) (wal.RepairReport, error)                              = wal.Repair

	_ uint64 = uint64(wal.Offset(0))
	_ error  = (*wal.CorruptError)(nil)
	_        = []error{wal.ErrFailed, wal.ErrGap, wal.ErrAhead, wal.ErrTrimmed, wal.ErrRewound}
)
