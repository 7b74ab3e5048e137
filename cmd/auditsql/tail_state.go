package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/wal"
)

// The file of --state has the offset on its first line. The other lines say of which store it is, and which record was the last before it:
//
//	36220
//	store 0123456789abcdef0123456789abcdef
//	record 0a00…0001 at 35400
//
// A file with nothing but an offset is that of an earlier version, or a person has written it. Then it is not checked.

// writeState replaces the file of --state as a whole.
func writeState(name string, p audit.Place) error {
	text := fmt.Sprintf("%d\nstore %s\n", p.Offset, p.Store)
	if p.Record != (audit.QueryID{}) {
		text += fmt.Sprintf("record %s at %d\n", p.Record, p.RecordAt)
	}
	if err := durable.WriteBytes(name, "", []byte(text)); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	return nil
}

// readState reads the file of --state, if there is one.
func (o *tailOptions) readState(ctx context.Context, a *app) error {
	if store := a.storeAround(o.state); store != "" {
		return trying(usage("--state %s is inside %s, the folder of a store", o.state, store), "another folder")
	}
	text, err := importing.Uninterrupted(ctx, func() ([]byte, error) { return os.ReadFile(o.state) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--state: %w", err)
	}
	if o.place, err = parseState(string(text)); err != nil {
		return trying(usage("--state %s has no offset: %q", o.state, excerpt(text)), "another file, or --after OFFSET; tail writes the file")
	}
	o.after = uint64(o.place.Offset)
	o.begins = true
	return nil
}

func parseState(text string) (p audit.Place, err error) {
	var offset uint64
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		switch {
		case i == 0:
			offset, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64)
			p.Offset = audit.Offset(offset)
		case len(words) == 2 && words[0] == "store":
			p.Store = words[1]
		case len(words) == 4 && words[0] == "record" && words[2] == "at":
			if p.Record, err = audit.ParseHash(words[1]); err == nil {
				offset, err = strconv.ParseUint(words[3], 10, 64)
				p.RecordAt = audit.Offset(offset)
			}
		default:
			err = fmt.Errorf("%q is no line of such a file", line)
		}
		if err != nil {
			return audit.Place{}, err
		}
	}
	return p, nil
}

// checkPlace ends a run whose file of --state was written while the store had other records.
func (t *tailing) checkPlace(ctx context.Context) error {
	err := t.r.CheckPlace(ctx, t.options.place)
	if !errors.Is(err, audit.ErrOtherHistory) && !errors.Is(err, wal.ErrRewound) {
		return err
	}
	return trying(fmt.Errorf("--state %s: %w", t.options.state, err),
		"another file for another store; or, when this one was restored from a backup, echo OFFSET > %s, and tail goes on with the record there: 0 gives all records again", t.options.state)
}
