package web

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding/json corrects in silence what a client has written wrong: it puts U+FFFD for what is no UTF-8, takes the last of two members
// with one name, and takes Label for label. So the small bodies that are no records are read with the functions below. Records have a
// decoder of their own, in package audit.

// checkJSON refuses what is not JSON in UTF-8.
func checkJSON(text []byte) error {
	malformed := func(reason string) error {
		return problem(kindMalformed, "%s", reason).stored(storedNothing)
	}
	var value json.RawMessage
	if !utf8.Valid(text) {
		return malformed("the body is not UTF-8")
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return malformed(err.Error())
	}
	if hasLoneSurrogate(text) {
		return malformed("the body has a lone surrogate")
	}
	return nil
}

// hasLoneSurrogate reports whether valid JSON has the escape of half a character.
func hasLoneSurrogate(text []byte) bool {
	escape := func(at int) rune { // of the escape \uXXXX there, else 0
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0
		}
		r, _ := strconv.ParseUint(string(text[at+2:at+6]), 16, 16) // it is valid JSON
		return rune(r)
	}
	for at := 0; at < len(text); at++ {
		if text[at] != '\\' {
			continue
		}
		if r := escape(at); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escape(at+6)) == utf8.RuneError {
				return true
			}
			at += 6
		}
		at++ // the character after the backslash begins no escape
	}
	return false
}

// refusal is the problem of JSON that is not what a path takes.
func refusal(field, format string, args ...any) *Problem {
	return problem(kindInvalid, format, args...).at(field).stored(storedNothing)
}

// readMembers returns the members of an object that has these members and no other ones, each at most once. The text is valid JSON, and
// where is the field that it stands in, "" for the body.
func readMembers(text json.RawMessage, where string, names ...string) (map[string]json.RawMessage, error) {
	if text[0] != '{' {
		return nil, refusal(where, "want an object")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	_, _ = d.Token() // {
	found := map[string]json.RawMessage{}
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = d.Decode(&value)
		switch {
		case !slices.Contains(names, name):
			return nil, refusal(member(where, shortened(name)), "there is no such member")
		case found[name] != nil:
			return nil, refusal(member(where, name), "stands there twice")
		}
		found[name] = value
	}
	return found, nil
}

// shortened is a name that a client has made up, as it may stand in a problem.
func shortened(name string) string {
	const most = 100
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// readText returns the text of a member.
func readText(members map[string]json.RawMessage, where, name string) (text string, err error) {
	switch value := members[name]; {
	case value == nil:
		return "", refusal(member(where, name), "is missing")
	case value[0] != '"':
		return "", refusal(member(where, name), "want a text")
	default:
		err = json.Unmarshal(value, &text)
		return text, err
	}
}

// member is the field that a member of an object is.
func member(where, name string) string {
	if where == "" {
		return name
	}
	return where + "." + name
}
