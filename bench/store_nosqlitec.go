//go:build !cgo

package main

func init() { leaveOut("sqlite-c", "this was built without cgo") }
