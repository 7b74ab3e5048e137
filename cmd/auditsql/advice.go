package main

import (
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
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

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
	var missing *audit.SQLiteMissingError
	var record *audit.RecordError
	var tree *audit.TreeError
	var primary *audit.PrimaryError
	switch {
	case errors.As(err, &link):
		return notLinked(link.Path)
	case errors.As(err, &owner):
		return fmt.Sprintf("sudo -u %s %s -d %s …, as the user whose store it is", shellQuote(owner.Owner()), cmd.CommandPath(), shellQuote(a.dir))
	case errors.As(err, &away):
		return a.bringBack(away)
	case exitCode(err) == exitUsage:
		return fmt.Sprintf("%s --help", cmd.CommandPath())
	case errors.As(err, &missing):
		return fmt.Sprintf("auditsql -d %s recent, without --read-only", shellQuote(a.dir))
	case errors.Is(err, audit.ErrNoStore) && isDivided(a.dir):
		return fmt.Sprintf("%s -d %s …, and likewise for the other partitions: the folder is that of a node of auditsql-cluster, with a store for each partition", cmd.CommandPath(), shellQuote(filepath.Join(a.dir, "partition-0")))
	case errors.Is(err, audit.ErrNoStore) && hasOtherFiles(a.dir):
		return "-d or AUDITSQL_DIR names another folder, auditsql -d DIR init makes a store in a new or an empty one"
	case errors.Is(err, audit.ErrNoStore):
		return fmt.Sprintf("-d or AUDITSQL_DIR names another folder, auditsql -d %s init makes a store", shellQuote(a.dir))
	case a.fullDisk(err) != "":
		return fmt.Sprintf("free space on the disk of %s, and run it again; never delete anything in its wal folder, nor audit.db-wal", shellQuote(a.dir))
	case errors.Is(err, sqlstore.ErrBusy):
		return "run it again later; another program, perhaps an SQLite shell, holds the database's write lock"
	case errors.Is(err, audit.ErrLocked):
		if server := serving.Running(a.dir); server != nil {
			return fmt.Sprintf("stop auditsql serve first, which has the store open as pid %d (%s); put, import, name, log sign and reading work meanwhile", server.PID, server.URL)
		}
		return "--lock-wait 10s waits for it; reading works meanwhile"
	case errors.As(err, &primary):
		return "restore the store from a backup; " + a.whatIsLeft()
	case errors.As(err, &tree) && !errors.Is(err, audit.ErrBehind):
		return fmt.Sprintf("auditsql -d %[1]s verify says what is damaged; auditsql -d %[1]s log rebuild makes the tree again from the records", shellQuote(a.dir))
	case logAdvice(err, a.dir) != "":
		return logAdvice(err, a.dir)
	case errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, audit.ErrMismatch):
		return fmt.Sprintf("auditsql -d %[1]s reindex replaces the database, from the journal or from its own undamaged tables; auditsql -d %[1]s export --read-only prints what can be read, for import into a new store; auditsql -d %[1]s verify says what is damaged", shellQuote(a.dir))
	case errors.Is(err, wal.ErrForeign):
		return "put the store's own segment back, from a backup or the archive; " + a.showsSQLite()
	case errors.As(err, &foreign) && foreign.Edited:
		return "put the store's own store.json back, from a backup; without one, move " + shellQuote(filepath.Join(a.dir, "store.json")) + " out of the folder: opening the store for writing makes it again from what the database says"
	case errors.As(err, &foreign):
		return "put the store's own database back, from a backup; without one, move " + shellQuote(foreign.Path) + "* out of the folder: opening the store rebuilds it from the journal, if that reaches back to the first record"
	case errors.Is(err, audit.ErrFollows) && cmd.Name() == "reindex":
		return fmt.Sprintf("stop the node, move %s* out of the folder, and start the node: it fills the copy again from the log, without the labels", shellQuote(filepath.Join(a.dir, "audit.db")))
	case errors.Is(err, audit.ErrFollows):
		return fmt.Sprintf("auditsql-cluster put or import -d %s, or auditsql-cluster serve and then this command; all commands that read work here", shellQuote(a.dir))
	case errors.Is(err, audit.ErrMismatch):
		return a.showsSQLite() + ", and export --read-only prints it for import into a new store"
	case errors.As(err, &record):
		return fmt.Sprintf("auditsql -d %s repair shows what can be done", shellQuote(a.dir))
	case isDamage(err) && a.lostSQLite():
		return fmt.Sprintf("auditsql -d %s wal repair shows what can be done", shellQuote(a.dir))
	case isDamage(err):
		return fmt.Sprintf("%s, auditsql -d %s wal repair what can be done", a.showsSQLite(), shellQuote(a.dir))
	case errors.Is(err, sqlstore.ErrOlder):
		return fmt.Sprintf("auditsql -d %s recent, without --read-only and while nobody writes: it migrates the store first", shellQuote(a.dir))
	case errors.Is(err, sqlstore.ErrNewer):
		return "use the newer auditsql; this one has changed nothing"
	case errors.Is(err, syscall.ENOTDIR):
		return "another folder; there is a file in its place"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("ls -ld %s shows who may", shellQuote(permissionPath(a.dir, err)))
	}
	return ""
}

