-- The answers that a source's assertions went into, as impact --source.
-- :source source: its hash or label (in a shell all 64 hex digits)
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, assertion_hash, assertion_label, weight, lifecycle, position
FROM contributions
WHERE source_hash = :source AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id, position
LIMIT :limit
