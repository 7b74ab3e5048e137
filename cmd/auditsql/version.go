package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/sqlstore"
)

// journalFormat is the version of the journal's format that this program writes.
const journalFormat = "v2"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Which auditsql this is, and what it is made of",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			revision, modified := revision()
			shown := text(revision)
			if revision == "" {
				shown = cell{brief: "unknown"}
			} else if modified {
				shown = shown.as(revision + ", modified")
			}
			return a.facts(a.form(""),
				fact{"version", "auditsql", text(moduleVersion())},
				fact{"revision", "revision", shown},
				fact{"modified", "", boolean(modified)},
				fact{"go", "go", text(runtime.Version())},
				fact{"platform", "platform", text(runtime.GOOS + "/" + runtime.GOARCH)},
				fact{"sqlite", "sqlite", text(sqlstore.SQLiteVersion)},
				fact{"sqlite_driver", "sqlite driver", dependency("modernc.org/sqlite")},
				fact{"journal_format", "journal format", text(journalFormat)},
			)
		},
		ValidArgsFunction: completeNothing,
	}
}

// moduleVersion is the version this program was built as, "(devel)" from a working tree.
func moduleVersion() string {
	built, ok := debug.ReadBuildInfo()
	if !ok || built.Main.Version == "" {
		return "(devel)"
	}
	return built.Main.Version
}

// revision is the commit that this program was built from, if the build knew it, and whether the working
// tree differed from it.
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
func dependency(path string) cell {
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, d := range built.Deps {
			if d.Path == path {
				return text(path + " " + d.Version)
			}
		}
	}
	return cell{brief: "unknown"}
}
