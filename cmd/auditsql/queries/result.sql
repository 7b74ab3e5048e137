-- The records that were answered with one assertion, as list --result.
-- :result text: the answer's hash, 64 hex digits
SELECT time, query_id, agent_id, subject, predicate, result_confidence
FROM audits
WHERE result_hash = :result
ORDER BY timestamp, query_id
