-- Whose answers an assertion went into, how many, since when, as the totals of impact.
-- :assertion assertion: its hash or label (in a shell all 64 hex digits)
-- :from time = ever: from when on
-- :to end = ever: up to when
SELECT c.agent_id, c.agent_label, count(DISTINCT c.idx) AS answers, min(c.time) AS first, max(c.time) AS last,
  count(DISTINCT CASE WHEN a.result_hash = c.assertion_hash THEN c.idx END) AS won, sum(c.weight) AS weight
FROM contributions c JOIN audits a ON a.idx = c.idx
WHERE c.assertion_hash = :assertion AND c.timestamp BETWEEN :from AND :to
GROUP BY c.agent_id
ORDER BY answers DESC
