package tui_test

import (
	"math"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// A table has 3 significant digits of a figure, and never fewer digits before the point. The cell keeps all of them.
func TestFigures(t *testing.T) {
	t.Parallel()
	for number, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.5", 0.62: "0.62", 0.125: "0.125", 0.123456: "0.123", 0.9996: "1.000", 0.99949: "0.999", 0.5004: "0.500",
		0.0123456: "0.0123", 0.000123456: "0.000123", 0.0000123456: "1.23e-05", 1e-7: "1e-7", 12.3456: "12.3", 123.456: "123", 1234.56: "1235", 1234: "1234", -0.123456: "-0.123",
		-12.3456: "-12.3", 1234567.8: "1.23e+06", 1e21: "1e+21", math.Inf(1): "+Inf",
	} {
		if c := tui.Figure(number); c.Shown() != want || c.Text != tui.Number(number).Text {
			t.Errorf("%v: a table shows %s, want %s; the text is %s", number, c.Shown(), want, c.Text)
		}
	}
	if c := tui.Figure(float32(0.95)); c.Shown() != "0.95" {
		t.Errorf("a 32-bit 0.95 is shown as %s", c.Shown())
	}
}
