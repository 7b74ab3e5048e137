-- Every agent with its records, the busiest first, as agents.
-- :limit count = 100: at most so many
SELECT agent_id, label, audits,
  (SELECT time FROM audits a WHERE a.agent_id = g.agent_id AND a.timestamp = g.first LIMIT 1) AS first,
  (SELECT time FROM audits a WHERE a.agent_id = g.agent_id AND a.timestamp = g.last LIMIT 1) AS last
FROM (SELECT * FROM agents ORDER BY audits DESC, agent_id LIMIT :limit) g
ORDER BY audits DESC, agent_id
