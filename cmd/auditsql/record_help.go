package main

// recordExample is one record, with a few words about each field after two blanks. … stands for 64 hex digits.
const recordExample = `  {"query_id": "…",                     its id; left out: derived from the rest
   "agent_id": "…",                     who asked; left out or null: anonymous
   "timestamp": 1795429152000,          when: Unix time in the store's unit
   "params": {                          what was asked; parts may be left out
     "subject": "supplier/Northwind",   about what
     "predicate": "payment_account",    what of it
     "lifecycle": "Approved",           only evidence with this lifecycle
     "epoch": "…",                      in which state of the knowledge base
     "lens": "Recency"},                by which rule answers were chosen
   "result_hash": "…",                  the assertion that was the answer
   "result_confidence": 0.62,           how sure the answer is, 0 to 1
   "contributing_assertions": [         the evidence, in the agent's order
     {"assertion_hash": "…",            what was asserted
      "weight": 0.62,                   how much it counted
      "source_hash": "…",               where it came from
      "lifecycle": "Proposed"}],        was it approved at that time
   "attributes": {                      what else: texts, numbers, booleans
     "trace_id": "pay-20931", "tokens": 1234}}
`

// recordHelp explains the fields of a record to a person who writes the first one.
const recordHelp = `A record, here on several lines, with a word about each field:

` + recordExample + `
timestamp, params and result_confidence must be there; all else may be left
out. A piece of evidence has all of its four fields. A lifecycle is Proposed,
UnderReview, Approved, Deprecated, Rejected or Unstated (nobody said).

Each … is 64 hex digits. For an agent, an assertion or a source that has only a
name, take a hash of the name, BLAKE3 or SHA-256, and always the same one:

  printf %s planner-7 | sha256sum | cut -c 1-64

auditsql name HASH planner-7 then shows the name beside the hash.`
