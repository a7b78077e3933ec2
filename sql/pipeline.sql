-- Pipelines: the functions that make and change them, with every error they
-- have, the catalog and its views.  Nothing is decoded here.
CREATE EXTENSION firehose;
SET client_min_messages = warning;
CREATE ROLE regress_pipelines;
CREATE ROLE regress_owner IN ROLE regress_pipelines;
CREATE ROLE regress_member IN ROLE regress_owner;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_other;
SET firehose.pipeline_role = 'regress_pipelines';
CREATE SERVER clicks FOREIGN DATA WRAPPER firehose;
CREATE SERVER orders FOREIGN DATA WRAPPER firehose;
GRANT USAGE ON FOREIGN SERVER clicks TO regress_owner;
CREATE SCHEMA shop AUTHORIZATION regress_owner;
SET ROLE regress_owner;
CREATE TABLE shop.orders (id bigint PRIMARY KEY, total numeric, note text);
CREATE TABLE shop."Odd.Name" (id int PRIMARY KEY, _op text);
CREATE TABLE shop.fixed (id int PRIMARY KEY, n int);
CREATE VIEW shop.v AS SELECT 1 AS a;
RESET ROLE;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_owner;
SET ROLE regress_owner;
CREATE PUBLICATION orders_pub FOR TABLE shop.orders;
CREATE PUBLICATION "odd, pub" FOR TABLE shop."Odd.Name";
CREATE PUBLICATION fixed_pub FOR TABLE shop.fixed;
RESET ROLE;
CREATE PUBLICATION all_pub FOR ALL TABLES;
-- the definitions
CREATE VIEW defined AS
	SELECT pipeline, owner, stream, publications, format, routes, timestamps,
		   numerics, json_columns, bigints, metadata, unchanged, messages, origin,
		   regexp_replace(slot_name, '\d+_\d+', 'DATABASE_ID') AS slot_name, enabled, skip_lsns
	FROM firehose_pipeline ORDER BY pipeline COLLATE "C";
GRANT SELECT ON defined TO PUBLIC;
\x on

-- as simple as can be, and with all there is
SELECT firehose_create_pipeline('simple', 'clicks', '{orders_pub}', enabled => false);
SELECT firehose_create_pipeline('all of it', 'clicks', '{orders_pub,"odd, pub"}', 'json',
	'{"shop.orders": "orders", "shop.\"Odd.Name\"": "clicks"}',
	timestamps => 'epoch_ms', numerics => 'number', json_columns => 'string', bigints => 'string', metadata => 'routing',
	unchanged => 'omit', messages => '{audit,"a b"}', origin => 'any', slot_name => 'my_slot', enabled => false);
SELECT * FROM defined;
SELECT pipeline, state, reason, stream, format, pid, wal_status, lag_bytes, outstanding, warning
FROM firehose_stat_pipeline ORDER BY pipeline;

-- what is null stays as it is, 'default' is the format's
SELECT firehose_alter_pipeline('all of it', stream => 'orders', publications => '{fixed_pub}', routes => '{}',
	numerics => 'default', bigints => 'default', metadata => 'none', messages => '{}');
SELECT * FROM defined WHERE pipeline = 'all of it';
SELECT firehose_alter_pipeline('all of it');
SELECT firehose_resume_pipeline('all of it', skip_lsn => '1/A0');
SELECT firehose_pause_pipeline('all of it');
SELECT * FROM defined WHERE pipeline = 'all of it';
\x off

-- names
SELECT firehose_create_pipeline('simple', 'clicks', '{orders_pub}');
SELECT firehose_create_pipeline('', 'clicks', '{orders_pub}');
SELECT firehose_create_pipeline(repeat('x', 64), 'clicks', '{orders_pub}');
SELECT firehose_create_pipeline(NULL, 'clicks', '{orders_pub}');
SELECT firehose_alter_pipeline('missing');
SELECT firehose_pause_pipeline('missing');
SELECT firehose_resume_pipeline('missing');
SELECT firehose_drop_pipeline('missing');
SET client_min_messages = notice;
SELECT firehose_drop_pipeline('missing', if_exists => true);
SET client_min_messages = warning;

