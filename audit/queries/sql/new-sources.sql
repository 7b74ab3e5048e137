-- The sources that no record had before a time, those used most first, as top --by source --new-since. It looks at every record since.
-- :since time: since when
-- :limit count = 20: at most so many
SELECT c.source_hash, c.source_label, count(*) AS uses, count(DISTINCT c.assertion_hash) AS assertions, min(c.time) AS first
FROM contributions c
WHERE c.timestamp BETWEEN :since AND 9223372036854775807
  AND NOT EXISTS (SELECT 1 FROM contributions o WHERE o.source_hash = c.source_hash AND o.timestamp < :since)
GROUP BY c.source_hash
ORDER BY uses DESC, c.source_hash
LIMIT :limit
