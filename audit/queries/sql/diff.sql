-- The evidence of two records side by side, as diff. Of an assertion that a record has twice, the greater weight is shown.
-- :a id: a query id (in a shell all 64 hex digits)
-- :b id: another
SELECT assertion_hash, assertion_label,
  max(CASE WHEN query_id = :a THEN weight END) AS weight_a, max(CASE WHEN query_id = :b THEN weight END) AS weight_b,
  max(CASE WHEN query_id = :a THEN lifecycle END) AS lifecycle_a, max(CASE WHEN query_id = :b THEN lifecycle END) AS lifecycle_b,
  max(CASE WHEN query_id = :a THEN source_hash END) AS source_a, max(CASE WHEN query_id = :a THEN source_label END) AS source_a_label,
  max(CASE WHEN query_id = :b THEN source_hash END) AS source_b, max(CASE WHEN query_id = :b THEN source_label END) AS source_b_label
FROM contributions
WHERE query_id IN (:a, :b)
GROUP BY assertion_hash
ORDER BY assertion_hash
