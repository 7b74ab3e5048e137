//go:build !cgo

package main

func init() { leftOut = "sqlite-c is left out: this was built without cgo" }
