package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
)

// outsideFlags are the flags of verify for what was kept elsewhere.
type outsideFlags struct {
	against []string
	trustFlags
	tiles string
}

func (o *outsideFlags) addOutside(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.against, "against", nil, "`file` with a signed checkpoint that was kept elsewhere; may be repeated")
	o.trustFlags.add(cmd)
	cmd.Flags().StringVar(&o.tiles, "tiles", "", "`folder` with the tiles of the log that were kept elsewhere")
	_ = cmd.MarkFlagFilename("against")
	_ = cmd.MarkFlagDirname("tiles")
}

// outside reads what was kept elsewhere into the options. end closes the tiles.
func (o *outsideFlags) outside(cmd *cobra.Command, options *audit.VerifyOptions) (end func(), err error) {
	flags := cmd.Flags()
	if len(o.against) == 0 {
		for _, name := range []string{"key", "policy", "tiles"} {
			if flags.Changed(name) {
				return nil, usage("--%s goes with --against", name)
			}
		}
		return func() {}, nil
	}
	if err := contradict(cmd, "against", "quick"); err != nil {
		return nil, err
	}
	if err := contradict(cmd, "key", "policy"); err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	if o.trusts() {
		if options.Policy, err = o.trusted(ctx, nil); err != nil {
			return nil, err
		}
	}
	for _, name := range o.against {
		signed, err := readSmall(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("--against: %w", err)
		}
		options.Against = append(options.Against, audit.Against{Name: name, Signed: signed})
	}
	if o.tiles == "" {
		return func() {}, nil
	}
	root, err := os.OpenRoot(o.tiles)
	if err != nil {
		return nil, fmt.Errorf("--tiles: %w", err)
	}
	options.Tiles = tileFolder{root.FS()}
	return func() { root.Close() }, nil
}

// outsideError adds to an error about what was kept elsewhere what to do about it.
func (a *app) outsideError(err error) error {
	var bad *audit.CheckpointError
	switch {
	case errors.As(err, &bad):
		return trying(err, "%s", forReason(bad.Verdict.Reason))
	case errors.Is(err, audit.ErrNoLog):
		// Nothing is missing that the command names: the key is not known, which says nothing about the store.
		return trying(&exitError{code: exitFailed, err: err}, "--key with the verifier key of the log that has signed the checkpoint")
	}
	return err
}

// tileFolder is a folder with the tiles of a log, as c2sp.org/tlog-tiles has them.
type tileFolder struct{ files fs.FS }

// ReadTile implements tree.TileReader. A log need not keep a tile that is not full once it has the full one.
func (f tileFolder) ReadTile(t tree.Tile) ([]byte, error) {
	b, err := f.read(t.Path())
	if errors.Is(err, fs.ErrNotExist) && t.Width < tree.TileWidth {
		full := t
		full.Width = tree.TileWidth
		if whole, ferr := f.read(full.Path()); ferr == nil {
			return whole, nil
		}
	}
	return b, err
}

func (f tileFolder) read(name string) ([]byte, error) {
	about, err := fs.Stat(f.files, name)
	if err == nil && !about.Mode().IsRegular() { // a pipe would wait for a writer
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, err
	}
	file, err := f.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, tree.TileSize+1))
}
