package otlp

import "google.golang.org/protobuf/encoding/protowire"

// Decoding gives each element of a message memory of its own: a span, an attribute, an event, an element of a list. In a message
// that somebody made for that purpose an element has two bytes, and takes hundreds of them when it is decoded. So whoever takes
// messages from others counts first. Counting takes a few percent of the time of decoding, and no memory.

// ElementsProto counts the elements of an export request in protobuf. It stops when there are more than most. What is no request is
// counted as far as it can be read: decoding says what is wrong with it.
func ElementsProto(message []byte, most int) int {
	c := counter{most: most}
	c.message(message, requestLevel, 0)
	return c.n
}

// A level is a kind of message: which of its fields are messages with elements in them.
type level map[protowire.Number]inner

type inner struct {
	level   level
	element bool // each is an element. Others are a part of the element around them, as the value of an attribute is
}

var requestLevel = func() level {
	value := level{}
	pair := level{2: {value, false}}
	value[5], value[6] = inner{level{1: {value, true}}, false}, inner{level{1: {pair, true}}, false}
	attributes := inner{pair, true}
	span := level{9: attributes, 11: {level{3: attributes}, true}, 13: {level{4: attributes}, true}}
	scoped := level{1: {level{3: attributes}, false}, 2: {span, true}}
	return level{1: {level{1: {level{1: attributes}, false}, 2: {scoped, true}}, true}}
}()

type counter struct{ n, most int }

func (c *counter) message(b []byte, of level, depth int) {
	if depth > 2*maxDepth+8 {
		return // decoding refuses it
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return
		}
		if in, has := of[number]; has && kind == protowire.BytesType {
			if in.element {
				c.n++
			}
			inside, _ := protowire.ConsumeBytes(b)
			if c.n <= c.most {
				c.message(inside, in.level, depth+1)
			}
			if c.n > c.most {
				return
			}
		}
		b = b[n:]
	}
}

// ElementsJSON is ElementsProto for JSON: it counts the elements of lists, and two members of an object as one. It stops when there are
// more than most.
func ElementsJSON(text []byte, most int) int {
	var lists [maxJSONDepth + 2]bool
	depth, halves := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth == len(lists) {
				return halves / 2 // decoding refuses it
			}
			lists[depth] = text[i] == '['
			halves += 2
		case '}', ']':
			depth = max(depth-1, 0)
		case ',':
			halves++
			if lists[depth] {
				halves++
			}
		}
		if halves > 2*most+1 {
			return halves / 2
		}
	}
	return halves / 2
}
