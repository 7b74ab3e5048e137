-- What the agent of a record asked just before and after it, as trace.
-- :id id: a query id (in a shell all 64 hex digits)
-- :window duration = 5m: how far before and after
SELECT b.time, b.query_id, b.subject, b.predicate, b.result_hash,
  (SELECT label FROM labels WHERE hash = b.result_hash) AS result_label, b.result_confidence, b.query_id = q.query_id AS this
FROM audits q JOIN audits b ON b.agent_id = q.agent_id AND b.timestamp BETWEEN q.timestamp - :window AND q.timestamp + :window
WHERE q.query_id = :id
ORDER BY b.timestamp, b.query_id
