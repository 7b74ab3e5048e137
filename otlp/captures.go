package otlp

import "strings"

// captures says for an emitter, by the beginning of its name, what makes it record documents.
var captures = []struct{ emitter, switches string }{
	{"opentelemetry.util.genai", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY and OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental"},
	{"opentelemetry.instrumentation.", "TRACELOOP_TRACE_CONTENT=true, or OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true"},
	{"@traceloop/", "traceContent: true, or TRACELOOP_TRACE_CONTENT=true"},
	{"openinference.", "OPENINFERENCE_HIDE_OUTPUTS=false"},
	{"@arizeai/", "OPENINFERENCE_HIDE_OUTPUTS=false"},
	{"langsmith", "LANGSMITH_HIDE_OUTPUTS=false"},
	{"ai", "experimental_telemetry: { recordOutputs: true }"},
}

// CaptureSwitch says what makes an emitter (Record.Emitter) record the documents of its retrievals.
func CaptureSwitch(emitter string) string {
	name, _, _ := strings.Cut(emitter, " ")
	for _, c := range captures {
		if strings.HasPrefix(emitter, c.emitter) && (c.emitter != "ai" || name == "ai") {
			return c.switches
		}
	}
	return "the switch of its instrumentation that captures content"
}
