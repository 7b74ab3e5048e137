module github.com/auditsql/auditsql/interop

go 1.26.0

require (
	filippo.io/torchwood v0.6.1
	github.com/auditsql/auditsql v0.0.0
	github.com/transparency-dev/formats v0.1.2-0.20260629100010-fa283eb7462a
	github.com/transparency-dev/merkle v0.0.3-0.20260707140218-77df88e508fa
	github.com/transparency-dev/tessera v1.0.4
	github.com/transparency-dev/witness v0.0.0-20260701145555-54dbcdd14f82
	golang.org/x/mod v0.42.0
)

require (
	filippo.io/mldsa v0.0.0-20260215214346-43d0283efc3e // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.44.0 // indirect
	go.opentelemetry.io/otel/metric v1.44.0 // indirect
	go.opentelemetry.io/otel/trace v1.44.0 // indirect
	golang.org/x/crypto v0.53.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	k8s.io/klog/v2 v2.140.0 // indirect
)

replace github.com/auditsql/auditsql => ../

// The witness names an unreleased version of formats. It builds with the released one, which the other tests are about.
replace github.com/transparency-dev/formats => github.com/transparency-dev/formats v0.1.1
