-- The lenses asked for most in a time, as top --by lens. It looks at every record of the time.
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 20: at most so many
SELECT lens, count(*) AS audits, count(DISTINCT agent_id) AS agents, min(time) AS first, max(time) AS last
FROM audits
WHERE timestamp BETWEEN :from AND :to AND lens IS NOT NULL
GROUP BY lens
ORDER BY audits DESC, lens
LIMIT :limit
