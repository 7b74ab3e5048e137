-- The assertions that no record had before a time, those used most first, as top --by assertion --new-since. It looks at every record since.
-- :since time: since when
-- :limit count = 20: at most so many
SELECT c.assertion_hash, c.assertion_label, c.source_hash, c.source_label, count(*) AS uses, min(c.time) AS first
FROM contributions c
WHERE c.timestamp BETWEEN :since AND 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM contributions o WHERE o.assertion_hash = c.assertion_hash AND o.timestamp < :since)
GROUP BY c.assertion_hash
ORDER BY uses DESC, c.assertion_hash
LIMIT :limit
