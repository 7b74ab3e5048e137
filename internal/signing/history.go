package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
)

// Line is a line of DIR/checkpoints.ndjson: a checkpoint that was signed. The file is for people who want an older checkpoint
// again. Nothing depends on it: it may be deleted or cut at any time, it is not synced, and a backup does not have it.
type Line struct {
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

// HistoryPath returns the path of the checkpoints that were signed.
func HistoryPath(dir string) string { return filepath.Join(dir, storedir.HistoryName) }

// addHistory adds a line. An error is only logged: the checkpoint itself is safe.
func (l *Log) addHistory(note []byte) {
	if err := appendLine(HistoryPath(l.dir), storedir.OwnedLike(l.dir), Line{l.moment(), string(note)}); err != nil {
		l.log.Warn("a checkpoint that was signed is not in the list of them", "error", err)
	}
}

func appendLine(name, like string, line Line) (err error) {
	f, err := durable.OpenWrite(name)
	if missing(err) {
		f, err = durable.Create(name, like)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, end-1); err != nil {
			return err
		}
		if last[0] != '\n' { // a crash has cut the last line
			text = append([]byte("\n"), text...)
		}
	}
	_, err = f.Write(append(text, '\n'))
	return err
}

// History returns the last checkpoints that were signed, at most most of them, the oldest first. Lines that a crash has cut are
// left out. No signature is checked.
func History(dir string, most int) ([]Line, error) {
	f, err := durable.Open(HistoryPath(dir))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []Line
	err = backwards(f, func(text []byte) bool {
		var line Line
		if json.Unmarshal(text, &line) == nil && line.Note != "" {
			lines = append(lines, line)
		}
		return len(lines) < most
	})
	slices.Reverse(lines)
	return lines, err
}

// backwards calls f with the lines of a file, the last one first, until it returns false.
func backwards(file *os.File, f func(line []byte) bool) error {
	const block = 64 << 10
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var rest []byte
	for end > 0 {
		n := min(end, block)
		end -= n
		b := make([]byte, n, int(n)+len(rest))
		if _, err := file.ReadAt(b, end); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		rest = append(b, rest...)
		for {
			at := bytes.LastIndexByte(rest, '\n')
			if at < 0 {
				break
			}
			if line := rest[at+1:]; len(line) > 0 && !f(line) {
				return nil
			}
			rest = rest[:at]
		}
		if len(rest) > longest {
			return errors.New("a line is too long")
		}
	}
	if len(rest) > 0 {
		f(rest)
	}
	return nil
}
