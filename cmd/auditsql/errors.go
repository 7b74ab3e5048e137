package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// The exit codes. A script may rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDamage      = 5
	exitPartly      = 6
	exitLocked      = 7
	exitInterrupted = 130
)

// errInterrupted is the cause of a run's context that a signal ended.
var errInterrupted = errors.New("interrupted")

// An exitError has an exit code of its own, and may say what to try.
type exitError struct {
	code int
	err  error // nil: everything has been printed already
	try  string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error in the command line.
func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// quietly ends the run with a code, and prints nothing.
func quietly(code int) error { return &exitError{code: code} }

// isQuiet reports whether nothing is printed about err.
func isQuiet(err error) bool {
	var e *exitError
	return errors.As(err, &e) && e.err == nil
}

// trying adds to an error what to do about it.
func trying(err error, format string, args ...any) error {
	return &exitError{code: exitCode(err), err: err, try: fmt.Sprintf(format, args...)}
}

// exitCode is the exit code of a run that ends with err.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, audit.ErrLocked), errors.Is(err, sqlstore.ErrBusy):
		return exitLocked
	case isDamage(err):
		return exitDamage
	}
	return exitFailed
}

// isDamage reports whether err refuses a store because acknowledged data is corrupt or missing.
func isDamage(err error) bool {
	var corrupt *wal.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, wal.ErrGap) || errors.Is(err, wal.ErrAhead) || errors.Is(err, wal.ErrForeign) ||
		errors.Is(err, audit.ErrMismatch) || errors.Is(err, audit.ErrDamaged) || errors.Is(err, sqlstore.ErrMalformed)
}

// whatToTry is the advice that goes with an error; "" is none.
func (a *app) whatToTry(cmd *cobra.Command, err error) string {
	var e *exitError
	if errors.As(err, &e) && e.try != "" {
		return e.try
	}
	var link *audit.LinkError
	var owner *audit.OwnerError
	var away *audit.JournalAwayError
	var foreign *audit.ForeignError
	switch {
	case errors.As(err, &link):
		return notLinked(link.Path)
	case errors.As(err, &owner):
		return fmt.Sprintf("sudo -u %s %s -d %s …, as the user whose store it is", shellQuote(owner.Owner()), cmd.CommandPath(), shellQuote(a.dir))
	case errors.As(err, &away):
		return a.bringBack(away)
	case exitCode(err) == exitUsage:
		return fmt.Sprintf("%s --help", cmd.CommandPath())
	case errors.Is(err, audit.ErrNoStore):
		return fmt.Sprintf("-d or AUDITSQL_DIR names another folder, auditsql -d %s init makes a store", shellQuote(a.dir))
	case errors.Is(err, sqlstore.ErrBusy):
		return "it again; another program, perhaps a shell, holds the database's write lock"
	case errors.Is(err, audit.ErrLocked):
		return "--lock-wait 10s waits for it; reading works meanwhile"
	case errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, audit.ErrMismatch):
		return fmt.Sprintf("auditsql -d %[1]s reindex rebuilds the database from the journal, if that reaches back to the first record; auditsql -d %[1]s export --read-only prints what can be read, for import into a new store; auditsql -d %[1]s verify says what is damaged", shellQuote(a.dir))
	case errors.Is(err, wal.ErrForeign):
		return "put the store's own segment back, from a backup or the archive; " + a.showsSQLite()
	case errors.As(err, &foreign):
		return "put the store's own database back, from a backup; without one, move " + shellQuote(foreign.Path) + "* out of the folder: opening the store rebuilds it from the journal, if that reaches back to the first record"
	case errors.Is(err, audit.ErrMismatch):
		return a.showsSQLite() + ", and export --read-only prints it for import into a new store"
	case isDamage(err) && a.lostSQLite():
		return fmt.Sprintf("auditsql -d %s wal repair shows what can be done", shellQuote(a.dir))
	case isDamage(err):
		return fmt.Sprintf("%s, auditsql -d %s wal repair what can be done", a.showsSQLite(), shellQuote(a.dir))
	case errors.Is(err, sqlstore.ErrNewer):
		return "use the newer auditsql; this one has changed nothing"
	case errors.Is(err, syscall.ENOTDIR):
		return "another folder; there is a file in its place"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("ls -ld %s shows who may", shellQuote(permissionPath(a.dir, err)))
	}
	return ""
}

