// Package otlp turns spans of OpenTelemetry into records: who asked, what, when, and on which documents the answer rested.
//
//	OTLP JSON, protobuf, files ──► Span ──Reduce──► Reduced ──Joiner──► Record (an audit.QueryAudit), counts
//	Langfuse, LangSmith exports ─┘          ▲                  ▲
//	                                        └─── Mapping ──────┘   (the tables, and the map of --map)
//
// Decoding (DecodeJSON, DecodeProto, Read) gives spans as they are. A Mapping reduces each of them: it classifies the span by a
// table of rules, and keeps what mapping and joining need. A Reduced has no text of a document or of an answer, only hashes and
// names. It is written as JSON whose first byte is {, so that a journal can keep it.
//
// A Joiner takes reduced spans in any order. The agent's name, the session and the answer are on spans that end, and so arrive,
// after the retrieval. So a trace becomes records only when it has settled. The same spans give the same records, in whatever
// order and in how many parts they came.
//
// The package reads no clock, opens no files and writes to no store. That is up to the caller. Functions may be called from
// several goroutines. A Joiner may not.
package otlp
