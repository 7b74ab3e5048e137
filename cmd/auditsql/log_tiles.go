package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) logTilesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tiles DIR",
		Short: "Write the tree and the newest signed checkpoint to a folder for a web server",
		Long: `Tiles writes the tree over the records and the newest signed checkpoint to the
folder DIR, as c2sp.org/tlog-tiles describes it. Any web server can serve the
folder. It has hashes alone, no records.

Tiles writes what is missing, and compares what is there. A file that has other
hashes than the store is never replaced: it shows another history of the log, or
was changed. To publish every new checkpoint, use log init --publish DIR. Tiles
does it once, and checks a whole folder.

DIR must not be in the store. It is made if it is missing.`,
		Example: `  auditsql log tiles /srv/log`,
		Args:    arguments(1, 1, "the folder to write to"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.logTiles(cmd.Context(), args[0])
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	a.addReading(cmd)
	return cmd
}

func (a *app) logTiles(ctx context.Context, dir string) error {
	if store := a.storeAround(filepath.Join(dir, "checkpoint")); store != "" {
		return trying(usage("%s is inside %s, the folder of a store", dir, store), "another folder")
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	s, key, err := a.newestSigned(ctx, r)
	if err == nil && signing.Within(key, dir) {
		err = trying(usage("the key %s lies in %s, and would be published", key, dir), "another folder")
	}
	if err != nil {
		return err
	}
	did, err := deliver.PublishAll(ctx, dir, s)
	switch {
	case errors.Is(err, deliver.ErrFork):
		return trying(&exitError{code: exitDamage, err: err},
			"auditsql -d %s verify checks the store; if that is intact, publish to another folder and compare the two", shellQuote(a.dir))
	case errors.Is(err, deliver.ErrCorrupt):
		return trying(&exitError{code: exitDamage, err: err}, "auditsql -d %s verify", shellQuote(a.dir))
	case err != nil:
		return fmt.Errorf("publish to %s: %w", dir, err)
	}
	return a.facts(a.form(""),
		fact("dir", "folder", tui.Text(dir)),
		fact("origin", "log", tui.Text(s.Checkpoint.Origin)),
		fact("size", "records", tui.Number(s.Checkpoint.Size)),
		fact("root", "root", tui.Text(s.Checkpoint.Root.String())),
		fact("tiles", "tiles", tui.Number(did.Tiles)),
		fact("written", "of these written", tui.Number(did.Written)))
}

// newestSigned returns the newest checkpoint that the store's log has signed, with the tree that it is of, and the file with its key.
func (a *app) newestSigned(ctx context.Context, r *reading) (s deliver.Signed, key string, err error) {
	c, err := signing.ReadConfig(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, "", audit.ErrNoLog
	}
	if err != nil {
		return s, "", fmt.Errorf("%w: %w", audit.ErrLogFile, err)
	}
	// The checkpoint first: the tree only grows, so it has at least that many records, unless the store was set back.
	s.Note, s.Checkpoint, err = c.Newest(a.dir)
	if err != nil {
		return s, "", err
	}
	if s.Note == nil {
		return s, "", trying(&exitError{code: exitNotFound, err: fmt.Errorf("the log %s has no checkpoint yet", c.Origin)},
			"auditsql -d %s log sign", shellQuote(a.dir))
	}
	size, tiles, err := r.Tree(ctx)
	if err != nil {
		return s, "", err
	}
	if int64(size) < s.Checkpoint.Size {
		return s, "", &exitError{code: exitDamage, err: &signing.MismatchError{Source: "the log", Signed: s.Checkpoint, Size: int64(size)}}
	}
	s.Tiles = tiles
	return s, c.Key, nil
}
