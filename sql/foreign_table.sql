-- Foreign tables of streams: what INSERT and COPY put, what a statement or a
-- constraint refuses, and whose rights count.  Nothing listens at the endpoint
-- (test/regress.conf): what was put is read from the queue.
CREATE EXTENSION firehose;
CREATE SCHEMA regress_foreign;
SET search_path = regress_foreign, public;
\getenv srcdir PG_ABS_SRCDIR
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE SERVER clicks FOREIGN DATA WRAPPER firehose;
CREATE SERVER bare FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'none');
CREATE SERVER off FOREIGN DATA WRAPPER firehose OPTIONS (enabled 'false');
-- records that were not shown yet; $ is the delimiter
CREATE TABLE shown (stream text PRIMARY KEY, id bigint);
INSERT INTO shown VALUES ('clicks', 0), ('bare', 0);
CREATE FUNCTION new_records(s text DEFAULT 'clicks') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT q.id, q.data FROM queued_records(s) q, shown WHERE shown.stream = s AND q.id > shown.id LOOP
        RETURN NEXT translate(r.data, E'\n', '$');
        UPDATE shown SET id = r.id WHERE stream = s;
    END LOOP;
END $$;

-- a row is the object that triggers with 'row' and firehose_put_record(record) send
CREATE FOREIGN TABLE clicks_out (page text, at timestamptz, n int DEFAULT 7, amount numeric(8,2)) SERVER clicks;
INSERT INTO clicks_out VALUES ('/', '2026-11-21 22:34:01+00', 1, 10.5);
INSERT INTO clicks_out (page) VALUES ('/a'), (E'li\nne'), (NULL);
INSERT INTO clicks_out DEFAULT VALUES;
INSERT INTO clicks_out SELECT '/' || i, NULL, i FROM generate_series(1, 3) i;
SELECT new_records();
COPY clicks_out (page, n) FROM stdin;
/copied	1
\N	2
\.
SELECT new_records();
SELECT count(*) FROM (SELECT firehose_put_record('clicks', r) FROM (SELECT 'x' AS page, '2026-01-01 00:00+02'::timestamptz AS at, 1 AS n, 2.50 AS amount) r) _;
INSERT INTO clicks_out VALUES ('x', '2026-01-01 00:00+02', 1, 2.50);
SELECT count(*), count(DISTINCT r) FROM new_records() r;
-- of as many rows as come, each once and in their order
INSERT INTO clicks_out (n) SELECT i FROM generate_series(1, 1000) i;
SELECT count(*), array_agg(r::json ->> 'n') = (SELECT array_agg(i::text ORDER BY i) FROM generate_series(1, 1000) i)
    FROM (SELECT replace(r, '$', '') FROM new_records() r) _(r);
INSERT INTO clicks_out (page) SELECT repeat('xyz', i * 100) FROM generate_series(1, 200) i;
SELECT count(*), sum(length(r::json ->> 'page')) FROM (SELECT replace(r, '$', '') FROM new_records() r) _(r);
-- the delimiter, and no setting of the session
CREATE FOREIGN TABLE bare_out (i interval, t timestamptz, b bytea, j json, a int[]) SERVER bare;
SET intervalstyle = iso_8601;
SET timezone = 'Asia/Tokyo';
SET datestyle = german;
INSERT INTO bare_out VALUES ('1 day 02:03', '2026-11-21 22:34:01+00', '\x00ff', E'{"a":\n1}', '{1,2}'),
    ('2 days', NULL, '', 'null', '{}');
RESET intervalstyle;
RESET timezone;
RESET datestyle;
SELECT new_records('bare');

-- RETURNING gives the row, the number of rows is the table's
INSERT INTO clicks_out (page) VALUES ('r1'), ('r2') RETURNING page, n, at IS NULL, tableoid::regclass;
WITH i AS (INSERT INTO clicks_out (page) SELECT 'cte' RETURNING *) SELECT page, n FROM i;
\set QUIET off
INSERT INTO clicks_out (n) SELECT i FROM generate_series(1, 70) i;
\set QUIET on
SELECT count(*) FROM new_records();