// showsSQLite is how to see what SQLite has, whatever the journal is like: by a flag, if the command has it.
func (a *app) showsSQLite() string {
	with := "--read-only"
	if a.cmd == nil || a.cmd.Flags().Lookup("read-only") == nil {
		with = fmt.Sprintf("auditsql -d %s list --read-only", shellQuote(a.dir))
	}
	return with + " shows what SQLite has"
}

// notLinked is what to do about a part of a store that is a link.
func notLinked(name string) string {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return "the folder itself in its place, or its absolute path as wal_dir in store.json"
	}
	return "the file itself in its place; to have a store on another disk, move its whole folder there (a link to that is fine), or make it with init --wal-dir"
}

// bringBack is what to do about a journal that is not in its place.
func (a *app) bringBack(away *audit.JournalAwayError) string {
	try := "mount the disk that it was on"
	if away.NoSQLite {
		return try
	}
	if !a.readOnly {
		try += "; " + a.showsSQLite()
	}
	if away.Unknown {
		try += fmt.Sprintf("; auditsql -d %s init --wal-dir FOLDER says where the journal is, since store.json is lost", shellQuote(a.dir))
	}
	if away.Empty {
		try += fmt.Sprintf("; auditsql -d %s wal repair shows what can be done without it", shellQuote(a.dir))
	}
	return try
}

// lostSQLite reports whether --read-only has nothing to show.
func (a *app) lostSQLite() bool {
	db, err := audit.Open(a.dir, audit.ReadOnly())
	if err == nil {
		db.Close()
	}
	return errors.Is(err, audit.ErrNoStore)
}

// permissionPath is the file or folder that this user may not use: the one that the error names, or dir. If this user
// may not even see that one, it is the nearest folder above it that can be seen.
func permissionPath(dir string, err error) string {
	name := filepath.Clean(dir)
	var p *fs.PathError
	if errors.As(err, &p) {
		name = p.Path
	}
	for {
		_, err := os.Lstat(name)
		above := filepath.Dir(name)
		if err == nil || above == name {
			return name
		}
		name = above
	}
}

// report prints how a run ended and returns its exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	code := exitCode(err)
	if err == nil {
		return code
	}
	if errors.Is(err, syscall.EPIPE) {
		// The reader of the output has gone, as head does when it has enough: that is no error.
		return code
	}
	if isQuiet(err) {
		return code
	}
	// Wrong flags are found before prepare has checked the streams.
	_ = a.checkStreams()
	line := strings.Builder{}
	line.WriteString("auditsql: ")
	if cmd != nil && cmd.HasParent() {
		line.WriteString(strings.TrimPrefix(cmd.CommandPath(), "auditsql ") + ": ")
	}
	line.WriteString(harmless(oneLine(err)))
	if try := a.whatToTry(cmd, err); try != "" && code != exitInterrupted {
		line.WriteString("; try: " + harmless(try))
	}
	fmt.Fprintln(a.err, line.String())
	return code
}

// oneLine writes errors that were joined as one line. What was said once is left out the second time: an operation and
// the closing after it often fail for the same reason.
func oneLine(err error) string {
	var said []string
	for part := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.ContainsFunc(said, func(earlier string) bool { return strings.Contains(earlier, part) }) {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}

// note prints on standard error what is good to know. Results do not depend on it.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "note: %s\n", harmless(fmt.Sprintf(format, args...)))
}

// shellQuote writes a word as a person would type it.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
