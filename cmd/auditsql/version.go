package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/sqlstore"
)

// version is the number of this version, as in the newest heading of CHANGELOG.md. It is a constant, because Go's build
// information has it only for a build of a tag: for any other build it says "(devel)" or names the commit.
const version = "0.1.0-dev"

// journalFormat is the version of the journal's format that this program writes.
const journalFormat = "v2"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "The version of auditsql and of its parts",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			revision, modified := revision()
			shown := tui.Text(revision)
			if revision == "" {
				shown = tui.Cell{Brief: "unknown"}
			} else if modified {
				shown = shown.As(revision + ", modified")
			}
			return a.facts(a.form(""),
				fact("version", "auditsql", tui.Text(version)),
				fact("revision", "revision", shown),
				fact("modified", "", tui.Bool(modified)),
				fact("go", "go", tui.Text(runtime.Version())),
				fact("platform", "platform", tui.Text(runtime.GOOS+"/"+runtime.GOARCH)),
				fact("sqlite", "sqlite", tui.Text(sqlstore.SQLiteVersion)),
				fact("sqlite_driver", "sqlite driver", dependency("modernc.org/sqlite")),
				fact("journal_format", "journal format", tui.Text(journalFormat)),
			)
		},
		ValidArgsFunction: completeNothing,
	}
}

// revision is the commit from which this program was built, "" if that is not known, and whether the working tree
// differed from it.
func revision() (commit string, modified bool) {
	built, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range built.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}

// dependency is the version of a module that this program was built with.
func dependency(path string) tui.Cell {
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, d := range built.Deps {
			if d.Path == path {
				return tui.Text(path + " " + d.Version)
			}
		}
	}
	return tui.Cell{Brief: "unknown"}
}
