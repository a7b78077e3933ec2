-- The formats of other tools by themselves: `debezium`, `dms` and `wal2json`, of
-- every operation and type, the same from Datums (triggers, copies) and from
-- text (pgoutput).  The source of each form is named in src/format.
\getenv srcdir PG_ABS_SRCDIR
CREATE DATABASE regress_tools TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_tools
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
\pset format unaligned
\pset tuples_only on
SET client_encoding = 'UTF8';

CREATE FUNCTION event(new_row anyelement, old_row anyelement DEFAULT NULL, op text DEFAULT 'c', format text DEFAULT 'debezium',
    key text[] DEFAULT '{id}', old_is_key boolean DEFAULT false, unchanged text[] DEFAULT '{}', identity text DEFAULT 'wal',
    timestamps integer DEFAULT NULL, numerics integer DEFAULT NULL, part integer DEFAULT 0, metadata integer DEFAULT 0)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a bytea;
    b bytea;
    t integer := coalesce(timestamps, CASE format WHEN 'debezium' THEN 1 ELSE 0 END);
    n integer := coalesce(numerics, CASE format WHEN 'dms' THEN 1 ELSE 0 END);
BEGIN
    a := format_event(new_row, old_row, op, 'datum', key, old_is_key, unchanged, identity, format, t, n, 1, part, metadata);
    b := format_event(new_row, old_row, op, 'text', key, old_is_key, unchanged, identity, format, t, n, 1, part, metadata);
    IF a <> b THEN
        RAISE 'datum and text differ' USING DETAIL = convert_from(a, 'UTF8') || E'\n' || convert_from(b, 'UTF8');
    END IF;
    IF convert_from(a, 'UTF8') !~ '^(nothing|.* \(1 of 2\))$' THEN
        PERFORM convert_from(a, 'UTF8')::json;
    END IF;
    RETURN regexp_replace(convert_from(a, 'UTF8'), '"version":"[^"]*"', '"version":"V"');
