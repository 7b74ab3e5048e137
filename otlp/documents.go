package otlp

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A document is what a span has of one document. An empty text is absent. It has the document's text, so it is never kept.
type document struct {
	content, id, source, lifecycle string
	score                          float64
	scored                         bool
	distance                       bool // score is a distance that was negated
}

// A form is one of the ways in which a span may contain documents. All are read.
type form struct {
	documents  []document
	told       bool // also when there are none
	unreadable bool
}

// documentsOf reads all forms of the documents of a retrieval, and makes one list of them: each form gives what those before lack.
func (m *Mapping) documentsOf(s *Span, tool *Tool) form {
	var all form
	for _, f := range m.formsOf(s, tool) {
		all.unreadable = all.unreadable || f.unreadable
		if !f.told {
			continue
		}
		all.told = true
		all.documents = merge(all.documents, f.documents)
	}
	return all
}

func (m *Mapping) formsOf(s *Span, tool *Tool) []form {
	var forms []form
	for _, prefix := range indexedDocuments {
		forms = append(forms, m.indexed(s.Attributes, prefix, nil))
	}
	for _, key := range documentsFrom {
		forms = append(forms, m.listed(s.of(key), nil))
	}
	forms = append(forms, m.events(s))
	for _, prefix := range indexedResults {
		forms = append(forms, m.indexed(s.Attributes, prefix, nil))
	}
	from := outputFrom
	if tool != nil {
		from = toolOutputFrom
		if tool.Documents != "" {
			v, unreadable := s.at(tool.Documents, toolOutputFrom)
			f := m.listed(v, tool)
			f.unreadable = f.unreadable || unreadable
			return append(forms, f)
		}
	}
	for _, key := range from {
		forms = append(forms, m.output(s.of(key), tool))
	}
	return forms
}

// numbered splits a key such as retrieval.documents.0.document.content into the number after the prefix and what follows it.
func numbered(key, prefix string) (n int, rest string, ok bool) {
	rest, ok = strings.CutPrefix(key, prefix)
	if !ok {
		return 0, "", false
	}
	number, rest, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	return n, rest, err == nil && n >= 0 && number[0] != '+'
}

// indexed reads documents from attributes with a number in their key, such as retrieval.documents.0.document.content. Their order is
// that of the numbers.
func (m *Mapping) indexed(attributes []Attribute, prefix string, tool *Tool) form {
	members := map[int]*parts{}
	for i := range attributes {
		n, name, ok := numbered(attributes[i].Key, prefix)
		if !ok {
			continue
		}
		if members[n] == nil {
			members[n] = &parts{}
		}
		name = strings.TrimPrefix(name, "document.")
		members[n].keys = append(members[n].keys, name)
		members[n].values = append(members[n].values, attributes[i].Value)
	}
	var f form
	for _, n := range slices.Sorted(maps.Keys(members)) {
		f.told = true
		f.documents = append(f.documents, m.document(Value{kind: Object, more: members[n]}, tool))
	}
	return f
}

// events reads the events in which instrumentations of vector databases record a document each.
func (m *Mapping) events(s *Span) form {
	var f form
	for i := range s.Events {
		e := &s.Events[i]
		if !slices.Contains(documentEvents, e.Name) {
			continue
		}
		members := &parts{}
		for _, a := range e.Attributes {
			members.keys = append(members.keys, strings.TrimPrefix(a.Key, e.Name+"."))
			members.values = append(members.values, a.Value)
		}
		f.told = true
		f.documents = append(f.documents, m.document(Value{kind: Object, more: members}, nil))
	}
	return f
}

// listed reads a value that is a list of documents, or JSON of one, or an object with one.
func (m *Mapping) listed(v Value, tool *Tool) form {
	v, unreadable := parsedOr(v)
	if v.kind == Object {
		return m.output(v, tool)
	}
	if v.kind != List {
		return form{unreadable: unreadable}
	}
	f := form{told: true}
	for _, e := range v.list() {
		f.documents = append(f.documents, m.document(e, tool))
	}
	return f
}

// output reads what a span has given back: a list of documents, or an object that has one.
func (m *Mapping) output(v Value, tool *Tool) form {
	v, unreadable := parsedOr(v)
	switch v.kind {
	case List:
		return m.listed(v, tool)
	case Object:
		for _, name := range outputMembers {
			// The member may be JSON in a text, and may be an object with the list in it.
			if inner := parsed(v.member(name)); inner.kind == List || inner.kind == Object {
				if f := m.listed(inner, tool); f.told {
					return f
				}
			}
		}
	}
	return form{unreadable: unreadable}
}

// document reads a document: an object, a text that is its content, or a pair of these and a score. Anything else says nothing.
func (m *Mapping) document(v Value, tool *Tool) (d document) {
	v = parsed(v)
	switch v.kind {
	case String:
		d.content = told(v)
	case List:
		if pair := v.list(); len(pair) == 2 && pair[0].kind != List {
			d = m.document(pair[0], tool)
			d.scoreFrom(pair[1], false)
		}
	case Object:
		d = m.object(v, tool, 0)
	}
	return d
}

