package receive

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// gRPC without a stream is one request of HTTP/2: a frame with the message in each direction, and the outcome in the trailers.
// net/http does the rest. So both protocols have the same TLS, the same connections, the same way to the caller's tokens, the same
// limit of memory, and end in the same way. The library of gRPC brings a second server for all of that, and 5 MB of program.
//
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md describes it.

const (
	grpcType = "application/grpc"
	// grpcPath is the one method of the service for traces.
	grpcPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	// grpcPrefix is how many bytes are before each message: whether it is compressed, and its length.
	grpcPrefix = 5
)

// grpcProtocol is OTLP/gRPC.
type grpcProtocol struct{}

func (grpcProtocol) open(q *http.Request, body io.Reader, most int64) (message, *fault) {
	mediaType := strings.TrimSpace(strings.Split(q.Header.Get("Content-Type"), ";")[0])
	switch {
	case q.URL.Path != grpcPath:
		return message{}, refuse(otherSignal, "only traces are taken here, by %s", grpcPath)
	case q.Method != http.MethodPost:
		return message{}, refuse(otherMethod, "a call is a POST")
	case mediaType != grpcType && mediaType != grpcType+"+proto":
		return message{}, refuse(otherForm, "the messages are not in protobuf")
	}
	encoding := q.Header.Get("Grpc-Encoding")
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		return message{}, refuse(otherForm, "the Grpc-Encoding is not gzip or identity")
	}
	var prefix [grpcPrefix]byte
	if _, err := io.ReadFull(body, prefix[:]); err != nil {
		return message{}, refuse(malformed, "the call has no message")
	}
	size := int64(binary.BigEndian.Uint32(prefix[1:]))
	m := message{in: io.LimitReader(body, size), size: size, packed: prefix[0] == 1}
	switch {
	case prefix[0] > 1, m.packed && encoding != "gzip":
		return message{}, refuse(malformed, "the message is not compressed as the call says")
	case size > most:
		return message{}, refuse(tooLarge, "the request has more than %d bytes", most)
	}
	return m, nil
}

func (grpcProtocol) taken(w http.ResponseWriter, o *outcome) {
	answer := exportResponse(o)
	frame := make([]byte, grpcPrefix, grpcPrefix+len(answer))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(answer)))
	grpcHeader(w)
	_, _ = w.Write(append(frame, answer...))
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(grpcOK))
}

func (grpcProtocol) refused(w http.ResponseWriter, f *fault) {
	grpcHeader(w)
	_ = http.NewResponseController(w).Flush() // without it the trailers would become headers
	h := w.Header()
	h.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(f.code))
	h.Set(http.TrailerPrefix+"Grpc-Message", grpcText(f.text))
	h.Set(http.TrailerPrefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(rpcStatus(f)))
}

func grpcHeader(w http.ResponseWriter) {
	w.Header().Set("Content-Type", grpcType)
	w.Header().Set("Grpc-Accept-Encoding", "gzip")
	w.WriteHeader(http.StatusOK)
}

// grpcText writes a text as a trailer has it.
func grpcText(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
