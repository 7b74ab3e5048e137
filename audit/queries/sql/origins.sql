-- The evidence of a record, the evidence of the earlier answers that this was, and so on, as trace --up (which follows the first of these answers only). Where more is 1, :depth has left out the answers that come next.
-- :id id: a query id (in a shell all 64 hex digits)
-- :depth count = 6: at most so many steps
-- :limit count = 1000: at most so many pieces
WITH RECURSIVE earlier (idx, timestamp, distance) AS (
  SELECT idx, timestamp, 1 FROM audits WHERE query_id = :id
  UNION
  SELECT a.idx, a.timestamp, e.distance + 1
  FROM earlier e JOIN contributions c ON c.idx = e.idx JOIN audits a ON a.result_hash = c.assertion_hash
  WHERE e.distance < :depth AND a.timestamp <= e.timestamp AND a.idx <> e.idx
)
SELECT min(e.distance) AS distance, c.query_id, c.agent_label, c.weight, c.lifecycle, c.assertion_hash, c.source_hash, c.source_label,
  min(e.distance) = :depth AND EXISTS (
    SELECT 1 FROM audits a
    WHERE a.result_hash = c.assertion_hash AND a.timestamp <= c.timestamp AND a.idx NOT IN (SELECT idx FROM earlier)
  ) AS more
FROM earlier e CROSS JOIN contributions c ON c.idx = e.idx
GROUP BY c.idx, c.position
ORDER BY distance, c.timestamp, c.query_id, c.position
LIMIT :limit
