-- +goose Up

-- Everything in this migration is derived: reindex drops it and fills it anew from kv and entry.
--
-- Hashes that people search for are stored as hex text, because people compare them with hex. Hex is twice as long as a blob.
-- But a blob with an index on its hex would call an SQL function at every insert. A statement that calls one
-- can fail halfway, so SQLite keeps copies of all pages that the statement touches, and to insert many rows with one
-- statement gains nothing (measured: 111 µs a record, and 77 µs without). For the same reason the checks and generated
-- columns here and in kv call no function.
--
-- Indexes of hashes begin with the generation: the record's index divided by 16384. Hashes are spread evenly, so
-- in an index of hashes alone every insert touches another page, and the cost of a record grows with the
-- store (measured with 3 contributions a record: from 8,700 records a second down to 1,900 after 200,000 records). With
-- the generation in front, an insert touches only pages of the newest generation, and the rate stays. A search for a
-- hash visits each generation once. This is SQLite's skip-scan ("ANY(generation) AND ..." in EXPLAIN QUERY PLAN).
-- SQLite chooses it when sqlite_stat1 says that generations are few; see the end of this file.

-- +goose StatementBegin
CREATE TABLE agent (
  -- The agents, each with a small number that stands for it in table audit. Row 0 stands for nobody:
  -- the records of anonymous queries.
  id        INTEGER PRIMARY KEY,
  agent_id  BLOB CHECK ((agent_id IS NULL) = (id = 0) AND (agent_id IS NULL OR length(agent_id) = 32)),
  audits    INTEGER NOT NULL DEFAULT 0,  -- how many records it has,
  first     INTEGER,                     -- and the timestamps of the oldest
  last      INTEGER,                     -- and the newest
  agent_hex TEXT GENERATED ALWAYS AS (nullif(lower(hex(agent_id)), '')) VIRTUAL
);
-- +goose StatementEnd

CREATE UNIQUE INDEX agent_by_hash ON agent (agent_hex);

INSERT INTO agent (id) VALUES (0);

-- +goose StatementBegin
CREATE TABLE audit (
  idx               INTEGER PRIMARY KEY,  -- entry.idx
  query_id          BLOB NOT NULL,        -- as in its key: half the room in the indexes that order by it
  query_hex         TEXT NOT NULL,
  agent             INTEGER NOT NULL,     -- agent.id
  timestamp         INTEGER NOT NULL,     -- Unix time in the unit that table store names
  subject           TEXT,
  predicate         TEXT,
  lifecycle         INTEGER,              -- 0 Proposed, 1 UnderReview, 2 Approved, 3 Deprecated, 4 Rejected
  epoch             BLOB,
  lens              TEXT,
  result_hash       TEXT,
  result_confidence REAL NOT NULL,        -- the shortest decimal of the 32-bit float, so that 0.95 finds it
  contributions     INTEGER NOT NULL,     -- how many rows table contribution has for it
  -- Where kv had the record when this row was written, or NULL. A hint: kv's row ids may change (a dump that is
  -- read back in, VACUUM), so whoever goes by it compares the key too, and else goes by the key alone. With the hint
  -- in the indexes that order by time, a hundred records are read in three fifths of the time: the search in kv's
  -- index, a page or two for each, is left out.
  kv_row            INTEGER,
  -- Indexes of hashes begin with the generation, so that new records touch few of their pages. A search
  -- visits each generation once: ANY(generation) in EXPLAIN QUERY PLAN.
  generation        INTEGER GENERATED ALWAYS AS (idx >> 14) VIRTUAL
);
-- +goose StatementEnd

CREATE INDEX audit_by_query ON audit (generation, query_hex);

CREATE INDEX audit_by_result ON audit (generation, result_hash) WHERE result_hash IS NOT NULL;

CREATE INDEX audit_by_time ON audit (timestamp, query_id, kv_row);

CREATE INDEX audit_by_agent ON audit (agent, timestamp, query_id, kv_row);

CREATE INDEX audit_by_subject ON audit (subject, timestamp, query_id, kv_row);

-- +goose StatementBegin
CREATE TABLE contribution (
  -- The evidence of a record: its contributing assertions, in its order.
  audit          INTEGER NOT NULL,  -- audit.idx
  position       INTEGER NOT NULL,  -- 0, 1, 2, ...
  assertion_hash TEXT NOT NULL,
  weight         REAL NOT NULL,     -- the shortest decimal of the 32-bit float
  source_hash    TEXT NOT NULL,
  lifecycle      INTEGER NOT NULL,  -- as in audit
  generation     INTEGER GENERATED ALWAYS AS (audit >> 14) VIRTUAL,
  PRIMARY KEY (audit, position)
) WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX contribution_by_assertion ON contribution (generation, assertion_hash);

CREATE INDEX contribution_by_source ON contribution (generation, source_hash);

-- +goose StatementBegin
CREATE TABLE attribute (
  -- The attributes of a record, values as text: a string as it is, a number as canonical JSON writes it,
  -- true or false.
  audit      INTEGER NOT NULL,  -- audit.idx
  key        TEXT NOT NULL,
  value      TEXT NOT NULL,
  generation INTEGER GENERATED ALWAYS AS (audit >> 14) VIRTUAL,
  PRIMARY KEY (audit, key)
) WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX attribute_by_value ON attribute (generation, key, value);

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

