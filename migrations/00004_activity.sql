-- +goose Up

-- The rollup of the records by time. Like the tables of migration 2 it is derived: reindex drops it and fills it anew.
--
-- The records of an older version are not counted in it yet. The mark 'activity' in table store says so, with how many
-- entries are counted already. While it is there questions count the records themselves, and a writer goes on counting
-- before it applies anything.

INSERT INTO store (name, value) SELECT 'activity', 0 WHERE EXISTS (SELECT 1 FROM entry);

-- +goose StatementBegin
CREATE TABLE activity (
  -- How many records each agent has in each minute and in each quarter of an hour of UTC. A record is counted in one row of
  -- each. There is no row without records.
  --   datetime(start * 60, 'unixepoch') is when a row begins.
  span       INTEGER NOT NULL,  -- how many minutes the row stands for: 1 or 15
  start      INTEGER NOT NULL,  -- the first of them, counted from 1970
  agent      INTEGER NOT NULL,  -- agent.id; 0 stands for nobody
  audits     INTEGER NOT NULL,  -- how many records there are
  unapproved INTEGER NOT NULL,  -- and how many of them have evidence that is Proposed, UnderReview, Deprecated or Rejected
  PRIMARY KEY (span, start, agent)
) WITHOUT ROWID;
-- +goose StatementEnd

-- Rows come from the journal, from a reindex or from the counting after this migration. Changes are refused with FAIL and
-- not with ABORT, for the reason that 00001_primary.sql gives.

-- +goose StatementBegin
CREATE TRIGGER activity_follows_the_journal_insert BEFORE INSERT ON activity
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'applying')
 AND NOT EXISTS (SELECT 1 FROM store WHERE name IN ('reindex', 'activity'))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: table activity counts the records of the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER activity_follows_the_journal_update BEFORE UPDATE ON activity
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name = 'applying')
 AND NOT EXISTS (SELECT 1 FROM store WHERE name IN ('reindex', 'activity'))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: table activity counts the records of the journal alone');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER activity_is_never_deleted BEFORE DELETE ON activity
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: what table activity counts only grows');
END;
-- +goose StatementEnd

-- The guard of table store is made again. It lets the mark 'activity' go.

DROP TRIGGER IF EXISTS store_facts_stay;

-- +goose StatementBegin
CREATE TRIGGER store_facts_stay BEFORE DELETE ON store
-- The marks of a running reindex, of a tree or a rollup that is being built, of a repair, and of a batch that is being applied
-- are those that go again.
WHEN OLD.name NOT IN ('reindex', 'hashing', 'activity', 'repairing', 'applying')
BEGIN
  SELECT RAISE(ABORT, 'facts about the store are never deleted');
END;
-- +goose StatementEnd

PRAGMA user_version = 4;

-- +goose Down

DROP TABLE IF EXISTS activity;

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

PRAGMA user_version = 3;
