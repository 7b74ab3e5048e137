-- The records about one subject, oldest first, as list --subject.
-- :subject text: the whole subject
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, predicate, lifecycle, result_hash, result_confidence, contributions
FROM audits
WHERE subject = :subject AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id
LIMIT :limit
