-- +goose Up

-- +goose StatementBegin
CREATE TABLE kv (
  -- The key/value contract: every record once, and whatever else a program keeps under keys of its own.
  -- Two families of keys are audit data, written once and never changed (see the triggers):
  --   x'004155443A'    "\0AUD:"   query_id (32)                                -> the record as canonical JSON
  --   x'00415544413A'  "\0AUDA:"  agent_id (32) ":" timestamp (8, big-endian) ":" query_id (32) -> empty
  -- An ordinary table on purpose: with 1 KB values it takes in 3 to 4 times as many records a second as
  -- WITHOUT ROWID, in a third of the space.
  key   BLOB NOT NULL PRIMARY KEY CHECK (typeof(key) = 'blob'),
  value BLOB NOT NULL CHECK (typeof(value) = 'blob')
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE entry (
  -- The order of admission: 0, 1, 2, ... without a hole. Primary data like kv: once journal segments are
  -- trimmed, nothing else knows this order.
  idx            INTEGER PRIMARY KEY,
  query_id       BLOB NOT NULL CHECK (typeof(query_id) = 'blob' AND length(query_id) = 32),
  journal_offset INTEGER NOT NULL CHECK (journal_offset >= 0)  -- where the journal has the record
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE rejected (
  -- Journal records that could not be taken: no canonical audit, or other bytes under an id that exists.
  journal_offset INTEGER PRIMARY KEY,
  reason         TEXT NOT NULL,
  payload        BLOB NOT NULL
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE label (
  -- Names that people gave to hashes (agents, assertions, sources). The only table whose rows people may change.
  hash  TEXT NOT NULL PRIMARY KEY CHECK (length(hash) = 64 AND hash NOT GLOB '*[^0-9a-f]*'),
  label TEXT NOT NULL CHECK (label <> '')
) WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX label_by_name ON label (label);

-- +goose StatementBegin
CREATE TABLE store (
  -- Facts about the store:
  --   cursor         journal offset after the last record applied; written in the transaction of its rows
  --   format         of this database
  --   store_id       random, shared with store.json
  --   time_unit      of every timestamp: s, ms, us or ns
  --   created_at, created_by
  --   opened         how often a writer has opened it
  --   contributions, rejected   how many rows these tables have, kept so that nobody has to count
  --   reindex        there while the derived tables are being rebuilt
  --   reindexed      the last entry that was there when they were
  name  TEXT NOT NULL PRIMARY KEY,
  value
) WITHOUT ROWID;
-- +goose StatementEnd

-- RAISE(ABORT) ends the statement, whatever its conflict clause says. The guards look before the row is
-- touched, since REPLACE deletes rows without firing DELETE triggers unless recursive_triggers is on, which
-- it is not in a shell. NEW.rowid is -1 where the statement gives none; so that no record ever has that row
-- id, none below it is let in (SQLite would count up from it).
--
-- The applier writes entries first, then their keys, then the cursor. So while the newest entry lies below
-- the cursor, nothing is being applied, and what comes then comes from somewhere else.

-- +goose StatementBegin
CREATE TRIGGER kv_is_written_once_insert BEFORE INSERT ON kv
WHEN (NEW.key >= x'004155443A' AND NEW.key < x'004155443B' OR NEW.key >= x'00415544413A' AND NEW.key < x'00415544413B')
      AND EXISTS (SELECT 1 FROM kv WHERE key = NEW.key)
  OR (NEW.rowid <> -1
      AND (NEW.rowid < -1 OR EXISTS (SELECT 1 FROM kv WHERE rowid = NEW.rowid
                  AND (key >= x'004155443A' AND key < x'004155443B' OR key >= x'00415544413A' AND key < x'00415544413B'))))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: this key of kv has its value already');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER kv_takes_no_stray_records BEFORE INSERT ON kv
WHEN (NEW.key >= x'004155443A' AND NEW.key < x'004155443B' OR NEW.key >= x'00415544413A' AND NEW.key < x'00415544413B')
  AND (SELECT journal_offset FROM entry ORDER BY idx DESC LIMIT 1) < (SELECT value FROM store WHERE name = 'cursor')
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: records come into kv from the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER kv_is_written_once_update BEFORE UPDATE ON kv
WHEN OLD.key >= x'004155443A' AND OLD.key < x'004155443B' OR OLD.key >= x'00415544413A' AND OLD.key < x'00415544413B'
  OR NEW.key >= x'004155443A' AND NEW.key < x'004155443B' OR NEW.key >= x'00415544413A' AND NEW.key < x'00415544413B'
  OR (NEW.rowid <> OLD.rowid
      AND (NEW.rowid < -1 OR EXISTS (SELECT 1 FROM kv WHERE rowid = NEW.rowid
                  AND (key >= x'004155443A' AND key < x'004155443B' OR key >= x'00415544413A' AND key < x'00415544413B'))))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: records in kv are never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER kv_is_written_once_delete BEFORE DELETE ON kv
WHEN OLD.key >= x'004155443A' AND OLD.key < x'004155443B' OR OLD.key >= x'00415544413A' AND OLD.key < x'00415544413B'
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: records in kv are never deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER entry_grows_by_one BEFORE INSERT ON entry
-- entry has no index on query_id: kv knows every id, and a record's entry is written before its kv row.
WHEN NEW.idx IS NOT (SELECT coalesce(max(idx) + 1, 0) FROM entry)
  OR EXISTS (SELECT 1 FROM kv WHERE key = CAST(x'004155443A' || NEW.query_id AS BLOB))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: entry takes only the next index, and each record once');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER entry_follows_the_journal BEFORE INSERT ON entry
WHEN NEW.journal_offset < (SELECT CAST(value AS INTEGER) FROM store WHERE name = 'cursor')
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: entry takes what the journal has beyond the cursor');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER entry_is_never_updated BEFORE UPDATE ON entry
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the order of admission is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the order of admission is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER rejected_is_never_replaced BEFORE INSERT ON rejected
WHEN EXISTS (SELECT 1 FROM rejected WHERE journal_offset = NEW.journal_offset)
  OR NEW.journal_offset < (SELECT CAST(value AS INTEGER) FROM store WHERE name = 'cursor')
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: each rejected record is noted once, when it is met in the journal');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER rejected_is_never_updated BEFORE UPDATE ON rejected
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: rejected records are never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER rejected_is_never_deleted BEFORE DELETE ON rejected
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: rejected records are never deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER store_facts_are_fixed_insert BEFORE INSERT ON store
WHEN NEW.name IN ('format', 'store_id', 'time_unit', 'created_at', 'created_by', 'cursor', 'contributions', 'rejected')
 AND EXISTS (SELECT 1 FROM store WHERE name = NEW.name)
BEGIN
  SELECT RAISE(ABORT, 'this fact about the store is fixed when it is made');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER store_facts_are_fixed_update BEFORE UPDATE ON store
WHEN OLD.name IN ('format', 'store_id', 'time_unit', 'created_at', 'created_by')
  OR NEW.name <> OLD.name
BEGIN
  SELECT RAISE(ABORT, 'this fact about the store is fixed when it is made');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER store_counts_only_grow BEFORE UPDATE ON store
-- A reindex counts anew, and it is part of replaying a stretch of the journal again.
WHEN OLD.name IN ('cursor', 'contributions', 'rejected', 'opened') AND typeof(OLD.value) = 'integer'
 AND (typeof(NEW.value) <> 'integer'
      OR NEW.value < OLD.value AND NOT EXISTS (SELECT 1 FROM store WHERE name = 'reindex'))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the cursor and the counts of the store only grow');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER store_facts_stay BEFORE DELETE ON store
-- The mark of a running reindex is the one that goes again.
WHEN OLD.name <> 'reindex'
BEGIN
  SELECT RAISE(ABORT, 'facts about the store are never deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE VIEW kv_readable AS
-- The keys of kv taken apart, with hex for hashes. The eight bytes of a big-endian timestamp are put
-- together from hex digits, since SQL has no other way to read a number out of a blob.
SELECT
  CASE kind WHEN 1 THEN 'AUD' WHEN 2 THEN 'AUDA' ELSE 'other' END AS family,
  CASE kind WHEN 1 THEN lower(hex(substr(key, 6))) WHEN 2 THEN lower(hex(substr(key, 49))) END AS query_id,
  CASE kind WHEN 2 THEN lower(hex(substr(key, 7, 32))) END AS agent_id,
  CASE kind WHEN 2 THEN
      (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  1, 1)) << 60)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  2, 1)) << 56)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  3, 1)) << 52)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  4, 1)) << 48)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  5, 1)) << 44)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  6, 1)) << 40)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  7, 1)) << 36)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  8, 1)) << 32)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)),  9, 1)) << 28)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 10, 1)) << 24)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 11, 1)) << 20)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 12, 1)) << 16)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 13, 1)) << 12)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 14, 1)) << 8)
    | (instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 15, 1)) << 4)
    | instr('123456789ABCDEF', substr(hex(substr(key, 40, 8)), 16, 1))
  END AS timestamp,
  CAST(value AS TEXT) AS value,
  hex(key) AS key
FROM (
  SELECT key, value,
    CASE WHEN length(key) = 37 AND key >= x'004155443A' AND key < x'004155443B' THEN 1
         WHEN length(key) = 80 AND key >= x'00415544413A' AND key < x'00415544413B' THEN 2 END AS kind
  FROM kv
);
-- +goose StatementEnd

PRAGMA application_id = 0x4153514C;

PRAGMA user_version = 1;

-- +goose Down

-- There is no way back from the primary tables: they are the data.
SELECT 1;
