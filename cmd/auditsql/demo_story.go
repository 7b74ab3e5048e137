package main

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

const demoOpening = `On 23 November 2026 at 10:19 the agent planner paid an invoice of the supplier
Northwind, into an account that is not Northwind's. The payment's trace id is
pay-20931. Why did planner take it for the account?

This store has what %d questions of that hour were answered, and why.
`

// Agents and sources have names from the start. What an assertion says is not in the store: whose hash the
// false one has is for the story to find out.
var (
	demoAgents  = []string{"planner", "mailbot", "treasury", "support", "analyst"}
	demoSources = []string{demoMail, demoContract, "ledger", "shop", "crm", "warehouse"}
)

const (
	demoMail     = "mail 7731"
	demoContract = "contract 2024-118"
)

func demoLabels() []sqlstore.Label {
	var list []sqlstore.Label
	for _, name := range demoAgents {
		list = append(list, sqlstore.Label{Hash: demoHash("agent", name).String(), Label: name})
	}
	for _, name := range demoSources {
		list = append(list, sqlstore.Label{Hash: demoHash("source", name).String(), Label: name})
	}
	return list
}

// demoHash gives the things of the story their hashes: the same every time.
func demoHash(kind, name string) audit.Hash {
	return sha256.Sum256([]byte("auditsql demo " + kind + " " + name))
}

// demoStart is when the story begins.
var demoStart = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// A demoStep is a command of the story, what it is to find out, and what it tells.
type demoStep struct {
	question string
	args     []string
	answer   string
}

func demoSteps() []demoStep {
	paid := demoPayment()
	id, err := paid.ID()
	if err != nil {
		return nil // no: the story's records are valid, and a test runs it
	}
	return []demoStep{
		{
			"Which answer lies behind the payment?",
			[]string{"list", "--attr", "trace_id=pay-20931"},
			"One: planner asked for Northwind's payment account, and one of the two pieces\nof evidence behind its answer was not approved.",
		},
		{
			"What exactly was it told, and on which evidence?",
			[]string{"get", id.String()[:briefHash]},
			`It asked for no lifecycle and took the most recent: a proposal won (1),
against the account that had been approved (2).`,
		},
		{
			"What was known of that account before, and who brought the other one?",
			[]string{"list", "--subject", "supplier/Northwind", "--predicate", "payment_account", "--around", "2026-11-23T10:19", "--window", "45m"},
			`At 09:41 planner still asked for what is Approved, and got the right account.
At 10:12 mailbot had read a mail and filed the proposal; seven minutes later
planner took it for the truth. Treasury, at 10:27, asked for what is Approved.`,
		},
		{
			"Who else was given the false account?",
			[]string{"list", "--result", demoHash("assertion", demoFalse).String()},
			`Apart from mailbot, which filed it, and planner: support, at 10:22. Whom it
told is the next thing to look into.`,
		},
	}
}

const (
	demoTrue  = "Northwind payment_account DE89 3704 0044 0532 0130 00"
	demoFalse = "Northwind payment_account LT12 1000 0111 0100 1000"
)

// demoQuestion is a record without its evidence.
func demoQuestion(after time.Duration, agent, subject, predicate, lens string) *audit.QueryAudit {
	id := demoHash("agent", agent)
	return &audit.QueryAudit{
		AgentID:   &id,
		Timestamp: uint64(demoStart.Add(after).UnixMilli()),
		Params:    audit.QueryParams{Subject: &subject, Predicate: &predicate, Lens: &lens},
	}
}

func approvedOnly(q *audit.QueryAudit) *audit.QueryAudit {
	approved := audit.Approved
	q.Params.Lifecycle = &approved
	return q
}

// answered gives a record its evidence; the first piece is the answer.
func answered(q *audit.QueryAudit, confidence float32, evidence ...audit.ContributingAssertion) *audit.QueryAudit {
	result := evidence[0].AssertionHash
	q.ResultHash, q.ResultConfidence, q.ContributingAssertions = &result, confidence, evidence
	return q
}

func evidence(assertion string, weight float32, source string, l audit.Lifecycle) audit.ContributingAssertion {
	return audit.ContributingAssertion{
		AssertionHash: demoHash("assertion", assertion), Weight: weight,
		SourceHash: demoHash("source", source), Lifecycle: l,
	}
}

