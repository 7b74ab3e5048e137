-- +goose Up

-- A dictionary of hashes. Tables audit and contribution have numbers of 3 or 4 bytes in place of hashes of 64, and so have their
-- indexes. (Measured, with half of the evidence repeated: a record takes a quarter less room and a fifth less processor time.)
--
-- A hash stands in the dictionary once for each generation of records that has it, for the reason that 00002_derived.sql gives:
-- inserts touch only the newest pages. A search for a hash visits the range of each generation in one index. What it finds
-- are numbers, and the records of a number stand together in every other index. Numbers ascend with the generations, so these indexes
-- need no generation in front.
--
-- The ids of records are not in the dictionary: no other record has them, so a row there would save nothing and cost some 30
-- bytes (by reckoning).
--
-- The indexes by time have no query id any more. Where several records have one timestamp, the readers sort them by id.
--
-- The tables are made anew, empty. The mark 'reindex' says so, and the writer that has run this migration fills them.

INSERT INTO store (name, value) SELECT 'reindex', 'running' WHERE EXISTS (SELECT 1 FROM entry) ON CONFLICT DO NOTHING;

DROP VIEW IF EXISTS audits;

DROP VIEW IF EXISTS contributions;

DROP VIEW IF EXISTS answers;

DROP TABLE IF EXISTS audit;

DROP TABLE IF EXISTS contribution;

-- +goose StatementBegin
CREATE TABLE hash (
  -- The hashes of assertions, of their sources, of answers and of epochs, with the numbers that stand for them in tables audit and
  -- contribution. Each hash has one number in each generation of records that has it.
  id         INTEGER PRIMARY KEY,
  generation INTEGER NOT NULL,  -- audit.generation of the records that have this number
  hex        TEXT NOT NULL      -- in lower case, because that is what people search for
);
-- +goose StatementEnd

CREATE UNIQUE INDEX hash_by_hex ON hash (generation, hex);

-- +goose StatementBegin
CREATE TABLE audit (
  idx               INTEGER PRIMARY KEY,  -- entry.idx
  query_hex         TEXT NOT NULL,
  agent             INTEGER NOT NULL,     -- agent.id
  timestamp         INTEGER NOT NULL,     -- Unix time in the unit that table store names
  subject           TEXT,
  predicate         TEXT,
  lifecycle         INTEGER,              -- 0 Proposed, 1 UnderReview, 2 Approved, 3 Deprecated, 4 Rejected, 5 Unstated
  epoch             INTEGER,              -- hash.id
  lens              TEXT,
  result            INTEGER,              -- hash.id
  result_confidence REAL NOT NULL,        -- the shortest decimal of the 32-bit float, so that 0.95 finds it
  contributions     INTEGER NOT NULL,     -- how many rows table contribution has for it
  -- Where kv had the record when this row was written, or NULL. A hint: kv's row ids may change (a dump that is
  -- read back in, VACUUM), so whoever goes by it compares what is there, and else goes by the key alone. With the hint
  -- in the indexes that order by time, a hundred records are read in three fifths of the time: the search in kv's
  -- index, a page or two for each, is left out.
  kv_row            INTEGER,
  -- Indexes of hashes begin with the generation, so that new records touch few of their pages. A search
  -- visits each generation once: ANY(generation) in EXPLAIN QUERY PLAN.
  generation        INTEGER GENERATED ALWAYS AS (idx >> 14) VIRTUAL
);
-- +goose StatementEnd

CREATE INDEX audit_by_query ON audit (generation, query_hex);

CREATE INDEX audit_by_result ON audit (result) WHERE result IS NOT NULL;

CREATE INDEX audit_by_time ON audit (timestamp, idx, kv_row);

CREATE INDEX audit_by_agent ON audit (agent, timestamp, idx, kv_row);

CREATE INDEX audit_by_subject ON audit (subject, timestamp, idx, kv_row);

-- +goose StatementBegin
CREATE TABLE contribution (
  -- The evidence of a record: its contributing assertions, in its order.
  audit     INTEGER NOT NULL,  -- audit.idx
  position  INTEGER NOT NULL,  -- 0, 1, 2, ...
  assertion INTEGER NOT NULL,  -- hash.id
  weight    REAL NOT NULL,     -- the shortest decimal of the 32-bit float
  source    INTEGER NOT NULL,  -- hash.id
  lifecycle INTEGER NOT NULL,  -- as in audit
  PRIMARY KEY (audit, position)
) WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX contribution_by_assertion ON contribution (assertion);

CREATE INDEX contribution_by_source ON contribution (source);

-- +goose StatementBegin
CREATE TRIGGER hash_is_never_updated BEFORE UPDATE ON hash
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table hash is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER hash_is_never_deleted BEFORE DELETE ON hash
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table hash is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table audit is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table audit is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER contribution_is_never_updated BEFORE UPDATE ON contribution
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table contribution is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER contribution_is_never_deleted BEFORE DELETE ON contribution
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table contribution is derived from kv and never changed');
END;
-- +goose StatementEnd

-- The views have the same columns as before. Where a query names a hash, SQLite begins with the dictionary. What a record need
-- not have is joined with an outer join. SQLite leaves that out if a query needs nothing of it, and makes an inner join of it where a
-- query compares it with a hash.

