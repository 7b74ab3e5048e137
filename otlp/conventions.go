package otlp

import "strings"

// This file is the table of the conventions: which attribute of which convention gives what. A new convention is a line in one of
// these lists. In each list the first place that is told gives the value.
//
// Where the names are from: auditsql.* are for emitters of one's own. openinference.*, input.*, output.*, retrieval.documents.*,
// reranker.* and llm.* are OpenInference. gen_ai.* and db.* are the semantic conventions of OpenTelemetry, and older names that
// LangSmith and Traceloop still send. traceloop.*, langfuse.*, langsmith.*, mlflow.* and ai.* (Vercel AI SDK) are their emitters'.
// span.type, workflow.name and the events data.input and data.output are Monocle.
var (
	agentFrom     = Places{"gen_ai.agent.id", "gen_ai.agent.name", "agent.name", "ai.telemetry.functionId"}
	workflowFrom  = []string{"traceloop.workflow.name", "workflow.name"}
	predicateFrom = Places{"gen_ai.data_source.id", "gen_ai.memory.store.id", "db.collection.name"}
	sourceFrom    = Places{"source", "file_path", "file_name", "filename", "url", "uri", "doc_uri", "x-amz-bedrock-kb-source-uri", "document_id", "title"}

	questionFrom = []string{
		"auditsql.subject", "gen_ai.retrieval.query.text", "reranker.query", "gen_ai.memory.query.text", "input.value", "gen_ai.task.input",
		"traceloop.entity.input", "langfuse.observation.input", "gen_ai.prompt", "mlflow.spanInputs",
	}
	questionMembers = []string{"query", "search_query", "question", "input", "text"}

	sessionFrom = []string{
		"session.id", "gen_ai.conversation.id", "langfuse.session.id", "langsmith.metadata.thread_id", "langsmith.metadata.session_id",
		"langsmith.trace.session_id", "ai.telemetry.metadata.sessionId", "traceloop.association.properties.session_id",
		"traceloop.association.properties.thread_id", "mlflow.trace.session", "thread.id",
	}
	userFrom = []string{
		"user.id", "enduser.id", "langfuse.user.id", "langsmith.metadata.user_id", "ai.telemetry.metadata.userId",
		"traceloop.association.properties.user_id", "mlflow.trace.user",
	}
	modelFrom = []string{
		"gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "reranker.model_name", "ai.response.model", "ai.model.id",
		"langfuse.observation.model.name", "langsmith.metadata.ls_model_name",
	}

	toolNameFrom   = []string{"gen_ai.tool.name", "ai.toolCall.name", "tool.name", "mcp.tool.name", "traceloop.entity.name"}
	toolInputFrom  = []string{"gen_ai.tool.call.arguments", "ai.toolCall.args", "tool.parameters", "input.value", "traceloop.entity.input", "gen_ai.task.input", "langfuse.observation.input", "gen_ai.prompt", "mlflow.spanInputs"}
	toolOutputFrom = []string{"gen_ai.tool.call.result", "ai.toolCall.result", "output.value", "traceloop.entity.output", "gen_ai.task.output", "langfuse.observation.output", "gen_ai.completion", "mlflow.spanOutputs"}

	// The forms of documents, in this order.
	indexedDocuments = []string{"retrieval.documents.", "reranker.output_documents."}
	documentsFrom    = []string{"gen_ai.retrieval.documents", "gen_ai.memory.records", "retrieval.documents", "reranker.output_documents"}
	documentEvents   = []string{"db.query.result", "db.search.result"}
	indexedResults   = []string{"db.vector.query.result."}
	outputFrom       = []string{"output.value", "traceloop.entity.output", "gen_ai.task.output", "gen_ai.completion", "langfuse.observation.output", "mlflow.spanOutputs"}
	outputMembers    = []string{"documents", "results", "outputs", "matches", "nodes", "output"}

	// The parts of a document.
	contentMembers  = []string{"content", "page_content", "pageContent", "text", "document", "chunk", "passage", "body"}
	idMembers       = []string{"id", "id_", "_id", "doc_id", "document_id", "node_id", "chunk_id", "uuid"}
	metadataMembers = []string{"metadata", "meta", "meta_data", "payload", "entity", "extra_info"}
	scoreMembers    = []string{"score", "relevance_score", "similarity"}
	wrapperMembers  = []string{"document", "node", "doc", "kwargs"} // around the document: its object, and the score beside it

	// The words of an answer, on a span of a model.
	answerFrom = []string{
		"gen_ai.output.messages", "ai.response.text", "gen_ai.completion", "langfuse.observation.output", "mlflow.spanOutputs",
		"traceloop.entity.output", "output.value",
	}
	indexedAnswers = []string{"llm.output_messages.", "gen_ai.completion."} // N.message.content, N.content
	answerMembers  = []string{"content", "text", "output", "outputs", "answer", "response", "completion", "result", "parts", "message", "messages", "choices", "generations", "kwargs", "assistant"}
)

