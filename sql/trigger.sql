-- firehose_trigger: what it puts for every kind of trigger and table, and what
-- it refuses.  Nothing listens at the endpoint (test/regress.conf): what was
-- put is read from the queue.
CREATE EXTENSION firehose;
CREATE SCHEMA regress_trigger;
SET search_path = regress_trigger, public;
\getenv srcdir PG_ABS_SRCDIR
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE SERVER changes FOREIGN DATA WRAPPER firehose;
CREATE SERVER bare FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'none');
CREATE SERVER off FOREIGN DATA WRAPPER firehose OPTIONS (enabled 'false');

-- records that were not shown yet, less what differs from run to run; $ is the delimiter
CREATE TABLE shown (stream text PRIMARY KEY, id bigint);
INSERT INTO shown VALUES ('changes', 0), ('bare', 0);
CREATE FUNCTION new_records(s text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT q.id, q.data FROM queued_records(s) q, shown WHERE shown.stream = s AND q.id > shown.id LOOP
        IF r.data LIKE '{"v"%' AND lpad(r.id::text, 16, '0') <> r.data::json->>'id' THEN
            RAISE 'the event says %, the record has id %', r.data::json->>'id', r.id;
        END IF;
        RETURN NEXT regexp_replace(replace(replace(regexp_replace(regexp_replace(regexp_replace(r.data,
            '"source":"\d+"', '"source":S'), '"id":"\d{16}","xid":\d+', '"id":I,"xid":X'),
            '"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', '"ts":T'), current_database(), 'D'), E'\n', '$'), '(xy)+', '(xy)+');
        UPDATE shown SET id = r.id WHERE stream = s;
    END LOOP;
END $$;

-- row triggers follow ALTER TABLE and the like
CREATE SCHEMA s;
SET search_path = s, regress_trigger, public;
CREATE TABLE orders (id int PRIMARY KEY, x int, total numeric, at timestamptz, g int GENERATED ALWAYS AS (id * 2) STORED, note text);
ALTER TABLE orders DROP COLUMN x;
CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
CREATE TRIGGER tr AFTER TRUNCATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
INSERT INTO orders (id, total, at, note) VALUES (1, 10.5, '2026-01-01 00:00+00', 'a"b');
UPDATE orders SET id = 2, total = NULL;
ALTER TABLE orders ADD COLUMN c int DEFAULT 7;
UPDATE orders SET total = 2;
ALTER TABLE orders RENAME COLUMN c TO d;
ALTER TABLE orders RENAME TO orders2;
ALTER SCHEMA s RENAME TO s2;
SET search_path = s2, regress_trigger, public;
DELETE FROM orders2;
TRUNCATE orders2;
SELECT new_records('changes');
DROP TABLE orders2;
DROP SCHEMA s2;
SET search_path = regress_trigger, public;
-- row
CREATE TABLE r (a int, b point, big text);
ALTER TABLE r ALTER big SET STORAGE EXTERNAL;
CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON r FOR EACH ROW EXECUTE FUNCTION firehose_trigger('bare', 'row');
CREATE TRIGGER tr AFTER TRUNCATE ON r FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes', 'row');
SET extra_float_digits = -5;
INSERT INTO r VALUES (1, '(0.1,0.30000000000000004)', repeat('xy', 5000));
UPDATE r SET a = 2;
DELETE FROM r;
TRUNCATE r;
SHOW extra_float_digits;
SELECT new_records('bare');
SELECT new_records('changes');
RESET extra_float_digits;
-- statement
CREATE TABLE st (id int PRIMARY KEY, v text);
CREATE TRIGGER i AFTER INSERT ON st REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
CREATE TRIGGER u AFTER UPDATE ON st REFERENCING NEW TABLE AS n OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
CREATE TRIGGER d AFTER DELETE ON st REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes', 'row');
CREATE TRIGGER u2 AFTER UPDATE ON st REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes', 'row');
INSERT INTO st SELECT i, i::text FROM generate_series(1, 3) i;
UPDATE st SET v = v || '!' WHERE id > 1;
INSERT INTO st VALUES (3, 'c'), (4, 'd') ON CONFLICT (id) DO UPDATE SET v = 'conflict';
DELETE FROM st;
INSERT INTO st SELECT WHERE false;
SELECT new_records('changes');
-- transition tables on disk
SET work_mem = '64kB';
INSERT INTO st SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i;
UPDATE st SET v = v || id;
SELECT count(*), count(DISTINCT id), bool_and(coalesce(data::json->'before'->>'id' = data::json->'after'->>'id', true))
FROM queued_records('changes') WHERE id > (SELECT id FROM shown WHERE stream = 'changes');
UPDATE shown SET id = (SELECT max(id) FROM queued_records('changes')) WHERE stream = 'changes';
RESET work_mem;
-- errors
CREATE TABLE e (id int);
CREATE VIEW ev AS SELECT * FROM e;
SELECT firehose_trigger();
CREATE TRIGGER b BEFORE INSERT ON e FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
INSERT INTO e VALUES (1);
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT ON e FOR EACH ROW EXECUTE FUNCTION firehose_trigger();
INSERT INTO e VALUES (1);
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT ON e FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'row', 'x');
INSERT INTO e VALUES (1);
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT ON e FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'rows');
INSERT INTO e VALUES (1);
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT ON e FOR EACH ROW EXECUTE FUNCTION firehose_trigger('nosuch');
INSERT INTO e VALUES (1);
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON e FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
INSERT INTO e VALUES (1);
UPDATE e SET id = 1;
DELETE FROM e;
DROP TRIGGER b ON e;
CREATE TRIGGER b AFTER INSERT ON ev FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
INSERT INTO ev VALUES (1);
DROP TRIGGER b ON ev;
CREATE TRIGGER b INSTEAD OF INSERT ON ev FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
INSERT INTO ev VALUES (1);
CREATE TABLE huge (v text);
CREATE TRIGGER b AFTER INSERT ON huge FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'row');
INSERT INTO huge VALUES (repeat('x', 1100000));
INSERT INTO huge VALUES ('small');
SELECT new_records('changes');
-- partitions
CREATE TABLE pt (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);
CREATE TABLE pt2 (v text, gone int, k int NOT NULL);
ALTER TABLE pt2 DROP COLUMN gone;
CREATE TABLE pt1 PARTITION OF pt FOR VALUES FROM (0) TO (10);
ALTER TABLE pt ATTACH PARTITION pt2 FOR VALUES FROM (10) TO (20);
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON pt FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
CREATE TRIGGER s AFTER UPDATE ON pt REFERENCING NEW TABLE AS n OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes', 'row');
INSERT INTO pt VALUES (1, 'a'), (11, 'b');
UPDATE pt SET k = k + 1;
UPDATE pt SET k = 15 WHERE v = 'a';
SELECT new_records('changes');
-- a move that a BEFORE INSERT trigger stops
CREATE FUNCTION nope() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nope BEFORE INSERT ON pt1 FOR EACH ROW EXECUTE FUNCTION nope();
DROP TRIGGER r ON pt; DROP TRIGGER s ON pt;
CREATE TRIGGER s AFTER UPDATE ON pt REFERENCING NEW TABLE AS n OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('changes');
UPDATE pt SET k = CASE k WHEN 15 THEN 5 ELSE 16 END;
SELECT * FROM pt;
SELECT new_records('changes');
-- deferred constraint trigger, replica identity
CREATE TABLE c (a int NOT NULL, b int NOT NULL UNIQUE, PRIMARY KEY (a));
ALTER TABLE c REPLICA IDENTITY USING INDEX c_b_key;
CREATE CONSTRAINT TRIGGER c AFTER INSERT ON c DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
BEGIN; INSERT INTO c VALUES (1, 2); SELECT 'none yet', new_records('changes'); COMMIT;
SELECT new_records('changes');
ALTER TABLE c REPLICA IDENTITY FULL; INSERT INTO c VALUES (3, 4);
SELECT new_records('changes');

