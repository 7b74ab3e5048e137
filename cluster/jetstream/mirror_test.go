package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

// usersOf are the users that init --acl prints, whose passwords are their names, and audit, with which the tests ask the servers.
func usersOf(printed string) string {
	named := regexp.MustCompile(`user: (\w+), password: "\w+"`).ReplaceAllString(printed, `user: $1, password: "$1"`)
	return strings.Replace(named, "users: [", "users: [\n{ user: audit, password: audit }", 1) + "\nno_auth_user: audit\n"
}

// withMirrorUser adds the user to the users of a region that another one's --acl says it needs.
func withMirrorUser(users, other string) string {
	var user strings.Builder
	for line := range strings.Lines(other) {
		if text, is := strings.CutPrefix(line, "#   "); is {
			user.WriteString(text)
		}
	}
	return strings.Replace(users, "users: [", "users: [\n"+user.String(), 1)
}

// twoRegions are the users of a region R1, and those of another region that mirrors its streams.
func twoRegions(build command, flags ...string) (first, second string) {
	build.t.Helper()
	acl := func(args ...string) string {
		out, code := build.run(append([]string{"init", "--acl"}, append(args, flags...)...)...)
		if code != 0 {
			build.t.Fatal(out)
		}
		return usersOf(out)
	}
	second = acl("--mirror", "R1")
	return withMirrorUser(acl(), second), second
}

// as are the options of a user.
func (c *servers) as(user string) jetstream.Options {
	o := c.options()
	o.Connect = []nats.Option{nats.UserInfo(user, user)}
	return o
}

func (c *servers) openAs(user string) *jetstream.Log {
	c.t.Helper()
	l, err := jetstream.Open(context.Background(), c.as(user))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(l.Close)
	return l
}

// killAll ends all servers at once, as the loss of a region does.
func (c *servers) killAll() {
	for i := range c.running {
		c.kill(i)
	}
}

func (c *servers) startAll() {
	c.t.Helper()
	for i := range c.running {
		c.start(i)
	}
	c.ready()
}

// eventually tries until it succeeds.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// endsWith says that a log does not end with this message yet.
func endsWith(l cluster.Log, last uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		b, err := l.Bounds(ctx)
		if err == nil && b.Last != last {
			err = fmt.Errorf("it has messages up to %d, not %d", b.Last, last)
		}
		return err
	}
}