// demoPayment is the record behind the payment.
func demoPayment() *audit.QueryAudit {
	q := answered(demoQuestion(49*time.Minute+12*time.Second, "planner", "supplier/Northwind", "payment_account", "Recency"), 0.62,
		evidence(demoFalse, 0.62, demoMail, audit.Proposed),
		evidence(demoTrue, 0.38, demoContract, audit.Approved))
	q.Attributes = map[string]any{"trace_id": "pay-20931", "action": "pay_invoice", "model": "planner-3", "amount": 48200}
	return q
}

// demoRecords is the hour, in the order of time.
func demoRecords() []*audit.QueryAudit {
	before := answered(approvedOnly(demoQuestion(11*time.Minute+40*time.Second, "planner", "supplier/Northwind", "payment_account", "Consensus")), 0.97,
		evidence(demoTrue, 0.97, demoContract, audit.Approved),
		evidence(demoTrue, 0.94, "ledger", audit.Approved))
	before.Attributes = map[string]any{"trace_id": "pay-20904", "model": "planner-3"}

	proposed := answered(demoQuestion(42*time.Minute+8*time.Second, "mailbot", "supplier/Northwind", "payment_account", "Recency"), 0.41,
		evidence(demoFalse, 0.41, demoMail, audit.Proposed))
	proposed.Attributes = map[string]any{"trace_id": "mail-7731", "action": "file_proposal", "sender": "billing@northw1nd.example"}

	told := answered(demoQuestion(52*time.Minute+31*time.Second, "support", "supplier/Northwind", "payment_account", "Recency"), 0.62,
		evidence(demoFalse, 0.62, demoMail, audit.Proposed),
		evidence(demoTrue, 0.38, demoContract, audit.Approved))
	told.Attributes = map[string]any{"trace_id": "chat-5512"}

	doubted := answered(approvedOnly(demoQuestion(57*time.Minute+3*time.Second, "treasury", "supplier/Northwind", "payment_account", "Consensus")), 0.97,
		evidence(demoTrue, 0.97, demoContract, audit.Approved),
		evidence(demoTrue, 0.94, "ledger", audit.Approved))
	doubted.Attributes = map[string]any{"trace_id": "close-118"}

	special := []*audit.QueryAudit{before, proposed, demoPayment(), told, doubted}
	var records []*audit.QueryAudit
	for _, q := range demoRoutine() {
		for len(special) > 0 && special[0].Timestamp < q.Timestamp {
			records, special = append(records, special[0]), special[1:]
		}
		records = append(records, q)
	}
	return append(records, special...)
}

// demoRoutine is what else agents ask in an hour.
func demoRoutine() []*audit.QueryAudit {
	asked := []struct{ agent, subject, predicate, lens string }{
		{"support", "customer/4711", "open_orders", "Recency"},
		{"planner", "product/A100", "stock_level", "Recency"},
		{"analyst", "product/A100", "revenue", "Consensus"},
		{"support", "customer/1093", "delivery_date", "Recency"},
		{"treasury", "supplier/Contoso", "open_invoices", "Consensus"},
		{"planner", "supplier/Contoso", "delivery_date", "Recency"},
		{"mailbot", "supplier/Fabrikam", "contact", "Recency"},
		{"analyst", "customer/4711", "credit_limit", "Authority"},
		{"support", "product/B220", "opening_hours", "Consensus"},
		{"planner", "product/B220", "stock_level", "Recency"},
		{"treasury", "supplier/Northwind", "open_invoices", "Consensus"},
	}
	var records []*audit.QueryAudit
	for i := range 40 {
		a := asked[i%len(asked)]
		// Not quite regular: 77 to 100 seconds apart.
		q := demoQuestion(time.Duration(i*87+i*i%13)*time.Second+time.Duration(i*137%1000)*time.Millisecond, a.agent, a.subject, a.predicate, a.lens)
		fact := fmt.Sprintf("%s %s %d", a.subject, a.predicate, i/len(asked))
		weight := float32(70+i*7%29) / 100
		sources := []string{"ledger", "shop", "crm", "warehouse"}
		list := []audit.ContributingAssertion{evidence(fact, weight, sources[i%4], audit.Approved)}
		if i%3 == 0 {
			list = append(list, evidence(fact+", older", weight/2, sources[(i+1)%4], audit.Approved))
		}
		q = answered(q, weight, list...)
		if i%4 != 1 {
			approvedOnly(q)
		}
		q.Attributes = map[string]any{"trace_id": fmt.Sprintf("%s-%04d", a.agent, 3100+i*3)}
		records = append(records, q)
	}
	return records
}
