-- firehose_attach and firehose_detach: the triggers that they make and drop, what
-- these send for plain and for partitioned tables, and who may not.
-- Nothing listens at the endpoint: what was put is what firehose_pending tells.
CREATE EXTENSION firehose;
SET client_min_messages = warning;
CREATE SERVER s FOREIGN DATA WRAPPER firehose;
CREATE SERVER other FOREIGN DATA WRAPPER firehose;
-- what the open transaction has put, without what differs from run to run
CREATE FUNCTION sent() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(stream || ' ' || rtrim(convert_from(data, 'UTF8'), E'\n'),
        '"source":.*"db":"[^"]*",', ''), '"id":"[0-9]*","xid":[0-9]*,"ts":"[^"]*",?', '')
    FROM firehose_pending() ORDER BY id
$$;
CREATE FUNCTION triggers_of(relation regclass) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal ORDER BY tgname COLLATE "C"
$$;
\pset format unaligned
\pset tuples_only on

-- rows
CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(10,2));
SELECT firehose_attach('orders', 's');
SELECT triggers_of('orders');
BEGIN;
INSERT INTO orders VALUES (1, 9.5);
UPDATE orders SET total = 10;
DELETE FROM orders;
TRUNCATE orders;
SELECT sent();
ROLLBACK;
-- a second stream, the first one again, and the end of both
SELECT firehose_attach('orders', stream => 'other', content => 'row');
SELECT firehose_attach('orders', 's', level => 'statement');
BEGIN;
INSERT INTO orders VALUES (2, 1);
TRUNCATE orders;
SELECT sent();
ROLLBACK;
SELECT firehose_detach('orders', 's');
SELECT firehose_detach('orders', 's');
SELECT firehose_detach('orders');
SELECT firehose_detach('orders');
SELECT count(*) FROM triggers_of('orders');

-- triggers that fire for what is replicated, too
SELECT firehose_attach('orders', 's', always => true);
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY tgname COLLATE "C";
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO orders VALUES (1, 1);
TRUNCATE orders;
SELECT sent();
ROLLBACK;
SELECT firehose_detach('orders', 's');
SELECT firehose_attach('orders', 's', level => 'statement', always => true);
SELECT firehose_attach('orders', 's', always => NULL);

-- statements
SELECT firehose_attach('orders', 's', level => 'statement', bigints => 'string');
SELECT triggers_of('orders');
BEGIN;
INSERT INTO orders VALUES (1, 1), (9223372036854775807, 2);
UPDATE orders SET total = 3 WHERE id = 1;
DELETE FROM orders WHERE id > 1;
TRUNCATE orders;
SELECT sent();
ROLLBACK;
SELECT firehose_detach('orders', 's');
-- a trigger made by hand is detached, too; others are not touched
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION nothing('s');
CREATE TRIGGER hand AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s', 'row');
SELECT firehose_attach('orders', 's');
SELECT firehose_detach('orders', 's');
SELECT triggers_of('orders');
DROP TRIGGER mine ON orders;

-- bigints wherever they are
CREATE TYPE pair AS (a bigint, b int);
CREATE DOMAIN big AS bigint;
CREATE TABLE numbers (a bigint, b big, c bigint[], d pair, e int, f pair[], g int8range);
SELECT firehose_attach('numbers', 's', bigints => 'string', content => 'row');
SELECT firehose_attach('numbers', 'other', content => 'row');
BEGIN;
INSERT INTO numbers VALUES (-9223372036854775808, 2, '{3,NULL}', (4, 5), 6, ARRAY[(7, 8)::pair], '[1,2)');
SELECT sent();
ROLLBACK;

