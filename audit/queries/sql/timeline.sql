-- How many records and agents there were by minute, hour or day (UTC), without the empty ones, as timeline. It looks at every record of the time.
-- :by minute|hour|day = hour: how long each row is
-- :from time = ever: from when on
-- :to end = ever: up to when
SELECT substr(time, 1, CASE :by WHEN 'minute' THEN 16 WHEN 'day' THEN 10 ELSE 13 END) AS start,
  count(*) AS audits, count(DISTINCT agent_id) AS agents
FROM audits
WHERE timestamp BETWEEN :from AND :to
GROUP BY 1
ORDER BY 1
