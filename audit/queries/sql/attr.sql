-- The records with an attribute of one value, as list --attr.
-- :key text: the attribute's name
-- :value text: its value as text
SELECT t.time, t.query_id, a.agent_id, a.agent_label, a.subject, a.predicate, a.result_confidence
FROM attributes t JOIN audits a ON a.idx = t.idx
WHERE t.key = :key AND t.value = :value
ORDER BY t.timestamp, t.query_id