-- streams, publications, routes
SELECT firehose_create_pipeline('p', NULL, '{orders_pub}');
SELECT firehose_create_pipeline('p', 'missing', '{orders_pub}');
SELECT firehose_create_pipeline('p', 'clicks', NULL);
SELECT firehose_create_pipeline('p', 'clicks', '{}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub,NULL}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub,"no pub"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub,orders_pub}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '[]');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '"x"');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"orders": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"a.b.c": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop..": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.orders": 1}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.orders": {"a": "b"}}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.orders": "missing"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.missing": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"missing.orders": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.v": "orders"}');
-- a route for a table that is not published, and for the wrong part of a partitioned one
CREATE TABLE shop.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE shop.part PARTITION OF shop.parted DEFAULT;
CREATE PUBLICATION parted_pub FOR TABLE shop.parted;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', routes => '{"shop.fixed": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{parted_pub}', routes => '{"shop.parted": "orders"}');
ALTER PUBLICATION parted_pub SET (publish_via_partition_root = true);
SELECT firehose_create_pipeline('p', 'clicks', '{parted_pub}', routes => '{"shop.part": "orders"}');
SELECT firehose_create_pipeline('p', 'clicks', '{parted_pub}', routes => '{"shop.parted": "orders"}', enabled => false);
SELECT firehose_alter_pipeline('p', publications => '{orders_pub}');
SELECT firehose_alter_pipeline('p', publications => '{all_pub}');
SELECT firehose_drop_pipeline('p');
DROP TABLE shop.parted;
DROP PUBLICATION parted_pub;

-- formats and choices
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', 'xml');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', timestamps => 'ISO');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', numerics => '');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', json_columns => 'x');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', bigints => 'x');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', metadata => 'x');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', unchanged => 'x');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', origin => 'x');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', messages => '{a,NULL}');
SELECT firehose_alter_pipeline('simple', format => 'xml');
SELECT firehose_alter_pipeline('simple', format => 'debezium', timestamps => 'iso');
SELECT firehose_alter_pipeline('simple', format => 'debezium', metadata => 'schema');
SELECT firehose_alter_pipeline('simple', format => 'dms', numerics => 'precise');

-- flat: reserved names, and columns that may be left out of an update
SELECT firehose_create_pipeline('p', 'clicks', '{"odd, pub"}', 'flat', enabled => false);
SELECT firehose_create_pipeline('p', 'clicks', '{"odd, pub"}', 'flat', enabled => false, metadata => 'none', unchanged => 'omit');
SELECT firehose_alter_pipeline('p', metadata => 'default');
SELECT firehose_create_pipeline('p2', 'clicks', '{orders_pub,fixed_pub}', 'flat', enabled => false);
SELECT firehose_alter_pipeline('p2', unchanged => 'omit');
SELECT firehose_alter_pipeline('p2', unchanged => 'default', publications => '{fixed_pub}');
ALTER TABLE shop.orders REPLICA IDENTITY FULL;
SELECT firehose_alter_pipeline('p2', publications => '{orders_pub,fixed_pub}');
ALTER TABLE shop.orders REPLICA IDENTITY DEFAULT;
DROP TABLE shop."Odd.Name";
-- the extension's own tables are none of a pipeline's
SELECT firehose_alter_pipeline('p2', publications => '{all_pub}', format => 'flat');
SELECT firehose_drop_pipeline('p'), firehose_drop_pipeline('p2');

-- slots
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'Bad');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => '');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'firehose_5_1');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'my_slot');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', create_slot => false);
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'none', create_slot => false);
SELECT 1 FROM pg_create_physical_replication_slot('regress_physical');
SELECT 1 FROM pg_create_logical_replication_slot('regress_other_plugin', 'test_decoding');
SELECT 1 FROM pg_create_logical_replication_slot('regress_ours', 'pgoutput');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'regress_ours');
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'regress_physical', create_slot => false);
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'regress_other_plugin', create_slot => false);
SET ROLE regress_owner;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'regress_ours', create_slot => false);
RESET ROLE;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', slot_name => 'regress_ours', create_slot => false, enabled => false);
SELECT pipeline, state, slot_name, wal_status, confirmed_lsn IS NOT NULL AS confirmed, retained_wal_bytes >= 0 AS retains
FROM firehose_stat_pipeline WHERE pipeline = 'p';
SELECT firehose_resume_pipeline('p', from_now => true);
SELECT pg_drop_replication_slot('regress_ours');
SELECT firehose_resume_pipeline('p');
BEGIN;
SELECT firehose_resume_pipeline('p', from_now => true);
ROLLBACK;
SELECT firehose_drop_pipeline('p');
SELECT pg_drop_replication_slot('regress_physical'), pg_drop_replication_slot('regress_other_plugin');

-- transactions: all or nothing, and what one command has done the next one sees
BEGIN;
SELECT firehose_create_pipeline('a', 'clicks', '{orders_pub}', enabled => false);
SELECT firehose_create_pipeline('a', 'clicks', '{orders_pub}', enabled => false);
ROLLBACK;
BEGIN;
SELECT firehose_create_pipeline('a', 'clicks', '{orders_pub}', enabled => false);
SELECT firehose_alter_pipeline('a', stream => 'orders');
SELECT firehose_drop_pipeline('simple');
SELECT firehose_create_pipeline('simple', 'orders', '{fixed_pub}', enabled => false);
SELECT pipeline, stream FROM firehose_pipeline ORDER BY 1;
ROLLBACK;
SELECT pipeline, stream FROM firehose_pipeline ORDER BY 1;
BEGIN;
SELECT firehose_pause_pipeline('simple');
PREPARE TRANSACTION 'regress';
SET default_transaction_read_only = on;
SELECT firehose_pause_pipeline('simple');
RESET default_transaction_read_only;

