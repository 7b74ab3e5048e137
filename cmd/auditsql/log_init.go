package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/signing"
)

// logFlags say how a log is signed.
type logFlags struct {
	audit.LogOptions
	every durationFlag
}

func (a *app) logInitCommand() *cobra.Command {
	var o logFlags
	var adopt string
	cmd := &cobra.Command{
		Use:   "init --key FILE",
		Short: "Sign the store's log from now on",
		Long: `Init makes the store sign its log with a key (auditsql key new), now and from
then on: whenever it has grown, at most once in --every while a program has it
open, and when it is closed. A signature is a checkpoint: the name of the log,
how many records it has, and the root of the tree over them. It is written to
the file checkpoint in the store, and to every place that is named here:

  --publish   a folder that any web server can serve (c2sp.org/tlog-tiles)
  --exec      a command, which gets the checkpoint on standard input
  --policy    a policy file, whose witnesses are asked to sign as well

No put waits for any of them. What is said here is kept in log.json in the
store. To change it, run init again with the same key and all the flags: a place
that is not named again gets nothing any more. When a witness has seen another
history of the log, nothing more is signed: find out why before you say
--resume.

FILE.signed, beside the key, is the memory of what was signed. The store is
compared with it before each signature and when it is opened for writing. If
it has other or fewer records than were signed, it is refused. So the folder of
the key must be writable for whoever writes to the store. Keep the key and its
memory out of the store, and never put back an older FILE.signed.

If FILE.signed was lost, nothing is signed until --adopt gives the key its
memory back: a file with the newest checkpoint that it has signed. A key that
stays in its place need not be named then.

The first signature reads all records once. The store must not be open in
another program.`,
		Example: `  auditsql key new log.example.com/payments -o /etc/auditsql/payments.key
  auditsql log init --key /etc/auditsql/payments.key --publish /srv/log
  auditsql log init --key payments.key --exec 'cat >> /mnt/worm/checkpoints'`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if adopt != "" && o.Key == "" {
				return a.logAdopt(cmd.Context(), nil, adopt)
			}
			if err := o.check(a, cmd); err != nil {
				return err
			}
			defer a.noteDropped(placesSaid(a.dir))
			if adopt != "" {
				return a.logAdopt(cmd.Context(), &o.LogOptions, adopt)
			}
			return a.logInit(cmd.Context(), o)
		},
		ValidArgsFunction: completeNothing,
	}
	o.add(cmd)
	cmd.Flags().StringVar(&adopt, "adopt", "", "a `file` with the newest checkpoint: the lost memory of the key")
	_ = cmd.MarkFlagFilename("adopt")
	a.addWriting(cmd)
	return cmd
}

// add adds the flags.
func (o *logFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.Key, "key", "", "the `file` with the private key")
	flags.StringVar(&o.Origin, "origin", "", "the `name` of the log, which must be that of the key")
	flags.Var(&o.every, "every", "how often to sign while records come (default 1m)")
	flags.StringArrayVar(&o.Publish, "publish", nil, "a `folder` for static hosting; may be repeated")
	flags.StringArrayVar(&o.Exec, "exec", nil, "a shell `command` that gets each checkpoint; may be repeated")
	flags.StringVar(&o.Policy, "policy", "", "a `file` with a policy that names witnesses")
	flags.BoolVar(&o.Resume, "resume", false, "sign again although a witness has seen another history of the log")
	_ = cmd.MarkFlagFilename("key")
	_ = cmd.MarkFlagFilename("policy")
	_ = cmd.MarkFlagDirname("publish")
}

// check refuses what is wrong before the store is opened.
func (o *logFlags) check(a *app, cmd *cobra.Command) error {
	if o.Key == "" {
		return trying(usage("--key is missing: the file with the private key"), "auditsql key new ORIGIN -o FILE, which makes one")
	}
	if err := notTheKey("--key", o.Key); err != nil {
		return err
	}
	if store := a.storeAround(o.Key); store != "" {
		return trying(usage("--key %s is inside %s, the folder of a store: its backups would have the key", o.Key, store), "move it to another folder")
	}
	if cmd.Flags().Changed("every") && o.every.Duration <= 0 {
		return usage("--every must be above 0")
	}
	for _, folder := range o.Publish {
		if folder == "" {
			return usage("--publish names no folder")
		}
		if store := a.storeAround(folder); store != "" {
			return trying(usage("--publish %s is inside %s, the folder of a store", folder, store), "another folder")
		}
	}
	o.Every = o.every.Duration
	return nil
}

// placesSaid returns where log.json says that checkpoints go, as flags.
func placesSaid(dir string) (flags []string) {
	c, err := signing.ReadConfig(dir)
	if err != nil {
		return nil // there is none yet, or it cannot be read, which the command says
	}
	for _, folder := range c.Publish {
		flags = append(flags, "--publish "+shellQuote(folder))
	}
	for _, command := range c.Exec {
		flags = append(flags, "--exec "+shellQuote(command))
	}
	if c.Policy != "" {
		flags = append(flags, "--policy "+shellQuote(c.Policy))
	}
	return flags
}

// noteDropped names the places that got checkpoints before and get none from now on. Somebody may have left a flag out by
// mistake, also when the command has failed after log.json was written.
func (a *app) noteDropped(before []string) {
	now := placesSaid(a.dir)
	for _, flag := range before {
		if !slices.Contains(now, flag) {
			a.note("%s was not given again: no checkpoint goes there any more", flag)
		}
	}
}

func (a *app) logInit(ctx context.Context, o logFlags) error {
	db, err := a.openExisting(ctx, audit.WithSigner(o.LogOptions))
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.Is(err, audit.ErrNoKey):
		return trying(err, "auditsql key new ORIGIN -o %s, which makes it", shellQuote(o.Key))
	case errors.Is(err, audit.ErrLocked):
		return trying(err, "stop the program that has the store open, and start it again afterwards; --lock-wait 10s waits for it")
	case errors.Is(err, audit.ErrInvalid):
		return usage("%w", err)
	case err != nil:
		return err
	}
	return a.signAndClose(ctx, db, true)
}

// logAdopt is log init --adopt. o is nil when the log is signed as before.
func (a *app) logAdopt(ctx context.Context, o *audit.LogOptions, checkpoint string) error {
	note, err := readSmall(ctx, checkpoint)
	if err != nil {
		return err
	}
	change, err := audit.AdoptCheckpoint(ctx, a.dir, o, note, audit.WithLockWait(a.lockWait.Duration))
	if errors.Is(err, audit.ErrInvalid) {
		return usage("%w", err)
	}
	a.noteRecovery(change.Recovery)
	if err != nil {
		return err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	return a.signAndClose(ctx, db, true)
}
