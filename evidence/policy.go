package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Policy is whom a verifier trusts: the keys of logs, the keys of witnesses, and how many of these must have signed. As a
// text (c2sp.org/tlog-policy):
//
//	log log.example.com+bc122752+AW1E+Tn4KdQ1mLze3akN4B22n6pQyqM+jGwyikuQDU2s
//	witness one <verifier key>
//	witness two <verifier key>
//	witness three <verifier key>
//	group some 2 one two three
//	quorum some
//
// A witness is in at most one group and has a public key of its own, so that none counts twice. The zero Policy trusts
// nobody. A Policy does not change and may be used from several goroutines.
type Policy struct {
	text      string
	logs      []Log
	witnesses []Witness
	quorum    *rule // nil: none is asked for
}

// Log is a log that a policy names.
type Log struct {
	Origin string // of its checkpoints: the name of its key
	Key    string // verifier key
	URL    string // "" if the policy has none
	key    verifierKey
}

// Witness is a witness that a policy names.
type Witness struct {
	Name string // in the policy alone
	Key  string // verifier key
	URL  string // "" if the policy has none
	key  verifierKey
}

// rule is met when threshold of its members are. A rule without members is a witness, and met when it has signed.
type rule struct {
	threshold int
	members   []*rule
	witness   string
}

func (r *rule) met(signed func(witness string) bool) bool {
	if len(r.members) == 0 {
		return signed(r.witness)
	}
	n := 0
	for _, m := range r.members {
		if m.met(signed) {
			n++
		}
	}
	return n >= r.threshold
}

// KeyPolicy returns the policy that trusts the logs with these verifier keys, and means that no witness must sign.
func KeyPolicy(keys ...string) (*Policy, error) {
	var b strings.Builder
	for _, k := range keys {
		if _, err := parseVerifierKey(k); err != nil { // which also keeps a second line out
			return nil, err
		}
		b.WriteString("log " + k + "\n")
	}
	return ParsePolicy([]byte(b.String() + "quorum none\n"))
}

// Text returns the text that the policy was read from.
func (p *Policy) Text() string { return p.text }

// Logs returns the logs in the order of their lines.
func (p *Policy) Logs() []Log { return slices.Clone(p.logs) }

// Witnesses returns the witnesses in the order of their lines.
func (p *Policy) Witnesses() []Witness { return slices.Clone(p.witnesses) }

// witness returns the witness whose key the signature claims to be by.
func (p *Policy) witness(s signature) (Witness, bool) {
	i := slices.IndexFunc(p.witnesses, func(w Witness) bool { return s.by(w.key) })
	if i < 0 {
		return Witness{}, false
	}
	return p.witnesses[i], true
}

// known returns the key that the signature claims to be by.
func (p *Policy) known(s signature) (verifierKey, bool) {
	if w, ok := p.witness(s); ok {
		return w.key, true
	}
	i := slices.IndexFunc(p.logs, func(l Log) bool { return s.by(l.key) })
	if i < 0 {
		return verifierKey{}, false
	}
	return p.logs[i].key, true
}

// policyReader is what is known while a policy is read from top to bottom.
type policyReader struct {
	policy Policy
	rules  map[string]*rule
	member map[string]bool // the names that are in a group
	quorum bool            // its line was there
}

// ParsePolicy reads a policy. An error names the line.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > maxText {
		return nil, &ParseError{"policy", 0, fmt.Errorf("it has %d bytes, more than %d", len(b), maxText)}
	}
	r := &policyReader{Policy{text: string(b)}, map[string]*rule{}, map[string]bool{}, false}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		err := checkPolicyLine(line)
		if err == nil && i == len(lines)-1 && line != "" {
			// A line that was cut can still be valid, and weaker: "quorum all" for "quorum all-of-them".
			err = errors.New("the last line does not end in a line feed: the text was cut")
		}
		if err == nil {
			err = r.line(line)
		}
		if err != nil {
			return nil, &ParseError{"policy", i + 1, err}
		}
	}
	if !r.quorum {
		return nil, &ParseError{"policy", 0, errors.New("the line \"quorum NAME\" is missing: \"quorum none\" means that no witness must sign")}
	}
	return &r.policy, nil
}

// checkPolicyLine refuses the bytes that a policy may not have. Those above 0x7F mean nothing to it.
func checkPolicyLine(line string) error {
	for i := range len(line) {
		switch c := line[i]; {
		case c == '\r':
			return errors.New("it has a carriage return: lines end in a line feed alone")
		case c < 0x20 && c != '\t' || c == 0x7f:
			return errors.New("it has a control character")
		}
	}
	return nil
}