-- +goose StatementBegin
CREATE VIEW audits AS
-- The records, a row each: who asked what, when, and what the answer was. Hashes are hex in lower case; for
-- one in upper case, write lower('0A1B...'), which finds the index too. time is timestamp in UTC.
SELECT
  a.idx,
  a.query_hex AS query_id,
  g.agent_hex AS agent_id,
  a.timestamp,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', a.timestamp, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000, 'unixepoch') || printf('.%03dZ', a.timestamp % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000, 'unixepoch') || printf('.%06dZ', a.timestamp % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', a.timestamp % 1000000000)
  END AS time,
  a.subject,
  a.predicate,
  CASE a.lifecycle WHEN 0 THEN 'Proposed' WHEN 1 THEN 'UnderReview' WHEN 2 THEN 'Approved'
    WHEN 3 THEN 'Deprecated' WHEN 4 THEN 'Rejected' WHEN 5 THEN 'Unstated' END AS lifecycle,
  e.hex AS epoch,
  a.lens,
  r.hex AS result_hash,
  a.result_confidence,
  a.contributions,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label
FROM audit a JOIN agent g ON g.id = a.agent LEFT JOIN hash r ON r.id = a.result LEFT JOIN hash e ON e.id = a.epoch;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW contributions AS
-- The evidence, a row for each assertion that went into an answer, with who asked and when. position is its
-- place in the record, from 0; idx is the record's in audits. Hashes are hex in lower case.
SELECT
  a.query_hex AS query_id,
  g.agent_hex AS agent_id,
  a.timestamp,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', a.timestamp, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000, 'unixepoch') || printf('.%03dZ', a.timestamp % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000, 'unixepoch') || printf('.%06dZ', a.timestamp % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', a.timestamp % 1000000000)
  END AS time,
  c.position,
  h.hex AS assertion_hash,
  c.weight,
  s.hex AS source_hash,
  CASE c.lifecycle WHEN 0 THEN 'Proposed' WHEN 1 THEN 'UnderReview' WHEN 2 THEN 'Approved'
    WHEN 3 THEN 'Deprecated' WHEN 4 THEN 'Rejected' WHEN 5 THEN 'Unstated' END AS lifecycle,
  c.audit AS idx,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label,
  (SELECT label FROM label WHERE hash = h.hex) AS assertion_label,
  (SELECT label FROM label WHERE hash = s.hex) AS source_label
FROM contribution c JOIN audit a ON a.idx = c.audit JOIN agent g ON g.id = a.agent
JOIN hash h ON h.id = c.assertion JOIN hash s ON s.id = c.source;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW answers AS
-- Every record beside the answer that the same question (subject and predicate) had before it, from whomever.
-- A search for each, rather than a window function: that would look at all answers to a question, or without
-- one at all of the store, whatever else the query asks for.
SELECT
  a.idx,
  a.query_hex AS query_id,
  g.agent_hex AS agent_id,
  a.timestamp,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', a.timestamp, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000, 'unixepoch') || printf('.%03dZ', a.timestamp % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000, 'unixepoch') || printf('.%06dZ', a.timestamp % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', a.timestamp % 1000000000)
  END AS time,
  a.subject,
  a.predicate,
  a.lens,
  r.hex AS result_hash,
  a.result_confidence,
  p.query_hex AS previous_id,
  q.hex AS previous_result,
  p.idx IS NOT NULL AND q.hex IS NOT r.hex AS flipped,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label
FROM audit a JOIN agent g ON g.id = a.agent
LEFT JOIN hash r ON r.id = a.result
LEFT JOIN audit p ON p.idx = (
  SELECT b.idx FROM audit b INDEXED BY audit_by_subject
  WHERE b.subject = a.subject AND b.predicate = a.predicate AND (b.timestamp, b.query_hex) < (a.timestamp, a.query_hex)
  ORDER BY b.timestamp DESC, b.query_hex DESC LIMIT 1)
LEFT JOIN hash q ON q.id = p.result;
-- +goose StatementEnd

-- The planner's statistics of these tables, fixed to those of a large store, see 00002_derived.sql.

ANALYZE sqlite_schema;

DELETE FROM sqlite_stat1 WHERE tbl IN ('hash', 'audit', 'contribution');

-- +goose StatementBegin
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('hash',         'hash_by_hex',               '20000000 2000000 1'),
  ('audit',        'audit_by_query',            '10000000 1000000 1'),
  ('audit',        'audit_by_result',           '10000000 3'),
  ('audit',        'audit_by_time',             '10000000 2 1 1 noskipscan sz=10'),
  ('audit',        'audit_by_agent',            '10000000 1000 2 1 1 noskipscan sz=100'),
  ('audit',        'audit_by_subject',          '10000000 1000 2 1 1 noskipscan sz=100'),
  ('contribution', 'contribution',              '30000000 3 1'),
  ('contribution', 'contribution_by_assertion', '30000000 3'),
  ('contribution', 'contribution_by_source',    '30000000 30');
-- +goose StatementEnd

PRAGMA user_version = 6;

-- +goose Down

DROP VIEW IF EXISTS audits;

DROP VIEW IF EXISTS contributions;

DROP VIEW IF EXISTS answers;

DROP TABLE IF EXISTS audit;

DROP TABLE IF EXISTS contribution;

DROP TABLE IF EXISTS hash;

PRAGMA user_version = 5;
