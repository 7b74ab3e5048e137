-- The records of one agent, oldest first, as list --agent.
-- :agent agent: the agent's id or label (in a shell all 64 hex digits)
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, subject, predicate, lifecycle, result_confidence, contributions
FROM audits
WHERE agent_id = :agent AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id
LIMIT :limit
