-- +goose Up

-- The dictionary of hashes once more, in sorted runs, see package sqlstore. Table hash has the numbers of a hash by generations
-- of 16384 records, so that a hash is written where the newest ones are. Whoever looks for a hash in a large store would search some
-- hundred places. A run has the hashes of many generations in one order, and is written once, when they are complete. (With
-- 10,000,000 records these are 22 places in place of 611.)
--
-- Programs use the runs. A query in SQL finds hashes by table hash, where each has all of its numbers.
--
-- A store of an older version gets its runs a few at a time while records are added. Until then its generations are searched.

DROP TABLE IF EXISTS hash_run;

-- +goose StatementBegin
CREATE TABLE hash_run (
  -- A page of a run. Its id is (run << 32) + key. A key is the first four bytes of a hash, as a number. The page has the hashes
  -- from its own key up to the key of the next page, and the first page of a run has key 0. Run g, below 1 << 24, is that of
  -- generation g alone. Run (1 << 24) + n has generations 32 n to 32 n + 31, and replaces theirs.
  id      INTEGER PRIMARY KEY,
  entries BLOB NOT NULL  -- for each hash its key and its number, in the order of keys, see package sqlstore
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER hash_run_follows_the_journal BEFORE INSERT ON hash_run
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'reindex'))
BEGIN
  SELECT RAISE(FAIL, 'audit data is append-only: table hash_run is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER hash_run_is_never_updated BEFORE UPDATE ON hash_run
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table hash_run is derived from kv and never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER hash_run_is_deleted_when_runs_are_merged BEFORE DELETE ON hash_run
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'reindex'))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table hash_run is derived from kv and never changed');
END;
-- +goose StatementEnd

PRAGMA user_version = 7;

-- +goose Down

DROP TABLE IF EXISTS hash_run;

PRAGMA user_version = 6;
