-- The subjects asked for most in a time, as top --by subject. It looks at every record of the time.
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 20: at most so many
SELECT subject, count(*) AS audits, count(DISTINCT agent_id) AS agents, min(time) AS first, max(time) AS last
FROM audits
WHERE timestamp BETWEEN :from AND :to AND subject IS NOT NULL
GROUP BY subject
ORDER BY audits DESC, subject
LIMIT :limit
