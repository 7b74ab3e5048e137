package memlog_test

import (
	"testing"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/logtest"
	"github.com/auditsql/auditsql/cluster/memlog"
)

func TestContract(t *testing.T) {
	logtest.Run(t, func(t *testing.T) cluster.Log {
		l := memlog.New(3)
		t.Cleanup(l.Close)
		return l
	})
}