// logAdvice is what to do about a log that is not signed, or a store that is refused because of what was signed; "" is none.
func logAdvice(err error, dir string) string {
	dir = shellQuote(dir)
	switch {
	case errors.Is(err, audit.ErrNoLog):
		return fmt.Sprintf("auditsql -d %s log init --key FILE, with a key that auditsql key new has made", dir)
	case errors.Is(err, audit.ErrOtherRecords):
		return "an export of this store as it was, whole or its last lines, as auditsql export printed it"
	case errors.Is(err, audit.ErrBehind):
		return fmt.Sprintf("auditsql -d %[1]s import --catch-up FILE, with an export that has the missing records; if they are lost, auditsql -d %[1]s log successor goes on under a new name; --read-only reads meanwhile", dir)
	case errors.Is(err, audit.ErrForked):
		return fmt.Sprintf("auditsql -d %[1]s verify --read-only, which says whether the records or only the stored tree were changed (then auditsql -d %[1]s log rebuild); auditsql -d %[1]s log successor goes on under a new name", dir)
	case errors.Is(err, audit.ErrNoMemory):
		return fmt.Sprintf("put the file back; if it is lost, auditsql -d %s log init --key FILE --adopt CHECKPOINT, with the newest checkpoint that is known outside of the store", dir)
	case errors.Is(err, audit.ErrStopped):
		return fmt.Sprintf("find out who signs with the key, or which backup was restored; auditsql -d %[1]s log successor goes on under a new name; if the witness was wrong, auditsql -d %[1]s log init --key FILE --resume, with all the flags that it had before", dir)
	case errors.Is(err, signing.ErrCheckpoint):
		return "put the file back as it was; if it belongs to another key, move it out of the way"
	case errors.Is(err, audit.ErrNoKey):
		return fmt.Sprintf("put the key back, and run auditsql key show FILE as the user who writes to the store; if it has another place now, auditsql -d %[1]s log init --key FILE; if it is lost, auditsql -d %[1]s log successor goes on under a new name", dir)
	case errors.Is(err, audit.ErrLogFile):
		return fmt.Sprintf("put the file back from a backup; without one, move what is in its place out of the folder and run auditsql -d %s log init again, with all its flags: the memory beside the key still counts", dir)
	}
	return ""
}

// showsSQLite says how to see what SQLite has when the journal cannot be used: with the flag --read-only if this command
// has it, otherwise with the command list.
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
		return "put the folder itself in the place of the link, or write its absolute path as wal_dir in store.json"
	}
	return "put the file itself in the place of the link; to have a store on another disk, move its whole folder there (a link to that is fine), or make it with init --wal-dir"
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
	if !away.Empty && !away.Unknown && a.cmd != nil && a.cmd.CommandPath() == "auditsql wal repair" {
		// Only wal repair proposes this. Where the disk is just not mounted, a new folder in its place would hide that
		// the journal still exists.
		try += fmt.Sprintf("; if the journal is lost for good, mkdir %s, and then wal repair shows what can be done without it", shellQuote(away.Dir))
	}
	if away.Empty {
		try += fmt.Sprintf("; auditsql -d %s wal repair shows what can be done without it", shellQuote(a.dir))
	}
	return try
}

// whatIsLeft says how to get at the records of a store whose database is damaged and cannot be replaced.
func (a *app) whatIsLeft() string {
	db, err := audit.Open(a.dir, audit.ReadOnly())
	if err != nil {
		return fmt.Sprintf("nothing in its database can be read; auditsql -d %s wal dump prints what the journal still has", shellQuote(a.dir))
	}
	db.Close()
	return fmt.Sprintf("auditsql -d %s export --read-only prints the records that can still be read, for import into a new store", shellQuote(a.dir))
}

// lostSQLite reports whether there is no SQLite database that --read-only could show.
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

// shellQuote writes a word as a person would type it.
func shellQuote(word string) string { return legible.ShellQuote(word) }

// hasOtherFiles reports whether a folder has files of which none is hidden: no store is made among them.
func hasOtherFiles(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") })
}

// isDivided reports whether a folder is that of a node of auditsql-cluster whose records are divided among several streams.
func isDivided(dir string) bool {
	_, err := audit.JournalDir(filepath.Join(dir, "partition-0"))
	return err == nil
}