-- rolled back is not put
BEGIN; INSERT INTO c VALUES (5, 6); ROLLBACK;
BEGIN; SAVEPOINT a; INSERT INTO c VALUES (7, 8); ROLLBACK TO a; INSERT INTO c VALUES (9, 10); COMMIT;
SELECT new_records('changes');

-- the table's owner needs USAGE on the stream, who writes to it does not
CREATE ROLE regress_owner;
CREATE ROLE regress_writer;
CREATE TABLE owned (a int);
CREATE TRIGGER t AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
ALTER TABLE owned OWNER TO regress_owner;
GRANT USAGE ON SCHEMA regress_trigger TO regress_writer;
GRANT INSERT ON owned TO regress_writer;
SET ROLE regress_writer;
INSERT INTO owned VALUES (1);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER changes TO regress_owner;
SET ROLE regress_writer;
INSERT INTO owned VALUES (2);
RESET ROLE;
SELECT new_records('changes');
REVOKE USAGE ON FOREIGN SERVER changes FROM regress_owner;
SET ROLE regress_writer;
INSERT INTO owned VALUES (3);
RESET ROLE;

-- a disabled stream
CREATE TABLE disabled (a int);
CREATE TRIGGER t AFTER INSERT ON disabled FOR EACH ROW EXECUTE FUNCTION firehose_trigger('off');
INSERT INTO disabled VALUES (1);

