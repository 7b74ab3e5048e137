package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Keys with which a log is signed",
		Long: `The private key of a log signs checkpoints of it. The verifier key is given
away: with it everybody checks evidence from the log (auditsql check).`,
	}
	needsOneBelow(cmd)
	cmd.AddCommand(a.keyNewCommand(), a.keyShowCommand())
	return cmd
}

func (a *app) keyNewCommand() *cobra.Command {
	var file string
	var witness bool
	cmd := &cobra.Command{
		Use:   "new [ORIGIN] -o FILE",
		Short: "Make a key",
		Long: `Key new makes a private key, writes it to a new file that only you can read,
and prints the verifier key. It never replaces a file.

ORIGIN is the name of the log, and for ever that of its key. It has no spaces
and no plus. A name like a domain and a path is best, since nobody else has it:
log.example.com/payments. Without ORIGIN the name is auditsql/ and the id of the
store that -d names.

Keep the file outside of the store, so that no backup of the store has it. Keep
a copy in a safe place: without it the log cannot be signed again under this
name. Whoever has the file can sign in the name of the log.

With --witness it is the key of a witness, and ORIGIN the name of the witness:
auditsql-cluster serve --witness-key cosigns with it.`,
		Example: `  auditsql key new log.example.com/payments -o /etc/auditsql/payments.key`,
		Args:    arguments(0, 1, "the name of the log"),
		RunE: func(_ *cobra.Command, args []string) error {
			if file == "" {
				return usage("-o is missing: the file for the private key")
			}
			origin, err := a.originOf(args, witness)
			if err != nil {
				return err
			}
			return a.keyNew(origin, file, witness)
		},
		ValidArgsFunction: completeNothing,
	}
	// This takes the place of the -o of all commands: there is only one form of output here.
	cmd.Flags().StringVarP(&file, "output", "o", "", "the new `file` for the private key")
	_ = cmd.MarkFlagFilename("output")
	cmd.Flags().BoolVar(&witness, "witness", false, "make the key of a witness, which cosigns checkpoints of others")
	return cmd
}

// originOf is the name of a new key: the one that was typed, or that of the store's log. A witness is of no store.
func (a *app) originOf(args []string, witness bool) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	if witness {
		return "", usage("the name of the witness is missing")
	}
	id, err := audit.StoreID(a.dir)
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", trying(usage("the name of the log is missing, and no store is in %s whose id could be in the name", a.dir),
			"auditsql key new ORIGIN -o FILE, or -d with the folder of a store")
	}
	return "auditsql/" + id, nil
}

func (a *app) keyNew(origin, file string, witness bool) error {
	if err := evidence.CheckOrigin(origin); err != nil {
		return usage("%q cannot be the name of a log: %w", origin, err)
	}
	if store := a.storeAround(file); store != "" {
		return trying(usage("-o %s is inside %s, the folder of a store: its backups would have the key", file, store), "another folder")
	}
	create := keyfile.Create
	if witness {
		create = keyfile.CreateWitness
	}
	public, err := create(file, origin)
	if errors.Is(err, fs.ErrExist) {
		return trying(usage("-o %s exists already, and a key is never written over a file", file), "another name; auditsql key show %s shows what key it is", shellQuote(file))
	}
	if err != nil {
		return fmt.Errorf("make a key for %q: %w", origin, err)
	}
	if a.outTerm.Is {
		a.note("%s has the private key; the line below is the verifier key, which you give away", file)
	}
	return a.copyOut(public + "\n")
}

func (a *app) keyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "The verifier key of a private key",
		Long: `Key show reads a private key and prints its verifier key, the name of the log,
and the id that each signature by the key begins with. It never prints the
private key.`,
		Example: `  auditsql key show /etc/auditsql/payments.key
  auditsql key show /etc/auditsql/payments.key --json | jq -r .verifier_key`,
		Args: arguments(1, 1, "the file with the private key"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.keyShow(args[0])
		},
		ValidArgsFunction: completeFiles,
	}
}

// notTheKey refuses a private key in place of the file that has it. The error does not print it.
func notTheKey(what, file string) error {
	if strings.HasPrefix(file, keyfile.Prefix) {
		return usage("%s is a private key, and not the file that has it; your shell may keep it in its history", what)
	}
	return nil
}

func (a *app) keyShow(file string) error {
	if err := notTheKey("FILE", file); err != nil {
		return err
	}
	key, err := keyfile.Read(file)
	if err != nil {
		return err
	}
	if about, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && about.Mode().Perm()&0o077 != 0 {
		a.note("other users may use %s (its mode is %04o); chmod 600 ends that", file, about.Mode().Perm())
	}
	return a.facts(a.form(""),
		fact("origin", "log", tui.Text(key.Name())),
		fact("key_id", "key id", tui.Text(fmt.Sprintf("%08x", key.KeyHash()))),
		fact("verifier_key", "verifier key", tui.Text(key.VerifierKey())))
}
