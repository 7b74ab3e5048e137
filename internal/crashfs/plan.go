package crashfs

import (
	"fmt"
	"syscall"
)

// Op is a kind of call.
type Op string

const (
	OpOpen      Op = "open"
	OpOpenWrite Op = "open to write"
	OpCreate    Op = "create"
	OpRename    Op = "rename"
	OpRemove    Op = "remove"
	OpList      Op = "list"
	OpMkdir     Op = "mkdir"
	OpSyncDir   Op = "sync folder"
	OpLock      Op = "lock"
	OpLocked    Op = "probe lock"
	OpCanonical Op = "canonical"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpTruncate  Op = "truncate"
	OpSync      Op = "sync"
	OpSize      Op = "size"
	OpCurrent   Op = "current"
	OpClose     Op = "close"
	OpUnlock    Op = "unlock"
)

// Changes reports whether the call changes what other processes see.
func (o Op) Changes() bool {
	switch o {
	case OpCreate, OpRename, OpRemove, OpMkdir, OpWrite, OpTruncate, OpLock, OpUnlock:
		return true
	}
	return false
}

// Call is a call that a process is about to make.
type Call struct {
	N       int // counted from 1 over all processes
	Op      Op
	Name    string
	Process *Process
}

func (c Call) String() string { return fmt.Sprintf("call %d: %s %s", c.N, c.Op, c.Name) }

// Verdict says how a call ends.
type Verdict int

const (
	Pass     Verdict = iota
	IO               // it fails with EIO; a sync may have written some of the changes
	NoSpace          // it fails with ENOSPC
	Short            // a write fails with ENOSPC after some of its bytes; for other calls the same as NoSpace
	KillIt           // the process dies in the middle of it
	CutPower         // all processes die, and what was not synced may be lost
)

// Hook lets f decide about every call from now on; nil lets all pass. f is called with the disk's lock held, by one
// goroutine at a time, so it must not call the disk.
func (d *Disk) Hook(f func(Call) Verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = f
}

func (p *Process) call(op Op, name string, do func() error) error {
	return p.callPart(op, name, func(float64) error { return do() })
}

// callPart makes a call that can be done in part: do gets the part, and 1 is all of it. A sync with a part below 1 fails.
func (p *Process) callPart(op Op, name string, do func(part float64) error) error {
	d := p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.dead {
		return fmt.Errorf("%s %s: %w", op, name, ErrDead)
	}
	d.calls++
	v := Pass
	if d.hook != nil {
		v = d.hook(Call{d.calls, op, name, p})
	}
	var err error
	switch v {
	case Pass:
		err = do(1)
	case KillIt, CutPower:
		// The call may have done nothing yet, a part, or everything. A sync is left out: a power cut or a kill decides
		// itself which changes are written.
		if op.Changes() && d.rng.IntN(3) > 0 {
			do(d.rng.Float64() * 1.5)
		}
		if v == KillIt {
			p.kill()
		} else {
			d.powerCut()
		}
		err = ErrDead
	default:
		err = d.fail(op, v, do)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

func (d *Disk) fail(op Op, v Verdict, do func(part float64) error) error {
	switch op {
	case OpWrite:
		if v == Short {
			do(d.rng.Float64())
		}
	case OpSync, OpSyncDir:
		do(0)
	case OpClose, OpUnlock:
		do(1) // the handle is closed, or the lock released, even when the call fails
	}
	if v == IO {
		return syscall.EIO
	}
	return syscall.ENOSPC
}
