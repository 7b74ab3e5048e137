-- The records of a time, oldest first, as list --from --to.
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, subject, predicate, lifecycle, result_confidence, contributions
FROM audits
WHERE timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id
LIMIT :limit
