package importing

import (
	"context"
	"fmt"
	"io"
)

// Uninterrupted does something that no signal interrupts, such as opening a FIFO that has no other end, or reading from
// a terminal. When the run ends first, it returns the reason; its goroutine then runs until the process ends. The reason
// also counts when both have happened: what an interrupted program has written may be a part of it.
func Uninterrupted[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := do()
		done <- outcome{value, err}
	}()
	select {
	case got := <-done:
		if ctx.Err() == nil {
			return got.value, got.err
		}
	case <-ctx.Done():
	}
	var none T
	return none, context.Cause(ctx)
}

// ReadAll reads an input that is expected to be small: at most so many bytes.
func ReadAll(ctx context.Context, in io.Reader, most int64) ([]byte, error) {
	input, err := Uninterrupted(ctx, func() ([]byte, error) {
		return io.ReadAll(io.LimitReader(in, most+1))
	})
	if err == nil && int64(len(input)) > most {
		err = fmt.Errorf("longer than %d MiB", most>>20)
	}
	return input, err
}