func (m *Mapping) object(v Value, tool *Tool, depth int) (d document) {
	for _, name := range wrapperMembers {
		if inner := parsed(v.member(name)); inner.kind == Object && depth < 3 {
			d = m.object(inner, tool, depth+1)
			break
		}
	}
	var metadata []Value
	for _, name := range metadataMembers {
		if inner := parsed(v.member(name)); inner.kind == Object {
			metadata = append(metadata, inner)
		}
	}
	metadata = append(metadata, v) // some emitters have no metadata apart
	if tool != nil {
		if tool.Content != "" {
			d.content = cmp.Or(told(pathIn(v, tool.Content)), d.content)
		}
		if tool.ID != "" {
			d.id = cmp.Or(told(pathIn(v, tool.ID)), d.id)
		}
		if tool.Score != "" {
			d.scoreFrom(pathIn(v, tool.Score), false)
		}
	}
	d.content = cmp.Or(d.content, contentOf(v))
	for _, name := range idMembers {
		d.id = cmp.Or(d.id, told(v.member(name)))
	}
	for _, meta := range metadata {
		d.id = cmp.Or(d.id, told(meta.firstMember("id", "_id")))
		for _, name := range m.m.Source {
			d.source = cmp.Or(d.source, told(meta.member(name)))
		}
		for _, name := range m.m.Lifecycle.From {
			d.lifecycle = cmp.Or(d.lifecycle, told(meta.member(name)))
		}
	}
	for _, of := range append([]Value{v}, metadata...) {
		for _, name := range scoreMembers {
			d.scoreFrom(of.member(name), false)
		}
	}
	for _, of := range append([]Value{v}, metadata...) {
		d.scoreFrom(of.member("distance"), true)
	}
	return d
}

// contentOf returns the text of a document, which may be in an object of its own.
func contentOf(v Value) string {
	for _, name := range contentMembers {
		inner := v.member(name)
		if inner.kind == Object {
			inner = inner.firstMember("text", "content")
		}
		if inner.kind == String && told(inner) != "" {
			return inner.str
		}
	}
	return ""
}

// scoreFrom sets the score, unless there is one or the value is none that fits into a record.
func (d *document) scoreFrom(v Value, distance bool) {
	f, ok := v.number()
	if d.scored || !ok || math.IsNaN(f) || math.Abs(f) > math.MaxFloat32 {
		return
	}
	if distance {
		f = -f
	}
	d.score, d.scored, d.distance = f+0, true, distance
}

// told returns the text of a scalar, "" for what was hidden.
func told(v Value) string {
	text, _ := v.scalar()
	if text == redacted {
		return ""
	}
	return text
}

// merge makes one list of two that contain the same documents. Documents at one place are the same unless they differ in what both
// tell; otherwise equal contents or ids make them the same. If the second list has all documents of the first, its order counts.
// A list that has none of the documents of the first is about something else, and is not used.
func merge(first, second []document) []document {
	if len(first) == 0 {
		return second
	}
	if len(second) == 0 {
		return first
	}
	byContent, byID := map[string][]int{}, map[string][]int{}
	for i := len(first) - 1; i >= 0; i-- {
		byContent[first[i].content] = append(byContent[first[i].content], i)
		byID[first[i].id] = append(byID[first[i].id], i)
	}
	used := make([]bool, len(first))
	next := func(of map[string][]int, key string) int {
		for list := of[key]; key != "" && len(list) > 0; list = of[key] {
			i := list[len(list)-1]
			of[key] = list[:len(list)-1]
			if !used[i] {
				return i
			}
		}
		return -1
	}
	same := make([]int, len(second)) // the index in first, -1: only in second
	matched := 0
	for j := range second {
		same[j] = -1
		if j < len(first) && !used[j] && first[j].fits(&second[j]) {
			same[j] = j
		} else if i := next(byContent, second[j].content); i >= 0 {
			same[j] = i
		} else if i := next(byID, second[j].id); i >= 0 && first[i].fits(&second[j]) {
			same[j] = i
		}
		if same[j] >= 0 {
			used[same[j]] = true
			matched++
		}
	}
	if matched == 0 {
		return first
	}
	for j, i := range same {
		if i >= 0 {
			first[i].fill(&second[j])
		}
	}
	if matched < len(first) {
		for j, i := range same {
			if i < 0 {
				first = append(first, second[j])
			}
		}
		return first
	}
	merged := make([]document, len(second))
	for j, i := range same {
		if i < 0 {
			merged[j] = second[j]
		} else {
			merged[j] = first[i]
		}
	}
	return merged
}

// fits reports whether two documents may be the same: what both have is equal.
func (d *document) fits(other *document) bool {
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	return agree(d.content, other.content) && agree(d.id, other.id)
}

// fill takes from another form what this one does not have.
func (d *document) fill(other *document) {
	d.content = cmp.Or(d.content, other.content)
	d.id = cmp.Or(d.id, other.id)
	d.source = cmp.Or(d.source, other.source)
	d.lifecycle = cmp.Or(d.lifecycle, other.lifecycle)
	if !d.scored {
		d.score, d.scored, d.distance = other.score, other.scored, other.distance
	}
}

// at returns what is at a path: of an attribute whose key the path begins with, or of the first of these attributes that is there.
func (s *Span) at(path string, from []string) (v Value, unreadable bool) {
	for i := len(path); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if a := s.of(path[:i]); a.kind != Empty {
			v, unreadable := parsedOr(a)
			return pathIn(v, strings.TrimPrefix(path[i:], ".")), unreadable
		}
	}
	for _, key := range from {
		if a := s.of(key); a.kind != Empty {
			v, unreadable := parsedOr(a)
			return pathIn(v, path), unreadable
		}
	}
	return Value{}, false
}

// pathIn returns what is at a path of members. An empty path is the value itself.
func pathIn(v Value, path string) Value {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "$"), ".")
	if path == "" {
		return v
	}
	if whole := v.member(path); whole.kind != Empty {
		return whole // a member whose name has dots
	}
	for name := range strings.SplitSeq(path, ".") {
		v = parsed(v)
		if i, err := strconv.Atoi(name); err == nil && v.kind == List {
			if i < 0 || i >= len(v.list()) {
				return Value{}
			}
			v = v.list()[i]
			continue
		}
		v = v.member(name)
	}
	return v
}
