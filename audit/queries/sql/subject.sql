-- The records about one subject, oldest first, as list --subject.
-- :subject text: the whole subject
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, predicate, lifecycle, result_hash,
  (SELECT label FROM labels WHERE hash = result_hash) AS result_label, result_confidence, contributions
FROM audits
WHERE subject = :subject AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id
LIMIT :limit
