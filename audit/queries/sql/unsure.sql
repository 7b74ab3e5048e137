-- The records of a time that were answered with little confidence, as list --max-confidence.
-- :most real = 0.5: the greatest confidence
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, subject, predicate, result_confidence
FROM audits
WHERE timestamp BETWEEN :from AND :to AND result_confidence <= :most
ORDER BY timestamp, query_id
LIMIT :limit
