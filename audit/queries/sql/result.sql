-- The records that were answered with one assertion, as list --result.
-- :result assertion: the answer's hash or label (in a shell all 64 hex digits)
SELECT time, query_id, agent_id, agent_label, subject, predicate, result_confidence
FROM audits
WHERE result_hash = :result
ORDER BY timestamp, query_id
