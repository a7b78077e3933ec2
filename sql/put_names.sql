-- Puts under names that say the type, rows, and calls whose parameters have no
-- type: each sends what it means, or is an error that says what to write.
-- Nothing listens at the endpoint: what was put is read from the queue.
CREATE EXTENSION firehose;
\getenv srcdir PG_ABS_SRCDIR
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
SET client_min_messages = warning;
CREATE SERVER s FOREIGN DATA WRAPPER firehose;
CREATE TABLE shown (id bigint);
INSERT INTO shown VALUES (0);
CREATE FUNCTION new_records() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT q.id, q.data FROM queued_records('s') q, shown WHERE q.id > shown.id LOOP
        RETURN NEXT translate(r.data, E'\n\r', '$^');
        UPDATE shown SET id = r.id;
    END LOOP;
END $$;
\pset format unaligned
\pset tuples_only on

-- one record
SELECT firehose_put_text('s', '{"a": 1}') > 0, firehose_put_text('s', '\x6162') > 0;
SELECT firehose_put_bytes('s', '\x6162') > 0, firehose_put_bytes('s', '\x') > 0;
SELECT firehose_put_json('s', E'{"a":\n1}') > 0, firehose_put_json('s', E'[1,\n2]'::json) > 0, firehose_put_json('s', '{"b": 1, "a": 2}'::jsonb) > 0;
CALL firehose_send('s', '{"sent": 1}');
CALL firehose_send('s', '{"sent": 2}'::jsonb, transactional => false);
CALL firehose_send('s', '{"sent":3}'::json);
SELECT new_records();
-- several
SELECT cardinality(firehose_put_texts('s', '{a,"\\x6162"}')), cardinality(firehose_put_bytes_array('s', '{"\\x61","\\x6262"}'));
SELECT cardinality(firehose_put_jsons('s', '[{"a": 1}, 2, "three", [4], null]')), cardinality(firehose_put_jsons('s', '[1]'::json)), cardinality(firehose_put_jsons('s', '[2.50]'::jsonb));
SELECT cardinality(firehose_put_jsons('s', ARRAY['{"a":1}', '2'])), cardinality(firehose_put_jsons('s', ARRAY['{"a":2}']::json[])), cardinality(firehose_put_jsons('s', ARRAY['{"a":3}']::jsonb[]));
SELECT new_records();
-- none: empty and null
SELECT firehose_put_texts('s', '{}'), firehose_put_bytes_array('s', '{}'), firehose_put_jsons('s', '[]'), firehose_put_jsons('s', '{}'::jsonb[]), firehose_put_batch('s', '{}');
SELECT firehose_put_texts('s', NULL), firehose_put_bytes_array('s', NULL), firehose_put_jsons('s', NULL), firehose_put_batch('s', NULL), firehose_put_batch('s', array_agg(x)) FROM (SELECT 'x'::text WHERE false) n (x);
SELECT count(*) FROM new_records();

-- parameters without a type, as drivers send them
PREPARE record AS SELECT firehose_put_record('s', $1) > 0;
PREPARE json AS SELECT firehose_put_json('s', $1) > 0;
PREPARE bytes AS SELECT firehose_put_bytes('s', $1) > 0;
PREPARE batch AS SELECT cardinality(firehose_put_batch('s', $1));
PREPARE texts AS SELECT cardinality(firehose_put_texts('s', $1));
PREPARE jsons AS SELECT cardinality(firehose_put_jsons('s', $1));
PREPARE bytes_array AS SELECT cardinality(firehose_put_bytes_array('s', $1));
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
DEALLOCATE ALL;
PREPARE batch AS SELECT cardinality(firehose_put_batch($1, $2));
EXECUTE batch('s', '{a,"b c"}');
EXECUTE batch('s', '[0:0]={d}');
SELECT new_records();
-- what cannot be told is an error that says what to write
EXECUTE batch('s', '{"\\x6162"}');
EXECUTE batch('s', 'a');
EXECUTE batch('s', '["a"]');
EXECUTE batch('s', '{a,NULL}');
\set VERBOSITY terse
SELECT firehose_put_json('s', '{"a": 1');
SELECT firehose_put_jsons('s', ARRAY['{"a": 1}', 'b']);
CALL firehose_send('s', 'plain');
\set VERBOSITY default
-- of several records, it says which
DO $$
DECLARE
    context text;
BEGIN
    PERFORM firehose_put_jsons('s', ARRAY['{"a": 1}', 'b', '3']);
EXCEPTION WHEN invalid_text_representation THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RAISE WARNING '%', substring(context FROM 'record \d+ of the batch');
END
$$;
SELECT firehose_put_jsons('s', '{"a": 1}');
SELECT firehose_put_jsons('s', '1'::jsonb);
SELECT firehose_put_jsons('s', '{{1,2},{3,4}}'::jsonb[]);
CALL firehose_send('s', NULL);
SELECT firehose_put_text('s', NULL);
SELECT firehose_put_text(NULL, 'a');
SELECT firehose_put_bytes('s', 'a', NULL);
SELECT firehose_put_texts('nonesuch', NULL);
SELECT count(*) FROM new_records();

