-- The answers to one question over time, and where they flipped, as answers.
-- :subject text: the whole subject
-- :predicate text: the predicate
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 100: at most so many
SELECT time, query_id, agent_id, agent_label, lens, result_hash,
  (SELECT label FROM labels WHERE hash = result_hash) AS result_label, result_confidence, flipped, previous_id
FROM answers
WHERE subject = :subject AND predicate = :predicate AND timestamp BETWEEN :from AND :to
ORDER BY timestamp, query_id
LIMIT :limit
