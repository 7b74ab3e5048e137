// Package faults holds tests of auditsql's stores on a file system that fails and forgets (package fusefs), SQLite's
// files included. It is a module of its own, so that the FUSE library is no dependency of auditsql.
package faults
