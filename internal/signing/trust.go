package signing

import (
	"fmt"
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
	text, err := readFile(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("read the policy of the log: %w", err)
	}
	policy, err := evidence.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("read the policy of the log: %s: %w", c.Policy, err)
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
