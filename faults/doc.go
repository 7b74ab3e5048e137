// Package faults tests auditsql's stores, SQLite's files included, and the folders to which logs are published, on a file system
// that fails and that forgets what was not synced (package fusefs). It is a module of its own, so that auditsql does not depend on the FUSE library.
package faults
