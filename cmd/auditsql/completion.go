package main

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/legible"
)

// What a shell proposes when somebody types the tab key. A shell shows nothing of an error, and waits for the answer. So what
// cannot be found out in a moment is not proposed.

const (
	completionMost    = 50   // texts
	completionRecords = 2000 // of the newest, in which predicates and lenses are looked for
)

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// setUpCompletion makes a shell propose file names only where a command wants a file.
func setUpCompletion(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	everyFlag(root, func(cmd *cobra.Command, f *pflag.Flag) {
		if _, wantsFile := f.Annotations[cobra.BashCompFilenameExt]; wantsFile {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, completeFiles)
		}
	})
}

// everyFlag calls f with each flag of a command and of those below it.
func everyFlag(cmd *cobra.Command, f func(*cobra.Command, *pflag.Flag)) {
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		set.VisitAll(func(flag *pflag.Flag) { f(cmd, flag) })
	}
	for _, below := range cmd.Commands() {
		everyFlag(below, f)
	}
}

// completes reports whether a command line is a question of a shell.
func completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// plainUsages takes the quotes out of what flags say of themselves. Help shows a quoted word as the name of the value, and
// a shell would show the quotes.
func plainUsages(root *cobra.Command) {
	everyFlag(root, func(_ *cobra.Command, f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
}

func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeFolder is for a command whose only argument is a folder.
func completeFolder(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// fromStore proposes texts that are in the store, and nothing if it cannot be read.
func (a *app) fromStore(texts func(ctx context.Context, db *audit.DB, cmd *cobra.Command, args []string, typed string) []string) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), a.completionTime)
		defer cancel()
		db, err := audit.OpenContext(ctx, a.dir, audit.ReadOnly())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer db.Close()
		proposed := slices.DeleteFunc(texts(ctx, db, cmd, args, typed), func(text string) bool {
			value, _, _ := strings.Cut(text, "\t")
			return !proposable(value)
		})
		return proposed, cobra.ShellCompDirectiveNoFileComp
	}
}

// proposable reports whether a stored text may be proposed. Bash inserts what several proposals have in common as it is, and
// runs the line once more to complete it further. A text that a stranger stored could so become a command: only texts
// without a meaning for any shell are proposed.
func proposable(text string) bool {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-./:,@%+ ", r)
	}
	return text != "" && len(text) <= 100 && text[0] != '-' && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, strange) && legible.Visible(text) == text
}

// completeHashes proposes what a person may type for hashes of these kinds: labels, and the digits of those without one.
func (a *app) completeHashes(kinds audit.HashKind) completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, _ *cobra.Command, _ []string, typed string) []string {
		return hashesBeginning(ctx, db, typed, kinds)
	})
}

func hashesBeginning(ctx context.Context, db *audit.DB, typed string, kinds audit.HashKind) (names []string) {
	found, err := db.HashesBeginning(ctx, typed, kinds, completionMost)
	if err != nil {
		return nil
	}
	for _, l := range found {
		name := l.Label
		if name == "" {
			digits := l.Hash.String()
			name = digits[:max(briefHash, min(2*len(typed), len(digits)))]
		}
		names = append(names, name)
	}
	return slices.Compact(names)
}

// completeEvidence proposes assertions for the argument of impact, and sources with --source.
func (a *app) completeEvidence() completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, cmd *cobra.Command, args []string, typed string) []string {
		kind := audit.AssertionHash
		if cmd.Flags().Changed("source") {
			kind = audit.SourceHash
		}
		if len(args) > 0 {
			return nil
		}
		return hashesBeginning(ctx, db, typed, kind)
	})
}

// completeNamed proposes labels for the first argument of name.
func (a *app) completeNamed() completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, _ *cobra.Command, args []string, typed string) []string {
		if len(args) > 0 {
			return nil
		}
		return hashesBeginning(ctx, db, typed, audit.AnyHash)
	})
}

// completeQuestion proposes subjects for the first argument of answers, and for the second one the predicates that were asked
// of that subject.
func (a *app) completeQuestion() completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, _ *cobra.Command, args []string, typed string) []string {
		switch len(args) {
		case 0:
			return subjectsBeginning(ctx, db, typed)
		case 1:
			return inRecords(ctx, db, audit.Filter{Subject: &args[0]}, typed, predicateOf)
		}
		return nil
	})
}

func (a *app) completeSubjects() completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, _ *cobra.Command, _ []string, typed string) []string {
		return subjectsBeginning(ctx, db, typed)
	})
}

func subjectsBeginning(ctx context.Context, db *audit.DB, typed string) []string {
	subjects, err := db.SubjectsBeginning(ctx, typed, completionMost)
	if err != nil {
		return nil
	}
	return subjects
}

// completeRecent proposes what the newest records have.
func (a *app) completeRecent(of func(*audit.QueryParams) *string) completion {
	return a.fromStore(func(ctx context.Context, db *audit.DB, _ *cobra.Command, _ []string, typed string) []string {
		return inRecords(ctx, db, audit.Filter{}, typed, of)
	})
}

func predicateOf(p *audit.QueryParams) *string { return p.Predicate }
func lensOf(p *audit.QueryParams) *string      { return p.Lens }

// inRecords are the texts that the newest records of a filter have and that begin with what was typed, in order.
func inRecords(ctx context.Context, db *audit.DB, f audit.Filter, typed string, of func(*audit.QueryParams) *string) (texts []string) {
	f.Descending, f.Limit = true, completionRecords
	for q, err := range db.Audits(ctx, f) {
		if err != nil {
			break
		}
		if text := of(&q.Params); text != nil && strings.HasPrefix(*text, typed) && !slices.Contains(texts, *text) {
			texts = append(texts, *text)
		}
		if len(texts) == completionMost {
			break
		}
	}
	slices.Sort(texts)
	return texts
}

// completeFilter is the completion of a filter's value, nil where there is nothing to propose.
func (a *app) completeFilter(p *ask.Parameter) completion {
	switch {
	case p.Kind == ask.Agent:
		return a.completeHashes(audit.AgentHash)
	case p.Kind == ask.Assertion:
		return a.completeHashes(audit.AssertionHash)
	case p.Kind == ask.Source:
		return a.completeHashes(audit.SourceHash)
	case p.Name == "subject":
		return a.completeSubjects()
	case p.Name == "predicate":
		return a.completeRecent(predicateOf)
	case p.Name == "lens":
		return a.completeRecent(lensOf)
	case p.Choices() != nil:
		return completeWords(p.Choices()...)
	}
	return nil
}