-- partitions: as leaves, and under the name and in the form of the root
CREATE SCHEMA deep;
CREATE TABLE events (id bigint, at int, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE e1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE deep.e2 (note text, gone int, at int NOT NULL, id bigint NOT NULL) PARTITION BY RANGE (at);
ALTER TABLE deep.e2 DROP COLUMN gone;
CREATE TABLE deep.e20 (at int NOT NULL, note text, id bigint NOT NULL);
ALTER TABLE deep.e2 ATTACH PARTITION deep.e20 FOR VALUES FROM (10) TO (20);
ALTER TABLE events ATTACH PARTITION deep.e2 FOR VALUES FROM (10) TO (20);
SELECT firehose_attach('events', 's');
SELECT firehose_attach('events', 'other', names => 'root');
BEGIN;
INSERT INTO events VALUES (1, 1, 'a'), (2, 12, 'b');
UPDATE events SET at = 13 WHERE id = 1;
SELECT sent();
ROLLBACK;
-- what the name and the form follow, in one session
BEGIN;
SELECT firehose_detach('events', 's');
ALTER TABLE events RENAME TO happenings;
INSERT INTO deep.e20 (id, at) VALUES (3, 14);
ALTER SCHEMA public RENAME TO front;
INSERT INTO deep.e20 (id, at) VALUES (4, 14);
ALTER SCHEMA front RENAME TO public;
ALTER TABLE happenings ADD COLUMN more int DEFAULT 7;
INSERT INTO deep.e20 (id, at) VALUES (5, 14);
SELECT sent();
ROLLBACK;
BEGIN;
INSERT INTO deep.e20 (id, at) VALUES (6, 14);
ALTER TABLE events DETACH PARTITION deep.e2;
SELECT firehose_attach('deep.e2', 'other', names => 'root');
INSERT INTO deep.e20 (id, at) VALUES (7, 14);
ALTER TABLE deep.e2 DETACH PARTITION deep.e20;
SELECT firehose_attach('deep.e20', 'other', names => 'root');
INSERT INTO deep.e20 (id, at) VALUES (8, 14);
SELECT sent();
ROLLBACK;
-- a partition is attached and detached with its root
SELECT firehose_attach('e1', 's');
SELECT firehose_detach('e1', 's');
SELECT firehose_detach('e1');
SELECT firehose_detach('events', 's');
SELECT firehose_detach('events', 'other');
-- partitions, also those that come later, fire always, too
SELECT firehose_attach('events', 's', always => true);
CREATE TABLE e3 PARTITION OF events FOR VALUES FROM (20) TO (30);
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgfoid = 'firehose_trigger'::regproc ORDER BY tgrelid::regclass::text COLLATE "C", tgname COLLATE "C";
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO e3 VALUES (9, 21);
SELECT sent();
ROLLBACK;
SELECT firehose_detach('events', 's');
DROP TABLE e3;
-- statements name the root anyhow, and a row that moves is an update
SELECT firehose_attach('events', 's', level => 'statement');
BEGIN;
INSERT INTO events VALUES (1, 1, 'a');
UPDATE events SET at = 13;
SELECT sent();
ROLLBACK;

-- names that need quotes, and long ones
CREATE SCHEMA "a ""b";
CREATE TABLE "a ""b"."c'd\" ("e f" int);
CREATE SERVER "it's \ one" FOREIGN DATA WRAPPER firehose;
SELECT firehose_attach('"a ""b"."c''d\"', 'it''s \ one');
SELECT triggers_of('"a ""b"."c''d\"');
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT firehose_attach('"a ""b"."c''d\\"', 's', names => 'root');
BEGIN;
INSERT INTO "a ""b"."c'd\" VALUES (1);
SELECT sent();
ROLLBACK;
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT firehose_detach('"a ""b"."c''d\"');
CREATE SERVER abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_1234567890 FOREIGN DATA WRAPPER firehose;
SELECT firehose_attach('orders', 'abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_123456789', level => 'statement');
SELECT firehose_detach('orders');

-- errors
CREATE VIEW v AS SELECT 1 AS one;
SELECT firehose_attach('v', 's');
SELECT firehose_attach('orders', 's', level => 'table');
SELECT firehose_attach('orders', 's', content => 'all');
SELECT firehose_attach('orders', 's', names => NULL);
SELECT firehose_attach(NULL, 's');
SELECT firehose_attach(4294967295, 's');
SELECT firehose_detach(NULL);
SELECT firehose_detach(4294967295);
SELECT firehose_attach('orders', 'nonesuch');
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s', 'leaf');
INSERT INTO orders VALUES (1, 1);
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger();
INSERT INTO orders VALUES (1, 1);
DROP TRIGGER t ON orders;

-- rights: TRIGGER on the table to attach, its ownership to detach, and USAGE on
-- the stream of the table's owner
CREATE ROLE attach_owner;
CREATE ROLE attach_user;
CREATE TABLE owned (n int);
ALTER TABLE owned OWNER TO attach_owner;
SET ROLE attach_user;
SELECT firehose_attach('owned', 's');
RESET ROLE;
GRANT TRIGGER ON owned TO attach_user;
SET ROLE attach_user;
SELECT firehose_attach('owned', 's');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s TO attach_owner;
SET ROLE attach_user;
SELECT firehose_attach('owned', 's');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s TO attach_user;
SET ROLE attach_user;
SELECT firehose_attach('owned', 's');
\set VERBOSITY sqlstate
SELECT firehose_detach('owned', 's');
\set VERBOSITY default
SET ROLE attach_owner;
SELECT firehose_detach('owned', 's');
RESET ROLE;
SET ROLE attach_user;
SELECT firehose_attach('owned', 's', always => true);
RESET ROLE;
DROP TABLE owned;
DROP OWNED BY attach_owner, attach_user;
DROP ROLE attach_owner, attach_user;

DROP SCHEMA "a ""b" CASCADE;
DROP TABLE orders, numbers, events CASCADE;
DROP SCHEMA deep CASCADE;
DROP TYPE pair;
DROP DOMAIN big;
DROP VIEW v;
DROP FUNCTION nothing, sent, triggers_of;
DROP EXTENSION firehose CASCADE;
