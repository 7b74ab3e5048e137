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
	Leaf   string `json:"-"` // of the servers that have a mirror; dev has none
}

// acl is the part of the servers' configuration that says who may do what. dev's servers have it, so it is tested. The names of the streams
// of a set follow from that of the set. mirror is the domain of the region whose streams are copied, or "" if the servers have no mirrors.
func acl(stream string, partitions int, mirror string, p aclPasswords) string {
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
	before := ""
	if mirror != "" {
		var origins, never []string
		for _, s := range streams {
			create = append(create, "$JS.API.STREAM.UPDATE."+s) // for promote
			origins = append(origins, fmt.Sprintf("$JS.%s.API.STREAM.INFO.%s", mirror, s))
		}
		for _, what := range []string{"STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG", "STREAM.RESTORE", "STREAM.PEER", "STREAM.LEADER", "ACCOUNT", "META"} {
			never = append(never, fmt.Sprintf("$JS.%s.API.%s.>", mirror, what))
		}
		if partitions > 1 {
			origins = append(origins, fmt.Sprintf("$JS.%s.API.STREAM.INFO.%s", mirror, stream))
		}
		info = append(info, origins...)
		before = fmt.Sprintf(mirrorUser, mirror, p.Leaf, list(never))
	}
	asking := list(info, get, []string{"$SYS.REQ.USER.INFO"})
	return before + fmt.Sprintf(`accounts {
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

// mirrorUser is what another region needs so that its streams can be copied. The user may neither publish nor receive audit.N: a record that is
// put in one region must not come to the stream of the other one, also when both take records. A server tells its leaf nodes of whole
// subjects with wildcards alone, so what the user may not ask for is denied by name.
const mirrorUser = `# The servers of region %[1]s need this user in their account AUDIT. These servers connect to them as their leaf nodes with it.
#   { user: mirror, password: %[2]q, permissions: {
#     publish: { allow: ["$JS.%[1]s.API.>", "$JS.FC.>"], deny: [%[3]s] },
#     subscribe: ["$JS.M.>", "$JSC.R.>", "_INBOX.>"] } }
`

// list quotes subjects for a configuration.
func list(all ...[]string) string {
	var quoted []string
	for _, some := range all {
		for _, s := range some {
			quoted = append(quoted, fmt.Sprintf("%q", s))
		}
	}
	return strings.Join(quoted, ", ")
}
