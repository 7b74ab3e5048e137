package signing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/auditsql/auditsql/evidence"
)

// Trusted returns the policy by which checkpoints of the log count: its key, and the keys that it had before under the same
// name. No witness is asked for.
func (c *Config) Trusted() (*evidence.Policy, error) { return c.policy() }

// Witnessed is Trusted with the witnesses of the policy that log.json names, and their quorum. It is nil when log.json names
// none.
func (c *Config) Witnessed() (*evidence.Policy, error) {
	if c.Policy == "" {
		return nil, nil
	}
	policy, err := ReadPolicy(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("read the policy of the log: %w", err)
	}
	own, err := c.policy()
	if err != nil {
		return nil, err
	}
	// A policy for witnesses need not name the log, and does not name the keys that it had before.
	lines := ""
	for _, log := range own.Logs() {
		if !slices.ContainsFunc(policy.Logs(), func(l evidence.Log) bool { return l.Key == log.Key }) {
			lines += "log " + log.Key + "\n"
		}
	}
	if lines == "" {
		return policy, nil
	}
	return evidence.ParsePolicy([]byte(lines + policy.Text()))
}

// ReadPolicy reads a file with the policy that names the witnesses. It is a person's file outside of the store, and may be a link.
func ReadPolicy(file string) (*evidence.Policy, error) {
	about, err := os.Stat(file)
	if err == nil && !about.Mode().IsRegular() { // a pipe would wait for a writer
		err = &fs.PathError{Op: "read", Path: file, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	policy, err := evidence.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return policy, nil
}
