-- The evidence of one record, in its order.
-- :id text: the query id, 64 hex digits
SELECT position, assertion_hash, weight, source_hash, lifecycle
FROM contributions
WHERE query_id = :id
ORDER BY position
