-- +goose Up

-- What a statement in a shell could raise by mistake is changed by the program alone now: the counts of the agents, the cursor, and the counts of the store.
-- A cursor that is too high hides records of the journal that SQLite lacks.
--
-- The index of subjects has the agents too. So an agent's last answer about a subject is found in the index alone, among the
-- records of others. It costs one or two bytes a record. Making it anew takes some seconds for each million records.

DROP INDEX IF EXISTS audit_by_subject;

CREATE INDEX audit_by_subject ON audit (subject, timestamp, idx, kv_row, agent);

DROP TRIGGER IF EXISTS agent_only_grows;

-- +goose StatementBegin
CREATE TRIGGER agent_only_grows BEFORE UPDATE ON agent
WHEN NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'reindex'))
  OR NEW.id <> OLD.id OR NEW.agent_id IS NOT OLD.agent_id OR NEW.audits < OLD.audits
  OR (OLD.first IS NOT NULL AND (NEW.first IS NULL OR NEW.first > OLD.first))
  OR (OLD.last IS NOT NULL AND (NEW.last IS NULL OR NEW.last < OLD.last))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: table agent counts what is in kv, and only grows');
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS store_counts_only_grow;

-- +goose StatementBegin
CREATE TRIGGER store_counts_only_grow BEFORE UPDATE ON store
-- They change together with what they count. A reindex counts anew, and it is part of replaying a stretch of the journal again.
WHEN OLD.name IN ('cursor', 'contributions', 'rejected', 'opened') AND typeof(OLD.value) = 'integer'
 AND (typeof(NEW.value) <> 'integer'
      OR NEW.value < OLD.value AND NOT EXISTS (SELECT 1 FROM store WHERE name = 'reindex')
      OR NEW.value > OLD.value AND OLD.name <> 'opened' AND NOT EXISTS (SELECT 1 FROM store WHERE name IN ('applying', 'reindex')))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: the cursor and the counts of the store only grow, with what they count');
END;
-- +goose StatementEnd

PRAGMA user_version = 8;

-- +goose Down

DROP INDEX IF EXISTS audit_by_subject;

CREATE INDEX audit_by_subject ON audit (subject, timestamp, idx, kv_row);

DROP TRIGGER IF EXISTS agent_only_grows;

-- +goose StatementBegin
CREATE TRIGGER agent_only_grows BEFORE UPDATE ON agent
WHEN NEW.id <> OLD.id OR NEW.agent_id IS NOT OLD.agent_id OR NEW.audits < OLD.audits
  OR (OLD.first IS NOT NULL AND (NEW.first IS NULL OR NEW.first > OLD.first))
  OR (OLD.last IS NOT NULL AND (NEW.last IS NULL OR NEW.last < OLD.last))
BEGIN
  SELECT RAISE(ABORT, 'audit data is append-only: what table agent counts only grows');
END;
-- +goose StatementEnd

DROP TRIGGER IF EXISTS store_counts_only_grow;

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

PRAGMA user_version = 7;
