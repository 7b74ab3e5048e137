package importing

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/when"
)

// Future is the flag --max-future: how far after now a timestamp may lie; 0 is no limit.
type Future struct{ time.Duration }

// Add adds the flag, with its usual value.
func (f *Future) Add(cmd *cobra.Command) {
	f.Duration = ingest.UsualFuture
	cmd.Flags().Var(f, "max-future", "how far in the future a timestamp may lie; 0 is no limit")
}

// String implements pflag.Value.
func (f *Future) String() string { return when.FormatDuration(f.Duration) }

// Type implements pflag.Value.
func (f *Future) Type() string { return "duration" }

// Set implements pflag.Value.
func (f *Future) Set(s string) (err error) {
	if f.Duration = 0; s != "0" {
		f.Duration, err = when.ParseDuration(s)
	}
	return err
}

// Limit is the same as packages web and receive have it, where 0 is the usual limit and a negative one is none.
func (f *Future) Limit() time.Duration {
	if f.Duration == 0 {
		return -1
	}
	return f.Duration
}
