package main

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/audit"
)

const demoOpening = `On 23 November 2026 at 10:19 the agent planner paid an invoice of the supplier
Northwind, into an account that is not Northwind's. The payment's trace id is
pay-20931. Why did planner take it for the account?

This store has the answers to %d questions of that hour, and what they rest on.
`

// Agents and sources have labels from the start. Assertions have none, because the store does not have their text: the
// story finds out which hash is the false one.
var (
	demoAgents  = []string{"planner", "mailbot", "treasury", "support", "analyst"}
	demoSources = []string{demoMail, demoContract, "ledger", "shop", "crm", "warehouse"}
)

const (
	demoMail     = "mail 7731"
	demoContract = "contract 2024-118"
)

func demoLabels(agents, sources []string) []audit.Label {
	var list []audit.Label
	for _, name := range agents {
		list = append(list, audit.Label{Hash: demoHash("agent", name), Label: name})
	}
	for _, name := range sources {
		list = append(list, audit.Label{Hash: demoHash("source", name), Label: name})
	}
	return list
}

// demoHash gives the things of the story their hashes: the same every time.
func demoHash(kind, name string) audit.Hash {
	return sha256.Sum256([]byte("auditsql demo " + kind + " " + name))
}

// demoStart is when the story begins.
var demoStart = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// A demoStory is an incident with the commands that solve it.
type demoStory struct {
	opening string // with the number of records
	records []*audit.QueryAudit
	labels  []audit.Label
	steps   []demoStep
	now     time.Time // when somebody looks at the pages
}

func paymentStory() demoStory {
	return demoStory{
		opening: demoOpening, records: demoRecords(), labels: demoLabels(demoAgents, demoSources), steps: demoSteps(),
		now: demoStart.Add(time.Hour), // somebody has just noticed the payment
	}
}

// A demoStep is a command of the story, the question that it answers, and what the answer means.
type demoStep struct {
	question string
	args     []string
	answer   string
}

func demoSteps() []demoStep {
	paid, known := demoPayment(), demoKnown()
	id, err := paid.ID()
	before, err2 := known.ID()
	if err != nil || err2 != nil {
		return nil // no: the story's records are valid, and a test runs it
	}
	brief := func(h audit.Hash) string { return h.String()[:briefHash] }
	return []demoStep{
		{
			"Why did planner think that this is the account?",
			[]string{"trace", "--attr", "trace_id=pay-20931"},
			`It asked for the most recent answer of any lifecycle, and got a proposal that
had come in by mail seven minutes before and that nobody had approved. The
account from the contract was there too, and weighed less.`,
		},
		{
			"Who else was given the false account?",
			[]string{"impact", brief(demoHash("assertion", demoFalse))},
			`Apart from mailbot, which filed the proposal, and planner: support, three
minutes later. The next thing to find out is whom it told.`,
		},
		{
			"What was answered before, and since when is it another account?",
			[]string{"answers", "supplier/Northwind", "payment_account"},
			`The right account at 09:41, the false one from 10:12 on, for whoever did not
ask for what is Approved. Treasury did, at 10:27, and got the right one.`,
		},
		{
			"What did planner do differently at 10:19 than at 09:41, when it was right?",
			[]string{"diff", brief(before), brief(id)},
			`At 09:41 it had asked for Approved, under the lens Consensus. Had it done so
again, the proposal would have counted for nothing: that is what to correct.`,
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

func contribution(assertion string, weight float32, source string, l audit.Lifecycle) audit.ContributingAssertion {
	return audit.ContributingAssertion{
		AssertionHash: demoHash("assertion", assertion), Weight: weight,
		SourceHash: demoHash("source", source), Lifecycle: l,
	}
}

// demoPayment is the record on which the payment was based.
func demoPayment() *audit.QueryAudit {
	q := answered(demoQuestion(49*time.Minute+12*time.Second, "planner", "supplier/Northwind", "payment_account", "Recency"), 0.62,
		contribution(demoFalse, 0.62, demoMail, audit.Proposed),
		contribution(demoTrue, 0.38, demoContract, audit.Approved))
	q.Attributes = map[string]any{"trace_id": "pay-20931", "action": "pay_invoice", "model": "planner-3", "amount": 48200}
	return q
}

// demoKnown is what planner was answered when it still asked for what is approved.
func demoKnown() *audit.QueryAudit {
	q := answered(approvedOnly(demoQuestion(11*time.Minute+40*time.Second, "planner", "supplier/Northwind", "payment_account", "Consensus")), 0.97,
		contribution(demoTrue, 0.97, demoContract, audit.Approved),
		contribution(demoTrue, 0.94, "ledger", audit.Approved))
	q.Attributes = map[string]any{"trace_id": "pay-20904", "model": "planner-3"}
	return q
}

// demoRecords is the hour, in the order of time.
func demoRecords() []*audit.QueryAudit {
	proposed := answered(demoQuestion(42*time.Minute+8*time.Second, "mailbot", "supplier/Northwind", "payment_account", "Recency"), 0.41,
		contribution(demoFalse, 0.41, demoMail, audit.Proposed))
	proposed.Attributes = map[string]any{"trace_id": "mail-7731", "action": "file_proposal", "sender": "billing@northw1nd.example"}

	misled := answered(demoQuestion(52*time.Minute+31*time.Second, "support", "supplier/Northwind", "payment_account", "Recency"), 0.62,
		contribution(demoFalse, 0.62, demoMail, audit.Proposed),
		contribution(demoTrue, 0.38, demoContract, audit.Approved))
	misled.Attributes = map[string]any{"trace_id": "chat-5512"}

	doubted := answered(approvedOnly(demoQuestion(57*time.Minute+3*time.Second, "treasury", "supplier/Northwind", "payment_account", "Consensus")), 0.97,
		contribution(demoTrue, 0.97, demoContract, audit.Approved),
		contribution(demoTrue, 0.94, "ledger", audit.Approved))
	doubted.Attributes = map[string]any{"trace_id": "close-118"}

	special := []*audit.QueryAudit{demoKnown(), proposed, demoPayment(), misled, doubted}
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
		list := []audit.ContributingAssertion{contribution(fact, weight, sources[i%4], audit.Approved)}
		if i%3 == 0 {
			list = append(list, contribution(fact+", older", weight/2, sources[(i+1)%4], audit.Approved))
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
