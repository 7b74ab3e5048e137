package main

import (
	"context"
	"io"
	"os"

	"github.com/auditsql/auditsql/internal/importing"
)

// guard keeps this run from writing to a file that it reads, and to a file of a store.
func (a *app) guard() *importing.Guard {
	return &importing.Guard{Dir: a.dir, In: a.in, Out: a.out, Err: a.err}
}

// checkOutputFile is importing.Guard.CheckOutput.
func (a *app) checkOutputFile(flag, name string, force bool, inputs map[string]os.FileInfo) error {
	return tryingInstead(a.guard().CheckOutput(flag, name, force, inputs))
}

// checkOverwritten is importing.Guard.CheckOverwritten.
func (a *app) checkOverwritten(flag, name string, about os.FileInfo, inputs map[string]os.FileInfo) error {
	return tryingInstead(a.guard().CheckOverwritten(flag, name, about, inputs))
}

// createOutputFile is importing.Guard.CreateOutput.
func (a *app) createOutputFile(ctx context.Context, flag, name string, force bool, inputs map[string]os.FileInfo) (*importing.OutputFile, error) {
	f, err := a.guard().CreateOutput(ctx, flag, name, force, inputs)
	return f, tryingInstead(err)
}

func (a *app) storeFile(about os.FileInfo) string { return a.guard().StoreFile(about) }

func (a *app) storeAround(name string) string { return a.guard().StoreAround(name) }

// checkStreams refuses to print into the file that is standard input, and into a file of the store. A shell that
// redirects into a file with > empties it before this program runs. Then all that is left is to say so, and to do no
// more damage.
func (a *app) checkStreams() error {
	return a.checkPrinted(func(stream string, about os.FileInfo) error {
		if in := importing.Regular(a.in); in != nil && os.SameFile(in, about) {
			return trying(usage("%s and standard input are the same file; the shell may have emptied it", stream), "another file for the output")
		}
		if name := a.storeFile(about); name != "" {
			return trying(usage("%s is %s, a file of the store; the shell empties a file when it redirects into it with >", stream, name),
				"another file for the output; auditsql -d %s verify says what is damaged", shellQuote(a.dir))
		}
		return nil
	})
}

// checkInput refuses a file to read that is also what the command prints into.
func (a *app) checkInput(name string, is os.FileInfo) error {
	return a.checkPrinted(func(stream string, about os.FileInfo) error {
		if os.SameFile(is, about) {
			return trying(usage("%s is also %s; the shell may have emptied it", name, stream), "another file for the output")
		}
		return nil
	})
}

// checkPrinted asks refuse about standard output and standard error, if they are regular files. When standard error is
// refused, nothing is printed into it, not even the reason: there is only the exit code.
func (a *app) checkPrinted(refuse func(stream string, about os.FileInfo) error) error {
	if about := importing.Regular(a.err); about != nil {
		if err := refuse("standard error", about); err != nil {
			a.err = io.Discard
			return err
		}
	}
	if about := importing.Regular(a.out); about != nil {
		return refuse("standard output", about)
	}
	return nil
}
