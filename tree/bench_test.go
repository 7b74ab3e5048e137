package tree_test

import (
	"testing"

	"github.com/auditsql/auditsql/tree"
)

// Each iteration is one leaf of a batch of 20,000. The leaf's hash is computed before.
func BenchmarkAppend(b *testing.B) {
	d := leaves(20_000)
	b.ReportAllocs()
	e := &tree.Edge{}
	for n := b.N; n > 0; n -= len(d) {
		e.Append(d[:min(n, len(d))]...)
	}
}

// One record of 1.1 kB.
func BenchmarkLeafHash(b *testing.B) {
	record := make([]byte, 1100)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		tree.LeafHash(record)
	}
}

// Each iteration is one record of 1.1 kB of an export, which needs no tiles.
func BenchmarkExport(b *testing.B) {
	record := make([]byte, 1100)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	var f tree.Frontier
	for b.Loop() {
		f.Append(tree.LeafHash(record))
	}
	f.Root()
}

// A tree of a million leaves.
func BenchmarkMillion(b *testing.B) {
	const size = 1_000_000
	d := leaves(size)
	k := newKept()
	k.append(d...)
	r := k.reader()
	root := k.edge.Root()
	proof, err := tree.Inclusion(r, size/3, size)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		what string
		f    func() error
	}{
		{"EdgeRoot", func() error { k.edge.Root(); return nil }},
		{"Root", func() error { _, err := tree.Root(r, size); return err }},
		{"Inclusion", func() error { _, err := tree.Inclusion(r, size/3, size); return err }},
		{"Consistency", func() error { _, err := tree.Consistency(r, size/3, size); return err }},
		{"VerifyInclusion", func() error { return tree.VerifyInclusion(proof, size/3, size, d[size/3], root) }},
	} {
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
