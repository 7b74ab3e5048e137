package main

import (
	"time"

	"github.com/auditsql/auditsql/audit"
)

// The second story: all evidence of the record of the alarm is Approved, since the false fact is two answers further back.

const chainOpening = `On 24 November 2026 at 14:40 the agent buyer ordered 1,200 valves, at a tenth of
the price at which Contoso sells them. The order's trace id is ord-3318. Why did
buyer take it for the price?

This store has the answers to %d questions of that afternoon. The agents pass
answers on: what pricing answers is evidence for what buyer decides.
`

const (
	chainRate = "rate JPY EUR 0.00062" // a tenth of the true one
	chainPage = "page rates.example"
)

// chainStart is when the second story begins.
var chainStart = time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC)

func chainStory() demoStory {
	return demoStory{
		opening: chainOpening, records: chainRecords(), steps: chainSteps(), now: chainStart.Add(2 * time.Hour),
		labels: demoLabels([]string{"ratebot", "pricing", "buyer", "quoting", "planning"}, []string{chainPage, "central bank", "price list 2026", "agent pricing", "agent quoting", "agent buyer", "warehouse"}),
	}
}

func chainSteps() []demoStep {
	order := chainOrder()
	id, err := order.ID()
	if err != nil {
		return nil // no: the story's records are valid, and a test runs it
	}
	rate := demoHash("assertion", chainRate).String()[:briefHash]
	return []demoStep{
		{
			"Why did buyer think that this is the price?",
			[]string{"trace", "--attr", "trace_id=ord-3318"},
			`All of its evidence is Approved. (The mark says that the answer is buyer's own:
it decides, and repeats no assertion.) But one piece of the evidence, the price,
was an answer of the agent pricing 25 minutes before.`,
		},
		{
			"Where did the price come from?",
			[]string{"trace", "--up", id.String()[:briefHash]},
			`Two answers back there is a rate that ratebot took from a web page, and that
nobody had approved. From the alarm to the origin it took two commands.`,
		},
		{
			"Which answers rest on the false rate?",
			[]string{"impact", rate},
			`Three answers have the rate in their evidence. That is not all: two of them
were evidence elsewhere.`,
		},
		{
			"What came of it, however far away?",
			[]string{"impact", rate, "--depth", "all"},
			`Two orders, an offer to a customer and a budget: these have to be corrected.
None of them has the rate in its own evidence.`,
		},
	}
}

// chainOrder is the record of the alarm.
func chainOrder() *audit.QueryAudit {
	q := chained(100*time.Minute, "buyer", "order/3318", "may_order", "order 3318 yes", 0.93, "ord-3318",
		contribution("valve V7 price 4.10", 0.64, "agent pricing", audit.Approved),
		contribution("valve V7 stock 80", 0.36, "warehouse", audit.Approved))
	q.Attributes["action"] = "place_order"
	q.Attributes["amount"] = 4920
	return q
}

// chained is a record whose answer is something new: it is not among its evidence.
func chained(after time.Duration, agent, subject, predicate, result string, confidence float32, trace string, evidence ...audit.ContributingAssertion) *audit.QueryAudit {
	q := demoQuestion(chainStart.Add(after).Sub(demoStart), agent, subject, predicate, "Recency")
	h := demoHash("assertion", result)
	q.ResultHash, q.ResultConfidence, q.ContributingAssertions = &h, confidence, evidence
	q.Attributes = map[string]any{"trace_id": trace}
	return q
}

// chainRecords is the afternoon, in the order of time.
func chainRecords() []*audit.QueryAudit {
	const trueRate, list = "rate JPY EUR 0.0062", "price list 2026"
	minute := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	price := func(after time.Duration, part, rate string, l audit.Lifecycle, source, result, trace string) *audit.QueryAudit {
		return chained(after, "pricing", "part/"+part, "unit_price", result, 0.88, trace,
			contribution(rate, 0.55, source, l), contribution(part+" list price", 0.45, list, audit.Approved))
	}
	return []*audit.QueryAudit{
		chained(minute(10), "ratebot", "rate/JPY-EUR", "value", trueRate, 0.97, "rate-1300", contribution(trueRate, 0.97, "central bank", audit.Approved)),
		price(minute(21), "valve-V7", trueRate, audit.Approved, "central bank", "valve V7 price 41.00", "price-701"),
		chained(minute(34), "buyer", "order/3301", "may_order", "order 3301 no", 0.9, "ord-3301",
			contribution("valve V7 price 41.00", 0.71, "agent pricing", audit.Approved), contribution("valve V7 stock 80", 0.29, "warehouse", audit.Approved)),
		price(minute(47), "seal-S1", trueRate, audit.Approved, "central bank", "seal S1 price 2.20", "price-702"),
		chained(minute(62), "ratebot", "rate/JPY-EUR", "value", chainRate, 0.58, "rate-1400", contribution(chainRate, 0.58, chainPage, audit.Proposed)),
		price(minute(75), "valve-V7", chainRate, audit.Proposed, chainPage, "valve V7 price 4.10", "price-711"),
		price(minute(77), "pump-P2", chainRate, audit.Proposed, chainPage, "pump P2 price 31.00", "price-712"),
		chained(minute(86), "quoting", "offer/771", "unit_price", "offer 771 at 6.90", 0.81, "quote-771",
			contribution("valve V7 price 4.10", 0.8, "agent pricing", audit.Approved), contribution("customer 4711 rebate", 0.2, list, audit.Approved)),
		chainOrder(),
		chained(minute(104), "buyer", "order/3319", "may_order", "order 3319 yes", 0.9, "ord-3319",
			contribution("pump P2 price 31.00", 0.66, "agent pricing", audit.Approved), contribution("pump P2 stock 4", 0.34, "warehouse", audit.Approved)),
		chained(minute(111), "planning", "budget/2027-Q1", "material_cost", "budget 2027-Q1 180000", 0.74, "plan-12",
			contribution("order 3318 yes", 0.4, "agent buyer", audit.Approved), contribution("offer 771 at 6.90", 0.4, "agent quoting", audit.Approved),
			contribution("seal S1 price 2.20", 0.2, "agent pricing", audit.Approved)),
		price(minute(116), "seal-S1", trueRate, audit.Approved, "central bank", "seal S1 price 2.20", "price-713"),
	}
}
