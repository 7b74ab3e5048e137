// Package fusefs is a file system under a mount point that fails and forgets, for tests of programs whose files no
// test can reach otherwise: SQLite's, here.
//
// A daemon, which is the test binary started once more, serves it out of memory. It holds machines, and each machine
// has a disk of its own, which is one of internal/crashfs: what is read is kept apart from what a power cut leaves.
//
//	mount point/
//	  m1.1/          machine 1, its first life
//	  m1.2/          the same disk after a power cut or a kill: another path, other inodes
//	  m2.1/          another machine
//
// A life ends with [Machine.Kill], with [Machine.PowerCut], or at a call that a [Plan] names. Whoever has files of it
// open finds that every call fails with EIO, as a process does that has lost its disk; it can do no harm to the next
// life. So a program can be "killed" in the middle of a call without a process of its own for each.
//
// Not on the disk are the files whose names end with -shm. SQLite maps them into memory and never syncs them; a page
// of such a file that cannot be read would be a SIGBUS in whoever maps it. They never fail, and a life that ends takes
// them along.
//
// The kernel keeps nothing back: each read and write reaches the daemon at once (FOPEN_DIRECT_IO, but for -shm),
// names and sizes are asked for every time. POSIX locks and flock are the kernel's own.
//
// The daemon is a process of its own because a process that serves a mapped file and reads it as well can wait for
// itself: a page fault holds up the garbage collector, and that the goroutine that would serve the page.
package fusefs
