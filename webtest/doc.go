// Package webtest tests auditsql serve as people and programs meet it: the real program, a real browser, and many clients at
// once. It is a module of its own, so that auditsql does not depend on the libraries for that.
//
//	go test                                  # what CI runs: needs chromium, and npm for axe-core
//	go test -run Pictures -pictures DIR      # pictures of every page, to be looked at
//	go test -run Pictures -update            # writes the pictures of the documents again
//	go test -run Kill -kills 200             # kills the server many times
//	go test -run SendersOfSpans -span-kills 1000 -timeout 60m
//	go test -run CollectorLosesNothing -collector # through an OpenTelemetry collector, which takes minutes to build
//	go test -run ManyTails -tails 10000      # more tails than in CI
//	go test -run LargeStore -large 1000000 -v # the incident among a million records, and how long each page takes
//	go test -run 'Nginx|Caddy|Unit' -v       # the configurations of docs/serving.md, with the programs that they are for
//	go test -run Hostile -everything         # every page of many more hostile records
//
// The tests start auditsql serve, which they build first, on a port of the loopback interface. Every answer of the API
// that a test gets is held against the description that the server itself gives of its API.
//
// Without chromium the tests that need it are skipped. With CI=true they fail.
package webtest