-- +goose StatementBegin
CREATE TRIGGER attribute_is_never_updated BEFORE UPDATE ON attribute
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table attribute is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER attribute_is_never_deleted BEFORE DELETE ON attribute
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table attribute is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER agent_only_grows BEFORE UPDATE ON agent
WHEN NEW.id <> OLD.id OR NEW.agent_id IS NOT OLD.agent_id OR NEW.audits < OLD.audits
  OR (OLD.first IS NOT NULL AND (NEW.first IS NULL OR NEW.first > OLD.first))
  OR (OLD.last IS NOT NULL AND (NEW.last IS NULL OR NEW.last < OLD.last))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: what table agent counts only grows');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER agent_is_never_deleted BEFORE DELETE ON agent
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: agents are never deleted');
END;
-- +goose StatementEnd

-- The views are for people and for auditsql's own questions. Their joins are inner joins, so that SQLite can
-- begin with the table that a question names. time is NULL after the year 9999.

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
    WHEN 3 THEN 'Deprecated' WHEN 4 THEN 'Rejected' END AS lifecycle,
  nullif(lower(hex(a.epoch)), '') AS epoch,
  a.lens,
  a.result_hash,
  a.result_confidence,
  a.contributions,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label
FROM audit a JOIN agent g ON g.id = a.agent;
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
  c.assertion_hash,
  c.weight,
  c.source_hash,
  CASE c.lifecycle WHEN 0 THEN 'Proposed' WHEN 1 THEN 'UnderReview' WHEN 2 THEN 'Approved'
    WHEN 3 THEN 'Deprecated' WHEN 4 THEN 'Rejected' END AS lifecycle,
  c.audit AS idx,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label,
  (SELECT label FROM label WHERE hash = c.assertion_hash) AS assertion_label,
  (SELECT label FROM label WHERE hash = c.source_hash) AS source_label
FROM contribution c JOIN audit a ON a.idx = c.audit JOIN agent g ON g.id = a.agent;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW attributes AS
-- What else the records say, a row for each key: values as text, numbers and true or false as JSON has them.
SELECT
  a.query_hex AS query_id,
  a.timestamp,
  CASE (SELECT value FROM store WHERE name = 'time_unit')
    WHEN 's'  THEN strftime('%Y-%m-%dT%H:%M:%SZ', a.timestamp, 'unixepoch')
    WHEN 'ms' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000, 'unixepoch') || printf('.%03dZ', a.timestamp % 1000)
    WHEN 'us' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000, 'unixepoch') || printf('.%06dZ', a.timestamp % 1000000)
    WHEN 'ns' THEN strftime('%Y-%m-%dT%H:%M:%S', a.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', a.timestamp % 1000000000)
  END AS time,
  t.key,
  t.value,
  t.audit AS idx
FROM attribute t JOIN audit a ON a.idx = t.audit;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW agents AS
-- The agents with their labels, if they have one: how many records they have, and the timestamps of the first
-- and the last.
SELECT g.agent_hex AS agent_id, l.label, g.audits, g.first, g.last
FROM agent g LEFT JOIN label l ON l.hash = g.agent_hex
WHERE g.id <> 0 AND g.audits > 0;
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
  a.result_hash,
  a.result_confidence,
  p.query_hex AS previous_id,
  p.result_hash AS previous_result,
  p.idx IS NOT NULL AND p.result_hash IS NOT a.result_hash AS flipped,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label
FROM audit a JOIN agent g ON g.id = a.agent
LEFT JOIN audit p ON p.idx = (
  SELECT b.idx FROM audit b INDEXED BY audit_by_subject
  WHERE b.subject = a.subject AND b.predicate = a.predicate AND (b.timestamp, b.query_id) < (a.timestamp, a.query_id)
  ORDER BY b.timestamp DESC, b.query_id DESC LIMIT 1);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW labels AS
-- The names that people gave to hashes. They are in table label, which alone may be written to.
SELECT hash, label FROM label;
-- +goose StatementEnd

-- The planner's statistics, fixed to those of a large store: generations are few, so skip-scan pays; subjects and
-- agents are many, so there it does not pay; the index of time is the cheapest to walk; labels are few. With them the
-- plans are those of a large store from the first record on. ANALYZE would replace them by real
-- figures, with which most plans stay the same. A reindex puts these back.

ANALYZE sqlite_schema;

-- +goose StatementBegin
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('agent',        'agent_by_hash',             '1000000 1'),
  ('audit',        'audit_by_query',            '10000000 1000000 1'),
  ('audit',        'audit_by_result',           '10000000 1000000 3'),
  ('audit',        'audit_by_time',             '10000000 2 1 1 noskipscan sz=10'),
  ('audit',        'audit_by_agent',            '10000000 1000 2 1 1 noskipscan sz=100'),
  ('audit',        'audit_by_subject',          '10000000 1000 2 1 1 noskipscan sz=100'),
  ('contribution', 'contribution',              '30000000 3 1'),
  ('contribution', 'contribution_by_assertion', '30000000 3000000 3'),
  ('contribution', 'contribution_by_source',    '30000000 3000000 30'),
  ('attribute',    'attribute',                 '10000000 3 1'),
  ('attribute',    'attribute_by_value',        '10000000 1000000 1000 1'),
  ('label',        'label',                     '1000 1'),
  ('label',        'label_by_name',             '1000 1');
-- +goose StatementEnd

PRAGMA user_version = 2;

-- +goose Down

DROP VIEW IF EXISTS audits;

DROP VIEW IF EXISTS contributions;

DROP VIEW IF EXISTS attributes;

DROP VIEW IF EXISTS agents;

DROP VIEW IF EXISTS answers;

DROP VIEW IF EXISTS labels;

DROP TABLE IF EXISTS audit;

DROP TABLE IF EXISTS contribution;

DROP TABLE IF EXISTS attribute;

DROP TABLE IF EXISTS agent;

DROP TABLE IF EXISTS sqlite_stat1;

PRAGMA user_version = 1;
