package deliver

import (
	"context"
	"os/exec"
	"syscall"
)

// shell returns the command. Windows has no process groups: when ctx ends, only the shell is killed.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	// The line goes to cmd as it is: quoting by Go's rules would change it.
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd /C " + line}
	return cmd
}