-- dropped, added and generated columns, domains, composite types
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE FOREIGN TABLE wide (a int, gone text, d positive, p pair, g int GENERATED ALWAYS AS (a * 2) STORED, s serial) SERVER clicks;
INSERT INTO wide (a, gone, d, p) VALUES (1, 'x', 2, ROW(1, 'b'));
ALTER FOREIGN TABLE wide DROP COLUMN gone;
ALTER FOREIGN TABLE wide ADD COLUMN later text DEFAULT 'late';
ALTER FOREIGN TABLE wide RENAME COLUMN d TO renamed;
INSERT INTO wide (a, renamed) VALUES (3, 4), (5, NULL);
ALTER TYPE pair ADD ATTRIBUTE c boolean;
INSERT INTO wide (a, p) VALUES (6, ROW(1, 'b', true));
COPY wide (a) FROM stdin;
7
\.
INSERT INTO wide (renamed) VALUES (0);
INSERT INTO wide (g) VALUES (0);
SELECT new_records();
CREATE FOREIGN TABLE nothing () SERVER clicks;
INSERT INTO nothing DEFAULT VALUES;
SELECT new_records();

-- constraints are checked, and what fails sends nothing of its statement
CREATE FOREIGN TABLE checked (n int NOT NULL CHECK (n < 10), t text) SERVER clicks;
INSERT INTO checked VALUES (1), (2), (NULL);
INSERT INTO checked VALUES (1), (10);
INSERT INTO checked VALUES (11) RETURNING n;
INSERT INTO checked SELECT i FROM generate_series(1, 100) i;
\set SHOW_CONTEXT never
COPY checked (n) FROM stdin;
1
20
\.
\set SHOW_CONTEXT errors
INSERT INTO checked VALUES (1, repeat('x', 1100000));
SELECT new_records();
INSERT INTO checked VALUES (9);
SELECT new_records();

-- one column as it is
CREATE FOREIGN TABLE raw_text (a int, data text) SERVER clicks OPTIONS (column 'data');
CREATE FOREIGN TABLE raw_json (data json) SERVER clicks OPTIONS (column 'data');
CREATE FOREIGN TABLE raw_jsonb (data jsonb) SERVER bare OPTIONS (column 'data');
CREATE FOREIGN TABLE raw_bytes (data bytea) SERVER clicks OPTIONS (column 'data');
INSERT INTO raw_text VALUES (1, 'plain'), (2, E'ends\n'), (3, '');
INSERT INTO raw_json VALUES (E'{"a":\n 1}');
INSERT INTO raw_jsonb VALUES ('{"b":1,"a":[]}'), ('2');
INSERT INTO raw_bytes VALUES ('\x6162'), ('\x0a');
COPY raw_text (data) FROM stdin;
copied
\.
SELECT new_records();
SELECT new_records('bare');
INSERT INTO raw_text VALUES (1, 'first'), (2, NULL);
INSERT INTO raw_text (a) VALUES (1);
ALTER FOREIGN TABLE raw_text OPTIONS (SET column 'a');
INSERT INTO raw_text VALUES (1, 'x');
ALTER FOREIGN TABLE raw_text OPTIONS (SET column 'gone');
INSERT INTO raw_text VALUES (1, 'x');
ALTER FOREIGN TABLE raw_text OPTIONS (SET column '');
ALTER FOREIGN TABLE raw_text OPTIONS (ADD columns 'data');
ALTER FOREIGN TABLE raw_text OPTIONS (DROP column);
INSERT INTO raw_text VALUES (1, 'x');
SELECT new_records();

-- what a stream cannot do
SELECT * FROM clicks_out;
EXPLAIN SELECT * FROM clicks_out;
SELECT 1 FROM clicks_out FOR UPDATE;
INSERT INTO clicks_out SELECT * FROM clicks_out;
TABLE clicks_out;
UPDATE clicks_out SET n = 1;
DELETE FROM clicks_out;
EXPLAIN DELETE FROM clicks_out WHERE n = 1;
TRUNCATE clicks_out;
INSERT INTO clicks_out (n) VALUES (1) ON CONFLICT DO NOTHING;
INSERT INTO clicks_out (n) VALUES (1) ON CONFLICT (n) DO UPDATE SET n = 2;
MERGE INTO clicks_out USING (SELECT 1 AS i) s ON false WHEN NOT MATCHED THEN INSERT (n) VALUES (i);
COPY clicks_out TO stdout;
ANALYZE clicks_out;
CREATE INDEX ON clicks_out (n);
IMPORT FOREIGN SCHEMA s FROM SERVER clicks INTO public;
SELECT is_insertable_into FROM information_schema.tables WHERE table_name = 'clicks_out';
SELECT new_records();

