import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { OTLPTraceExporter as OverHTTP } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as OverGRPC } from "@opentelemetry/exporter-trace-otlp-grpc";
import { context, trace } from "@opentelemetry/api";

// Sends traces with the exporters of OpenTelemetry for JavaScript, as an instrumented agent does. It reads OTEL_EXPORTER_OTLP_ENDPOINT and
// OTEL_EXPORTER_OTLP_HEADERS as every exporter does, and prints the ids of the retrievals that were answered.
const { PROTOCOL, TRACES } = process.env;
const exporter = PROTOCOL === "grpc" ? new OverGRPC({ timeoutMillis: 20000 }) : new OverHTTP({ timeoutMillis: 20000 });
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) => send(spans, (result) => {
  for (const s of result.code === 0 ? spans : []) {
    if (s.name === "KnowledgeBase") console.log(s.spanContext().traceId, s.spanContext().spanId);
  }
  done(result);
});
const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 50, exportTimeoutMillis: 30000 })] });
const tracer = provider.getTracer("webtest");
for (let i = 0; i < Number(TRACES); i++) {
  const root = tracer.startSpan("SupportAgent", { attributes: { "openinference.span.kind": "AGENT", "session.id": "s-" + i } });
  const inside = trace.setSpan(context.active(), root);
  const kb = tracer.startSpan("KnowledgeBase", { attributes: { "openinference.span.kind": "RETRIEVER", "input.value": "refund window",
    "retrieval.documents.0.document.id": "policy-" + i % 50, "retrieval.documents.0.document.content": "Policy " + i % 50 } }, inside);
  kb.end();
  tracer.startSpan("ChatModel", { attributes: { "openinference.span.kind": "LLM", "output.value": "an answer" } }, inside).end();
  root.end();
  await new Promise((r) => setTimeout(r, 10));
}
// What could not be delivered is not printed, and no error of this program.
await provider.forceFlush().catch(() => {});
await provider.shutdown().catch(() => {});
