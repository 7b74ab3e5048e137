package socket_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// asNobody connects to a socket as another user, asks something, and returns what comes back.
func asNobody(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), nobodyEnv+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("this program cannot run as somebody else: %v: %s", err, out)
	}
	return string(out)
}

const nobodyEnv = "AUDITSQL_TEST_SOCKET"

func TestMain(m *testing.M) {
	name := os.Getenv(nobodyEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("unix", name)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connected")
	_, _ = io.WriteString(c, "GET /local/1/about HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(c)
	fmt.Printf("%s\n", answer)
}
