-- What the views of finished records and of statistics show, and to whom.
-- Rows are put into the tables by hand: no sender gets through (test/regress.conf).
CREATE EXTENSION firehose;
SET client_min_messages = warning;
-- what earlier tests left in the queue for streams they dropped goes by itself
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        EXIT WHEN (SELECT streams = 0 FROM firehose_stat_queue);
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
CREATE ROLE regress_owner;
CREATE ROLE regress_user;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_other;
CREATE SERVER clicks FOREIGN DATA WRAPPER firehose;
CREATE SERVER orders FOREIGN DATA WRAPPER firehose;
GRANT USAGE ON FOREIGN DATA WRAPPER firehose TO regress_owner;
ALTER SERVER clicks OWNER TO regress_owner;
GRANT USAGE ON FOREIGN SERVER clicks TO regress_user;

-- every object and every column of a view says what it is for
SELECT pg_describe_object(classid, objid, 0) AS without_comment
FROM pg_depend d
WHERE refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'firehose')
  AND deptype = 'e' AND obj_description(objid, classid::regclass::name) IS NULL
  AND classid <> 'pg_type'::regclass AND classid <> 'pg_rewrite'::regclass;
SELECT c.relname, a.attname AS without_comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'v' AND c.relname LIKE 'firehose%' AND a.attnum > 0
  AND col_description(c.oid, a.attnum) IS NULL;

-- the columns others rely on
SELECT relname, string_agg(attname, ' ' ORDER BY attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'v' AND c.relname LIKE 'firehose%' AND a.attnum > 0
GROUP BY relname ORDER BY relname;

-- no publication sees the status tables, and there is nothing to vacuum
SELECT count(*), min(relpersistence) AS min, max(relpersistence) AS max
FROM pg_class WHERE relname ~ '^firehose_status_\d$';

-- one row of a stream of one's own, of another's, of one that was dropped, and
-- of one whose OID means another server now
INSERT INTO firehose_status_0
    (id, queued_at, completed_at, serverid, attempts, bytes, accepted, encrypted, stream, record_id)
SELECT 1, 'epoch'::timestamptz, 'epoch'::timestamptz, oid, 1, 10, true, true, 'clicks', 'r1' FROM pg_foreign_server WHERE srvname = 'clicks'
UNION ALL
SELECT 2, 'epoch', 'epoch', oid, 1, 10, true, false, 'orders', 'r2' FROM pg_foreign_server WHERE srvname = 'orders'
UNION ALL
SELECT 4, 'epoch', 'epoch', oid, 1, 10, true, false, 'before', 'r4' FROM pg_foreign_server WHERE srvname = 'clicks';
INSERT INTO firehose_status_7
    (id, queued_at, completed_at, serverid, attempts, bytes, accepted, encrypted, stream, error_code, error_message)
VALUES (3, 'epoch', 'epoch', 1, 3, 10, false, false, 'gone', 'E', 'no');
SELECT id, stream, pipeline, status, record_id, encrypted, error_code, error_message, attempts, bytes, lsn
FROM firehose_status ORDER BY id;
SET ROLE regress_owner;
SELECT id FROM firehose_status ORDER BY id;
SET ROLE regress_user;
SELECT id FROM firehose_status ORDER BY id;
SET ROLE regress_monitor;
SELECT id FROM firehose_status ORDER BY id;
SET ROLE regress_other;
SELECT id FROM firehose_status ORDER BY id;
-- a condition of the reader's sees only what the reader may see
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.000001
AS $$BEGIN RAISE WARNING 'saw %', $1; RETURN true; END$$;
SELECT id FROM firehose_status WHERE pg_temp.leak(stream);
DROP FUNCTION pg_temp.leak(text);
SELECT * FROM firehose_status_0;
RESET ROLE;
-- names decide nothing: a hostile search path changes nothing
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.pg_has_role(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION hostile.pg_has_role(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
GRANT USAGE ON SCHEMA hostile TO regress_other;
SET ROLE regress_other;
SET search_path = hostile, pg_catalog, public;
SELECT id FROM firehose_status ORDER BY id;
RESET search_path;
RESET ROLE;

-- statistics: all to monitors, their own to owners
SELECT firehose_put_record('clicks', 'a') IS NOT NULL AS put, firehose_put_record('orders', 'b') IS NOT NULL AS put;
SELECT stream, datname = current_database() AS here, queued + in_flight AS owed, queued_bytes, accepted, failed, discarded, bytes, dropped
FROM firehose_stat_stream ORDER BY stream;
SET ROLE regress_owner;
SELECT stream FROM firehose_stat_stream ORDER BY stream;
SET ROLE regress_user;
SELECT stream FROM firehose_stat_stream ORDER BY stream;
SELECT * FROM firehose_stat_queue;
SELECT firehose_stat_reset();
SELECT firehose_drain();
SET ROLE regress_monitor;
SELECT stream FROM firehose_stat_stream ORDER BY stream;
SELECT queue_size = pages * page_size AS size, pages_free < pages AS free, used BETWEEN 0 AND 1 AS used,
       waiters, streams, next_id > 0 AS next_id
FROM firehose_stat_queue;
RESET ROLE;
SELECT clock_timestamp() AS before \gset
SELECT firehose_stat_reset('nonesuch');
SELECT firehose_stat_reset('clicks');
SELECT stream, stats_reset > :'before' AS was_reset FROM firehose_stat_stream ORDER BY stream;
SELECT firehose_stat_reset();
SELECT stream, stats_reset > :'before' AS was_reset, queued + in_flight AS owed FROM firehose_stat_stream ORDER BY stream;

-- settings
SELECT name, unit, boot_val, min_val, context FROM pg_settings WHERE name LIKE 'firehose.status\_%' ORDER BY name;

DROP SCHEMA hostile CASCADE;
DROP EXTENSION firehose CASCADE;
DROP ROLE regress_owner, regress_user, regress_monitor, regress_other;
