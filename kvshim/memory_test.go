package kvshim_test

import (
	"testing"

	"github.com/auditsql/auditsql/kvshim"
	"github.com/auditsql/auditsql/kvshim/kvtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(*testing.T) kvshim.Store { return kvshim.NewMemory() })
}
