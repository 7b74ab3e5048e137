package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tokens"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token COMMAND",
		Short: "Who may use the server of a store, and for what",
		Long: `Whoever wants something from auditsql serve needs a token, also on the same
machine: a port is open to every user there. A token has one or more scopes:

  read      ask questions, see the pages, follow new records
  write     store records
  label     change labels
  ops       run verify
  metrics   read /metrics

A program sends it as Authorization: Bearer TOKEN. A person logs in with it on
the page /login, or with a link that token link prints.`,
	}
	needsOneBelow(cmd)
	cmd.AddCommand(a.tokenAddCommand(), a.tokenListCommand(), a.tokenRevokeCommand(), a.tokenLinkCommand())
	return cmd
}

func (a *app) tokenAddCommand() *cobra.Command {
	var scopes []string
	var agent, expires string
	cmd := &cobra.Command{
		Use:   "add NAME --scope SCOPE",
		Short: "Make a token, and print it",
		Long: `Add makes a token and prints it. It is shown this once: the file tokens in the
store has only its SHA-256. A server that runs knows it at once.

With --agent the token stores records of this agent alone, and of no other one.
--expires is a length of time, as in 90d, or a time.`,
		Example: `  auditsql token add dashboard --scope read
  auditsql token add planner --scope read,write --agent "$AGENT" --expires 90d`,
		Args: arguments(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(scopes) == 0 {
				return usage("--scope is missing: one or more of %s", strings.Join(tokens.Scopes, ", "))
			}
			if cmd.Flags().Changed("agent") && agent == "" {
				return usage("--agent names no agent")
			}
			return a.tokenAdd(cmd.Context(), args[0], scopes, agent, expires)
		},
		ValidArgsFunction: completeNothing,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&scopes, "scope", nil, "what it is for: "+strings.Join(tokens.Scopes, ", ")+"; with commas between, or repeated")
	flags.StringVar(&agent, "agent", "", "the only agent that it may write for: its `hash` or label")
	flags.StringVar(&expires, "expires", "", "until when it is valid: a `time`, or a length as in 90d (default: until it is revoked)")
	_ = cmd.RegisterFlagCompletionFunc("scope", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return tokens.Scopes, cobra.ShellCompDirectiveNoFileComp
	})
	a.addZone(cmd)
	return cmd
}

func (a *app) tokenAdd(ctx context.Context, name string, scopes []string, agent, expires string) error {
	t := tokens.Token{Name: name, Created: a.now().UTC().Truncate(time.Second)}
	// In the order of the list, however they were typed.
	for _, known := range tokens.Scopes {
		if slices.Contains(scopes, known) {
			t.Scopes = append(t.Scopes, known)
		}
	}
	for _, typed := range scopes {
		if !slices.Contains(tokens.Scopes, typed) {
			err := usage("--scope %s: there is no such scope; the scopes are %s", typed, strings.Join(tokens.Scopes, ", "))
			if near := nearest(tokens.Scopes, typed); near != "" {
				err = trying(err, "--scope %s", near)
			}
			return err
		}
	}
	var err error
	if t.Expires, err = a.expiry(expires); err != nil {
		return err
	}
	if err := a.needsStore(); err != nil {
		return err
	}
	if agent != "" {
		if t.Agent, err = a.agentNamed(ctx, agent); err != nil {
			return err
		}
	}
	secret, err := tokens.Add(ctx, a.dir, t)
	switch {
	case errors.Is(err, tokens.ErrInvalid):
		return usage("%w", err)
	case errors.Is(err, tokens.ErrExists):
		return trying(err, "another name, or auditsql -d %s token revoke %s first", shellQuote(a.dir), shellQuote(name))
	case err != nil:
		return err
	}
	form := a.form("")
	if form == tui.Table || form == tui.Plain {
		if a.outTerm.Is {
			a.note("this is shown once, and cannot be shown again")
		}
		return a.copyOut(secret + "\n")
	}
	return a.facts(form, fact("name", "", tui.Text(name)), fact("token", "", tui.Text(secret)))
}

// needsStore refuses a folder without a store: tokens in it would be for nothing.
func (a *app) needsStore() error {
	_, err := audit.JournalDir(a.dir)
	return err
}

// expiry reads --expires.
func (a *app) expiry(typed string) (time.Time, error) {
	if typed == "" {
		return time.Time{}, nil
	}
	now := a.now()
	at := now
	if d, err := when.ParseDuration(typed); err == nil {
		at = now.Add(d)
	} else {
		c, err := a.earlyClock()
		if err != nil {
			return time.Time{}, err
		}
		span, err := c.Parse(typed)
		if err != nil {
			return time.Time{}, usage("--expires: %w", err)
		}
		var ok bool
		if at, ok = audit.Seconds.Time(span.First); !ok {
			return time.Time{}, usage("--expires %s is too far away", typed)
		}
	}
	if !at.After(now) {
		return time.Time{}, usage("--expires %s has passed already", typed)
	}
	return at.UTC().Truncate(time.Second), nil
}