END $$;
-- one row before or after the change
CREATE FUNCTION image(new_row anyelement, format text DEFAULT 'debezium', timestamps integer DEFAULT NULL, numerics integer DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT (event(new_row, NULL, 'c', format, timestamps => timestamps, numerics => numerics)::json)
        -> CASE format WHEN 'debezium' THEN 'after' WHEN 'dms' THEN 'data' ELSE 'columns' END $$;

-- operations
CREATE TABLE orders (id integer PRIMARY KEY, total numeric(10,2), note varchar(20) NOT NULL, big bytea);
CREATE FUNCTION o(id integer, total numeric, big bytea DEFAULT NULL) RETURNS orders LANGUAGE sql AS
    $$ SELECT ROW($1, $2, 'a "b"', $3)::orders $$;

SELECT event(o(1, 10.50, '\x00ff'), format => format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(1, 10.50, '\x00ff'), op => 'r', format => format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
-- an update without an old row, with the whole one, and with values that the WAL left out
SELECT event(o(1, 11), op => 'u', format => format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(1, 11), o(1, 10.50, '\x00ff'), 'u', format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(1, 11), NULL, 'u', format, unchanged => '{big,note}') FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(1, 11), o(1, 10.50, '\x00ff'), 'u', format, unchanged => '{big,note}') FROM unnest('{debezium,dms}'::text[]) format;
-- a change of the key, which debezium makes a delete and an insert of
SELECT event(o(2, 11), o(1, 10.50), 'u', format, old_is_key => true) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(2, 11), o(1, 10.50), 'u', old_is_key => true, part => 1);
-- deletes: of the key alone, of the whole row
SELECT event(NULL::orders, o(1, 10.50), 'd', format, old_is_key => true) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(NULL::orders, o(1, 10.50), 'd', format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(NULL::orders, o(1, 10.50), 't', 'dms');
SELECT event(NULL::orders, op => 'm', format => format) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
-- of a trigger, and without what tells where a change comes from
SELECT event(o(1, 11), o(1, 10.50), 'u', format, identity => 'trigger') FROM unnest('{debezium,dms,wal2json}'::text[]) format;
SELECT event(o(1, 11), op => 'u', format => format, metadata => 2) FROM unnest('{debezium,dms,wal2json}'::text[]) format;
-- a description of the table
SELECT event(o(1, 11), op => 's', format => format, metadata => 3) FROM unnest('{debezium,dms,wal2json,json}'::text[]) format;

-- types
CREATE EXTENSION hstore;
CREATE TYPE mood AS ENUM ('sad', 'very "happy"');
CREATE TYPE pair AS (a integer, at timestamptz);
CREATE DOMAIN stamp AS timestamp(3);
CREATE TABLE times (d date, t time, t3 time(3), tz timetz, ts timestamp, ts3 timestamp(3), ts0 timestamp(0), st stamp, tstz timestamptz,
    tstz3 timestamptz(3), tstz0 timestamptz(0), i interval, tss timestamp(3)[]);
INSERT INTO times VALUES
    ('2026-11-21', '22:34:01.5', '22:34:01.5', '22:34:01.50+05:30', '2026-11-21 22:34:01.659569', '2026-11-21 22:34:01.659', '2026-11-21 22:34:01', '2026-11-21 22:34:01.659',
     '2026-11-21 22:34:01.659569+00', '2026-11-21 22:34:01.659+00', '2026-11-21 22:34:01+00', '1 year 2 mons -3 days 04:05:06.789', '{"2026-11-21 22:34:01.659",NULL}'),
    ('1969-12-31', '24:00', '24:00', '24:00:00-08', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59', '1969-12-31 23:59:59.999',
     '1969-12-31 23:59:59.9+00', '1969-12-31 23:59:59.9+00', '1969-12-31 23:59:59+00', '-1 day', '{}'),
    ('0044-03-15 BC', '00:00', '00:00', '00:00+00', '0044-03-15 12:00:00.25 BC', '0044-03-15 12:00:00.25 BC', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00 BC',
     '0044-03-15 12:00:00 BC+00', '0044-03-15 12:00:00 BC+00', '12345-03-15 12:00:00+00', '0', NULL),
    ('infinity', '00:00', '00:00', '00:00+00', 'infinity', '-infinity', '-infinity', 'infinity', 'infinity', '-infinity', 'infinity', '178000000 years', '{infinity}');
SELECT image(z) FROM times z;
SELECT image(z, timestamps => 2) FROM times z;
SELECT image(z, 'dms') FROM times z;

CREATE TABLE numbers (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(10,2), b bool, o oid, m money, b1 bit, b3 bit(3), b12 bit(12), vb varbit, pt point);
INSERT INTO numbers VALUES
    (-32768, -2147483648, -9223372036854775808, 0.1, 5e-324, 123456789012345678901234567890.123456789, 10.50, true, 4294967295, '-1234.56', '1', '101', '100000000001', '0', '(1.5,-2)'),
    (0, 0, 0, 'NaN', 'Infinity', 'NaN', 'NaN', false, 0, '92233720368547758.07', '0', '000', '000000000000', '', '(NaN,Infinity)'),
    (1, 1, 1, '-Infinity', '-Infinity', 'Infinity', 0, NULL, 1, 0, NULL, NULL, NULL, '11111111111111111', '(0,0)'),
    (NULL, NULL, NULL, NULL, NULL, '-Infinity', -0.01, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT image(z) FROM numbers z;
SELECT image(z, numerics => 1) FROM numbers z;
SELECT image(z, 'dms') FROM numbers z;
-- Debezium reads bits from the end: 1000_0000_0001 is bytes 01 08
SELECT encode(decode(image(z)::json->>'b12', 'base64'), 'hex') FROM numbers z LIMIT 1;
SELECT encode(decode(image(z)::json->'pt'->>'wkb', 'base64'), 'hex') FROM numbers z LIMIT 1;

-- decimal.handling.mode precise: an integer and a scale
SELECT image(z, numerics => 2) FROM numbers z;
CREATE FUNCTION unscaled(base64 text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    bytes bytea := decode(base64, 'base64');
    result numeric := CASE WHEN get_byte(bytes, 0) >= 128 THEN -1 ELSE 0 END;
BEGIN
    IF length(bytes) > 1 AND (get_byte(bytes, 0), get_byte(bytes, 1) >= 128) IN ((0, false), (255, true)) THEN
        RAISE 'not the fewest bytes: %', bytes;
    END IF;
    FOR i IN 0 .. length(bytes) - 1 LOOP
        result := result * 256 + get_byte(bytes, i);
    END LOOP;
    RETURN result;
END $$;
CREATE TABLE decimals (n numeric, f numeric(60,10), i numeric(50), large numeric(5,-2), a numeric(8,3)[]);
INSERT INTO decimals
SELECT s * v, round(s * v / 1e5, 10), round(s * v), 100 * s * (v % 1000), array[s * (v % 10000) / 1000, NULL]
FROM unnest('{1,-1}'::numeric[]) s, (SELECT 0 UNION SELECT 2::numeric ^ i + d FROM generate_series(0, 131) i, unnest('{-1,0,1}'::integer[]) d
    UNION SELECT 10::numeric ^ i / 1e10 FROM generate_series(0, 40) i) AS v(v);
SELECT count(*), bool_and(unscaled(j->'n'->>'value') = n * 10::numeric ^ (j->'n'->>'scale')::integer AND (j->'n'->>'scale')::integer = min_scale(n)
    AND unscaled(j->>'f') = f * 1e10 AND unscaled(j->>'i') = i AND unscaled(j->>'large') * 100 = large AND unscaled(j->'a'->>0) = a[1] * 1000)
FROM (SELECT z.*, image(z, numerics => 2)::json AS j FROM decimals z) z;
SELECT image(z, numerics => 2)::json->'n' FROM decimals z WHERE n IN (0, 127, 128, -128, -129, 255) ORDER BY n, f LIMIT 6;

CREATE TABLE others (t text, c char(5), v varchar(3), j json, jb jsonb, u uuid, by bytea, ip inet, r int4range, m mood, h hstore, hs hstore[], x xml,
    a int[], aa int[], ta text[], p pair, ps pair[], bx box, tv tsvector, lsn pg_lsn, am money[], ab bit(3)[]);
INSERT INTO others VALUES
    (E'q"b\\s\n\x01', 'ab', 'ü', '{"a" : 1}', '{"a": "x\"y"}', '00000000-0000-0000-0000-0000000000ff', '\x00ff', '10.0.0.1/8', '[1,5)', 'very "happy"',
     'a=>1, "q\"k\\"=>"ü, \"v\" => x", n=>NULL, e=>""', array['a=>"1"'::hstore, ''], '<a>"x"</a>', '{1,NULL}', '{{1,2},{3,4}}', '{"a,b","NULL",NULL}',
     (1, '2026-01-01 00:00+00'), array[(1, NULL)::pair], '(1,2),(3,4)', $$'a':1 b:2$$, '1/A', '{1.50,NULL}', '{101}'),
    ('', '', '', 'null', '[]', NULL, '', NULL, 'empty', NULL, '', '{}', NULL, '{}', NULL, '{}', NULL, '{}', NULL, '', NULL, NULL, NULL);
SELECT image(z) FROM others z;
SELECT image(z, 'dms') FROM others z;
SELECT image(z, 'wal2json') FROM others z LIMIT 1;
SELECT image(z)::json->>'h' FROM others z LIMIT 1;
-- what the WAL left out, by type
SELECT event(z, op => 'u', unchanged => '{t,by,a,ta,h,jb,hs,am,ab,u,tv}', key => '{}')::json->'after' FROM others z OFFSET 1;
SELECT event(z, op => 'u', format => 'dms', unchanged => '{t,by,a,ta,h,jb}', key => '{}')::json->'data' FROM others z OFFSET 1;
SELECT event(z, op => 's', format => 'dms', key => '{}')::json->'control' FROM others z OFFSET 1;
CREATE DOMAIN price AS numeric(10,2);
CREATE DOMAIN code AS varchar(7);
CREATE TABLE of_domains (p price, c code);
INSERT INTO of_domains VALUES (1, 'a');
SELECT event(z, op => 's', format => 'dms', key => '{}')::json->'control' FROM of_domains z;

-- not a byte depends on the session
CREATE TABLE before AS SELECT image(z) AS a, image(y) AS b, image(w, 'dms') AS d, event(w, format => 'wal2json', key => '{}') AS c FROM times z, numbers y, others w;
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -15; SET bytea_output = escape;
SET quote_all_identifiers = on;
SELECT count(*) FROM (SELECT image(z) AS a, image(y) AS b, image(w, 'dms') AS d, event(w, format => 'wal2json', key => '{}') AS c FROM times z, numbers y, others w
    EXCEPT SELECT * FROM before) changed;

-- a database that is not UTF8
CREATE DATABASE regress_tools_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
\c regress_tools_latin1
\set ECHO none
\i :functions
\set ECHO all
SET client_encoding = 'UTF8';
CREATE EXTENSION hstore;
CREATE TABLE "späti" ("schlüssel" text PRIMARY KEY, h hstore, b bytea);
INSERT INTO "späti" VALUES ('äöü"ß', 'ä=>ö', '\xe4');
SELECT convert_from(format_event(z, format => f, input => i, key => '{schlüssel}', timestamps => 1), 'UTF8') ~ 'ä.*ö'
FROM "späti" z, unnest('{debezium,dms,wal2json}'::text[]) f, unnest('{datum,text}'::text[]) i ORDER BY f, i;
\c regression
DROP DATABASE regress_tools_latin1;
DROP DATABASE regress_tools;
