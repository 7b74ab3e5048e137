-- +goose Up

-- View agents gets the times of the first and the last record, and a row for the anonymous records: without it, the sum of
-- its audits was not the number of records. No table changes, so this is done in an instant, however large the store is.

DROP VIEW IF EXISTS agents;

-- +goose StatementBegin
CREATE VIEW agents AS
-- The agents with their labels, if they have one: how many records they have, and the timestamps of the first and the
-- last, which first_time and last_time have as times in UTC. The row whose agent_id is NULL has the anonymous records.
SELECT
  g.agent_hex AS agent_id,
  l.label,
  g.audits,
  g.first,
  g.last,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', g.first, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', g.first / 1000, 'unixepoch') || printf('.%03dZ', g.first % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', g.first / 1000000, 'unixepoch') || printf('.%06dZ', g.first % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', g.first / 1000000000, 'unixepoch') || printf('.%09dZ', g.first % 1000000000)
  END AS first_time,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', g.last, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', g.last / 1000, 'unixepoch') || printf('.%03dZ', g.last % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', g.last / 1000000, 'unixepoch') || printf('.%06dZ', g.last % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', g.last / 1000000000, 'unixepoch') || printf('.%09dZ', g.last % 1000000000)
  END AS last_time
FROM agent g LEFT JOIN label l ON l.hash = g.agent_hex
WHERE g.audits > 0;
-- +goose StatementEnd

PRAGMA user_version = 5;

-- +goose Down

DROP VIEW IF EXISTS agents;

-- +goose StatementBegin
CREATE VIEW agents AS
-- The agents with their labels, if they have one: how many records they have, and the timestamps of the first
-- and the last.
SELECT g.agent_hex AS agent_id, l.label, g.audits, g.first, g.last
FROM agent g LEFT JOIN label l ON l.hash = g.agent_hex
WHERE g.id <> 0 AND g.audits > 0;
-- +goose StatementEnd

PRAGMA user_version = 4;
