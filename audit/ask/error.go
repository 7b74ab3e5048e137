package ask

// An Error refuses the value of a parameter, or two parameters that do not go together.
type Error struct {
	Parameter string
	Other     string // the second parameter, "" when the refusal is about one

	// Reason is what is wrong with the value, for one parameter. It may be an *audit.UnknownError or an
	// *audit.AmbiguousError.
	Reason error

	// For two, what is written between them and after the second.
	between, after string
}

// Error implements error. Parameters have their bare names.
func (e *Error) Error() string {
	return e.Text(func(parameter string) string { return parameter })
}

// Text is the sentence of the error, with parameters as a front end writes them.
func (e *Error) Text(name func(parameter string) string) string {
	if e.Other == "" {
		return name(e.Parameter) + ": " + e.Reason.Error()
	}
	return name(e.Parameter) + e.between + name(e.Other) + e.after
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Reason }
