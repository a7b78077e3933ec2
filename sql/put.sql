-- firehose_put_record and firehose_put_batch: what they take, return and
-- refuse, and what a transaction's end makes of it.  Nothing listens at the
-- endpoint (test/regress.conf): what was put is read from the queue.
CREATE EXTENSION firehose;
\getenv srcdir PG_ABS_SRCDIR
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
SET client_min_messages = warning;
CREATE SERVER s FOREIGN DATA WRAPPER firehose;
CREATE SERVER bare FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'none');
CREATE SERVER lines FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'newline');
-- records that were not shown yet; $ is a newline, ^ a carriage return
CREATE TABLE shown (stream text PRIMARY KEY, id bigint);
INSERT INTO shown VALUES ('s', 0), ('bare', 0), ('lines', 0);
CREATE FUNCTION new_records(s text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT q.id, q.data FROM queued_records(s) q, shown WHERE shown.stream = s AND q.id > shown.id LOOP
        RETURN NEXT translate(r.data, E'\n\r', '$^');
        UPDATE shown SET id = r.id WHERE stream = s;
    END LOOP;
END $$;
\pset format unaligned
\pset tuples_only on

-- data by type; an untyped literal is text, whatever it looks like
SELECT firehose_put_record('s', 'plain') > 0;
SELECT firehose_put_record('s', '\xdead') > 0;
SELECT firehose_put_record('s', '{"a": 1}') > 0;
SELECT firehose_put_record('s', '\x6162'::bytea) > 0;
SELECT firehose_put_record('s', E'{"a":\r\n [1,\n2]}\n'::json) > 0;
SELECT firehose_put_record('s', E'{"b":\n 1, "a": "x\\ny"}'::jsonb) > 0;
SELECT firehose_put_record('s', to_json('tab and "quote"'::text)) > 0;
SELECT firehose_put_record('s', 'name'::name::text) > 0;
SELECT firehose_put_record(stream => 's', data => 'named', transactional => true) > 0;
SELECT new_records('s');
-- other types need a cast
\set VERBOSITY terse
SELECT firehose_put_record('s', 1);
SELECT firehose_put_record('s', now());
SELECT firehose_put_record('s');
\set VERBOSITY default
-- the delimiter: one newline unless there is one, or none
SELECT firehose_put_record('s', E'one\n') > 0, firehose_put_record('s', E'two\n\n') > 0, firehose_put_record('s', E'cr\r\n') > 0, firehose_put_record('s', '') > 0, firehose_put_record('s', E'\n') > 0;
SELECT new_records('s');
SELECT firehose_put_record('bare', 'text') > 0, firehose_put_record('bare', E'{"a":\n1}'::json) > 0, firehose_put_record('bare', '') > 0;
SELECT new_records('bare');
SELECT firehose_put_record('lines', 'text') > 0, firehose_put_record('lines', E'{"a":\n1}'::json) > 0, firehose_put_record('lines', 'b'::bytea) > 0, firehose_put_record('lines', '\x0a'::bytea) > 0;
SELECT new_records('lines');

-- nulls are errors
SELECT firehose_put_record(NULL, 'a');
SELECT firehose_put_record('s', NULL);
SELECT firehose_put_record('s', NULL::text);
SELECT firehose_put_record('s', NULL::bytea);
SELECT firehose_put_record('s', NULL::jsonb);
SELECT firehose_put_record('s', 'a', NULL);
SELECT firehose_put_batch(NULL, ARRAY['a']);
SELECT firehose_put_batch('s', ARRAY['a'], NULL);
SELECT firehose_put_batch('s', ARRAY['a', NULL]);
SELECT firehose_put_batch('s', '[0:1]={a,NULL}'::text[]);

-- batches: ids in the order of the elements, all or nothing
SELECT cardinality(ids), (SELECT bool_and(id = ids[1] + n - 1) FROM unnest(ids) WITH ORDINALITY u (id, n))
FROM firehose_put_batch('s', ARRAY['a', 'b', 'c']) ids;
SELECT cardinality(firehose_put_batch('s', ARRAY['\x6230', '\x0a']::bytea[]));
SELECT cardinality(firehose_put_batch('s', ARRAY[E'{"j":\n1}', '2']::json[]));
SELECT cardinality(firehose_put_batch('s', ARRAY['{"j": 1}', 'null']::jsonb[]));
SELECT array_lower(firehose_put_batch('s', '[5:6]={x,y}'::text[]), 1);
SELECT new_records('s');
SELECT firehose_put_batch('s', '{}'::text[]), firehose_put_batch('s', '{}'::jsonb[]);
SELECT firehose_put_batch('s', '{{a,b},{c,d}}'::text[]);
SELECT firehose_put_batch('s', NULL::text[]);
SELECT firehose_put_batch('nonesuch', '{}'::text[]);
SELECT firehose_put_batch('s', ARRAY['good', repeat('x', 1024000)]);
SELECT count(*) FROM new_records('s');
-- later puts have larger ids, in whatever way they are put
SELECT firehose_put_record('s', '1') AS a, (firehose_put_batch('s', ARRAY['2', '3']))[2] AS b, firehose_put_record('s', '4', false) AS c \gset
SELECT :a < :b AND :b < :c AND :c < 9007199254740992;

-- sizes: at most 1,024,000 bytes, the delimiter counted
SELECT firehose_put_record('bare', repeat('x', 1024000)) > 0;
SELECT firehose_put_record('bare', repeat('x', 1024001));
SELECT firehose_put_record('s', repeat('x', 1023999)) > 0;
SELECT firehose_put_record('s', repeat('x', 1023999) || E'\n') > 0;
SELECT firehose_put_record('s', repeat('x', 1024000));
SELECT firehose_put_record('s', convert_to(repeat('x', 1024000), 'UTF8')) > 0;
SELECT firehose_put_record('s', convert_to(repeat('x', 1024001), 'UTF8'));
SELECT firehose_put_record('bare', repeat('ü', 512001));
-- the queue of this server has 32 MB, of which one transaction can have a half
SELECT firehose_put_batch('bare', array_agg(repeat('x', 1024000))) FROM generate_series(1, 17);
-- over all of its streams
BEGIN;
SELECT count(firehose_put_record('bare', repeat('x', 1024000))) FROM generate_series(1, 10);
SELECT count(firehose_put_record('s', repeat('x', 1000000))) FROM generate_series(1, 10);
ROLLBACK;
-- and one stream 16/21
SET firehose.max_transaction_size = '64MB';
SELECT firehose_put_batch('bare', array_agg(repeat('x', 1024000))) FROM generate_series(1, 25);
SET firehose.queue_timeout = 0;
BEGIN;
SELECT count(firehose_put_record('bare', repeat('x', 1024000))) FROM generate_series(1, 24);
ROLLBACK;
RESET firehose.queue_timeout;

-- transactions
\pset tuples_only off
DELETE FROM shown;
INSERT INTO shown SELECT name, coalesce(max(id), 0) FROM unnest('{s,bare,lines}'::text[]) name LEFT JOIN LATERAL queued_records(name) ON true GROUP BY name;
\pset tuples_only on
BEGIN;
SELECT firehose_put_record('s', 'rolled back') > 0;
SELECT firehose_put_record('s', 'not transactional', transactional => false) > 0;
SELECT new_records('s');
ROLLBACK;
SELECT new_records('s');
BEGIN;
SELECT firehose_put_record('s', '1') > 0;
SAVEPOINT a;
SELECT firehose_put_record('s', '2, undone') > 0;
SAVEPOINT b;
SELECT firehose_put_record('s', '3, undone') > 0;
RELEASE b;
ROLLBACK TO a;
SELECT firehose_put_record('s', '4') > 0;
SAVEPOINT c;
SELECT firehose_put_record('bare', '5, elsewhere') > 0;
SELECT firehose_put_record('s', (1 / 0)::text);
ROLLBACK TO c;
RELEASE c;
SELECT new_records('s');
COMMIT;
SELECT new_records('s');
SELECT new_records('bare');
DO $$
BEGIN
    PERFORM firehose_put_record('s', 'before');
    BEGIN
        PERFORM firehose_put_record('s', 'in the block, undone');
        RAISE 'oops';
    EXCEPTION WHEN OTHERS THEN
        PERFORM firehose_put_record('s', 'in the handler');
    END;
    COMMIT;
    PERFORM firehose_put_record('s', 'undone');
    ROLLBACK;
    PERFORM firehose_put_record('s', 'after');
END $$;
SELECT new_records('s');
-- deferred triggers come before the end
CREATE TABLE deferred (a int);
CREATE FUNCTION put_it() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM firehose_put_record('s', 'deferred ' || new.a); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION put_it();
BEGIN;
INSERT INTO deferred VALUES (1);
SELECT firehose_put_record('s', 'first') > 0;
COMMIT;
SELECT new_records('s');
-- two phases: not with records that wait for the commit
BEGIN;
SELECT firehose_put_record('s', 'a') > 0;
PREPARE TRANSACTION 'p';
BEGIN;
SELECT firehose_put_record('s', 'at once', false) > 0;
SAVEPOINT a;
SELECT firehose_put_record('s', 'undone') > 0;
ROLLBACK TO a;
PREPARE TRANSACTION 'p';
COMMIT PREPARED 'p';
SELECT new_records('s');
-- a read-only transaction can put: that changes nothing in the database
BEGIN READ ONLY;
SELECT firehose_put_record('s', 'read only') > 0;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT firehose_put_record('s', 'serializable') > 0;
COMMIT;
SELECT new_records('s');
-- never in parallel
SELECT DISTINCT provolatile, proparallel FROM pg_proc WHERE proname LIKE 'firehose\_put%';
CREATE TABLE many AS SELECT generate_series(1, 1000) a;
CREATE FUNCTION pretend(text) RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$ SELECT firehose_put_record('s', $1) $$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode');
SELECT count(firehose_put_record('s', 'leader')) FROM many WHERE a < 3;
\set VERBOSITY terse
SELECT count(pretend('worker')) FROM many WHERE a < 3;
\set VERBOSITY default
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode');
SELECT new_records('s');

-- a full queue: error, discard, or wait for firehose.queue_timeout
CREATE SERVER fill FOREIGN DATA WRAPPER firehose OPTIONS (on_full 'discard', delimiter 'none');
CREATE SERVER strict FOREIGN DATA WRAPPER firehose OPTIONS (on_full 'error');
CREATE SERVER patient FOREIGN DATA WRAPPER firehose OPTIONS (on_full 'wait');
SELECT count(firehose_put_record('fill', repeat('x', 200000))) BETWEEN 1 AND 199 FROM generate_series(1, 200);
SELECT firehose_put_batch('fill', array_fill(repeat('x', 1000000), ARRAY[2])) IS NULL, firehose_put_record('fill', repeat('x', 900000)) IS NULL;
SELECT discarded > 5, state <> 'disabled' FROM firehose_stat_stream WHERE stream = 'fill';
SELECT firehose_put_batch('strict', array_fill(repeat('x', 1000000), ARRAY[8]));
SELECT firehose_put_batch('strict', array_fill(repeat('x', 1000000), ARRAY[8]), false);
SET firehose.queue_timeout = '20ms';
SELECT firehose_put_batch('patient', array_fill(repeat('x', 1000000), ARRAY[8]));
SET firehose.queue_timeout = '60s';
SET statement_timeout = '50ms';
SELECT firehose_put_batch('patient', array_fill(repeat('x', 1000000), ARRAY[8]));
RESET statement_timeout;
RESET firehose.queue_timeout;
SELECT waiters FROM firehose_stat_queue;
-- a small one still fits: each stream has a few pages of its own
SELECT firehose_put_record('strict', 'small') > 0, firehose_put_record('patient', 'small') > 0;

DROP TABLE deferred, many, shown;
DROP FUNCTION put_it(), pretend(text), new_records(text), queued_records(text), format_event, format_row, checked_row;
DROP EXTENSION firehose CASCADE;
