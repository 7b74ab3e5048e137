package main

import "fmt"

// aclPasswords are the passwords of the users that a stream needs.
type aclPasswords struct {
	Admin  string `json:"admin"`
	Node   string `json:"node"`
	Reader string `json:"reader"`
	System string `json:"system"`
}

// acl is the part of the servers' configuration that says who may do what. dev's servers have it, so it is tested.
func acl(stream string, p aclPasswords) string {
	const inbox = `subscribe: "_INBOX.>"`
	asking := fmt.Sprintf(`"$JS.API.STREAM.INFO.%s", "$JS.API.DIRECT.GET.%[1]s", "$SYS.REQ.USER.INFO"`, stream)
	// Nodes ask each other for parts of their trees when their heads differ.
	trees := fmt.Sprintf("auditsql.%s.tree.>", stream)
	return fmt.Sprintf(`accounts {
  AUDIT {
    jetstream: enabled
    users: [
      # Makes the stream: for init alone. Nobody else needs to change a stream, and whoever may change it can trim it.
      { user: admin, password: %[1]q, permissions: {
        publish: ["$JS.API.STREAM.CREATE.%[2]s", "$JS.API.STREAM.INFO.%[2]s"], %[3]s } }
      # For serve, put and import.
      { user: node, password: %[4]q, permissions: {
        publish: ["audit.0", %[8]q, %[5]s], subscribe: ["_INBOX.>", %[8]q], allow_responses: true } }
      # For follow.
      { user: reader, password: %[6]q, permissions: {
        publish: [%[5]s], %[3]s } }
    ]
  }
  SYS {
    users: [
      # Asks the servers about themselves: AUDITSQL_NATS_SYSTEM.
      { user: sys, password: %[7]q, permissions: {
        publish: ["$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.JSZ"], %[3]s } }
    ]
  }
}
system_account: SYS
`, p.Admin, stream, inbox, p.Node, asking, p.Reader, p.System, trees)
}