-- rows: the JSON of triggers, whatever the session's settings
CREATE TYPE kind AS ENUM ('new', 'old');
CREATE TYPE place AS (x int, "y z" numeric);
CREATE TABLE orders (id bigint, total numeric(10,2), at timestamptz, note text, kind kind, place place, tags text[], data jsonb, raw bytea);
INSERT INTO orders VALUES (1, 9.5, '2026-01-02 03:04:05+00', E'a "b"\nc', 'new', (1, 2.0), '{x,y}', '{"k": [1]}', '\x00ff');
INSERT INTO orders (id) VALUES (2);
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SELECT firehose_row_json(o) FROM orders o ORDER BY id;
SELECT firehose_put_record('s', o) > 0 FROM orders o ORDER BY id;
SELECT cardinality(firehose_put_batch('s', array_agg(o ORDER BY id))) FROM orders o;
SELECT new_records();
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s', 'row');
INSERT INTO orders SELECT * FROM orders WHERE id = 1;
SELECT record = firehose_row_json(o)::text || '$' FROM new_records() record, (SELECT * FROM orders LIMIT 1) o;
DROP TRIGGER t ON orders;
SELECT firehose_put_record('s', ROW(1, 'a', now() IS NULL)) > 0;
SELECT firehose_put_record('s', q) > 0 FROM (SELECT 1 AS one, 'b' AS two, NULL::int AS three) q;
SELECT firehose_put_record('s', (1, 2.50)::place) > 0;
SELECT firehose_put_record('s', NULL::place);
SELECT firehose_put_record('s', ROW()) > 0;
SELECT new_records();
-- bigint as a string, at every depth, and beside the same row with numbers
CREATE TYPE far AS (n bigint, ns bigint[]);
SELECT firehose_row_json(r, bigints => 'string'), firehose_row_json(r), firehose_row_json(r, 'number')
FROM (SELECT 9007199254740993 AS a, -1::bigint AS b, 1 AS c, '{1,NULL,3}'::bigint[] AS d, (7, '{8}')::far AS e, array[(9, NULL)::far] AS f) r;
SELECT firehose_row_json(r, 'string') FROM (SELECT 1 AS a, 2::bigint AS b) r;
SELECT firehose_row_json(r, 'number') FROM (SELECT 1 AS a, 2::bigint AS b) r;
SELECT firehose_row_json(o, bigints => 'text') FROM orders o;
SELECT firehose_row_json(o, bigints => NULL) FROM orders o LIMIT 1;
SELECT cardinality(firehose_put_batch('s', array_agg(firehose_row_json(q, bigints => 'string')))) FROM (SELECT 5::bigint AS n) q;
SELECT new_records();
SELECT firehose_row_json(NULL::orders) IS NULL, pg_typeof(firehose_row_json(o)) FROM orders o LIMIT 1;
-- a plan follows its type
ALTER TABLE orders DROP COLUMN total, ADD COLUMN added int DEFAULT 7;
ALTER TABLE orders RENAME note TO comment;
ALTER TYPE place RENAME ATTRIBUTE x TO ex;
SELECT firehose_row_json(o) FROM orders o ORDER BY id LIMIT 1;
-- in one statement, while others come and go
DO $$
BEGIN
    FOR i IN 1 .. 40 LOOP
        EXECUTE format('CREATE TYPE t%s AS (c%1$s int)', i);
    END LOOP;
    FOR i IN 1 .. 40 LOOP
        EXECUTE format('SELECT firehose_put_record(''s'', ROW(%s)::t%1$s)', i);
    END LOOP;
    ALTER TYPE t40 ADD ATTRIBUTE more text;
    PERFORM firehose_put_record('s', (40, 'x')::t40);
    DROP TYPE t39;
    PERFORM firehose_put_record('s', (3)::int::text);
    CREATE TYPE t39 AS (other bool);
    EXECUTE 'SELECT firehose_put_record(''s'', ROW(true)::t39)';
END $$;
SELECT count(*), string_agg(data, ' ') FILTER (WHERE n > 38) FROM new_records() WITH ORDINALITY q (data, n);
-- what the queue can never take is not a matter of time (53000), but of size
\set VERBOSITY sqlstate
SELECT firehose_put_texts('s', array_agg(repeat('x', 1000000))) FROM generate_series(1, 40);
\set VERBOSITY default

DO $$
BEGIN
    FOR i IN 1 .. 40 LOOP
        EXECUTE format('DROP TYPE t%s', i);
    END LOOP;
END $$;
DROP TABLE orders, shown;
DROP TYPE kind, place;
DROP FUNCTION new_records(), queued_records(text), format_event, format_row, checked_row;
DROP EXTENSION firehose CASCADE;
