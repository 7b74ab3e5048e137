-- Every agent with its records, the busiest first, as agents.
-- :limit number = 100: at most so many
SELECT agent_id, label, audits, first, last FROM agents ORDER BY audits DESC, agent_id LIMIT :limit
