// Package sequential says which tests the race detector need not run.
package sequential

import "testing"

// Test marks a test that does one thing after another, and so meets nothing that other tests do not let several goroutines meet. With
// -short, as the checks run the race detector, it is left out: there it would take long, and have nothing to find.
func Test(t testing.TB) {
	if testing.Short() {
		t.Skip("one goroutine at a time")
	}
}
