package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
)

// BootstrapOptions say how the copy of a new node is made.
type BootstrapOptions struct {
	// Progress, if set, is called now and then with what is being done and how much of it is done.
	Progress func(stage string, done uint64)
}

// Bootstrap makes the copy of a new node in dir from that of another node: from a backup of it, or from its folder, also while that node
// runs. So the new node need not read the log from its beginning, which the log may not have any more. dir must not exist, or be an
// empty folder.
//
// It refuses a copy that cannot go on in the log: one of another log (ErrMismatch), one that has what the log does not have (ErrRewound),
// and one that ends before the log begins (ErrTrimmed). Then nothing is in dir.
//
// The copy may also be one of the log that this one continues (Info.Continues). Then it is compared with the log first, as Verify
// does: the log may have other messages than that one had under the same numbers. What was trimmed from the log cannot be compared. If
// it is not certain that the log had copied it (Info.Copied, and the heads in the log), the copy is refused (ErrTrimmed).
//
// The new node signs nothing, also when the other one does: see audit.DB.BackupFor.
//
// The copy is verified before it gets its name, and gets it when it is complete and on disk. If the process dies before, dir is as it
// was. What it had copied is in a folder beside it, which [Unfinished] names.
func Bootstrap(ctx context.Context, log Log, from, dir string, o BootstrapOptions) (audit.BackupReport, error) {
	var r audit.BackupReport
	err := durable.Stage(dir, func(part string) (whole string, err error) {
		info, err := log.Info(ctx)
		if err != nil {
			return "", err
		}
		if err := errors.Join(notRemade(info), checkNoSet(from, info)); err != nil {
			return "", err
		}
		s, err := openSource(ctx, log, info, from)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, s.db.Close()) }()
		whole = filepath.Join(part, "copy")
		r, err = s.copyTo(ctx, whole, o)
		return whole, err
	})
	if err != nil {
		return r, fmt.Errorf("bootstrap %s from %s: %w", dir, from, err)
	}
	r.Dir = dir
	return r, nil
}

// BootstrapPartitions is Bootstrap for all partitions of a set. from is the folder of a node of this set, or a folder with a backup of
// each partition of such a node, which has the name of the partition's folder (PartitionDir). The backups need not be of the same moment:
// each is a prefix of its own log. It returns a report of each partition, in their order.
//
// No partition is copied unless all of them can go on. dir is there with all partitions, or not at all.
func BootstrapPartitions(ctx context.Context, logs []Log, from, dir string, o BootstrapOptions) ([]audit.BackupReport, error) {
	var reports []audit.BackupReport
	err := durable.Stage(dir, func(part string) (whole string, err error) {
		infos, err := infosOf(ctx, logs)
		if err != nil {
			return "", err
		}
		if infos[0].Partition.Whole() {
			return "", fmt.Errorf("%s: %w: it is no partition", infos[0].Name, ErrMismatch)
		}
		if err := checkSetOf(from, infos[0].Partition); err != nil {
			return "", err
		}
		for _, info := range infos {
			if err := notRemade(info); err != nil {
				return "", err
			}
		}
		var sources []*source
		defer func() {
			for _, s := range sources {
				err = errors.Join(err, s.db.Close())
			}
		}()
		for i, log := range logs {
			s, err := openSource(ctx, log, infos[i], PartitionDir(from, i))
			if err != nil {
				return "", err
			}
			sources = append(sources, s)
		}
		if err := keepSet(part, infos[0].Partition); err != nil {
			return "", err
		}
		for i, s := range sources {
			of := o
			if o.Progress != nil {
				of.Progress = func(stage string, done uint64) { o.Progress(fmt.Sprintf("partition %d: %s", i, stage), done) }
			}
			r, err := s.copyTo(ctx, PartitionDir(part, i), of)
			if err != nil {
				return "", err
			}
			r.Dir = PartitionDir(dir, i)
			reports = append(reports, r)
		}
		return part, nil
	})
	if err != nil {
		return nil, fmt.Errorf("bootstrap %s from %s: %w", dir, from, err)
	}
	return reports, nil
}

// checkSetOf refuses a folder that says that it has the copies of another set. One that has backups of partitions says nothing: each of
// them is compared with its log by itself.
func checkSetOf(from string, p Partition) error {
	note, err := readSet(from)
	switch {
	case err != nil:
		return err
	case note != nil && *note != setNote{p.Set, p.Of}:
		return fmt.Errorf("%s: %w: it has the copies of %d partitions of set %s, and the logs are %d partitions of set %s", from, ErrMismatch, note.Partitions, note.Set, p.Of, p.Set)
	}
	if _, err := os.Lstat(filepath.Join(from, storedir.FileName)); err == nil {
		return fmt.Errorf("%s: %w: it is the copy of one log, and there are %d partitions", from, ErrMismatch, p.Of)
	}
	return nil
}

