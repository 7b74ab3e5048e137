-- The agents that had asked before a time and did not in it, those heard last first, as timeline tells. It looks at every agent.
-- :from time: from when on
-- :to end: up to when
SELECT agent_id, label AS agent_label, audits, last_time
FROM agents
WHERE agent_id IS NOT NULL AND first < :from
  AND NOT EXISTS (SELECT 1 FROM audits a WHERE a.agent_id = agents.agent_id AND a.timestamp BETWEEN :from AND :to)
ORDER BY agents.last DESC, agent_id
