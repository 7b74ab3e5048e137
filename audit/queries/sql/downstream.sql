-- What came of an assertion: the answers that it went into, those that their results went into later, and so on, as impact --depth. Where more is 1, :depth has left out the answers that come next.
-- :assertion assertion: its hash or label (in a shell all 64 hex digits)
-- :depth count = 6: at most so many steps
-- :limit count = 1000: at most so many answers
WITH RECURSIVE reached (idx, timestamp, through, result_hash, distance) AS (
  SELECT a.idx, a.timestamp, c.assertion_hash, a.result_hash, 1
  FROM contributions c JOIN audits a ON a.idx = c.idx
  WHERE c.assertion_hash = :assertion
  UNION
  SELECT a.idx, a.timestamp, c.assertion_hash, a.result_hash, r.distance + 1
  FROM reached r JOIN contributions c ON c.assertion_hash = r.result_hash JOIN audits a ON a.idx = c.idx
  WHERE r.distance < :depth AND r.result_hash <> r.through AND c.timestamp >= r.timestamp AND c.idx <> r.idx
)
SELECT min(r.distance) AS distance, a.time, a.query_id, a.agent_id, a.agent_label, a.subject, a.predicate, a.result_hash,
  min(r.distance) = :depth AND EXISTS (
    SELECT 1 FROM contributions c
    WHERE c.assertion_hash = a.result_hash AND r.result_hash <> r.through AND c.timestamp >= a.timestamp AND c.idx NOT IN (SELECT idx FROM reached)
  ) AS more
FROM reached r CROSS JOIN audits a ON a.idx = r.idx
GROUP BY r.idx
ORDER BY distance, a.timestamp, a.query_id
LIMIT :limit
