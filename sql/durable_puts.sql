--
-- Durable puts: what is refused, and by whom.  What they do is in
-- t/120_durable_puts.pl.
--
CREATE EXTENSION firehose;
CREATE SERVER s FOREIGN DATA WRAPPER firehose;
CREATE ROLE regress_firehose_app;
SHOW firehose.put_durability;

SELECT firehose_enable_durable_puts(NULL);
SELECT firehose_disable_durable_puts(NULL);
SELECT firehose_disable_durable_puts();
SET ROLE regress_firehose_app;
SELECT firehose_enable_durable_puts();
SELECT firehose_disable_durable_puts();
SET firehose.put_durability = wal;
SELECT firehose_put_record('s', 'x');
RESET ROLE;
BEGIN READ ONLY;
SELECT firehose_enable_durable_puts();
ROLLBACK;

SET firehose.put_durability = disk;
SET firehose.put_durability = wal;
SELECT firehose_put_record('s', 'x');
SELECT firehose_put_record('s', 'x', false);
SELECT firehose_put_batch('s', ARRAY['x', 'y']);
SELECT firehose_put_batch('s', '{}'::text[]);
CREATE TABLE t (a int);
CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s');
INSERT INTO t VALUES (1);

-- what is checked of any put comes first
SELECT firehose_put_record('nowhere', 'x');
SELECT firehose_put_record('s', NULL::text);
ALTER SERVER s OPTIONS (ADD enabled 'false');
SELECT firehose_put_record('s', 'x');
ALTER SERVER s OPTIONS (SET enabled 'true');
SELECT firehose_put_record('s', repeat('x', 1024000));

-- for one transaction only
SET firehose.put_durability = memory;
BEGIN;
SET LOCAL firehose.put_durability = wal;
SELECT firehose_put_record('s', 'x');
ROLLBACK;
SELECT firehose_put_record('s', 'x') > 0 AS put;

-- a pipeline without a publication, not to be used otherwise
BEGIN;
SELECT firehose_enable_durable_puts();
SELECT firehose_enable_durable_puts();
SELECT pipeline, stream, publications, durable_puts FROM firehose_pipeline;
SELECT pipeline, state, stream, format FROM firehose_stat_pipeline;
SELECT count(*) FROM pg_publication;
SELECT c FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) c
	WHERE datname = current_database() AND setrole = 0 AND c LIKE 'firehose.%';
SAVEPOINT a;
SELECT firehose_drop_pipeline('durable_puts');
ROLLBACK TO a;
SELECT firehose_alter_pipeline('durable_puts', format => 'flat');
ROLLBACK TO a;
CREATE PUBLICATION other;
SELECT firehose_create_pipeline('p', 's', '{other}', messages => '{a, firehose}');
ROLLBACK TO a;
SELECT firehose_disable_durable_puts();
SELECT count(*) FROM firehose_pipeline;
ROLLBACK;
SELECT count(*) FROM firehose_pipeline;
CREATE PUBLICATION other;
SELECT firehose_create_pipeline('durable_puts', 's', '{other}', enabled => false);
SELECT firehose_enable_durable_puts();
SELECT firehose_drop_pipeline('durable_puts');
DROP PUBLICATION other;

DROP TABLE t;
DROP ROLE regress_firehose_app;
-- the default of new sessions goes with the extension, if its drop commits
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET firehose.put_durability = wal', current_database()); END $$;
-- (not what else goes with it: the launcher may not know yet that there is no
-- pipeline any more)
SET client_min_messages = warning;
BEGIN;
DROP EXTENSION firehose CASCADE;
ROLLBACK;
SELECT set_default FROM pg_db_role_setting s, unnest(setconfig) set_default
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND set_default LIKE 'firehose%';
DROP EXTENSION firehose CASCADE;
SELECT set_default FROM pg_db_role_setting s, unnest(setconfig) set_default
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND set_default LIKE 'firehose%';