// A Class says what a span is before its trace is known.
type Class string

// The classes.
const (
	Retrieval Class = "retrieval" // it becomes a record, or is the wrapper of one
	Context   Class = "context"   // it says something about the retrievals in its trace
	Other     Class = "other"
)

// The lenses of retrievals.
const (
	lensRetrieval = "retrieval"
	lensRerank    = "rerank"
	lensMemory    = "memory"
	lensTool      = "tool"
)

// A rule says what spans are. The first rule whose test a span passes makes it what it is.
type rule struct {
	name  string // for --explain
	class Class
	lens  string // of a retrieval
	is    test
}

// A test is a condition of a rule.
type test func(*view) bool

// A view is a span while it is classified. kinds has for each key of kindKeys which attribute has it, counted from 1; 0 is none. So the
// many tests of a value cost one search for all of them.
type view struct {
	*Span
	m     *Mapping
	kinds [maxKinds]int32
}

// maxKinds is how many keys there may be. Every classification would panic if there were more.
const maxKinds = 16

// kindKeys are the attributes whose values are tested, with their numbers.
var kindKeys = map[string]int{}

func (m *Mapping) view(s *Span) *view {
	v := &view{Span: s, m: m}
	for i := range s.Attributes {
		if n, ok := kindKeys[s.Attributes[i].Key]; ok {
			v.kinds[n] = int32(i + 1)
		}
	}
	return v
}

// says is a test: an attribute has one of these values. Their case does not matter. MLflow writes values as JSON in a text.
func says(key string, values ...string) test {
	n, ok := kindKeys[key]
	if !ok {
		n = len(kindKeys)
		kindKeys[key] = n
	}
	return func(v *view) bool {
		i := v.kinds[n]
		if i == 0 || v.Attributes[i-1].Value.kind != String {
			return false
		}
		text := strings.Trim(v.Attributes[i-1].Value.str, `"`)
		for _, want := range values {
			if strings.EqualFold(text, want) {
				return true
			}
		}
		return false
	}
}

// tells is a test: one of these attributes is told, on the span or its resource.
func tells(keys ...string) test {
	return func(v *view) bool {
		name, _ := v.first(keys)
		return name != ""
	}
}

