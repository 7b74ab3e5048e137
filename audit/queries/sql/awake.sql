-- The agents that asked in a time, the busiest first, as agents --from --to. It looks at every record of that time.
-- :from time: from when on
-- :to end: up to when
SELECT agent_id, agent_label, count(*) AS audits, min(time) AS first, max(time) AS last
FROM audits
WHERE timestamp BETWEEN :from AND :to
GROUP BY agent_id
ORDER BY audits DESC, agent_id
