package idfilter

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// Whatever a file says, it is refused, or it is what would be written again.
func FuzzFile(f *testing.F) {
	for _, capacities := range [][]int{{}, {1}, {100, 40}, {1000, 300, 400}} {
		var layers []*layer
		for _, c := range capacities {
			layers = append(layers, newLayer(c))
		}
		var file bytes.Buffer
		if err := encode(&file, header{Magic: magic, Layers: uint64(len(layers))}, layers); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes()[:file.Len()-4])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		// With the right checksum: without it hardly anything would be read.
		file := binary.LittleEndian.AppendUint32(bytes.Clone(content), crc32.Checksum(content, castagnoli))
		h, layers, err := decode(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := encode(&again, h, layers); err != nil || !bytes.Equal(again.Bytes(), file) {
			t.Fatalf("%x\nis written as\n%x", file, again.Bytes())
		}
	})
}
