package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// kept says what a store was loaded with, in a file beside it that is written when it is loaded.
type kept struct {
	N     int    `json:"n"`
	Seed  uint64 `json:"seed"`
	Shape shape  `json:"shape"`
	Next  int64  `json:"next"` // the number of the record that comes next: the pages beside writers have added some
}

func keptFile(dir string) string { return dir + ".json" }

// readKept returns nil if the store was not loaded to the end.
func readKept(dir string) (*kept, error) {
	text, err := os.ReadFile(keptFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	return &k, err
}

func (k *kept) write(dir string) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(keptFile(dir), append(text, '\n'), 0o600)
}

// loaded is the folder of a store that is only asked: that of -keep for auditsql, if it is given.
func (p *plan) loaded(store string) string {
	if store == "auditsql" && p.keep != "" {
		return p.keep
	}
	return p.job("", store, 0).Dir
}

// load fills a store that is only asked, unless it was kept.
func (p *plan) load(ctx context.Context, store string, n int) error {
	j := p.job("load", store, n)
	j.Dir = p.loaded(store)
	k, err := readKept(j.Dir)
	switch {
	case err != nil:
		return err
	case k == nil || j.Dir != p.keep:
		if err := p.prepare(ctx, j); err != nil {
			return err
		}
		return (&kept{n, p.seed, p.shape, int64(n)}).write(j.Dir)
	case k.N != n || k.Seed != p.seed || k.Shape != p.shape:
		return fmt.Errorf("%s was loaded with -n %d -seed %d -shape %s: give these, or another folder for -keep", j.Dir, k.N, k.Seed, k.Shape)
	}
	return nil
}

// unload removes the stores that load has filled, unless they are kept.
func (p *plan) unload(stores ...string) {
	for _, s := range stores {
		if dir := p.loaded(s); dir != p.keep {
			os.RemoveAll(dir)
			os.Remove(keptFile(dir))
		}
	}
}
