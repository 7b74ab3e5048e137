package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
)

// checkpoint answers GET /v1/checkpoint and GET /checkpoint with the newest checkpoint that the store's log has signed, with
// the cosignatures of its witnesses, as c2sp.org/tlog-checkpoint has it.
func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request, _ *question) error {
	if err := mustAccept(r, typeText); err != nil {
		return err
	}
	signed, _, err := s.store.NewestCheckpoint(r.Context())
	if err != nil {
		return noProof(err)
	}
	w.Header().Set("Content-Type", typeText)
	w.Header().Set("Content-Length", strconv.Itoa(len(signed)))
	_, err = w.Write(signed)
	return err
}

// proof answers GET /v1/audits/{id}/proof with the proof that the record is in the log, as c2sp.org/tlog-proof has it.
func (s *Server) proof(w http.ResponseWriter, r *http.Request, _ *question) error {
	if err := mustAccept(r, typeText); err != nil {
		return err
	}
	id, err := s.pathID(r.Context(), r, "id", nil)
	if err != nil {
		return err
	}
	return s.bounded(w, r, func(ctx context.Context) error {
		proven, err := s.store.Prove(ctx, id, audit.ProveOptions{})
		if err != nil {
			return noProof(err)
		}
		h := w.Header()
		h.Set("Content-Type", typeText)
		h.Set("Content-Disposition", `attachment; filename="`+id.String()+`.tlog-proof"`)
		h.Set("Content-Length", strconv.Itoa(len(proven.Proof)))
		_, err = w.Write(proven.Proof)
		return err
	})
}

// noProof makes problems of the reasons why there is no proof or checkpoint.
func noProof(err error) error {
	switch {
	case errors.Is(err, audit.ErrNoLog):
		return problem(kindNotFound, "the store has no log that is signed; auditsql log init makes one").because(err)
	case errors.Is(err, audit.ErrUncovered):
		return problem(kindNotFound, "no checkpoint covers it yet; the next signature does").because(err)
	}
	return err
}

// tile answers GET /tile/…, as c2sp.org/tlog-tiles has it: tile/LEVEL/INDEX, or tile/LEVEL/INDEX.p/WIDTH for the beginning of
// a tile. A tile has hashes alone. There are no entry bundles: records are confidential.
func (s *Server) tile(w http.ResponseWriter, r *http.Request, _ *question) error {
	t, err := tree.ParsePath("tile/" + r.PathValue("tile"))
	if err != nil {
		return problem(kindNotFound, "want tile/LEVEL/INDEX or tile/LEVEL/INDEX.p/WIDTH, with the index in groups of three digits, as x001/234")
	}
	size, tiles, err := s.store.Tree(r.Context())
	if err != nil {
		return err
	}
	if t.Level >= tree.Levels || t.N > tree.MaxSize>>tree.TileHeight || t.N*tree.TileWidth+int64(t.Width) > int64(size)>>(tree.TileHeight*t.Level) {
		return problem(kindNotFound, "the tree does not have this tile yet")
	}
	hashes, err := tiles.ReadTile(t)
	if err != nil {
		return err
	}
	length := t.Width * tree.HashSize
	if len(hashes) < length {
		return problem(kindDamaged, "a tile of the tree is shorter than it must be")
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Content-Length", strconv.Itoa(length))
	_, err = w.Write(hashes[:length])
	return err
}
