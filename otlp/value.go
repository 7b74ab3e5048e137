package otlp

import (
	"math"
	"strconv"
)

// A Kind says what a Value is.
type Kind uint8

// The kinds of values. Empty is a value that was not set, and the null of JSON.
const (
	Empty Kind = iota
	String
	Bool
	Int
	Double
	Bytes
	List
	Object
)

// A Value is the value of an attribute, or a part of one. The zero Value is Empty. It is never changed.
type Value struct {
	kind Kind
	num  uint64 // of Bool, Int and Double: 0 or 1, the integer, the bits
	str  string // of String and Bytes
	more *parts // of List and Object. Most values have none, so it is a pointer
}

type parts struct {
	keys   []string // of an Object, one for each value
	values []Value
}

// An Attribute is a key and its value.
type Attribute struct {
	Key   string
	Value Value
}

// StringValue is a Value that is a text.
func StringValue(s string) Value { return Value{kind: String, str: s} }

func boolValue(b bool) Value {
	if b {
		return Value{kind: Bool, num: 1}
	}
	return Value{kind: Bool}
}

func intValue(n int64) Value      { return Value{kind: Int, num: uint64(n)} }
func doubleValue(f float64) Value { return Value{kind: Double, num: math.Float64bits(f)} }
func listValue(v []Value) Value   { return Value{kind: List, more: &parts{values: v}} }
func objectValue(keys []string, v []Value) Value {
	return Value{kind: Object, more: &parts{keys: keys, values: v}}
}

// Kind says what v is.
func (v Value) Kind() Kind { return v.kind }

// list returns the elements of a List, nil for anything else.
func (v Value) list() []Value {
	if v.kind != List {
		return nil
	}
	return v.more.values
}

// member returns a member of an Object. Of equal keys the last counts.
func (v Value) member(key string) Value {
	if v.kind != Object {
		return Value{}
	}
	for i := len(v.more.keys) - 1; i >= 0; i-- {
		if v.more.keys[i] == key {
			return v.more.values[i]
		}
	}
	return Value{}
}

// firstMember returns the first of these members that is there.
func (v Value) firstMember(keys ...string) Value {
	for _, key := range keys {
		if m := v.member(key); m.kind != Empty {
			return m
		}
	}
	return Value{}
}

// scalar writes a text, number or boolean as a text. Anything else has none.
func (v Value) scalar() (string, bool) {
	switch v.kind {
	case String:
		return v.str, true
	case Bool:
		return strconv.FormatBool(v.num == 1), true
	case Int:
		return strconv.FormatInt(int64(v.num), 10), true
	case Double:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64), true
	}
	return "", false
}

// number reads a number, also from a text.
func (v Value) number() (float64, bool) {
	switch v.kind {
	case Int:
		return float64(int64(v.num)), true
	case Double:
		return math.Float64frombits(v.num), true
	case String:
		f, err := strconv.ParseFloat(v.str, 64)
		return f, err == nil
	}
	return 0, false
}
