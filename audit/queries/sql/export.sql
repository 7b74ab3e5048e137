-- Canonical JSON of the records in the order of admission, as export.
-- :limit count = 1000: at most so many
SELECT CAST(kv.value AS TEXT) AS record
FROM entry JOIN kv ON kv.key = CAST(x'004155443A' || entry.query_id AS BLOB)
ORDER BY entry.idx
LIMIT :limit
