-- +goose Up

-- The Merkle tree over the records: RFC 6962 with SHA-256, in the tiles of c2sp.org/tlog-tiles. Leaf n is the record of
-- entry n. All of it is primary data, written in the transaction of the records.
--
-- kv.leaf is the leaf hash of a record: SHA-256 of a zero byte and the record's value. It is NULL for every other key. Each
-- read of a record compares the two.
--
-- The records of an older version have no hashes yet. The mark 'hashing' in table store says so, with how many entries are
-- in the tree already. While it is there readers refuse the database, and a writer fills leaf, tile and edge before anything
-- else.

ALTER TABLE kv ADD COLUMN leaf BLOB;

INSERT INTO store (name, value) SELECT 'hashing', 0 WHERE EXISTS (SELECT 1 FROM entry);

-- +goose StatementBegin
CREATE TABLE tile (
  -- The full tiles of the tree: 256 hashes of 32 bytes each. Level 0 has the leaves. Hash n of level l + 1 is the root of
  -- tile n of level l. A tile is inserted once, when it is full, and never changes.
  level  INTEGER NOT NULL,
  n      INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, n)
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE edge (
  -- For each level the hashes of the tile that is not full yet, none if there is no such tile.
  level  INTEGER PRIMARY KEY,
  hashes BLOB NOT NULL
);
-- +goose StatementEnd

-- The guards of kv and table store are made again. They let the marks 'hashing' and 'repairing' go. Under the first a
-- record gets its leaf where it has none, under the second a damaged record gets its value and its leaf back.

DROP TRIGGER IF EXISTS kv_is_written_once_update;

-- +goose StatementBegin
CREATE TRIGGER kv_is_written_once_update BEFORE UPDATE ON kv
WHEN (OLD.key >= x'004155443A' AND OLD.key < x'004155443B' OR OLD.key >= x'00415544413A' AND OLD.key < x'00415544413B'
  OR NEW.key >= x'004155443A' AND NEW.key < x'004155443B' OR NEW.key >= x'00415544413A' AND NEW.key < x'00415544413B'
  OR (NEW.rowid <> OLD.rowid
      AND (NEW.rowid < -1 OR EXISTS (SELECT 1 FROM kv WHERE rowid = NEW.rowid
                  AND (key >= x'004155443A' AND key < x'004155443B' OR key >= x'00415544413A' AND key < x'00415544413B')))))
 AND NOT (NEW.key IS OLD.key AND NEW.rowid = OLD.rowid
      AND (OLD.leaf IS NULL AND NEW.value IS OLD.value AND EXISTS (SELECT 1 FROM store WHERE name = 'hashing')
        OR EXISTS (SELECT 1 FROM store WHERE name = 'repairing')))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: records in kv are never changed');
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS store_facts_stay;

-- +goose StatementBegin
CREATE TRIGGER store_facts_stay BEFORE DELETE ON store
-- The marks of a running reindex, of a tree that is being built, of a repair, and of a batch that is being applied are those
-- that go again.
WHEN OLD.name NOT IN ('reindex', 'hashing', 'repairing', 'applying')
BEGIN
  SELECT RAISE(ABORT, 'facts about the store are never deleted');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tile_follows_the_journal BEFORE INSERT ON tile
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'hashing'))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: tiles of the tree are made from records of the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tile_is_never_updated BEFORE UPDATE ON tile
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: a tile of the tree is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tile_is_never_deleted BEFORE DELETE ON tile
-- A tree that is built anew from the leaves begins without tiles.
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'hashing')
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: a tile of the tree is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER edge_follows_the_journal_insert BEFORE INSERT ON edge
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'hashing'))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: the edge of the tree follows the records of the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER edge_follows_the_journal_update BEFORE UPDATE ON edge
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'hashing'))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the edge of the tree follows the records of the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER edge_is_never_deleted BEFORE DELETE ON edge
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'hashing')
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the edge of the tree is never deleted');
END;
-- +goose StatementEnd

-- The views that show a lifecycle are made again: 5 is Unstated, when nobody said.

DROP VIEW IF EXISTS audits;

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
  nullif(lower(hex(a.epoch)), '') AS epoch,
  a.lens,
  a.result_hash,
  a.result_confidence,
  a.contributions,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label
FROM audit a JOIN agent g ON g.id = a.agent;
-- +goose StatementEnd

DROP VIEW IF EXISTS contributions;

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
    WHEN 3 THEN 'Deprecated' WHEN 4 THEN 'Rejected' WHEN 5 THEN 'Unstated' END AS lifecycle,
  c.audit AS idx,
  (SELECT label FROM label WHERE hash = g.agent_hex) AS agent_label,
  (SELECT label FROM label WHERE hash = c.assertion_hash) AS assertion_label,
  (SELECT label FROM label WHERE hash = c.source_hash) AS source_label
FROM contribution c JOIN audit a ON a.idx = c.audit JOIN agent g ON g.id = a.agent;
-- +goose StatementEnd

PRAGMA user_version = 3;

-- +goose Down

-- There is no way back from the tree: it is primary data.
SELECT 1;