// rules is the table of the rules, in their order. Conventions that are sure come first.
var rules = []rule{
	{"the map drops its name", Other, "", func(v *view) bool { return v.m.drop[v.Name] }},
	{"auditsql.span.kind = retrieval", Retrieval, lensRetrieval, says("auditsql.span.kind", "retrieval", "retriever")},
	{"auditsql.span.kind = rerank", Retrieval, lensRerank, says("auditsql.span.kind", "rerank", "reranker")},
	{"auditsql.span.kind = memory", Retrieval, lensMemory, says("auditsql.span.kind", "memory")},
	{"auditsql.span.kind = tool", Retrieval, lensTool, says("auditsql.span.kind", "tool")},
	{"auditsql.span.kind = agent", Context, "", says("auditsql.span.kind", "agent")},
	{"auditsql.span.kind = model", Context, "", says("auditsql.span.kind", "model", "llm")},
	{"auditsql.span.kind = other", Other, "", says("auditsql.span.kind", "other", "none")},
	{"openinference.span.kind = RETRIEVER", Retrieval, lensRetrieval, says("openinference.span.kind", "retriever")},
	{"openinference.span.kind = RERANKER", Retrieval, lensRerank, says("openinference.span.kind", "reranker")},
	{"langsmith.span.kind = retriever", Retrieval, lensRetrieval, says("langsmith.span.kind", "retriever")},
	{"langfuse.observation.type = retriever", Retrieval, lensRetrieval, says("langfuse.observation.type", "retriever")},
	{"langfuse.observation.type = span, and its output is documents", Retrieval, lensRetrieval, langfuseDocuments},
	{"mlflow.spanType = RETRIEVER", Retrieval, lensRetrieval, says("mlflow.spanType", "retriever")},
	{"mlflow.spanType = RERANKER", Retrieval, lensRerank, says("mlflow.spanType", "reranker")},
	{"gen_ai.operation.name = retrieval", Retrieval, lensRetrieval, says("gen_ai.operation.name", "retrieval")},
	{"gen_ai.operation.name = vector_db_retrieve", Retrieval, lensRetrieval, says("gen_ai.operation.name", "vector_db_retrieve")},
	{"gen_ai.operation.name = search_memory", Retrieval, lensMemory, says("gen_ai.operation.name", "search_memory")},
	{"an event of a vector database", Retrieval, lensRetrieval, hasDocumentEvent},
	{"db.vector.query.result", Retrieval, lensRetrieval, hasIndexedResult},
	{"span.type = retrieval", Retrieval, lensRetrieval, says("span.type", "retrieval")},
	{"ai.observability.span_type = retrieval", Retrieval, lensRetrieval, says("ai.observability.span_type", "retrieval")},
	{"a tool that the map names", Retrieval, lensTool, func(v *view) bool { return v.m.toolOf(v) != nil }},
	{"an agent", Context, "", isAgent},
	{"a call of a model", Context, "", isModel},
	{"the root of its trace", Context, "", func(v *view) bool { return v.Parent == SpanID{} }},
	{"it names an agent", Context, "", func(v *view) bool { return tells(v.m.m.Agent...)(v) || tells(workflowFrom...)(v) }},
	{"it names a session or a user", Context, "", func(v *view) bool { return v.session() != "" || v.user() != "" }},
}

// noRule is the rule of spans that no rule is about.
var noRule = rule{name: "no rule", class: Other}

// anyOf is a test: one of these tests.
func anyOf(tests ...test) test {
	return func(v *view) bool {
		for _, is := range tests {
			if is(v) {
				return true
			}
		}
		return false
	}
}

var (
	isLangfuseSpan = says("langfuse.observation.type", "span")

	isAgent = anyOf(
		says("auditsql.span.kind", "agent"), says("openinference.span.kind", "agent"), says("gen_ai.operation.name", "invoke_agent", "create_agent"),
		says("traceloop.span.kind", "agent"), says("langfuse.observation.type", "agent"), says("langsmith.span.kind", "agent"),
		says("mlflow.spanType", "agent"), says("span.type", "agentic.invocation", "agent"), says("ai.observability.span_type", "agent"),
	)
	isModel = anyOf(
		says("auditsql.span.kind", "model", "llm"), says("openinference.span.kind", "llm"),
		says("gen_ai.operation.name", "chat", "text_completion", "generate_content", "completion"),
		says("langfuse.observation.type", "generation"), says("langsmith.span.kind", "llm"), says("mlflow.spanType", "llm", "chat_model"),
		says("ai.operationId", "ai.generateText.doGenerate", "ai.streamText.doStream", "ai.generateObject.doGenerate", "ai.streamObject.doStream"),
		says("span.type", "inference", "inference.framework"), says("llm.request.type", "chat", "completion"), says("ai.observability.span_type", "generation"),
	)
	isTool = anyOf(
		says("gen_ai.operation.name", "execute_tool"), says("mcp.method.name", "tools/call"), says("openinference.span.kind", "tool"),
		says("traceloop.span.kind", "tool"), says("langfuse.observation.type", "tool"), says("langsmith.span.kind", "tool"),
		says("mlflow.spanType", "tool"), says("ai.operationId", "ai.toolCall"), says("span.type", "agentic.tool.invocation", "tool"),
		says("auditsql.span.kind", "tool"), says("ai.observability.span_type", "tool"),
	)
)

