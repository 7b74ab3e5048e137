-- One record, without its evidence.
-- :id text: the query id, 64 hex digits
SELECT * FROM audits WHERE query_id = :id
