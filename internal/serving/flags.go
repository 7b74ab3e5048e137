package serving

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/advice"
)

// UsualAddress is where a server listens unless a flag says otherwise.
const UsualAddress = "127.0.0.1:7070"

// Flags are the flags of every command that serves a store: where it listens, under which names it is called, and its log.
type Flags struct {
	Listen    string
	Hosts     []string
	TLS       TLSFiles
	LogFormat string // text or json
}

// Add adds the flags to those of a command.
func (f *Flags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Listen, "listen", UsualAddress, "the `address` to listen on: host:port, or :port for all addresses")
	flags.StringVar(&f.TLS.Cert, "tls-cert", "", "a `file` with the certificate, and those between it and the root")
	flags.StringVar(&f.TLS.Key, "tls-key", "", "the `file` with its private key")
	flags.StringVar(&f.TLS.ClientCA, "client-ca", "", "a `file` with the authorities whose clients may connect")
	flags.StringArrayVar(&f.Hosts, "host", nil, "another `name` under which the server is called, as that of a proxy; may be repeated")
	flags.StringVar(&f.LogFormat, "log-format", "text", "`text` or json")
}

// An Address is a flag that names an address to listen on.
type Address struct{ Flag, Address, Usual string }

// Addresses are those to listen on: that of --listen, and others of the command.
func (f *Flags) Addresses(others ...Address) []Address {
	return append([]Address{{"listen", f.Listen, UsualAddress}}, others...)
}

// Check refuses, with an *advice.Error, flags that are wrong for every store. Others are the addresses of the command beside that of --listen.
func (f *Flags) Check(cmd *cobra.Command, others ...Address) error {
	for _, name := range []string{"tls-cert", "tls-key", "client-ca"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return advice.Usage("", "--%s names no file", name)
		}
	}
	switch {
	case f.LogFormat != "text" && f.LogFormat != "json":
		return advice.Usage("", "--log-format %s: want text or json", f.LogFormat)
	case (f.TLS.Cert == "") != (f.TLS.Key == ""):
		return advice.Usage("", "--tls-cert and --tls-key go together")
	case f.TLS.ClientCA != "" && f.TLS.Cert == "":
		return advice.Usage("", "--client-ca needs --tls-cert and --tls-key")
	}
	for _, host := range f.Hosts {
		if host == "" || strings.ContainsAny(host, "/:*@ \t") && net.ParseIP(strings.Trim(host, "[]")) == nil {
			return advice.Usage("the name alone, without https:// and without a port", "--host %q is no name of a host", host)
		}
	}
	for _, l := range f.Addresses(others...) {
		host, _, err := net.SplitHostPort(l.Address)
		if err != nil {
			return advice.Usage(fmt.Sprintf("--%s %s", l.Flag, l.Usual), "--%s %s: %w", l.Flag, l.Address, err)
		}
		if !isLoopback(host) && f.TLS.Cert == "" {
			return advice.Usage(fmt.Sprintf("--tls-cert and --tls-key; or --%s %s with a proxy on this machine that does TLS, and --host NAME for the name of that", l.Flag, l.Usual),
				"--%s %s can be reached from other machines, and tokens and records would go there in the clear", l.Flag, l.Address)
		}
	}
	return nil
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Logger writes the log of a server from a level on.
func (f *Flags) Logger(to io.Writer, least slog.Level) *slog.Logger {
	level := slog.HandlerOptions{Level: least}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, &level))
	}
	return slog.New(slog.NewTextHandler(to, &level))
}

// names are those under which the server may be called, beside those of this machine.
func (f *Flags) names() []string {
	names := slices.Clone(f.Hosts)
	if host, _, _ := net.SplitHostPort(f.Listen); host != "" {
		names = append(names, host)
	}
	return names
}
