// Package keyfile keeps the private key of a log, or of a witness, in a file.
//
// The file has one line, the key in note format (c2sp.org/signed-note), as [evidence.GenerateKey] makes it:
//
//	PRIVATE+KEY+log.example.com+bc122752+AWxsbGxs…
//
// A key file is made once, for its owner alone, and is never replaced: a log that lost its key cannot sign again. When
// [Create] returns, the file is on disk.
//
// The package leaves to others where a key file may lie, and what is signed with it.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
)

// Prefix is what every private key begins with.
const Prefix = "PRIVATE+KEY+"

// longest is how long a key file may be. A key with the longest name that makes sense has some 400 bytes.
const longest = 4 << 10

// Create makes a key for a log with this origin and writes it to a new file. The error is fs.ErrExist when there is a file of
// this name, or a link. The verifier key comes back, which is given away.
func Create(name, origin string) (verifierKey string, err error) {
	return create(name, origin, evidence.GenerateKey)
}

// CreateWitness is Create for the key of a witness.
func CreateWitness(name, witness string) (verifierKey string, err error) {
	return create(name, witness, evidence.GenerateWitnessKey)
}

func create(name, of string, generate func(of string) (private, public string, err error)) (verifierKey string, err error) {
	private, public, err := generate(of)
	if err != nil {
		return "", err
	}
	if len(private) >= longest {
		return "", fmt.Errorf("the name has %d bytes, which is too long", len(of))
	}
	// Not durable.Create: a key belongs to whoever makes it, and not to the owner of the folder.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(private + "\n")
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = durable.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		// Nobody has the verifier key yet, so nothing was signed with this key.
		return "", errors.Join(err, os.Remove(name))
	}
	return public, nil
}

// Read reads the key in a file. An error never has the key in it.
func Read(name string) (*evidence.Signer, error) { return read(name, evidence.NewSigner) }

// ReadWitness reads the key of a witness in a file. An error never has the key in it.
func ReadWitness(name string) (*evidence.Cosigner, error) { return read(name, evidence.NewCosigner) }

func read[K any](name string, parse func(private string) (*K, error)) (*K, error) {
	about, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !about.Mode().IsRegular(): // a pipe would wait for a writer
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		return nil, err
	}
	line, ended := strings.CutSuffix(string(b), "\n")
	if !ended || len(b) > longest {
		return nil, fmt.Errorf("%s: it is not one line with a private key", name)
	}
	key, err := parse(line)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}
