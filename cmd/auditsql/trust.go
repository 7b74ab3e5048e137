package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/evidence"
)

// trustFlags say whose signatures count.
type trustFlags struct {
	keys   []string
	policy string
}

func (o *trustFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.keys, "key", nil, "verifier `KEY` of a log that you trust; may be repeated")
	cmd.Flags().StringVar(&o.policy, "policy", "", "`file` with the logs and witnesses that you trust")
	_ = cmd.MarkFlagFilename("policy")
}

// trusts reports whether one of the flags was given.
func (o *trustFlags) trusts() bool { return len(o.keys) > 0 || o.policy != "" }

// trusted is whose signatures count. A policy that lies in one of the paths is refused: it came with the evidence.
func (o *trustFlags) trusted(ctx context.Context, paths []string) (*evidence.Policy, error) {
	if o.policy == "" {
		policy, err := evidence.KeyPolicy(o.keys...)
		if err != nil {
			err = usage("--key: %w", err)
			for _, key := range o.keys {
				if about, statErr := os.Stat(key); statErr == nil && about.Mode().IsRegular() {
					return nil, trying(err, `--key "$(cat %s)", if the key is in that file`, shellQuote(key))
				}
			}
			return nil, err
		}
		return policy, nil
	}
	text, err := readSmall(ctx, o.policy)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	if is, err := os.Stat(o.policy); err == nil {
		for _, path := range paths {
			if own, err := os.Stat(filepath.Join(path, "policy")); err == nil && os.SameFile(is, own) {
				return nil, trying(usage("--policy %s came with the evidence, and so proves nothing", o.policy),
					"--key with the verifier key that somebody gave you whom you trust")
			}
		}
	}
	policy, err := evidence.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("--policy %s: %w", o.policy, err)
	}
	return policy, nil
}
