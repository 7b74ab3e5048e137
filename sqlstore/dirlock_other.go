//go:build !unix || solaris || illumos || aix

package sqlstore

// lockDir does nothing on this system: two processes must not make one database at the same time.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// syncDir does nothing: this system has no call for it.
func syncDir(string) error { return nil }
