package importing

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/otlp"
)

// MapFlags are the flags that say how spans become records, whether they come from files or from a receiver.
type MapFlags struct {
	File      string // of the map
	Lifecycle string
	Text      string
}

// Add adds the flags to those of a command.
func (f *MapFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.File, "map", "", "a `file` that says how spans become records")
	flags.StringVar(&f.Lifecycle, "lifecycle", "", "the lifecycle of documents that do not state one (by default Unstated)")
	flags.StringVar(&f.Text, "text", "", "what is kept of the questions in spans: `keep`, hash or none")
	_ = cmd.MarkFlagFilename("map")
	_ = cmd.RegisterFlagCompletionFunc("text", cobra.FixedCompletions([]string{otlp.KeepText, otlp.HashText, otlp.NoText}, cobra.ShellCompDirectiveNoFileComp))
}

// Mapping reads the map, and puts what the flags say over it. What is wrong with them is an *advice.Error.
func (f *MapFlags) Mapping(ctx context.Context) (*otlp.Mapping, error) {
	m := otlp.DefaultMap()
	if f.File != "" {
		text, err := Uninterrupted(ctx, func() ([]byte, error) { return os.ReadFile(f.File) })
		if err != nil {
			return nil, err
		}
		if m, err = otlp.ParseMap(text); err != nil {
			return nil, advice.Usage("auditsql import --show-map prints a map to begin with", "%s: %w", f.File, err)
		}
	}
	if f.Lifecycle != "" {
		l, err := audit.ParseLifecycle(f.Lifecycle)
		if err != nil {
			return nil, advice.Usage("", "--lifecycle: %w", err)
		}
		m.Lifecycle.Default = l
	}
	if f.Text != "" {
		m.Subject = f.Text
	}
	mapping, err := otlp.NewMapping(m)
	if err != nil {
		if f.Text != "" {
			err = fmt.Errorf("--text %s: want keep, hash or none", f.Text)
		}
		return nil, advice.Usage("", "%w", err)
	}
	return mapping, nil
}