-- EXPLAIN sends nothing, EXPLAIN ANALYZE runs the statement
EXPLAIN (COSTS off) INSERT INTO clicks_out (n) SELECT i FROM generate_series(1, 3) i;
EXPLAIN (COSTS off, VERBOSE) INSERT INTO clicks_out (n) VALUES (1) RETURNING n;
SELECT new_records();
-- (from PostgreSQL 18 on it prints fractions of rows, and buffers unless told)
CREATE FUNCTION explain_analyze(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off, ANALYZE, BUFFERS off, TIMING off, SUMMARY off) ' || statement LOOP
		RETURN NEXT regexp_replace(line, '(rows=\d+)\.00', '\1');
	END LOOP;
END $$;
SELECT explain_analyze('INSERT INTO clicks_out (n) SELECT i FROM generate_series(1, 3) i');
SELECT count(*) FROM new_records();

-- transactions
BEGIN;
INSERT INTO clicks_out (page) VALUES ('rolled back');
SELECT stream, convert_from(data, 'UTF8') FROM firehose_pending();
ROLLBACK;
BEGIN;
INSERT INTO clicks_out (page) VALUES ('before');
SAVEPOINT s;
INSERT INTO clicks_out (page) SELECT 'undone' FROM generate_series(1, 100);
ROLLBACK TO s;
INSERT INTO clicks_out (page) VALUES ('after');
COMMIT;
DO $$
BEGIN
    INSERT INTO clicks_out (page) VALUES ('kept');
    BEGIN
        INSERT INTO clicks_out (page, n) SELECT 'caught', 1 / (5 - i) FROM generate_series(1, 9) i;
    EXCEPTION WHEN division_by_zero THEN
        INSERT INTO clicks_out (page) VALUES ('handler');
    END;
END $$;
BEGIN READ ONLY;
INSERT INTO clicks_out (page) VALUES ('read only');
ROLLBACK;
SELECT new_records();

-- partitions: rows find their way, or are held off
CREATE TABLE parted (k text, n int) PARTITION BY LIST (k);
CREATE TABLE parted_local PARTITION OF parted FOR VALUES IN ('local');
CREATE FOREIGN TABLE parted_out PARTITION OF parted FOR VALUES IN ('out') SERVER clicks;
CREATE FOREIGN TABLE parted_rest (n int CHECK (n > 0), k text) SERVER bare;
ALTER TABLE parted ATTACH PARTITION parted_rest DEFAULT;
INSERT INTO parted SELECT (ARRAY['local', 'out', 'other'])[1 + i % 3], i FROM generate_series(1, 7) i;
SELECT new_records();
SELECT new_records('bare');
COPY parted FROM stdin;
out	10
local	11
other	12
out	13
\.
SELECT new_records();
SELECT new_records('bare');
INSERT INTO parted VALUES ('out', 1), ('other', 2) RETURNING tableoid::regclass, k, n;
INSERT INTO parted VALUES ('out', 1), ('other', 0);
INSERT INTO parted_out VALUES ('local', 1);
INSERT INTO parted VALUES ('out', 1) ON CONFLICT DO NOTHING;
-- a row that moves to such a partition is sent
UPDATE parted SET k = 'out' WHERE k = 'local' AND n = 3;
UPDATE parted SET n = 1;
SELECT * FROM parted;
ANALYZE parted;
SELECT * FROM parted_local ORDER BY n;
SELECT new_records();
SELECT new_records('bare');

-- triggers fire as on every table, and a row is put before the next one's do
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        RAISE NOTICE '% statement', TG_WHEN;
    ELSE
        RAISE NOTICE '% row %, % put', TG_WHEN, NEW.n, (SELECT count(*) FROM firehose_pending());
        IF TG_WHEN = 'BEFORE' AND NEW.n = 2 THEN
            RETURN NULL;
        END IF;
        NEW.page := 'by trigger';
        RETURN NEW;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER br BEFORE INSERT ON clicks_out FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER ar AFTER INSERT ON clicks_out FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER bs BEFORE INSERT ON clicks_out FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER s AFTER INSERT ON clicks_out FOR EACH STATEMENT EXECUTE FUNCTION tell();