// A source is a copy of which another one is made for a new node.
type source struct {
	log  Log
	info Info
	db   *audit.DB
	// continued says that the copy is one of the log that log continues.
	continued bool
}

// openSource opens a copy, and refuses one that cannot go on in the log.
func openSource(ctx context.Context, log Log, info Info, from string) (_ *source, err error) {
	db, err := audit.OpenContext(ctx, from, audit.ReadOnly())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	s := &source{log: log, info: info, db: db}
	if o := db.Follows(); o != nil && info.Continues != "" && o.ID == info.Continues {
		s.continued = true
		err = followsStore(db, info)
	} else {
		err = follows(db, info)
	}
	if err != nil {
		return nil, err
	}
	err = goesOn(ctx, log, info, db)
	switch {
	case !s.continued || !errors.Is(err, ErrRewound):
	case info.Mirror != nil:
		err = fmt.Errorf("%w; %s is a mirror, and may get the rest: try again later", err, info.Name)
	default:
		err = fmt.Errorf("%w; %s does not have all that this copy has: begin with an empty folder or an older backup, and import an export of this copy", err, info.Name)
	}
	return s, err
}

// copyTo copies it to dest.
func (s *source) copyTo(ctx context.Context, dest string, o BootstrapOptions) (audit.BackupReport, error) {
	// A node that runs goes on meanwhile, and so does the copy: it has what was compared and more.
	r, err := s.db.BackupFor(ctx, dest, originOf(s.info))
	if err != nil || !s.continued {
		return r, err
	}
	return r, s.compare(ctx, dest, o)
}

// compare compares a copy of the log that s.log continues with s.log. The newest record is not enough here. The log has lost the end of the
// other one and was given new messages since: one of them may be the same as before under the same number, and those before it others.
func (s *source) compare(ctx context.Context, dest string, o BootstrapOptions) (err error) {
	db, err := audit.OpenContext(ctx, dest, audit.ReadOnly())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, err := Verify(ctx, s.log, db, VerifyOptions(o))
	switch {
	case err != nil:
		return err
	case v.Damaged():
		return fmt.Errorf("%s: %w: it continues another log, and differs from this copy of that in %d places: %s", s.info.Name, ErrRewound, v.Total, v.Problems[0])
	case len(v.Open) > 0:
		return fmt.Errorf("%s: it continues another log, and this copy of that could not be compared with it: %s; try again", s.info.Name, v.Open[0])
	case !trimmedAreSame(v):
		return fmt.Errorf("%s: %w: it continues another log, begins with message %d by now, and may have had other messages than this copy before that; make the node of the folder or a backup of a node of %s, and import an export of this copy",
			s.info.Name, ErrTrimmed, v.Bounds.First, s.info.Name)
	}
	return nil
}

// trimmedAreSame reports whether it is certain that the messages which the log does not have any more were those of the copy. Then they were copied
// from the log that the copy follows, or a head that comes after them shows it: its root is over all records before it.
func trimmedAreSame(v *VerifyReport) bool {
	trimmed := max(v.Bounds.First, 1) - 1
	return trimmed <= v.Log.Info.Copied || slices.ContainsFunc(v.Heads, func(h HeadState) bool { return h.Differs == nil && h.Cursor >= trimmed })
}

// goesOn returns why a copy cannot go on in a log.
func goesOn(ctx context.Context, log Log, info Info, db *audit.DB) error {
	stats, err := db.Stats(ctx)
	if err != nil {
		return err
	}
	// After the copy was asked: the log has it all, if that is the log that the copy follows.
	b, err := log.Bounds(ctx)
	if err != nil {
		return err
	}
	cursor := uint64(stats.Applied)
	if err := within(info.Name, cursor, b); err != nil {
		return err
	}
	newest, err := db.LastRecords(ctx, 1, audit.Filter{})
	if err != nil {
		return err
	}
	if len(newest.Damaged) > 0 {
		return newest.Damaged[0]
	}
	if len(newest.Records) == 0 {
		return nil
	}
	at := uint64(newest.Records[0].Offset)
	if at < b.First {
		return nil // the heads that it reads tell whether it is right
	}
	return sameMessage(ctx, log, info, replicaNames(info), at, newest.Records[0].Raw)
}

// Unfinished returns the folders beside dir that a Bootstrap of dir has left whose process died. Nothing reads them. They can be
// removed, unless a Bootstrap of dir runs.
func Unfinished(dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	left, err := durable.Unfinished(filepath.Dir(dir))
	return slices.DeleteFunc(left, func(name string) bool { return !strings.HasPrefix(filepath.Base(name), durable.StagePrefix(dir)) }), err
}