func mustOpen(t *testing.T, dir string, l cluster.Log, o cluster.Options) *cluster.Node {
	t.Helper()
	n, err := cluster.Open(t.Context(), dir, l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// mustPut puts the samples from one up to another, one after the other.
func mustPut(t *testing.T, n *cluster.Node, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := n.PutAudit(t.Context(), sample(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// The region of the stream is lost. The mirror of another region becomes the stream: nodes of the mirror go on. A node of the lost stream
// that has records which the mirror lacks is told so, and loses none of them. The region comes back, and gets nothing that is put in the
// other one.
func TestAMirrorIsPromoted(t *testing.T) {
	build := buildCommand(t, &servers{t: t})
	first, second := twoRegions(build)
	leafs := freePorts(t, 3)
	one := startServers(t, 3, func(s *serverSpec) {
		s.Domain, s.Accounts, s.Leaf = "R1", first, leafs[s.Name[1]-'1']
	})
	two := startServers(t, 3, func(s *serverSpec) {
		s.Name, s.Domain, s.Accounts = "t"+s.Name[1:], "R2", second
		for _, p := range leafs {
			s.Remotes = append(s.Remotes, fmt.Sprintf("nats://mirror:mirror@127.0.0.1:%d", p))
		}
	})
	east, west, node := command{t, build.binary, one, "admin"}, command{t, build.binary, two, "admin"}, command{t, build.binary, two, "node"}
	eventually(t, "the stream is made", func(context.Context) error {
		if out, code := east.run("init", "--max-age", "720h"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	home := t.TempDir()
	quiet := cluster.Options{Heads: -1}
	a := mustOpen(t, filepath.Join(home, "a"), one.openAs("node"), quiet)
	mustPut(t, a, 0, 50)
	if _, err := a.PublishHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, a, 50, 60)

	// The mirror is made, and is what it was made as.
	eventually(t, "the mirror is made", func(context.Context) error {
		if out, code := west.run("init", "--mirror", "R1"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	west.want(0, []string{"stream AUDIT is there, and is as wanted"}, "init", "--mirror", "R1")
	west.want(1, []string{"mirror\tstream AUDIT at $JS.R1.API\twanted none"}, "init", "--max-age", "720h")
	mirror := two.openAs("node")
	eventually(t, "the mirror has all", endsWith(mirror, 61))
	node.want(0, []string{"a mirror of stream AUDIT at $JS.R1.API: lacks 0 messages", "each replica that answers is whole"}, "check")
	m := mustOpen(t, filepath.Join(home, "m"), mirror, quiet)
	if err := m.WaitFor(t.Context(), 61); err != nil {
		t.Fatal(err)
	}
	if heads := m.Heads(); len(heads) != 1 || heads[0].Differs != nil {
		t.Errorf("the heads of the first region: %+v", heads)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := m.PutAudit(short, sample(1000)); !errors.Is(err, cluster.ErrMirror) || !errors.Is(err, audit.ErrFollows) || !strings.Contains(err.Error(), "it copies stream AUDIT at $JS.R1.API") {
		t.Errorf("a put to the mirror: %v", err)
	}
	if err := m.AwaitApplied(short); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("a barrier in the mirror: %v", err)
	}
	if _, err := jetstream.Promote(t.Context(), two.as("admin")); !errors.Is(err, jetstream.ErrAnswers) {
		t.Errorf("a mirror was promoted while its stream answers: %v", err)
	}
	// A node of the mirror can be made from one of the stream.
	node.want(0, []string{"copied 60 records", "has the messages up to 61"}, "bootstrap", "-d", filepath.Join(home, "n"), "--from", a.Dir())
	backup := filepath.Join(home, "backup")
	if _, err := a.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}

	// The connection is cut, records come to the first region alone, and then it is lost.
	two.killAll()
	mustPut(t, a, 60, 70)
	one.killAll()
	two.startAll()
	eventually(t, "the mirror has a leader", endsWith(mirror, 61))
	eventually(t, "the mirror is promoted", func(context.Context) error {
		if out, code := west.run("promote"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	west.want(0, []string{"stream AUDIT is no mirror"}, "promote")
	west.want(0, []string{"stream AUDIT is there, and is as wanted"}, "init", "--max-age", "720h")
	node.want(0, []string{"each replica that answers is whole"}, "check")

	// The node of the mirror goes on, without being opened again.
	mustPut(t, m, 60, 63)
	other := sample(65)
	other.Attributes["version"] = 2
	if _, err := m.PutAudit(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := m.AwaitApplied(t.Context()); err != nil {
		t.Error(err)
	}

	// A node of the lost stream does not.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	promoted := two.openAs("node")
	_, err := cluster.Open(t.Context(), a.Dir(), promoted, quiet)
	if !errors.Is(err, cluster.ErrMismatch) || !strings.Contains(err.Error(), "auditsql-cluster bootstrap -d NEW --from "+a.Dir()) {
		t.Errorf("a node of the lost stream: %v", err)
	}
	node.want(5, []string{"the log lost or replaced messages", "import an export of this copy"}, "bootstrap", "-d", filepath.Join(home, "no"), "--from", a.Dir())
	node.want(0, []string{"copied 60 records, up to message 61", "has the messages up to 66"}, "bootstrap", "-d", filepath.Join(home, "b"), "--from", backup)
	node.want(0, []string{"the copy, each replica and the heads of all nodes agree"}, "verify", "-d", filepath.Join(home, "b"))

	// Nothing of the node that was ahead is lost: what the mirror lacked is put again.
	ahead, err := audit.Open(a.Dir(), audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	stored, conflicts := 0, 0
	for r, err := range ahead.Follow(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		q, err := audit.ParseCanonical(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		results, err := m.PutAudits(t.Context(), []*audit.QueryAudit{&q})
		switch {
		case err != nil:
			t.Fatal(err)
		case errors.Is(results[0].Err, audit.ErrConflict):
			conflicts++
		case results[0].Err == nil && !results[0].Duplicate:
			stored++
		}
	}
	if stored != 6 || conflicts != 1 { // 63, 64, 66 to 69; 65 is another record by now
		t.Errorf("of the records that the mirror lacked %d were stored, and %d conflict", stored, conflicts)
	}

	// The lost region comes back. Its stream is as it was, and gets nothing.
	one.startAll()
	old := one.openAs("node")
	eventually(t, "the old stream answers in its region", endsWith(old, 71))
	mustPut(t, m, 100, 103)
	if err := endsWith(old, 71)(t.Context()); err != nil {
		t.Errorf("what was put in one region came to the other one: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(t.Context(), m.Dir(), old, quiet); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("a node of the new stream on the old one: %v", err)
	}
	mustOpen(t, a.Dir(), old, quiet) // it has everything that the old stream has
}

// A set of streams is mirrored as a whole. A region that is left in order is sealed first: then nothing can be missing.
func TestASetIsMirroredAndLeft(t *testing.T) {
	first, second := twoRegions(buildCommand(t, &servers{t: t}), "--partitions", "2")
	leaf := freePorts(t, 1)[0]
	one := startServers(t, 1, func(s *serverSpec) { s.Domain, s.Accounts, s.Leaf = "R1", first, leaf })
	two := startServers(t, 1, func(s *serverSpec) {
		s.Domain, s.Accounts, s.Remotes = "R2", second, []string{fmt.Sprintf("nats://mirror:mirror@127.0.0.1:%d", leaf)}
	})
	ctx := t.Context()
	if _, err := jetstream.InitSet(ctx, one.options(), jetstream.Spec{Replicas: 1}, 2); err != nil {
		t.Fatal(err)
	}
	open := func(c *servers, dir string) (*cluster.Partitions, []*jetstream.Log) {
		t.Helper()
		logs, err := jetstream.OpenSet(ctx, c.options())
		if err != nil {
			t.Fatal(err)
		}
		var as []cluster.Log
		for _, l := range logs {
			t.Cleanup(l.Close)
			as = append(as, l)
		}
		p, err := cluster.OpenPartitions(ctx, dir, as, cluster.Options{Unproven: true, Heads: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p, logs
	}
	home := t.TempDir()
	a, origins := open(one, filepath.Join(home, "a"))
	for i := range 20 {
		if _, err := a.PutAudit(ctx, sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the mirrors are made", func(ctx context.Context) error {
		made, err := jetstream.InitMirror(ctx, two.options(), "R1", jetstream.Spec{Replicas: 1})
		if err == nil && len(made) != 2 {
			err = fmt.Errorf("%+v", made)
		}
		return err
	})
	m, mirrors := open(two, filepath.Join(home, "m"))
	if err := m.WaitFor(ctx, a.Cursors()); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(one.options().URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(name string) {
		t.Helper()
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		c.Sealed = true
		if _, err := js.UpdateStream(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	seal("AUDIT-0")
	if _, err := jetstream.Promote(ctx, two.options()); !errors.Is(err, jetstream.ErrAnswers) {
		t.Fatalf("one of two streams still takes messages: %v", err)
	}
	for _, l := range mirrors {
		if info, err := l.Info(ctx); err != nil || info.Mirror == nil {
			t.Fatalf("a mirror of a set was promoted alone: %+v, %v", info, err)
		}
	}
	seal("AUDIT-1")
	for i, l := range origins {
		b, err := l.Bounds(ctx)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the mirror has all", endsWith(mirrors[i], b.Last))
	}
	done, err := jetstream.Promote(ctx, two.options())
	if err != nil || len(done) != 2 || !done[0].Done || !done[1].Done {
		t.Fatalf("%+v, %v", done, err)
	}
	for i := range 30 {
		if r, err := m.PutAudits(ctx, []*audit.QueryAudit{sample(i)}); err != nil || r[0].Err != nil || r[0].Duplicate != (i < 20) {
			t.Errorf("record %d: %+v, %v", i, r, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var logs []cluster.Log
	for _, l := range mirrors {
		logs = append(logs, l)
	}
	r, err := cluster.BootstrapPartitions(ctx, logs, filepath.Join(home, "a"), filepath.Join(home, "b"), cluster.BootstrapOptions{})
	if err != nil || len(r) != 2 || r[0].Audits+r[1].Audits != 20 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A mirror goes on by the number of its last message. It says so when the stream that it copies was made again.
func TestAMirrorOfAStreamThatWasMadeAgain(t *testing.T) {
	leaf := freePorts(t, 1)[0]
	one := startServers(t, 1, func(s *serverSpec) { s.Domain, s.Leaf = "R1", leaf })
	two := startServers(t, 1, func(s *serverSpec) {
		s.Domain, s.Remotes = "R2", []string{fmt.Sprintf("nats://audit:audit@127.0.0.1:%d", leaf)}
	})
	one.initStream(jetstream.Spec{Replicas: 1})
	eventually(t, "the mirror is made", func(ctx context.Context) error {
		_, err := jetstream.InitMirror(ctx, two.options(), "R1", jetstream.Spec{Replicas: 1})
		return err
	})
	l := two.open()
	if info, err := l.Info(t.Context()); err != nil || info.Mirror == nil || info.Mirror.Remade != "" || info.Continues == "" {
		t.Fatalf("%+v, %v", info.Mirror, err)
	}
	removeStream(t, one, "AUDIT")
	one.initStream(jetstream.Spec{Replicas: 1})
	if info, err := l.Info(t.Context()); err != nil || info.Mirror == nil || info.Mirror.Remade == "" {
		t.Errorf("%+v, %v", info.Mirror, err)
	}
	if _, err := jetstream.InitMirror(t.Context(), one.options(), "R2", jetstream.Spec{}); !errors.Is(err, cluster.ErrMismatch) {
		t.Errorf("a mirror of a mirror: %v", err)
	}
}

// otherRegion answers for stream AUDIT of another region, whose domain is R9. It answers nothing when answer returns nil.
func otherRegion(t *testing.T, c *servers, answer func() any) {
	t.Helper()
	conn, err := nats.Connect(c.options().URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("$JS.R9.API.STREAM.INFO.AUDIT", func(m *nats.Msg) {
		if a := answer(); a != nil {
			b, err := json.Marshal(a)
			if err != nil {
				t.Error(err)
			}
			m.Respond(b)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A mirror becomes the stream for good. So it is not enough that the other region is silent for a moment, that it answers with an error, or that a replica
// of the stream which was sealed has no more messages than the mirror.
func TestWhatIsNoReasonToPromote(t *testing.T) {
	made := time.Now().UTC()
	stream := func(change func(*natsjs.StreamInfo)) *natsjs.StreamInfo {
		info := &natsjs.StreamInfo{Created: made, Cluster: &natsjs.ClusterInfo{Name: "R9", Leader: "s1", LeaderSince: &made}}
		info.Config = natsjs.StreamConfig{Name: "AUDIT", Replicas: 3, Metadata: map[string]string{
			"audit-store-id": strings.Repeat("0", 32), "audit-time-unit": "ms"}}
		if change != nil {
			change(info)
		}
		return info
	}
	type failed struct {
		Error natsjs.APIError `json:"error"`
	}
	for name, c := range map[string]struct {
		answer func(question int64) any // to each question of promote, from 1 on
		says   string
		done   bool
	}{
		"a leader is being elected": {func(question int64) any {
			if question < 3 {
				return nil
			}
			return stream(nil)
		}, "when its region is lost, cut the connection", false},
		"its servers answer with an error": {func(int64) any {
			return failed{natsjs.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}}
		}, "its servers say", false},
		"a replica without a leader answers for itself": {func(int64) any {
			return stream(func(info *natsjs.StreamInfo) {
				info.Config.Sealed, info.Cluster.Leader, info.Cluster.LeaderSince = true, "", nil
			})
		}, "has no leader", false},
		"it is sealed, and its leader answers": {func(int64) any {
			return stream(func(info *natsjs.StreamInfo) { info.Config.Sealed = true })
		}, "", true},
		"it is silent": {func(int64) any { return nil }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			servers := startServers(t, 1, func(s *serverSpec) { s.Default = true })
			var asked atomic.Int64
			asked.Store(-1 << 60) // before promote the stream answers
			otherRegion(t, servers, func() any {
				if question := asked.Add(1); question > 0 {
					return c.answer(question)
				}
				return stream(nil)
			})
			o := servers.options()
			o.Timeout = time.Second
			if _, err := jetstream.InitMirror(t.Context(), o, "R9", jetstream.Spec{Replicas: 1}); err != nil {
				t.Fatal(err)
			}
			asked.Store(0)
			done, err := jetstream.Promote(t.Context(), o)
			if c.done {
				if err != nil || len(done) != 1 || !done[0].Done {
					t.Errorf("%+v, %v", done, err)
				}
			} else if !errors.Is(err, jetstream.ErrAnswers) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", done, err)
			}
			l, err := jetstream.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if info, err := l.Info(t.Context()); err != nil || (info.Mirror == nil) != c.done {
				t.Errorf("the stream is %+v, %v", info.Mirror, err)
			}
		})
	}
}