INSERT INTO clicks_out (n) VALUES (1), (2), (3);
COPY clicks_out (n) FROM stdin;
4
2
\.
SELECT new_records();
CREATE TRIGGER out_br BEFORE INSERT ON parted_out FOR EACH ROW EXECUTE FUNCTION tell();
CREATE FUNCTION to_local() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := 'local'; RETURN NEW; END $$;
DROP TRIGGER out_br ON parted_out;
CREATE TRIGGER out_br BEFORE INSERT ON parted_out FOR EACH ROW EXECUTE FUNCTION to_local();
INSERT INTO parted VALUES ('out', 99);
DROP TRIGGER br ON clicks_out;
DROP TRIGGER ar ON clicks_out;
DROP TRIGGER bs ON clicks_out;
DROP TRIGGER s ON clicks_out;

-- views and rules
CREATE VIEW small AS SELECT page, n FROM clicks_out WHERE n < 5 WITH CHECK OPTION;
INSERT INTO small VALUES ('seen', 1), ('seen', 2);
INSERT INTO small VALUES ('seen', 1), ('hidden', 9);
CREATE TABLE watched (page text);
CREATE RULE also AS ON INSERT TO watched DO ALSO INSERT INTO clicks_out (page) VALUES (NEW.page);
INSERT INTO watched VALUES ('by rule');
SELECT new_records();

-- prepared statements follow the table and the server
PREPARE put (text) AS INSERT INTO raw_text (data) VALUES ($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE put ('row');
ALTER FOREIGN TABLE raw_text OPTIONS (ADD column 'data');
EXECUTE put ('raw');
ALTER SERVER clicks OPTIONS (ADD delimiter 'none');
EXECUTE put ('no delimiter');
ALTER SERVER clicks OPTIONS (ADD enabled 'false');
EXECUTE put ('disabled');
ALTER SERVER clicks OPTIONS (DROP enabled, DROP delimiter);
EXECUTE put ('again');
ALTER FOREIGN TABLE raw_text RENAME COLUMN data TO renamed;
EXECUTE put ('renamed');
RESET plan_cache_mode;
SELECT new_records();

-- rights: INSERT on the table, USAGE on the stream, of the owner of a view
CREATE ROLE regress_writer;
GRANT USAGE ON SCHEMA regress_foreign TO regress_writer;
GRANT INSERT ON raw_json, parted, small TO regress_writer;
SET ROLE regress_writer;
INSERT INTO clicks_out (n) VALUES (1);
INSERT INTO raw_json VALUES ('1');
INSERT INTO raw_json SELECT '1' WHERE false;
COPY raw_json FROM stdin;
1
\.
INSERT INTO parted VALUES ('local', 1);
INSERT INTO parted VALUES ('out', 1);
INSERT INTO small VALUES ('by a view', 1);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER clicks TO regress_writer;
SET ROLE regress_writer;
INSERT INTO raw_json VALUES ('"granted"');
INSERT INTO clicks_out (n) VALUES (1);
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER clicks FROM regress_writer;
SET ROLE regress_writer;
INSERT INTO raw_json VALUES ('"revoked"');
RESET ROLE;
SELECT new_records();

-- other servers
CREATE FOREIGN TABLE off_out (n int) SERVER off;
INSERT INTO off_out VALUES (1);
CREATE FOREIGN DATA WRAPPER regress_wrapper HANDLER firehose_fdw_handler;
CREATE SERVER regress_other FOREIGN DATA WRAPPER regress_wrapper;
CREATE FOREIGN TABLE other_out (n int) SERVER regress_other;
INSERT INTO other_out VALUES (1);
\set VERBOSITY terse
DROP SERVER clicks;
DROP SERVER off CASCADE;
INSERT INTO off_out VALUES (1);
SET client_min_messages = warning;
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;
DROP SCHEMA regress_foreign CASCADE;
DROP EXTENSION firehose CASCADE;
DROP OWNED BY regress_writer;
DROP ROLE regress_writer;
