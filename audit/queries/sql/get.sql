-- One record, without its evidence.
-- :id id: a query id (in a shell all 64 hex digits)
SELECT *, (SELECT label FROM labels WHERE hash = result_hash) AS result_label FROM audits WHERE query_id = :id
