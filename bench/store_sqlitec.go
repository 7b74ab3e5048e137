//go:build cgo

package main

import _ "github.com/mattn/go-sqlite3" // driver "sqlite3"

func init() {
	kinds = append(kinds, kind{"sqlite-c", "SQLite in C, our tables, a transaction a put", openSQLiteC})
}

// openSQLiteC opens the C driver.
func openSQLiteC(s settings) (store, error) {
	return openSQL(s, "sqlite3", func(name, value string) string { return "_" + name + "=" + value }, "_txlock=immediate")
}
