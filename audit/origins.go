package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// The usual bounds of Origins.
const (
	DefaultOriginAnswers = 1000
	DefaultOriginTime    = 2 * time.Second
)

// OriginsOptions say how far Origins goes back.
type OriginsOptions struct {
	AsOf *uint64 // as that of TraceOptions

	// Budget bounds the answers whose evidence is read, the record itself included, and how long that takes.
	Budget Budget
}

// Origins is the evidence of a record, the evidence of the answers that this was before, and so on, up to what nobody in the store
// has answered.
type Origins struct {
	Audit QueryAudit

	// Pieces is a tree. It has each piece before the evidence of the answer that it was, and the pieces of one record descending by
	// weight.
	Pieces   []OriginPiece
	Answers  int // records whose evidence is in the tree, each once
	Untraced int // pieces that were left out: those of least weight in records with more than MaxTraced pieces
	Cut      Cut // what ended the walk early

	// Damaged are answers whose evidence cannot be read.
	Damaged []*RecordError
}

// OriginPiece is a piece of evidence on the way back.
type OriginPiece struct {
	ContributingAssertion
	Position int     // in its record, from 0
	Of       QueryID // its record
	Distance int     // how many steps back; 1: it is the record's own
	Won      bool    // it is the result of its record

	// Answered is the record that gave the assertion as its answer first, before the record Of used it. Nil is an origin: nobody in the
	// store has answered it before. How says where the evidence of that record is.
	Answered *EarlierAnswer
	How      Followed
}

// Followed says where the evidence of an earlier answer is.
type Followed string

// The ways in which a piece is followed.
const (
	IsOrigin    Followed = "origin"     // there is no earlier answer
	Below       Followed = "below"      // it comes next in the tree
	Elsewhere   Followed = "elsewhere"  // it is in another place of the tree: the answer was met before
	NotFollowed Followed = "not_traced" // it is not in the tree: the walk was cut, or the record is damaged
)

// Origins follows the evidence of a record back through the answers of other records. An id that is not stored is ErrNotFound.
//
// An assertion may have been the answer of many records. The first one is followed: the later ones have repeated it.
func (db *DB) Origins(ctx context.Context, id QueryID, o OriginsOptions) (*Origins, error) {
	return origins(ctx, db, id, o)
}

func origins(ctx context.Context, in asked, id QueryID, o OriginsOptions) (*Origins, error) {
	var found *Origins
	err := in.inParts(ctx, o.AsOf, func(p *parts) error {
		q, err := p.dbs[p.home(id)].GetAudit(ctx, id)
		if err != nil {
			return err
		}
		if o.AsOf != nil {
			if _, err := p.indexOf(ctx, id, o.AsOf); err != nil {
				return err
			}
		}
		w := originWalk{parts: p, o: o, begun: time.Now(), met: map[QueryID]bool{}, origins: &Origins{Audit: *q}}
		if err := w.run(ctx, q); err != nil {
			return err
		}
		found = w.origins
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("origins of %s: %w", id, err)
	}
	return found, nil
}

// originWalk is an Origins under way. It goes back step by step, so that the nearest answers are followed before the budget ends.
type originWalk struct {
	*parts
	o       OriginsOptions
	begun   time.Time
	met     map[QueryID]bool
	origins *Origins
	known   []*sqlstore.Dictionary // of each part, with the assertions of the pieces that are followed now
}

// originNode is a piece with the evidence of its earlier answer.
type originNode struct {
	OriginPiece
	at    uint64 // when its record used it
	below []*originNode
}

func (w *originWalk) run(ctx context.Context, q *QueryAudit) error {
	w.met[q.QueryID] = true
	top := w.pieces(q, 1)
	w.origins.Answers = 1
	for level := top; len(level) > 0; {
		var next []*originNode
		for part := range slices.Chunk(level, lookedUpTogether) {
			if err := w.learn(ctx, part); err != nil {
				return err
			}
			for _, n := range part {
				if err := w.follow(ctx, n); err != nil {
					return err
				}
				next = append(next, n.below...)
			}
		}
		level = next
	}
	w.origins.Pieces = []OriginPiece{}
	w.flatten(top)
	return nil
}

// lookedUpTogether is of how many pieces the assertions are looked up at a time.
const lookedUpTogether = 64

// learn looks up the assertions of pieces.
func (w *originWalk) learn(ctx context.Context, nodes []*originNode) (err error) {
	if w.origins.Cut == CutByTime {
		return nil
	}
	hashes := make([]Hash, len(nodes))
	for i, n := range nodes {
		hashes[i] = n.AssertionHash
	}
	w.known, err = w.dictionaries(ctx, hashes...)
	return err
}

// pieces are the pieces of evidence of a record, those of most weight first.
func (w *originWalk) pieces(q *QueryAudit, distance int) []*originNode {
	nodes := make([]*originNode, len(q.ContributingAssertions))
	for i, c := range q.ContributingAssertions {
		nodes[i] = &originNode{OriginPiece: OriginPiece{
			ContributingAssertion: c, Position: i, Of: q.QueryID, Distance: distance, How: IsOrigin,
			Won: q.ResultHash != nil && *q.ResultHash == c.AssertionHash,
		}, at: q.Timestamp}
	}
	slices.SortStableFunc(nodes, func(a, b *originNode) int { return cmp.Compare(b.Weight, a.Weight) })
	if left := len(nodes) - MaxTraced; left > 0 {
		w.origins.Untraced += left
		nodes = nodes[:MaxTraced]
	}
	return nodes
}

// follow finds out who gave a piece as an answer before, and takes the evidence of that answer.
func (w *originWalk) follow(ctx context.Context, n *originNode) (err error) {
	if w.o.Budget.Time > 0 && time.Since(w.begun) >= w.o.Budget.Time {
		w.origins.Cut = CutByTime
	}
	if w.origins.Cut == CutByTime {
		n.How = NotFollowed
		return nil
	}
	n.Answered, err = w.givenBefore(ctx, w.known, n.AssertionHash, n.at, n.Of)
	if err != nil || n.Answered == nil {
		return err
	}
	switch id := n.Answered.QueryID; {
	case w.met[id]:
		n.How = Elsewhere
	case w.o.Budget.Records > 0 && uint64(w.origins.Answers) >= w.o.Budget.Records:
		n.How, w.origins.Cut = NotFollowed, CutByAnswers
	default:
		w.met[id] = true
		q, err := w.dbs[w.home(id)].GetAudit(ctx, id)
		var damaged *RecordError
		if errors.As(err, &damaged) {
			n.How = NotFollowed
			w.origins.Damaged = append(w.origins.Damaged, damaged)
			return nil
		}
		if err != nil {
			return err
		}
		w.origins.Answers++
		n.How, n.below = Below, w.pieces(q, n.Distance+1)
	}
	return nil
}

// flatten lists the tree.
func (w *originWalk) flatten(nodes []*originNode) {
	for _, n := range nodes {
		w.origins.Pieces = append(w.origins.Pieces, n.OriginPiece)
		w.flatten(n.below)
	}
}
