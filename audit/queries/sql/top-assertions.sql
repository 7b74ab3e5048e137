-- The assertions whose evidence was used most in a time, as top --by assertion. It looks at every record of the time.
-- :from time = ever: from when on
-- :to end = ever: up to when
-- :limit count = 20: at most so many
SELECT assertion_hash, assertion_label, count(*) AS uses, sum(weight) AS weight, count(DISTINCT agent_id) AS agents, min(time) AS first, max(time) AS last
FROM contributions
WHERE timestamp BETWEEN :from AND :to
GROUP BY assertion_hash
ORDER BY uses DESC, assertion_hash
LIMIT :limit