-- a stream that is not there, or not any more
CREATE TABLE named (a int);
CREATE TRIGGER early AFTER INSERT ON named FOR EACH ROW EXECUTE FUNCTION firehose_trigger('later');
CREATE SERVER later FOREIGN DATA WRAPPER firehose;
CREATE TRIGGER t AFTER INSERT ON named FOR EACH ROW EXECUTE FUNCTION firehose_trigger('later');
ALTER SERVER later RENAME TO still_later;
ALTER SERVER still_later RENAME TO later;
DROP SERVER IF EXISTS no_such_server, later;
CREATE SERVER later FOREIGN DATA WRAPPER firehose;
DROP TABLE named;
DROP SERVER later;

-- the formats of other tools, whose names of types do not depend on search_path
CREATE FUNCTION formatted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(r, '("(?:ts_.s|txId|xid|transaction-id)":)\d+', '\1N', 'g'),
        '("(?:name|version)":)"[\d.]+"', '\1V', 'g'), '"timestamp":"[^"]*"', '"timestamp":T')
    FROM new_records('changes') r $$;
CREATE TYPE mood AS ENUM ('ok');
CREATE TABLE tools (id int PRIMARY KEY, gone int, n numeric(4,1), at timestamp(3), m mood, big text);
ALTER TABLE tools DROP gone;
SELECT firehose_attach('tools', 'changes', content => 'debezium');
INSERT INTO tools VALUES (1, 1.5, '2026-01-01', 'ok', 'x');
UPDATE tools SET n = 2;
UPDATE tools SET id = 2, big = NULL;
DELETE FROM tools;
TRUNCATE tools;
SELECT formatted();
SELECT firehose_detach('tools');
SELECT firehose_attach('tools', 'changes', content => 'dms', level => 'statement');
INSERT INTO tools (id, n, at) VALUES (1, 'NaN', 'infinity'), (2, NULL, NULL);
UPDATE tools SET id = id + 10;
DELETE FROM tools WHERE id = 12;
TRUNCATE tools;
SELECT formatted();
SELECT firehose_detach('tools');
SELECT firehose_attach('tools', 'changes', content => 'wal2json');
SET search_path = public;
INSERT INTO regress_trigger.tools VALUES (1, 1.5, '2026-01-01', 'ok', 'x');
SET search_path = regress_trigger, public;
UPDATE tools SET n = 2;
SELECT formatted();
SELECT firehose_detach('tools');
CREATE TRIGGER t AFTER INSERT ON tools FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'row', 'dms');
INSERT INTO tools VALUES (2);
DROP TRIGGER t ON tools;
CREATE TRIGGER t AFTER INSERT ON tools FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'debezium', 'dms');
INSERT INTO tools VALUES (2);
DROP TRIGGER t ON tools;
CREATE TRIGGER t AFTER INSERT ON tools FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes', 'flat');
INSERT INTO tools VALUES (2);

SET client_min_messages = warning;
DROP SCHEMA regress_trigger CASCADE;
DROP ROLE regress_owner, regress_writer;
DROP EXTENSION firehose CASCADE;
