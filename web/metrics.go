package web

// Metrics are the measurements of a server and of its store.
type Metrics struct{}
