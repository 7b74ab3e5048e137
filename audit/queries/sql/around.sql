-- The records around a time, as list --around --window.
-- :at time: when
-- :window duration = 15m: how far before and after
SELECT time, query_id, agent_id, agent_label, subject, predicate, lifecycle, result_confidence, contributions
FROM audits
WHERE timestamp BETWEEN :at - :window AND :at + :window
ORDER BY timestamp, query_id