-- privileges: may have a slot made, own the publications, may use the streams
SET ROLE regress_other;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}');
SET firehose.pipeline_role = 'regress_other';
RESET ROLE;
SET firehose.pipeline_role = '';
SET ROLE regress_owner;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', enabled => false);
RESET ROLE;
SET firehose.pipeline_role = 'no such role';
SET ROLE regress_owner;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', enabled => false);
RESET ROLE;
ALTER ROLE regress_owner REPLICATION;
SET ROLE regress_owner;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}', enabled => false);
SELECT firehose_drop_pipeline('p');
RESET ROLE;
ALTER ROLE regress_owner NOREPLICATION;
SET firehose.pipeline_role = 'regress_pipelines';
GRANT regress_pipelines TO regress_other;
SET ROLE regress_other;
SELECT firehose_create_pipeline('p', 'clicks', '{orders_pub}');
SELECT firehose_alter_pipeline('simple', format => 'json');
SELECT firehose_pause_pipeline('simple');
SELECT firehose_resume_pipeline('simple');
SELECT firehose_drop_pipeline('simple');
SELECT count(*) FROM firehose_pipeline;
SELECT count(*) FROM firehose_stat_pipeline;
SELECT count(*) FROM firehose_pipelines;
INSERT INTO firehose_pipelines DEFAULT VALUES;
SELECT nextval('firehose_pipelines_id_seq');
SET ROLE regress_monitor;
SELECT count(*) FROM firehose_pipeline;
SELECT count(*) FROM firehose_stat_pipeline;
SET ROLE regress_owner;
SELECT firehose_create_pipeline('mine', 'orders', '{orders_pub}');
SELECT firehose_create_pipeline('mine', 'clicks', '{orders_pub}', routes => '{"shop.orders": "orders"}');
SELECT firehose_create_pipeline('mine', 'clicks', '{all_pub}');
SELECT firehose_create_pipeline('mine', 'clicks', '{orders_pub}', enabled => false);
SELECT firehose_alter_pipeline('mine', publications => '{orders_pub,all_pub}');
SELECT firehose_alter_pipeline('mine', stream => 'orders');
SET ROLE regress_member;
SELECT firehose_alter_pipeline('mine', publications => '{fixed_pub}');
SELECT pipeline, owner, publications FROM firehose_pipeline;
SELECT pipeline, state FROM firehose_stat_pipeline;
RESET ROLE;

DROP PUBLICATION all_pub;

-- one that came from elsewhere does not run until it is resumed, and belongs to whoever did that
UPDATE firehose_pipelines SET database = 1 WHERE name = 'mine';
SELECT pipeline, state, reason FROM firehose_stat_pipeline WHERE pipeline = 'mine';
UPDATE firehose_pipelines SET database = (SELECT oid FROM pg_database WHERE datname = current_database()),
	system_identifier = 1 WHERE name = 'mine';
SELECT pipeline, state, reason FROM firehose_stat_pipeline WHERE pipeline = 'mine';
SET ROLE regress_owner;
SELECT firehose_pause_pipeline('mine');
SELECT firehose_drop_pipeline('mine');
RESET ROLE;
GRANT regress_owner TO regress_other;
SET ROLE regress_other;
BEGIN;
SELECT firehose_resume_pipeline('mine');
SELECT firehose_pause_pipeline('mine');
COMMIT;
SELECT pipeline, owner, enabled FROM firehose_pipeline WHERE pipeline = 'mine';
RESET ROLE;

-- no publication carries the catalog, and it is dumped
SELECT count(*) FROM pg_class WHERE relname = 'firehose_pipelines' AND relreplident = 'n';
SELECT c.relname, extcondition[i]
FROM pg_extension, generate_subscripts(extconfig, 1) i JOIN pg_class c ON true
WHERE extname = 'firehose' AND c.oid = extconfig[i] AND c.relname LIKE 'firehose_pipelines%'
ORDER BY 1;

SELECT firehose_drop_pipeline(pipeline) FROM firehose_pipeline;
SELECT count(*) FROM firehose_pipeline;
DROP VIEW defined;
DROP PUBLICATION orders_pub, fixed_pub, "odd, pub";
DROP SCHEMA shop CASCADE;
DROP EXTENSION firehose CASCADE;
RESET firehose.pipeline_role;
DROP OWNED BY regress_owner, regress_member, regress_monitor, regress_other, regress_pipelines;
DROP ROLE regress_owner, regress_member, regress_monitor, regress_other, regress_pipelines;