// agentNamed is the agent that was typed. An agent that has no records yet is written in full.
func (a *app) agentNamed(ctx context.Context, typed string) (*audit.AgentID, error) {
	if h, err := audit.ParseHash(typed); err == nil {
		return &h, nil
	}
	if err := checkTyped(typed); err != nil {
		return nil, err
	}
	r, err := a.openReading(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, err := r.find(ctx, typed, audit.AgentHash, nil)
	return &h, err
}

func (a *app) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The tokens that there are",
		Long: `List prints the name of each token, its scopes, the agent to which it is bound,
when it was made and when it expires. The tokens themselves cannot be shown.`,
		Example: `  auditsql token list
  auditsql token list -o json`,
		Args: arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			return a.tokenList()
		},
		ValidArgsFunction: completeNothing,
	}
	return cmd
}

// tokenRow is a line of token list.
type tokenRow struct {
	Name    string         `json:"name"`
	Scopes  []string       `json:"scopes"`
	Agent   *audit.AgentID `json:"agent"`
	Created time.Time      `json:"created"`
	Expires *time.Time     `json:"expires"`
	Expired bool           `json:"expired"`
}

func (a *app) tokenList() error {
	if err := a.needsStore(); err != nil {
		return err
	}
	all, err := tokens.List(a.dir)
	if err != nil {
		return err
	}
	moment := func(t time.Time) tui.Cell { return tui.Text(t.UTC().Format(time.RFC3339)) }
	out := tui.NewListing(a.screen(), a.form(""), []tui.ColumnOf[tokenRow]{
		{Column: tui.Column{Name: "name", Flexible: true, Least: 8}, Cell: func(t *tokenRow) tui.Cell { return tui.Text(t.Name) }},
		{Column: tui.Column{Name: "scopes"}, Cell: func(t *tokenRow) tui.Cell { return tui.Text(strings.Join(t.Scopes, ",")) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: briefHash}, Cell: func(t *tokenRow) tui.Cell {
			if t.Agent == nil {
				return tui.Text("")
			}
			h := t.Agent.String()
			return tui.Cell{Kind: tui.TextKind, Text: h, Short: h[:briefHash]}
		}},
		{Column: tui.Column{Name: "created"}, Cell: func(t *tokenRow) tui.Cell { return moment(t.Created) }},
		{Column: tui.Column{Name: "expires"}, Cell: func(t *tokenRow) tui.Cell {
			if t.Expires == nil {
				return tui.Text("never")
			}
			return moment(*t.Expires).Marked(t.Expired)
		}},
	})
	now := a.now()
	for _, t := range all {
		row := tokenRow{Name: t.Name, Scopes: t.Scopes, Agent: t.Agent, Created: t.Created, Expired: t.Expired(now)}
		if !t.Expires.IsZero() {
			row.Expires = &t.Expires
		}
		if err := out.Add(&row); err != nil {
			return err
		}
	}
	return out.End()
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke a token",
		Long: `Revoke removes a token. A server that runs refuses it from then on. It ends what
somebody is following with it, and the log-ins that were made with it.`,
		Example: `  auditsql token revoke planner`,
		Args:    arguments(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.needsStore(); err != nil {
				return err
			}
			err := tokens.Revoke(cmd.Context(), a.dir, args[0])
			if errors.Is(err, tokens.ErrNoToken) {
				return trying(notFound("%w", err), "auditsql -d %s token list", shellQuote(a.dir))
			}
			return err
		},
		ValidArgsFunction: a.completeToken,
	}
}

// completeToken completes the name of a token.
func (a *app) completeToken(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		all, _ := tokens.List(a.dir)
		for _, t := range all {
			names = append(names, t.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) tokenLinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "link",
		Short: "Print a link with which a person logs in once",
		Long: `Link asks the server that has the store open for a link, and prints it. Whoever
opens it first is logged in, for reading. It is good for a quarter of an hour.`,
		Example: `  auditsql token link`,
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.needsStore(); err != nil {
				return err
			}
			c, err := socket.Dial(cmd.Context(), a.dir)
			if errors.Is(err, socket.ErrNoServer) {
				return trying(fmt.Errorf("%s: %w", a.dir, socket.ErrNoServer), "auditsql -d %s serve, which starts one and prints a link", shellQuote(a.dir))
			}
			if err != nil {
				return err
			}
			defer c.Close()
			link, err := c.LoginLink(cmd.Context())
			if err != nil {
				return err
			}
			return a.copyOut(link + "\n")
		},
		ValidArgsFunction: completeNothing,
	}
}
