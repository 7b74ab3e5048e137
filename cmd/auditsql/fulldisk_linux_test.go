package main

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/sequential"
)

// A disk that is full stops the writer with a clear word. What it had answered is there, and when there is room
// again, all goes on.
func TestAFullDisk(t *testing.T) {
	sequential.Test(t)
	disk := smallDisk(t, "40m")
	store, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 38<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-d", store, "import", "-", "--ack")
	var answered []string
	for id := range feed(p, 1) {
		answered = append(answered, id)
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitFailed {
		t.Fatalf("exit code %d: %s", code, p.said)
	}
	wantFull(t, p.said.String(), disk)
	// As long as it is full, nothing gets worse.
	if _, said, code := auditsql("-d", store, "put", "--subject", "x"); code == exitDone {
		t.Logf("there is room for one more: %s", said)
	} else {
		wantFull(t, said, disk)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantAnswered(t, store, answered)
	if out, said, code := auditsql("-d", store, "put", "--subject", "x"); code != exitDone {
		t.Fatalf("put: %s%s", out, said)
	}
	if out, said, code := auditsql("-d", store, "verify"); code != exitDone {
		t.Fatalf("verify: %s%s", out, said)
	}
	t.Logf("%d records answered", len(answered))
}

// wantFull wants one line that says that the disk is full, what is safe and what to do, and says nothing twice.
func wantFull(t *testing.T, said, disk string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{": the disk is full (", "; nothing that was acknowledged is lost; try: free space on the disk of " + disk} {
		if strings.Count(last, want) != 1 {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if strings.Count(last, "no space left on device") > 1 || strings.Contains(said, `\n`) {
		t.Errorf("said twice, or not in one line: %s", said)
	}
}

// A server whose disk is full answers no put with a 2xx that is not stored, and goes on to be asked. What it says at its end is why it
// failed, and not that it was told to end.
func TestAServerOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, "40m")
	dir := filepath.Join(disk, "store")
	if _, said, code := auditsql("-d", dir, "init"); code != exitDone {
		t.Fatal(said)
	}
	s := serveDir(t, dir)
	token := s.token(t, "all", "--scope", "read,write")
	ballast := filepath.Join(disk, "ballast")
	fillDisk(t, ballast)
	filled, err := os.Stat(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(ballast, filled.Size()-4<<20); err != nil { // there is room for some records
		t.Fatal(err)
	}
	var answered []string
	status, answer := 0, ""
	for i := 1; i <= 100_000; i++ {
		line, id := record(i)
		if status, answer = s.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(line)); status != http.StatusCreated {
			break
		}
		answered = append(answered, id)
	}
	if len(answered) == 0 || status != http.StatusServiceUnavailable || !strings.Contains(answer, "/problems/failed") {
		t.Fatalf("%d records, and then status %d: %s", len(answered), status, answer)
	}
	for _, id := range answered {
		if status, answer := s.ask(t, token, http.MethodGet, "/v1/audits/"+id, nil); status != http.StatusOK {
			t.Fatalf("an acknowledged record: status %d, %s", status, answer)
		}
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()
	said := strings.TrimSpace(s.said.String())
	last := said[strings.LastIndex(said, "\n")+1:]
	if code := s.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(last, "full") && !strings.Contains(last, "no space left on device") {
		t.Errorf("exit code %d: %s", code, last)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantAnswered(t, dir, answered)
	t.Logf("%d records answered", len(answered))
}

// smallDisk mounts a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a disk of its own cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// fillDisk writes a file that takes all the room that is left.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// A full disk keeps nobody from reading what SQLite has, whatever a recovery would have to do first, and whether
// somebody has read there before or not. It adds no file to the journal's folder, and when there is room again, the
// next command recovers.
func TestAFullDiskIsRead(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	disk := smallDisk(t, "16m")
	source := filepath.Join(t.TempDir(), "source")
	put := func(subject string) {
		t.Helper()
		if _, said, code := auditsql("-d", source, "put", "--subject", subject, "--confidence", "1"); code != exitDone {
			t.Fatal(said)
		}
	}
	copyTo := func(dir, part string) {
		t.Helper()
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(source, part))); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	torn, lagging := t.TempDir(), t.TempDir()
	copyTo(torn, "")
	copyTo(lagging, "")
	// A tail that is longer than what will be left of the disk. It begins like a record, and is none.
	segment := filepath.Join(torn, "wal", "0000000000000000.wal")
	journal, err := os.ReadFile(segment)
	if err == nil {
		err = os.WriteFile(segment, append(journal, bytes.Repeat([]byte("torn"), 64<<10)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	put("two")
	if err := os.RemoveAll(filepath.Join(lagging, "wal")); err != nil {
		t.Fatal(err)
	}
	copyTo(lagging, "wal")
	// A database that the next opening rebuilds.
	suspect := t.TempDir()
	if err := os.CopyFS(suspect, os.DirFS(lagging)); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(suspect, "store.json"))
	if err == nil {
		file = bytes.Replace(file, []byte(`"used": true`), []byte(`"used": true, "doubted": true`), 1)
		file = bytes.Replace(file, []byte(`"clean": true`), []byte(`"clean": false`), 1)
		err = os.WriteFile(filepath.Join(suspect, "store.json"), file, 0o600)
	}
	if err != nil || !bytes.Contains(file, []byte("doubted")) {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from    string
		read    bool // somebody has read there before
		room    int64
		records int // when there is room again
	}{
		"torn":                      {torn, true, 0, 1},
		"torn, with a little room":  {torn, true, 32 << 10, 1},
		"torn, nobody has read":     {torn, false, 0, 1},
		"lagging":                   {lagging, true, 0, 2},
		"lagging, nobody has read":  {lagging, false, 0, 2},
		"lagging, with little room": {lagging, true, 8 << 10, 2},
		"suspect":                   {suspect, true, 0, 2},
		"suspect, with little room": {suspect, true, 128 << 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			store, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
			defer os.RemoveAll(store)
			defer os.Remove(ballast)
			if err := os.CopyFS(store, os.DirFS(c.from)); err != nil {
				t.Fatal(err)
			}
			if c.read {
				if _, said, code := auditsql("-d", store, "list", "--read-only"); code != exitDone {
					t.Fatal(said)
				}
			}
			fillDisk(t, ballast)
			if st, err := os.Stat(ballast); err != nil || os.Truncate(ballast, st.Size()-c.room) != nil {
				t.Fatal(err)
			}
			before := sizes(t, filepath.Join(store, "wal"))
			for _, args := range [][]string{{"list"}, {"export"}, {"recent"}, {"sql", "SELECT * FROM audits"}, {"list", "--read-only"}} {
				out, said, code := auditsql(append([]string{"-d", store}, args...)...)
				if code != exitDone || !strings.Contains(out, "one") || strings.Contains(out, "two") {
					t.Errorf("%q: exit code %d: %s%s", args, code, out, said)
				}
				if readOnly := len(args) > 1 && args[1] == "--read-only"; readOnly == strings.Contains(said, "there is no room on the disk") {
					t.Errorf("%q says %q", args, said)
				}
			}
			if after := sizes(t, filepath.Join(store, "wal")); !maps.Equal(before, after) {
				t.Errorf("the journal was %v, and is %v", before, after)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if out, said, code := auditsql("-d", store, "list"); code != exitDone || strings.Count(out, "\n") != c.records {
				t.Errorf("with room: exit code %d: %s%s", code, out, said)
			}
			if out, said, code := auditsql("-d", store, "verify"); code != exitDone {
				t.Errorf("verify: %s%s", out, said)
			}
		})
	}
}

// A salvage for which the disk has no room is refused before anything is changed, and says how much it needs. Whatever else is
// tried meanwhile, when there is room again it works.
func TestASalvageOnAFullDisk(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	disk := smallDisk(t, "24m")
	source, export := sweptStore(t)
	store, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
	content, err := os.ReadFile(filepath.Join(source, "audit.db"))
	if err == nil {
		err = os.CopyFS(store, os.DirFS(source))
	}
	if err != nil {
		t.Fatal(err)
	}
	root, said, code := auditsql("-d", source, "sql", "-o", "plain", "SELECT rootpage FROM sqlite_schema WHERE name = 'audit_by_subject'")
	page, err := strconv.Atoi(strings.TrimSpace(root))
	if code != exitDone || err != nil {
		t.Fatalf("%s%s", root, said)
	}
	clear(content[(page-1)*sweptPage : page*sweptPage])
	if err := os.WriteFile(filepath.Join(store, "audit.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	fillDisk(t, ballast)
	if st, err := os.Stat(ballast); err != nil || os.Truncate(ballast, st.Size()-int64(len(content))/2) != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, said, code := auditsql("-d", store, "reindex")
		if code != exitFailed || !strings.Contains(said, "it needs ") || !strings.Contains(said, " are free: no space left on device") {
			t.Errorf("exit code %d: %s%s", code, out, said)
		}
		if left, _ := filepath.Glob(filepath.Join(store, "aside-*")); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		for _, args := range [][]string{{"put", "--subject", "x", "--confidence", "1"}, {"recent"}} {
			auditsql(append([]string{"-d", store}, args...)...)
		}
		if out, said, code := auditsql("-d", store, "export", "--read-only"); code != exitDone || !strings.HasPrefix(out, export) {
			t.Errorf("export: exit code %d: %s", code, said)
		}
	}
	// What fills the disk is what a salvage has left that was killed. The next one deletes it first.
	if err := os.Rename(ballast, filepath.Join(store, "audit.db.part")); err != nil {
		t.Fatal(err)
	}
	if out, said, code := auditsql("-d", store, "reindex"); code != exitDone {
		t.Fatalf("with room: exit code %d: %s%s", code, out, said)
	}
	if out, said, code := auditsql("-d", store, "verify"); code != exitDone {
		t.Errorf("verify: %s%s", out, said)
	}
	if out, said, code := auditsql("-d", store, "export"); code != exitDone || !strings.HasPrefix(out, export) {
		t.Errorf("export: exit code %d: %s", code, said)
	}
}

// sizes are the files below a folder, with their sizes.
func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			found[name] = st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
