-- Every agent with its records, the busiest first and the anonymous ones last, as agents.
-- :limit count = 100: at most so many
SELECT agent_id, label AS agent_label, audits, first_time, last_time
FROM agents
ORDER BY agent_id IS NULL, audits DESC, agent_id
LIMIT :limit
