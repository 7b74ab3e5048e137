// Package fusefs is a mounted file system that fails and forgets. It is for tests of programs whose files no test can
// reach in another way: here, SQLite.
//
// A daemon serves it from memory; the daemon is the test binary, started once more. It has machines, and each machine
// has a disk of its own, which is one of internal/crashfs: what can be read is kept apart from what a power cut leaves.
//
//	mount point/
//	  m1.1/          machine 1, its first life
//	  m1.2/          the same disk after a power cut or a kill: another path, other inodes
//	  m2.1/          another machine
//
// A life ends with [Machine.Kill], with [Machine.PowerCut], or at a call that a [Plan] names. After that every call on an
// open file of that life fails with EIO, as after the loss of a disk, and nothing that the process does can change the next
// life. So a test can "kill" a program in the middle of a call without a process for each program.
//
// Files whose names end with -shm are not on the disk. SQLite maps them into memory and never syncs them, and a page of such
// a file that cannot be read would end the process with SIGBUS. They never fail, and they are gone when a life ends.
//
// The kernel caches no contents: each read and write reaches the daemon at once (FOPEN_DIRECT_IO, except for -shm). It
// caches names, which change only through the kernel. POSIX locks and flock are the kernel's own.
//
// The daemon is a process of its own, because a process that serves a mapped file and also reads it can wait for itself: a
// page fault stops the garbage collector, and the collector stops the goroutine that would serve the page.
package fusefs
