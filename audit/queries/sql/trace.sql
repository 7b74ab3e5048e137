-- Why an answer was given: its evidence by weight, with how many records have each piece (at most 1000 are counted), as trace.
-- :id id: a query id (in a shell all 64 hex digits)
SELECT c.weight, c.lifecycle, c.assertion_hash, c.assertion_label, c.source_hash, c.source_label,
  c.assertion_hash IS a.result_hash AS won,
  (SELECT count(*) FROM (SELECT DISTINCT o.idx FROM contributions o WHERE o.assertion_hash = c.assertion_hash LIMIT 1000)) AS uses,
  c.position
FROM contributions c JOIN audits a ON a.idx = c.idx
WHERE c.query_id = :id
ORDER BY c.weight DESC, c.position
