package audit

import "strconv"

// Lifecycle says how far an assertion has come on its way to being accepted.
type Lifecycle uint8

// The lifecycle values. Their numbers are stored in SQLite and must never change.
const (
	Proposed Lifecycle = iota
	UnderReview
	Approved
	Deprecated
	Rejected
	Unstated // nobody said: neither approved nor a fault
)

var lifecycleNames = [...]string{"Proposed", "UnderReview", "Approved", "Deprecated", "Rejected", "Unstated"}

// ParseLifecycle reads a name in any case, and also under_review. Anything else is ErrInvalid.
func ParseLifecycle(s string) (Lifecycle, error) {
	l, err := lifecycleOf(s)
	return l, err.orNil()
}

// Valid reports whether l is one of the six constants.
func (l Lifecycle) Valid() bool { return int(l) < len(lifecycleNames) }

// Unapproved reports whether l is stated and not Approved.
func (l Lifecycle) Unapproved() bool { return l != Approved && l != Unstated }

// String returns the canonical name, or "Lifecycle(9)" for a value that has none.
func (l Lifecycle) String() string {
	if !l.Valid() {
		return "Lifecycle(" + strconv.Itoa(int(l)) + ")"
	}
	return lifecycleNames[l]
}

// MarshalText implements encoding.TextMarshaler. A value without a name is ErrInvalid.
func (l Lifecycle) MarshalText() ([]byte, error) {
	if !l.Valid() {
		return nil, unknownLifecycle(l)
	}
	return []byte(lifecycleNames[l]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It reads what ParseLifecycle reads.
func (l *Lifecycle) UnmarshalText(text []byte) error {
	read, err := lifecycleOf(text)
	if err != nil {
		return err
	}
	*l = read
	return nil
}

func lifecycleOf[T string | []byte](name T) (Lifecycle, *FieldError) {
	// Nearly all input is canonical, for which one comparison of lengths and bytes is enough.
	switch string(name) {
	case "Proposed":
		return Proposed, nil
	case "UnderReview":
		return UnderReview, nil
	case "Approved":
		return Approved, nil
	case "Deprecated":
		return Deprecated, nil
	case "Rejected":
		return Rejected, nil
	case "Unstated":
		return Unstated, nil
	}
	for l, known := range lifecycleNames {
		if equalFoldASCII(name, known) {
			return Lifecycle(l), nil
		}
	}
	if equalFoldASCII(name, "under_review") {
		return UnderReview, nil
	}
	return 0, invalid("unknown lifecycle %s", excerpt(name))
}

func unknownLifecycle(l Lifecycle) *FieldError {
	return invalid("unknown lifecycle %d", l)
}

// equalFoldASCII is strings.EqualFold for ASCII only. strings.EqualFold would accept "Propoſed", with a long s, as
// Proposed.
func equalFoldASCII[T string | []byte](a T, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(b) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
