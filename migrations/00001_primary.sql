-- +goose Up

-- +goose StatementBegin
CREATE TABLE kv (
  -- The key/value contract: every record once, and whatever else a program keeps under keys of its own.
  -- Two families of keys are audit data, written once and never changed (see the triggers):
  --   x'004155443A'    "\0AUD:"   query_id (32)                                -> the record as canonical JSON
  --   x'00415544413A'  "\0AUDA:"  agent_id (32) ":" timestamp (8, big-endian) ":" query_id (32) -> empty
  -- An ordinary table on purpose: with 1 KB values it takes in 3 to 4 times as many records a second as
  -- WITHOUT ROWID, in a third of the space.
  -- Only a blob is not less than the empty one. (Not typeof, for it is a function: see the derived tables.)
  key   BLOB NOT NULL PRIMARY KEY CONSTRAINT "keys are blobs" CHECK (key >= x''),
  value BLOB NOT NULL CONSTRAINT "values are blobs" CHECK (value >= x'')
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
  --   rewound        where the cursor was when it was set back last, to replay a stretch of the journal again
  --   wal_retain, wal_dir       what store.json says of the journal, for when that file is lost
  --   contributions, rejected   how many rows these tables have, kept so that nobody has to count
  --   applying       there inside the transactions that apply records, and never outside of them
  --   reindex        there while the derived tables are being rebuilt
  --   reindexed      the last entry that was there when they were
  name  TEXT NOT NULL PRIMARY KEY,
  value
) WITHOUT ROWID;
-- +goose StatementEnd

-- The guards. RAISE ends the statement, whatever its conflict clause says. The triggers run BEFORE the row is changed,
-- since REPLACE deletes rows without firing DELETE triggers unless recursive_triggers is on, and in a shell it is off.
--
-- Rows of kv's audit families, of entry and of rejected come from the journal alone. The applier of the journal inserts a
-- row 'applying' into table store at the beginning of its transaction and deletes it at the end, so nobody else ever
-- sees that row. While it is not there, the triggers refuse such rows. For each row that is one search in a table
-- of a dozen rows. (To check that the key is unused and the offset is after the cursor would cost a tenth of the
-- whole rate.) For the applier the primary key of kv keeps the first write.
--
-- Inserts are refused with FAIL and not ABORT. If a trigger can abort, SQLite copies each page that an insert
-- touches, so that it can take the statement back. With FAIL a statement that inserts
-- many rows stops at the first row that is refused, and keeps the rows before it, which were allowed.
--
-- NEW.rowid is -1 where the statement gives none. No row id below -1 is let in: SQLite would count up from it, and a record
-- would get the row id -1.

-- +goose StatementBegin
CREATE TRIGGER kv_is_written_once_insert BEFORE INSERT ON kv
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'applying')
 AND ((NEW.key >= x'004155443A' AND NEW.key < x'004155443B' OR NEW.key >= x'00415544413A' AND NEW.key < x'00415544413B')
  OR (NEW.rowid <> -1
      AND (NEW.rowid < -1 OR EXISTS (SELECT 1 FROM kv WHERE rowid = NEW.rowid
                  AND (key >= x'004155443A' AND key < x'004155443B' OR key >= x'00415544413A' AND key < x'00415544413B')))))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: records come into kv from the journal alone, and keep their row ids');
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
CREATE TRIGGER entry_follows_the_journal BEFORE INSERT ON entry
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'applying')
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: the order of admission comes from the journal alone');
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
CREATE TRIGGER rejected_comes_from_the_journal BEFORE INSERT ON rejected
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'applying')
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: what was rejected comes from the journal alone');
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
-- The marks of a running reindex and of a batch that is being applied are those that go again.
WHEN OLD.name NOT IN ('reindex', 'applying')
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
