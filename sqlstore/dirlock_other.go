//go:build !unix || solaris || illumos || aix

package sqlstore

// lockDir does nothing here: two processes must not make one database at the same time.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// syncDir does nothing: there is no way to.
func syncDir(string) error { return nil }
