package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tui"
)

// putOptions are the flags of put and import.
type putOptions struct {
	dir      string
	unproven bool
	future   importing.Future
}

func (o *putOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.dir, "dir", "d", "", "the copy's `folder`")
	addUnproven(cmd, &o.unproven)
	o.future.Add(cmd)
}

func (o *putOptions) check(unit audit.TimeUnit) ingest.Check {
	return ingest.Check{Unit: unit, MaxFuture: o.future.Duration}
}

// target is where records go: the node of this process, or the server that has the folder.
type target interface {
	ingest.Store
	ingest.Checker
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	AddLabels(ctx context.Context, labels []audit.Label) error
	Close() error
}

// openTarget finds the server that has the folder, or opens a node there.
func (a *app) openTarget(ctx context.Context, connect jetstream.Options, o *putOptions) (target, error) {
	c, err := socket.Dial(ctx, o.dir)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, socket.ErrNoServer) {
		return nil, err
	}
	n, err := a.openCopies(ctx, connect, o.dir, "", cluster.Options{
		Unproven: o.unproven, Logger: a.logger(), Store: []audit.Option{audit.WithCreatedBy("auditsql-cluster " + version())},
	})
	if err != nil {
		return nil, err // not n: a nil *copies in a target is no nil target
	}
	return n, nil
}

const aboutPuts = `A record is decided when the command answers: a majority of the servers has it on
disk, and the node has read the stream up to its place. While auditsql-cluster
serve has the folder, the records go through that. Otherwise the command is a
node by itself meanwhile, and reads first what the folder lacks.

The output and the exit codes are those of auditsql`

func (a *app) putCommand() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put -d DIR",
		Short: "Store one record, which is JSON on standard input",
		Long: `Put stores the record of standard input, and prints its query id when it is
decided. Storing the same record again prints the id again and changes nothing.
A different record with the same id is refused.

` + aboutPuts + ` put. That command also makes
records from flags, and works on the folder while serve has it.`,
		Example: `  auditsql-cluster put -d ./n1 < record.json`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			connect, err := a.putting(&o)
			if err == nil {
				err = a.put(cmd.Context(), connect, &o)
			}
			return err
		},
	}
	o.add(cmd)
	return cmd
}

// putting checks what put and import share.
func (a *app) putting(o *putOptions) (jetstream.Options, error) {
	if o.dir == "" {
		return jetstream.Options{}, errNoFolder
	}
	return a.options()
}

func (a *app) put(ctx context.Context, connect jetstream.Options, o *putOptions) error {
	text, err := importing.ReadAll(ctx, a.in, ingest.LongestLine)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("standard input is empty")
	}
	q, err := ingest.Record(text)
	if err != nil {
		return importing.RefusedInput(fmt.Errorf("standard input: %w", err), "-", "auditsql-cluster import -d "+legible.ShellQuote(o.dir))
	}
	db, err := a.openTarget(ctx, connect, o)
	if err != nil {
		return err
	}
	result, err := a.putOne(ctx, db, q, o)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	form := a.form()
	if form == tui.Table || form == tui.Plain {
		if result.Duplicate {
			a.note("the record had been stored before")
		}
		_, err := fmt.Fprintln(a.out, result.ID)
		return err
	}
	return a.screen().Facts(form, tui.Fact{Name: "query_id", Value: tui.Text(result.ID.String())}, tui.Fact{Name: "duplicate", Value: tui.Bool(result.Duplicate)})
}

func (a *app) putOne(ctx context.Context, db target, q *audit.QueryAudit, o *putOptions) (audit.PutResult, error) {
	check := o.check(db.TimeUnit())
	if err := check.Refuse(q); err != nil {
		return audit.PutResult{}, fmt.Errorf("standard input: %w", importing.RefusedRecord(err))
	}
	for _, d := range check.Doubts(q) {
		a.note("%s: %s", d.Field, d.Text)
	}
	results, err := db.PutAudits(ctx, []*audit.QueryAudit{q})
	if err != nil {
		return audit.PutResult{}, err
	}
	return results[0], results[0].Err
}

// note prints on standard error what is good to know.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "note: %s\n", legible.Text(fmt.Sprintf(format, args...)))
}
