package queries

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Statement is one SQL statement that is ready to get its values.
type Statement struct {
	sql       string   // with numbered parameters
	names     []string // of the parameters, in the order of their numbers
	described []Parameter
}

// Parse reads SQL that somebody typed. It refuses more than one statement, since only one of them would return rows. It
// also refuses parameters without a name.
func Parse(query string) (*Statement, error) {
	sql, names, err := positional(query)
	if err != nil {
		return nil, err
	}
	return &Statement{sql: sql, names: names}, nil
}

// changing are the first words of statements that change something.
var changing = []string{"ALTER", "CREATE", "DELETE", "DROP", "INSERT", "REINDEX", "REPLACE", "UPDATE", "VACUUM"}

// writes reports whether the statement begins as one that changes something. SQLite may refuse such a statement for another
// reason first: a view, for example, cannot be changed.
func (s *Statement) writes() bool {
	for rest := s.sql; rest != ""; {
		n, what := token(rest)
		if what != sqlSpace {
			return slices.Contains(changing, strings.ToUpper(rest[:n]))
		}
		rest = rest[n:]
	}
	return false
}

// parameter returns the parameter with a name, and reports whether the query describes it.
func (s *Statement) parameter(name string) (*Parameter, bool) {
	for _, p := range s.described {
		if p.Name == name {
			return &p, true
		}
	}
	return &Parameter{Name: name, Kind: Text, About: "the statement has a parameter :" + name}, false
}

// positional rewrites the named parameters of a statement (:name, @name, $name) into numbered ones (?1, ?2), and
// returns their names in the order of the numbers, so that values can be bound by position.
//
// It knows just enough of SQL to find parameters: strings, quoted names and comments are copied.
func positional(query string) (rewritten string, names []string, err error) {
	var out strings.Builder
	numbers := map[string]int{}
	ended := false // the statement, by a semicolon
	for i := 0; i < len(query); {
		n, what := token(query[i:])
		text := query[i : i+n]
		i += n
		if ended && what != sqlSpace && text != ";" {
			return "", nil, errors.New("there is more than one statement; run them one by one")
		}
		switch {
		case what == sqlName:
			name := text[1:]
			if numbers[name] == 0 {
				names = append(names, name)
				numbers[name] = len(names)
			}
			fmt.Fprintf(&out, "?%d", numbers[name])
			continue
		case what == sqlNumbered:
			return "", nil, errors.New("parameters need a name, as in :agent")
		case text == ";":
			ended = true
		}
		out.WriteString(text)
	}
	return out.String(), names, nil
}

// The kinds of pieces that SQL text is cut into.
type sqlKind uint8

const (
	sqlOther    sqlKind = iota
	sqlSpace            // blanks and comments
	sqlName             // a parameter with a name
	sqlNumbered         // a parameter without
)

// token returns the length and the kind of the first piece of s.
func token(s string) (int, sqlKind) {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return until(s, 2, "\n"), sqlSpace
	case strings.HasPrefix(s, "/*"):
		return until(s, 2, "*/"), sqlSpace
	case strings.ContainsRune(" \t\n\r\f", rune(c)):
		return 1, sqlSpace
	case c == '\'' || c == '"' || c == '`':
		// A doubled quote inside ends this piece and begins the next one. Both are copied, so the result is the same.
		return until(s, 1, string(c)), sqlOther
	case c == '[':
		return until(s, 1, "]"), sqlOther
	case c == '?':
		return 1 + wordLength(s[1:]), sqlNumbered
	case c == ':' || c == '@' || c == '$':
		if n := wordLength(s[1:]); n > 0 {
			return 1 + n, sqlName
		}
		return 1, sqlOther
	}
	return max(wordLength(s), 1), sqlOther
}

// until returns the offset after the first occurrence of end in s[from:], or the length of s if there is none.
func until(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// wordLength is how many bytes of a name s begins with. A $ is part of a name, but not its first byte.
func wordLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if c != '_' && !('a' <= c && c <= 'z') && !('A' <= c && c <= 'Z') && !('0' <= c && c <= '9') && c < 0x80 && (c != '$' || i == 0) {
			return i
		}
	}
	return len(s)
}
