// Command mutants shows that the tests can fail. It takes out, one at a time, pieces of code that durability and right
// answers depend on, and runs the tests that should notice. It works on a copy, and leaves the checkout unchanged.
//
//	go run ./internal/mutants             # all; takes hours; prints the table of docs/durability.md
//	go run ./internal/mutants poison mark # those whose names contain one of the words
//
// It exits 1 when no test notices a mutant, and when a mutant cannot be made: each edit must fit the code at exactly one
// place, and the result must compile. So whoever changes the code changes the table with it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// patience is how long the tests of one mutant may run. Tests that hang have noticed it too.
const patience = 5 * time.Minute

// tableHead begins the table of mutants, here and in docs/durability.md.
const tableHead = "| what is taken out | where | noticed by | after |\n|---|---|---|---|\n"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(dir); err != nil {
		return err
	}
	fmt.Print(tableHead)
	var failed []error
	for _, m := range guards() {
		if len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(m.what, w) }) {
			continue
		}
		start := time.Now()
		by, err := m.try(dir)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s (%s): %w", m.what, m.file, err))
			by = "**nothing**"
		}
		fmt.Printf("| %s | `%s` | %s | %.0f s |\n", m.what, m.file, by, time.Since(start).Seconds())
	}
	return errors.Join(failed...)
}

// copyTree copies the files that git knows, and new ones that it does not ignore.
func copyTree(dir string) error {
	list, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(list), "\x00"), "\x00") {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted and not committed yet
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// guards are the mutants of all tables.
func guards() []mutant {
	return slices.Concat(
		mutants,
		apiMutants,
		backlogMutants,
		chainMutants,
		clusterMutants, partitionMutants,
		commandMutants,
		figureMutants,
		filterMutants,
		folderMutants,
		growthMutants,
		hashMutants,
		repairMutants,
		otlpMutants,
		pageMutants,
		proofMutants,
		proveMutants,
		readMutants,
		receiveMutants,
		screenMutants,
		serveMutants,
		watchingMutants,
		wayMutants,
		wireMutants,
	)
}

// mutant is the code without one piece.
type mutant struct {
	what    string // the piece
	file    string
	old     string // the text of the piece: it is in the file exactly once
	changed string // the text that replaces it
	pkg     string // the package whose tests should notice
	tests   string // these tests, as a pattern for -test.run
	args    []string
}

// thorough are the arguments for a test of random cases: so many that it is not chance whether one of them meets the mutant.
var thorough = []string{"-rapid.checks", "1000"}

// try makes the mutant, runs the tests, and restores the file. It returns the tests that failed.
func (m *mutant) try(dir string) (by string, err error) {
	path := filepath.Join(dir, m.file)
	original, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(original, []byte(m.old)); n != 1 {
		return "", fmt.Errorf("the edit fits at %d places", n)
	}
	if err := os.WriteFile(path, bytes.Replace(original, []byte(m.old), []byte(m.changed), 1), 0o644); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, original, 0o644)) }()

	binary := filepath.Join(dir, "mutant.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, ".")
	build.Dir = filepath.Join(dir, m.pkg) // the package may be in another module
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %s", bytes.TrimSpace(out))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	test := exec.CommandContext(ctx, binary, append([]string{"-test.run", m.tests, "-test.failfast"}, m.args...)...)
	test.Dir = filepath.Join(dir, m.pkg)
	out, err := test.CombinedOutput()
	switch {
	case err == nil:
		return "", errors.New("no test noticed")
	case ctx.Err() != nil:
		return "a test that hangs", nil
	case !errors.As(err, new(*exec.ExitError)):
		return "", err
	}
	return failures(string(out)), nil
}

// failures lists the tests that failed, without their subtests.
func failures(out string) string {
	var names []string
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, "`"+name+"`")
		}
	}
	if len(names) == 0 {
		return "a panic or a deadlock"
	}
	return strings.Join(names, ", ")
}
