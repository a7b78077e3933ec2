-- Who may do what: a role without privileges against every object of the
-- extension, settings against every role but the superuser, and names against
-- whoever creates the same.  (What the views show to whom: status, dead_letters.)
CREATE EXTENSION firehose;
SET client_min_messages = warning;
CREATE ROLE regress_nobody;
CREATE ROLE regress_admin CREATEROLE CREATEDB;
CREATE SERVER clicks FOREIGN DATA WRAPPER firehose;

-- every object, and what PUBLIC may do with it
SELECT p.oid::regprocedure AS function, has_function_privilege('regress_nobody', p.oid, 'EXECUTE') AS execute,
       p.prosecdef AS definer, p.proconfig AS config
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose'
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.relname, c.relkind, string_agg(privilege, ' ' ORDER BY privilege) AS nobody_may
FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose'
LEFT JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) privilege
  ON has_table_privilege('regress_nobody', c.oid, privilege)
WHERE c.relkind IN ('r', 'v', 'm', 'p')
GROUP BY c.relname, c.relkind ORDER BY c.relname COLLATE "C";
SELECT fdwname, has_foreign_data_wrapper_privilege('regress_nobody', fdwname, 'USAGE') FROM pg_foreign_data_wrapper;

-- and what comes of trying
SET ROLE regress_nobody;
CREATE SERVER mine FOREIGN DATA WRAPPER firehose;
ALTER FOREIGN DATA WRAPPER firehose OWNER TO regress_nobody;
ALTER SERVER clicks OPTIONS (ADD endpoint_url 'https://evil.example');
DROP EXTENSION firehose;
SELECT firehose_put_record('clicks', 'a');
SELECT firehose_put_batch('clicks', ARRAY['a']);
SELECT firehose_flush('clicks');
SELECT firehose_drain();
SELECT firehose_stat_reset();
SELECT firehose_stat_reset('clicks');
SELECT * FROM firehose_stat_queue;
SELECT firehose_stat_queue();
SELECT count(*) FROM firehose_stat_stream;
SELECT count(*) FROM firehose_status;
SELECT count(*) FROM firehose_dead_letter;
SELECT count(*) FROM firehose_status_0;
INSERT INTO firehose_status_0 DEFAULT VALUES;
TRUNCATE firehose_status_0;
CREATE TRIGGER t BEFORE INSERT ON firehose_status_0 EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT count(*) FROM firehose_dead_letters;
DELETE FROM firehose_dead_letters;
INSERT INTO firehose_status (id) VALUES (1);
DELETE FROM firehose_dead_letter;
SELECT firehose_retry_dead_letters(), firehose_purge_dead_letters(before => 'infinity');
SELECT firehose_trigger();
SELECT firehose_fdw_validator('{region=eu-west-1}', 'pg_foreign_server'::regclass);
-- a trigger on a table of one's own sends with the rights of the table's owner
CREATE TEMP TABLE own (a int);
CREATE TRIGGER t AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION firehose_trigger('clicks');
INSERT INTO own VALUES (1);
DROP TABLE own;
RESET ROLE;

-- settings: of all, only firehose.queue_timeout is a user's
SELECT name, context FROM pg_settings WHERE name LIKE 'firehose.%' AND context NOT IN ('sighup', 'postmaster');
SET firehose.endpoint_url = 'https://evil.example';
SET firehose.allowed_endpoints = '*';
SET firehose.nonesuch = 1;
ALTER ROLE regress_nobody SET firehose.ca_file = '/tmp/ca.pem';
ALTER DATABASE regression SET firehose.profile = 'evil';
CREATE FUNCTION f() RETURNS int LANGUAGE sql SET firehose.credentials_file = '/tmp/credentials' AS 'SELECT 1';
SET ROLE regress_admin;
SET firehose.region = 'eu-west-1';
ALTER SYSTEM SET firehose.endpoint_url = 'https://evil.example';
ALTER ROLE regress_admin SET firehose.endpoint_url = 'https://evil.example';
ALTER ROLE regress_admin SET firehose.on_full = 'discard';
ALTER ROLE regress_admin SET firehose.queue_timeout = '5s';
SET firehose.queue_timeout = '2s';
-- nor may every role read those that tell of files and networks
\set VERBOSITY sqlstate
SHOW firehose.credentials_file;
SHOW firehose.allowed_endpoints;
\set VERBOSITY default
SELECT name FROM pg_settings WHERE name ~ '^firehose.*(file|profile|allowed)';
SHOW firehose.queue_timeout;
RESET ROLE;
SELECT name FROM pg_settings WHERE name ~ '^firehose.*(file|profile|allowed)' ORDER BY name;
-- bad values are refused where they are set
ALTER SYSTEM SET firehose.endpoint_url = 'ftp://example.com';
ALTER SYSTEM SET firehose.region = 'eu west 1';
ALTER SYSTEM SET firehose.allowed_endpoints = 'gopher://127.0.0.1';

-- objects of the same names, first in the path, change nothing
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.firehose_stat_stream() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0';
CREATE FUNCTION hostile.has_server_privilege(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
CREATE TABLE hostile.firehose_dead_letters (LIKE firehose_dead_letters INCLUDING ALL);
CREATE TABLE hostile.firehose_status_0 (LIKE firehose_status_0);
CREATE TEMP TABLE firehose_dead_letters (LIKE public.firehose_dead_letters INCLUDING ALL);
CREATE TEMP TABLE firehose_status_0 (LIKE public.firehose_status_0);
CREATE TEMP TABLE pg_foreign_server (srvname text);
INSERT INTO public.firehose_dead_letters (id, queued_at, failed_at, serverid, attempts, stream, data)
    SELECT 1, 'epoch', 'epoch', oid, 1, 'clicks', 'x' FROM pg_catalog.pg_foreign_server;
SET search_path = hostile, pg_temp, public, pg_catalog;
SELECT firehose_put_record('clicks', 'a') IS NOT NULL AS put;
SELECT stream FROM firehose_stat_stream;
SELECT count(*) FROM public.firehose_dead_letter;
SELECT firehose_retry_dead_letters('clicks');
SELECT count(*) FROM public.firehose_dead_letter;
SELECT firehose_purge_dead_letters('clicks');
RESET search_path;
DROP SCHEMA hostile CASCADE;
DROP TABLE pg_temp.firehose_dead_letters, pg_temp.firehose_status_0, pg_temp.pg_foreign_server;
DROP EXTENSION firehose CASCADE;
DROP ROLE regress_nobody, regress_admin;