// toolOf returns the rule of the map for the tool that a span calls, nil if there is none.
func (m *Mapping) toolOf(s *view) *Tool {
	if len(m.tools) == 0 || !isTool(s) {
		return nil
	}
	if _, name := s.first(toolNameFrom); name != "" {
		if t := m.tools[name]; t != nil {
			return t
		}
	}
	for _, prefix := range []string{"", "execute_tool ", "tools/call "} {
		if name, ok := strings.CutPrefix(s.Name, prefix); ok && m.tools[name] != nil {
			return m.tools[name]
		}
	}
	return nil
}

func hasDocumentEvent(s *view) bool {
	for i := range s.Events {
		for _, name := range documentEvents {
			if s.Events[i].Name == name {
				return true
			}
		}
	}
	return false
}

func hasIndexedResult(s *view) bool {
	for i := range s.Attributes {
		for _, prefix := range indexedResults {
			if strings.HasPrefix(s.Attributes[i].Key, prefix) {
				return true
			}
		}
	}
	return false
}

// langfuseDocuments is for Langfuse's older SDKs, which have no type for retrievals.
func langfuseDocuments(s *view) bool {
	if !isLangfuseSpan(s) {
		return false
	}
	output := parsed(s.of("langfuse.observation.output"))
	list := output.list()
	for _, e := range list {
		if e.firstMember("page_content", "pageContent").kind != String {
			return false
		}
	}
	return len(list) > 0
}

// classify returns the rule that makes the span what it is.
func (m *Mapping) classify(v *view) *rule {
	for i := range rules {
		if rules[i].is(v) {
			return &rules[i]
		}
	}
	return &noRule
}

// first returns the first of these attributes that is there as a text, a number or a boolean, and its text. The span is asked before
// its resource.
func (s *Span) first(keys []string) (key, text string) {
	for _, key := range keys {
		for _, v := range [2]Value{s.of(key), s.resource(key)} {
			if text, ok := v.scalar(); ok && text != "" && text != redacted {
				return key, text
			}
		}
	}
	return "", ""
}

func (s *Span) session() string {
	if _, text := s.first(sessionFrom); text != "" {
		return text
	}
	// LangChain's instrumentations put what the caller said into one attribute.
	text, _ := s.metadata().firstMember("thread_id", "session_id", "conversation_id").scalar()
	return text
}

func (s *Span) user() string {
	if _, text := s.first(userFrom); text != "" {
		return text
	}
	text, _ := s.metadata().firstMember("user_id").scalar()
	return text
}

func (s *Span) metadata() Value { return parsed(s.of("metadata")) }

// redacted is what OpenInference puts in place of a text that it was told to hide.
const redacted = "__REDACTED__"

// parsed reads a text that is the JSON of an object or a list. Any other value is returned as it is.
func parsed(v Value) Value {
	p, _ := parsedOr(v)
	return p
}

// parsedOr is parsed, and reports a text that begins as an object or a list and is no JSON: most often it was cut.
func parsedOr(v Value) (p Value, unreadable bool) {
	if v.kind != String {
		return v, false
	}
	start := strings.TrimLeft(v.str, " \t\r\n")
	if start == "" || start[0] != '{' && start[0] != '[' {
		return v, false
	}
	p, err := parseAttribute(v.str)
	if err != nil {
		return v, true
	}
	return p, false
}
