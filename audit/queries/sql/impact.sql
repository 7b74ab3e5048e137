-- The answers that an assertion went into, as impact.
-- :assertion assertion: its hash or label (in a shell all 64 hex digits)
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, weight, lifecycle, position
FROM contributions
WHERE assertion_hash = :assertion AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id, position
LIMIT :limit
