-- One record, without its evidence.
-- :id id: a query id (in a shell all 64 hex digits)
SELECT * FROM audits WHERE query_id = :id
