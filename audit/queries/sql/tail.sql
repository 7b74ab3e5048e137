-- The records that were admitted last, newest first, as tail.
-- :limit count = 10: how many
SELECT idx, time, query_id, agent_id, agent_label, subject, predicate, result_confidence
FROM audits
ORDER BY idx DESC
LIMIT :limit
