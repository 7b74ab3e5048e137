module github.com/auditsql/auditsql/cluster

go 1.26.0

require (
	github.com/auditsql/auditsql v0.0.0
	github.com/zeebo/blake3 v0.2.4
)

replace github.com/auditsql/auditsql => ../
