-- The evidence of one record, in its order.
-- :id id: a query id (in a shell all 64 hex digits)
SELECT position, assertion_hash, assertion_label, weight, source_hash, source_label, lifecycle
FROM contributions
WHERE query_id = :id
ORDER BY position
