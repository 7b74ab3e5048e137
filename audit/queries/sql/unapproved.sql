-- The evidence of a time that nobody had approved, and where it went, as list --unapproved. Unstated does not count.
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, assertion_hash, assertion_label, weight, source_hash, source_label, lifecycle
FROM contributions
WHERE timestamp BETWEEN :from AND :to AND lifecycle NOT IN ('Approved', 'Unstated')
ORDER BY timestamp, query_id, position
LIMIT :limit
