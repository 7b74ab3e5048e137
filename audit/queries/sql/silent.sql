-- The agents that stopped earlier than their own rate explains, those heard last first, as timeline tells. It looks at every record of the time.
-- :from time: from when on
-- :to end: up to when
WITH shown AS (
  SELECT agent_id, count(*) AS n, min(timestamp) AS first, max(timestamp) AS last
  FROM audits
  WHERE timestamp BETWEEN :from AND :to
  GROUP BY agent_id
), heard AS (
  SELECT g.agent_id, g.label, coalesce(s.n, 0) AS audits, iif(s.n >= 5, s.n, g.audits) AS n, iif(s.n >= 5, s.last - s.first, g.last - g.first) AS length,
    coalesce(s.last, (SELECT max(a.timestamp) FROM audits a WHERE a.agent_id = g.agent_id AND a.timestamp < :from)) AS heard
  FROM agents g LEFT JOIN shown s ON s.agent_id = g.agent_id
  WHERE g.agent_id IS NOT NULL
)
SELECT agent_id, label AS agent_label, audits, (SELECT time FROM audits a WHERE a.agent_id = h.agent_id AND a.timestamp = h.heard LIMIT 1) AS last_time,
  CAST((n - 1.0) * (:to - heard) / length AS INTEGER) AS expected
FROM heard h
WHERE n >= 5 AND length > 0 AND (n - 1.0) * (:to - heard) / length >= 5
ORDER BY heard DESC, agent_id
