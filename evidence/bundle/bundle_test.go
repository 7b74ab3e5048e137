package bundle_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/sequential"
)

// findings are what a check says of each file.
func findings(files fs.FS, policy *evidence.Policy) (found []string) {
	for f := range bundle.Check(files, policy) {
		found = append(found, fmt.Sprintf("%s %s: %s %s", f.Kind, f.Path, f.Verdict.Outcome, f.Verdict.Reason))
	}
	return found
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// inMemory writes a bundle and returns its files.
func inMemory(t testing.TB, c *bundle.Contents) fstest.MapFS {
	t.Helper()
	var b bytes.Buffer
	if err := bundle.WriteZip(&b, c); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, f := range z.File {
		if !f.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) { // month 0 and day 0 are no date
			t.Errorf("%s has the time %v", f.Name, f.Modified)
		}
		content, err := fs.ReadFile(z, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = &fstest.MapFile{Data: content}
	}
	return files
}

// A folder and an archive have the same files, and all that is in them is proven.
func TestWrittenAndReadBack(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	dir := t.TempDir()
	folder, archive := filepath.Join(dir, "folder"), filepath.Join(dir, "archive.zip")
	if err := bundle.WriteFolder(folder, l.contents()); err != nil {
		t.Fatal(err)
	}
	var zipped, again bytes.Buffer
	if err := errors.Join(bundle.WriteZip(&zipped, l.contents()), bundle.WriteZip(&again, l.contents()), os.WriteFile(archive, zipped.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(zipped.Bytes(), again.Bytes()) {
		t.Error("the same contents give two archives")
	}
	want := []string{
		"range range/records.ndjson: proven ",
		"record records/" + l.names[2] + ".json: proven ",
		"record records/" + l.names[9] + ".json: proven ",
	}
	if l.names[9] < l.names[2] {
		want[1], want[2] = want[2], want[1]
	}
	for _, path := range []string{folder, archive} {
		files, err := bundle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, path, findings(files, l.policy), want)
		for name, is := range inMemory(t, l.contents()) {
			if got, err := fs.ReadFile(files, name); err != nil || !bytes.Equal(got, is.Data) {
				t.Errorf("%s: %s: %v", path, name, err)
			}
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	}
	about, err := os.Stat(filepath.Join(folder, "records", l.names[2]+".json"))
	if err != nil || about.Mode().Perm()&0o077 != 0 {
		t.Errorf("a record has the mode %v (%v)", about.Mode(), err)
	}
	for f := range bundle.Check(inMemory(t, l.contents()), l.policy) {
		if f.Kind == bundle.OneRecord && (f.Record == nil || !strings.Contains(f.Path, l.names[f.Verdict.Index])) {
			t.Errorf("%s has the index %d", f.Path, f.Verdict.Index)
		}
		if f.Kind == bundle.AllBetween && (f.Verdict.Index != 5 || f.Verdict.Checkpoint.Size != 11) {
			t.Errorf("the range is from %d to %d", f.Verdict.Index, f.Verdict.Checkpoint.Size)
		}
	}
}

// Every change to a file that is evidence shows: each byte of it altered, added or taken out, the file cut, gone, or in
// the place of another one.
func TestEveryMutationIsRefused(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	files := inMemory(t, l.contents())
	whole := findings(files, l.policy)
	if len(whole) != 3 {
		t.Fatal(whole)
	}
	tried := 0
	refused := func(what string, m fstest.MapFS) {
		t.Helper()
		tried++
		proven := 0
		for f := range bundle.Check(m, l.policy) {
			if f.Verdict.Outcome == evidence.Proven {
				proven++
			} else if f.Verdict.Err() == nil || f.Verdict.Detail == "" {
				t.Errorf("%s: %+v", what, f)
			}
		}
		if proven != len(whole)-1 && proven != len(whole)-2 {
			t.Errorf("%s: %d of %d are proven", what, proven, len(whole))
		}
	}
	with := func(name string, content []byte) fstest.MapFS {
		m := maps.Clone(files)
		m[name] = &fstest.MapFile{Data: content}
		return m
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if name == "README.txt" || name == "policy" {
			continue
		}
		is := files[name].Data
		step := 1
		if name == "range/records.ndjson" || testing.Short() {
			step = 11 // these are only hashed
		}
		for i := 0; i < len(is); i += step {
			m := bytes.Clone(is)
			m[i] ^= 1 << (i % 7)
			refused(fmt.Sprintf("%s: byte %d", name, i), with(name, m))
			refused(fmt.Sprintf("%s without byte %d", name, i), with(name, slices.Delete(bytes.Clone(is), i, i+1)))
			if i%7 == 0 {
				refused(fmt.Sprintf("%s cut at %d", name, i), with(name, is[:i]))
			}
		}
		refused(name+" with a line feed more", with(name, append(bytes.Clone(is), '\n')))
		refused(name+" twice", with(name, append(bytes.Clone(is), is...)))
		refused(name+" with carriage returns", with(name, append(bytes.ReplaceAll(is, []byte("\n"), []byte("\r\n")), '\r')))
		for _, other := range names {
			if bytes.Equal(files[other].Data, is) || other == "README.txt" {
				continue
			}
			refused(name+" is "+other, with(name, files[other].Data))
		}
		gone := maps.Clone(files)
		delete(gone, name)
		refused(name+" is gone", gone)
	}
	if tried < 3000 && !testing.Short() {
		t.Errorf("only %d mutations were tried", tried)
	}
}

// What lies beside evidence is not proven by that, and nothing is taken from the bundle on trust.
func TestWhatIsNoEvidence(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	files := inMemory(t, &bundle.Contents{Policy: l.policy, Records: l.some(2)})
	record := "records/" + l.names[2]
	proven := "record " + record + ".json: proven "
	with := func(name, content string) fstest.MapFS {
		m := maps.Clone(files)
		m[name] = &fstest.MapFile{Data: []byte(content)}
		return m
	}
	equal(t, "the bundle", findings(files, l.policy), []string{proven})
	equal(t, "a record more", findings(with("more.json", "{}"), l.policy), []string{"file more.json: undecided no-proof", proven})
	equal(t, "a proof more", findings(with("records/0.tlog-proof", ""), l.policy), []string{"file records/0.tlog-proof: undecided no-proof", proven})
	equal(t, "a letter", findings(with("letter.txt", ""), l.policy), []string{"file letter.txt: undecided no-proof", proven})
	equal(t, "a readme below", findings(with("records/README.txt", ""), l.policy), []string{"file records/README.txt: undecided no-proof", proven})
	equal(t, "an edge without a range", findings(with("range/edge", ""), l.policy), []string{"file range/edge: undecided no-proof", proven})
	link := maps.Clone(files)
	link[record+".json"] = &fstest.MapFile{Data: l.records[2], Mode: fs.ModeSymlink}
	equal(t, "a link", findings(link, l.policy), []string{"file " + record + ".json: undecided no-proof", "file .: undecided no-proof"})
	equal(t, "nothing", findings(fstest.MapFS{}, l.policy), []string{"file .: undecided no-proof"})
	equal(t, "a policy alone", findings(fstest.MapFS{"policy": files["policy"]}, l.policy), []string{"file .: undecided no-proof"})
	equal(t, "an unknown key", findings(files, &evidence.Policy{}), []string{strings.Replace(proven, "proven ", "undecided unknown-key", 1)})
	long := with(record+".json", strings.Repeat("x", evidence.MaxRecord+1))
	equal(t, "a file that no record is as long as", findings(long, l.policy), []string{strings.Replace(proven, "proven ", "undecided unreadable", 1)})
	for f := range bundle.Check(with(record+".json", string(l.records[2])+"\n"), l.policy) {
		if f.Verdict.Outcome != evidence.Refuted || !strings.Contains(f.Verdict.Detail, "a line feed at its end") {
			t.Errorf("a line feed at the end: %v", f.Verdict.Err())
		}
	}
}

// A range without an older checkpoint begins with the first record of the log. Taking the older checkpoint away from another
// range does not make one.
func TestARangeFromTheFirstRecordOn(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	all := func(from, to int64) *bundle.Contents {
		return &bundle.Contents{Policy: l.policy, Range: &bundle.Range{Newer: l.head(to), Records: bytes.NewReader(l.lines(from, to))}}
	}
	for _, to := range []int64{1, 8, 11} {
		m := inMemory(t, all(0, to))
		if m["range/older.checkpoint"] != nil || m["range/edge"] != nil {
			t.Error("there is an older checkpoint")
		}
		for f := range bundle.Check(m, l.policy) {
			if f.Kind != bundle.AllBetween || f.Verdict.Err() != nil || f.Verdict.Index != 0 || f.Verdict.Checkpoint.Size != to {
				t.Errorf("%+v", f)
			}
		}
		if readme := string(m["README.txt"].Data); strings.Contains(readme, "range/edge") || !strings.Contains(readme, "from record 0 (counted from 0)") {
			t.Error(readme)
		}
	}
	if err := bundle.WriteZip(io.Discard, all(1, 11)); err == nil {
		t.Error("a range that lacks the first record is written")
	}
	m := inMemory(t, &bundle.Contents{Policy: l.policy, Range: l.between(5, 11)})
	delete(m, "range/older.checkpoint")
	for f := range bundle.Check(m, l.policy) {
		if f.Verdict.Reason != evidence.Unreadable {
			t.Errorf("without the older checkpoint: %+v", f)
		}
	}
	delete(m, "range/edge")
	for f := range bundle.Check(m, l.policy) {
		if f.Verdict.Reason != evidence.OtherRecords {
			t.Errorf("without the older checkpoint and the edge: %+v", f)
		}
	}
}

// Nothing is written that is not proven, and nothing stays of a folder that could not be written.
func TestNothingUnprovenIsWritten(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	one := func(r bundle.Record) *bundle.Contents {
		return &bundle.Contents{Policy: l.policy, Records: func(yield func(bundle.Record, error) bool) { yield(r, nil) }}
	}
	named := func(name string) *bundle.Contents {
		r := l.record(2, 11)
		r.Name = name
		return one(r)
	}
	short := l.between(5, 11)
	short.Records = bytes.NewReader(l.lines(5, 10))
	other := l.record(2, 11)
	other.Bytes = l.records[3]
	errGone := errors.New("the disk is gone")
	for what, c := range map[string]*bundle.Contents{
		"another record":        one(other),
		"a name with a slash":   named("../2"),
		"a name of upper case":  named("A"),
		"no name":               named(""),
		"a long name":           named(strings.Repeat("a", 129)),
		"a name twice":          {Policy: l.policy, Records: l.some(2, 2)},
		"an unknown key":        {Policy: &evidence.Policy{}, Records: l.some(2)},
		"a range that is short": {Policy: l.policy, Range: short},
		"nothing":               {Policy: l.policy},
		"no records":            {Policy: l.policy, Records: l.some()},
		"records that cannot be read": {Policy: l.policy, Records: func(yield func(bundle.Record, error) bool) {
			if yield(l.record(2, 11), nil) {
				yield(bundle.Record{}, errGone)
			}
		}},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		if err := bundle.WriteFolder(dir, c); err == nil {
			t.Errorf("%s was written", what)
		} else if what == "records that cannot be read" && !errors.Is(err, errGone) {
			t.Errorf("the error of the records is lost: %v", err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is there: %v", what, err)
		}
	}
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bundle.WriteFolder(dir, l.contents()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that exists: %v", err)
	}
	if _, err := os.Lstat(mine); err != nil {
		t.Errorf("a file that was there: %v", err)
	}
}

// Archives that no honest sender makes.
func TestHostileArchives(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	l := newLog(t, 11)
	archive := func(names ...string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range names {
			f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
			if err == nil && !strings.HasSuffix(name, "/") {
				_, err = f.Write([]byte("content of a file"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	dir := t.TempDir()
	for what, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"out of it":        {archive("a", "../b"), `the name "../b" leads out of the archive`},
		"absolute":         {archive("/etc/b"), `the name "/etc/b" leads out of the archive`},
		"a backslash":      {archive(`a\..\b`), `the name "a\\..\\b" leads out of the archive`},
		"a drive":          {archive("c:b"), `the name "c:b" leads out of the archive`},
		"a dot":            {archive("./b"), `the name "./b" leads out of the archive`},
		"no name":          {archive(""), `the name "" leads out of the archive`},
		"twice":            {archive("a", "b", "a"), `the name "a" is there twice`},
		"twice, in a way":  {archive("records/a", "records/A"), `the name "records/A" is there twice`},
		"a file, a folder": {archive("a", "a/"), `the name "a/" is there twice`},
		"encrypted":        {flagged(archive("a")), "a is encrypted"},
		"another method":   {method(archive("a"), 12), "a is compressed in a way that is not supported (method 12)"},
		"shared data":      {grown(archive("a", "b")), "overlaps another file of the archive"},
		"no archive":       {[]byte("PK"), "it is neither a folder nor a zip archive"},
		"an empty file":    {nil, "it is neither a folder nor a zip archive"},
	} {
		path := filepath.Join(dir, what)
		if err := os.WriteFile(path, c.archive, 0o600); err != nil {
			t.Fatal(err)
		}
		files, err := bundle.Open(path)
		var format *bundle.FormatError
		if err == nil {
			t.Errorf("%s: opened: %v", what, findings(files, l.policy))
			files.Close()
		} else if !strings.Contains(err.Error(), c.want) || !errors.As(err, &format) {
			t.Errorf("%s: %v, not %s", what, err, c.want)
		}
	}
	if _, err := bundle.Open(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}

	// A file that unpacks to far more than any record has.
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"a.json", "a.tlog-proof"} {
		f, err := z.Create(name)
		if err == nil {
			_, err = f.Write(make([]byte, 40<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bomb.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	equal(t, "a bomb", findings(files, l.policy), []string{"record a.json: undecided unreadable"})
}

// directory returns where the entry of the first file in the directory of an archive is.
func directory(archive []byte) int { return bytes.Index(archive, []byte("PK\x01\x02")) }

func flagged(archive []byte) []byte {
	archive[directory(archive)+8] |= 1
	return archive
}

func method(archive []byte, method byte) []byte {
	archive[directory(archive)+10] = method
	return archive
}

// grown makes the first file as long as the archive, so that it has the data of the second file too.
func grown(archive []byte) []byte {
	at := directory(archive)
	archive[at+20], archive[at+24] = byte(len(archive)), byte(len(archive))
	return archive
}

// A link in a folder is not followed, also not by way of a folder above.
func TestLinksInAFolder(t *testing.T) {
	t.Parallel()
	l := newLog(t, 11)
	dir := filepath.Join(t.TempDir(), "new")
	if err := bundle.WriteFolder(dir, &bundle.Contents{Policy: l.policy, Records: l.some(2)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/policy", filepath.Join(dir, "other.json")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	files, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	equal(t, "links", findings(files, l.policy), []string{
		"file more: undecided no-proof", "file other.json: undecided no-proof", "record records/" + l.names[2] + ".json: proven ",
	})
}