func (r *policyReader) line(line string) error {
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || words[0][0] == '#' {
		return nil
	}
	args := words[1:]
	switch words[0] {
	case "log":
		return r.log(args)
	case "witness":
		return r.witness(args)
	case "group":
		return r.group(args)
	case "quorum":
		return r.setQuorum(args)
	}
	return fmt.Errorf("%q is not one of log, witness, group, quorum", words[0])
}

func (r *policyReader) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("the form is: log KEY [URL]")
	}
	k, err := parseVerifierKey(args[0])
	if err != nil {
		return err
	}
	if k.kind != typeEd25519 {
		return errors.New("the key is one of a witness: a log has type 1 (Ed25519)")
	}
	for _, l := range r.policy.logs {
		if l.key.public == k.public {
			return fmt.Errorf("the public key is the same as that of the log %s", l.Origin)
		}
	}
	if err := r.checkID(k); err != nil {
		return err
	}
	r.policy.logs = append(r.policy.logs, Log{k.name, k.text, optional(args, 1), k})
	return nil
}

func (r *policyReader) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("the form is: witness NAME KEY [URL]")
	}
	k, err := parseVerifierKey(args[1])
	if err != nil {
		return err
	}
	if k.kind != typeCosignature {
		return errors.New("the key is one of a log: a witness has type 4 (cosignature/v1)")
	}
	for _, w := range r.policy.witnesses {
		if w.key.public == k.public {
			return fmt.Errorf("the public key is the same as that of the witness %s: no witness counts twice", w.Name)
		}
	}
	if err := r.checkID(k); err != nil {
		return err
	}
	if err := r.define(args[0], &rule{witness: args[0]}); err != nil {
		return err
	}
	r.policy.witnesses = append(r.policy.witnesses, Witness{args[0], k.text, optional(args, 2), k})
	return nil
}

// checkID refuses two keys that a signature cannot distinguish. By accident that does not happen.
func (r *policyReader) checkID(k verifierKey) error {
	if _, ok := r.policy.known(signature{name: k.name, id: k.id}); ok {
		return fmt.Errorf("another key has the same name %s and the same id %08x", k.name, k.id)
	}
	return nil
}

func (r *policyReader) group(args []string) error {
	if len(args) < 3 {
		return errors.New("the form is: group NAME all|any|NUMBER MEMBER [MEMBER]")
	}
	name, threshold, members := args[0], args[1], args[2:]
	g := &rule{}
	switch threshold {
	case "all":
		g.threshold = len(members)
	case "any":
		g.threshold = 1
	default:
		n, err := strconv.Atoi(threshold)
		if err != nil || strconv.Itoa(n) != threshold || n < 1 || n > len(members) {
			return fmt.Errorf("%q of %d members: it is all, any, or a number from 1 to %d", threshold, len(members), len(members))
		}
		g.threshold = n
	}
	for _, m := range members {
		if r.member[m] {
			return fmt.Errorf("%q is already in a group: no witness counts twice", m)
		}
		found := r.rules[m]
		if found == nil {
			return fmt.Errorf("%q is not defined on a line before: it is neither a witness nor a group", m)
		}
		r.member[m] = true
		g.members = append(g.members, found)
	}
	return r.define(name, g)
}

func (r *policyReader) define(name string, d *rule) error {
	if name == "none" {
		return errors.New("the name \"none\" is reserved")
	}
	if r.rules[name] != nil {
		return fmt.Errorf("the name %q is already defined", name)
	}
	r.rules[name] = d
	return nil
}

func (r *policyReader) setQuorum(args []string) error {
	if len(args) != 1 {
		return errors.New("the form is: quorum NAME")
	}
	if r.quorum {
		return errors.New("a second quorum line")
	}
	r.quorum = true
	if args[0] == "none" {
		return nil
	}
	if r.policy.quorum = r.rules[args[0]]; r.policy.quorum == nil {
		return fmt.Errorf("%q is not defined on a line before: it is neither a witness nor a group", args[0])
	}
	return nil
}

func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// verifiers lets [note.Open] find the keys of a policy.
type verifiers struct{ policy *Policy }

func (v verifiers) Verifier(name string, id uint32) (note.Verifier, error) {
	k, ok := v.policy.known(signature{name: name, id: id})
	if !ok {
		return nil, &note.UnknownVerifierError{Name: name, KeyHash: id}
	}
	return k.verifier()
}
