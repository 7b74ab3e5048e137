-- Who or what a hash is: its label, its records as an agent, and its uses as an assertion or a source (at most 1000 are counted).
-- :hash hash: the hash or its label (in a shell all 64 hex digits)
SELECT (SELECT label FROM labels WHERE hash = :hash) AS label,
  (SELECT audits FROM agents WHERE agent_id = :hash) AS audits,
  (SELECT count(*) FROM (SELECT DISTINCT idx FROM contributions WHERE assertion_hash = :hash LIMIT 1000)) AS as_assertion,
  (SELECT count(*) FROM (SELECT DISTINCT idx FROM contributions WHERE source_hash = :hash LIMIT 1000)) AS as_source
