module github.com/auditsql/auditsql/interop

go 1.26.0

require (
	filippo.io/torchwood v0.6.1
	github.com/auditsql/auditsql v0.0.0
	github.com/transparency-dev/formats v0.1.1
	github.com/transparency-dev/merkle v0.0.3-0.20260707140218-77df88e508fa
	golang.org/x/mod v0.42.0
)

require (
	filippo.io/mldsa v0.0.0-20260215214346-43d0283efc3e // indirect
	golang.org/x/crypto v0.52.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/auditsql/auditsql => ../
