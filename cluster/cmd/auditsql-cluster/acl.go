package main

import (
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/cluster/jetstream"
)

// aclPasswords are the passwords of the users that a stream needs.
type aclPasswords struct {
	Admin  string `json:"admin"`
	Node   string `json:"node"`
	Reader string `json:"reader"`
	System string `json:"system"`
}

// acl is the part of the servers' configuration that says who may do what. dev's servers have it, so it is tested. The names of the streams
// of a set follow from that of the set.
func acl(stream string, partitions int, p aclPasswords) string {
	const inbox = `subscribe: "_INBOX.>"`
	streams := []string{stream}
	if partitions > 1 {
		streams = nil
		for i := range partitions {
			streams = append(streams, jetstream.StreamOf(stream, i))
		}
	}
	var create, info, get, put, trees []string
	for i, s := range streams {
		create, info = append(create, "$JS.API.STREAM.CREATE."+s), append(info, "$JS.API.STREAM.INFO."+s)
		get, put = append(get, "$JS.API.DIRECT.GET."+s), append(put, fmt.Sprint("audit.", i))
		// Nodes ask each other for parts of their trees when their heads differ.
		trees = append(trees, fmt.Sprintf("auditsql.%s.tree.>", s))
	}
	if partitions > 1 {
		info = append(info, "$JS.API.STREAM.INFO."+stream) // a stream with this name is looked for first
	}
	list := func(all ...[]string) string {
		var quoted []string
		for _, some := range all {
			for _, s := range some {
				quoted = append(quoted, fmt.Sprintf("%q", s))
			}
		}
		return strings.Join(quoted, ", ")
	}
	asking := list(info, get, []string{"$SYS.REQ.USER.INFO"})
	return fmt.Sprintf(`accounts {
  AUDIT {
    jetstream: enabled
    users: [
      # Makes the stream: for init alone. Nobody else needs to change a stream, and whoever may change it can trim it.
      { user: admin, password: %[1]q, permissions: {
        publish: [%[2]s], %[3]s } }
      # For serve, put and import.
      { user: node, password: %[4]q, permissions: {
        publish: [%[5]s, %[6]s], subscribe: ["_INBOX.>", %[7]s], allow_responses: true } }
      # For follow.
      { user: reader, password: %[8]q, permissions: {
        publish: [%[6]s], %[3]s } }
    ]
  }
  SYS {
    users: [
      # Asks the servers about themselves: AUDITSQL_NATS_SYSTEM.
      { user: sys, password: %[9]q, permissions: {
        publish: ["$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.JSZ"], %[3]s } }
    ]
  }
}
system_account: SYS
`, p.Admin, list(create, info), inbox, p.Node, list(put, trees), asking, list(trees), p.Reader, p.System)
}
