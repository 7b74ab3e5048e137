-- The newest records, newest first, as recent.
-- :limit count = 20: how many
SELECT time, query_id, agent_id, agent_label, subject, predicate, lifecycle, result_confidence, contributions
FROM audits
ORDER BY timestamp DESC, query_id DESC
LIMIT :limit
