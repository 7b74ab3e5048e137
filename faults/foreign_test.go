package faults_test

import (
	"sync"

	"github.com/auditsql/auditsql/faults/foreign"
)

// another is the process of all that is foreign to a store.
var another = sync.OnceValues(foreign.Start)

// foreign opens a connection to the store's database in another process.
func (s *store) foreign() *foreign.Conn {
	return must(must(another()).Open(s.file("audit.db")))
}
