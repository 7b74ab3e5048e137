package audit_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/auditsql/auditsql/audit"
)

// A pattern for a subject means what it means in a shell, in SQLite and in this program.
func TestAPatternIsThatOfAShell(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	memory, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	r := rand.New(rand.NewPCG(3, 4))
	text := func(letters string, most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	// SQLite begins no range with a ] that is the first of a set.
	odd := regexp.MustCompile(`\[[!^]?\]-`)
	pairs := [][2]string{
		{"[!abc]*", "dog"}, {"[!abc]*", "cat"}, {"[^abc]*", "dog"}, {"[abc!]", "!"}, {"[!]", "[!]"}, {"[!!]", "!"}, {"[!!]", "a"}, {"[]]", "]"}, {"[!]]", "]"},
		{"[[!]", "!"}, {"[[!]", "["}, {"a[b", "a[b"}, {"[", "["}, {"[!a", "[!a"}, {"[a-]", "-"}, {"[!a-c]", "b"}, {"[c-a]", "b"}, {"*[!a]", "ba"}, {"*", ""}, {"", ""},
	}
	for range 3000 {
		if pattern := text("ab!^[]-*?c", 7); !odd.MatchString(pattern) {
			pairs = append(pairs, [2]string{pattern, text("ab!^[]-c", 4)})
		}
	}
	args := []string{"-c", `LC_ALL=C; while [ $# -gt 0 ]; do if [[ $2 == $1 ]]; then echo true; else echo false; fi; shift 2; done`, "bash"}
	for _, p := range pairs {
		args = append(args, p[0], p[1])
	}
	out, err := exec.CommandContext(t.Context(), shell, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	matched := 0
	for i, line := range strings.Fields(string(out)) {
		pattern, subject := pairs[i][0], pairs[i][1]
		var inSQLite bool
		if err := memory.QueryRow(`SELECT ? GLOB ?`, subject, audit.SQLGlob(pattern)).Scan(&inSQLite); err != nil {
			t.Fatal(err)
		}
		if here := audit.GlobMatches(pattern, subject); line != fmt.Sprint(inSQLite) || inSQLite != here {
			t.Errorf("%q and %q: the shell says %s, SQLite %v of %q, and the program %v", pattern, subject, line, inSQLite, audit.SQLGlob(pattern), here)
		}
		if inSQLite {
			matched++
		}
	}
	if matched < 100 {
		t.Errorf("%d of %d match, which checks little", matched, len(pairs))
	}
}
