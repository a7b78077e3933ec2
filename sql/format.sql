-- The format `json` and the encoders of values: what every type looks like,
-- that it looks the same from Datums (triggers) and from text (pgoutput), and
-- that no setting of the session changes a byte.
CREATE DATABASE regress_utf8 TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_utf8
\getenv srcdir PG_ABS_SRCDIR
\set functions :srcdir '/test/modules/firehose_format_test/functions.sql'
\set ECHO none
\i :functions
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "happy"');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE TYPE pair AS (a integer, "b ""q""" text, dropped integer, at timestamptz);
ALTER TYPE pair DROP ATTRIBUTE dropped;
CREATE TYPE nested AS (p pair, ps pair[], d date);
CREATE DOMAIN dpair AS pair;
CREATE TYPE floatrange AS RANGE (subtype = float8);

-- numbers
CREATE TABLE numbers (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, b bool, o oid, m money);
INSERT INTO numbers VALUES
    (0, 0, 0, 0, 0, 0, true, 0, 0),
    (-32768, -2147483648, -9223372036854775808, -3.4e38, -1.7976931348623157e308, -0.00000000012, false, 4294967295, -1234.56),
    (32767, 2147483647, 9223372036854775807, 1e-45, 5e-324, 1e100, true, 1, 92233720368547758.07),
    (1, 1, 1, 0.1, 0.1, 10.50, true, 1, 1),
    (1, 1, 1, 'NaN', 'NaN', 'NaN', NULL, NULL, NULL),
    (1, 1, 1, 'Infinity', '-Infinity', 'Infinity', NULL, NULL, NULL),
    (1, 1, 1, '-Infinity', 'Infinity', '-Infinity', NULL, NULL, NULL),
    (NULL, NULL, NULL, '-0', '-0', 123456789012345678901234567890.123456789, NULL, NULL, NULL);
SELECT checked_row(z) FROM numbers z;
SELECT checked_row(z, numerics => 1) FROM numbers z;

-- time
CREATE TABLE times (d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval);
INSERT INTO times VALUES
    ('2026-11-21', '22:34:01.5', '22:34:01+05:30', '2026-11-21 22:34:01.659569', '2026-11-21 22:34:01.659569+00', '1 year 2 mons -3 days 04:05:06.789'),
    ('2026-11-21', '00:00', '24:00:00-08', '2026-11-21 22:34:01', '2026-11-21 22:34:01.10+02', '-1 day'),
    ('0044-03-15 BC', '00:00', '00:00+00', '0044-03-15 12:00:00.25 BC', '0044-03-15 12:00:00 BC+00', '0'),
    ('0001-01-01', '00:00', '00:00+00', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '178000000 years'),
    ('5874897-12-31', '00:00', '00:00+00', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-178000000 years'),
    ('4713-01-01 BC', '00:00', '00:00+00', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00 BC+00', '1 microsecond'),
    ('infinity', '00:00', '00:00+00', 'infinity', 'infinity', '1 day'),
    ('-infinity', '00:00', '00:00+00', '-infinity', '-infinity', '1 day'),
    ('1969-12-31', '00:00', '00:00+00', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.9995+00', '1 day');
SELECT checked_row(z) FROM times z;
SELECT checked_row(z, timestamps => 1) FROM times z;
SELECT checked_row(z, timestamps => 2) FROM times z;
SELECT checked_row(z, timestamps => 3) FROM times z;

-- PostgreSQL reads them back as what they were
SELECT count(*), bool_and(r.ts = z.ts AND r.tstz = z.tstz AND r.d = z.d AND r.i = z.i)
FROM times z, json_populate_record(NULL::times, checked_row(z)::json) r;

-- text
CREATE TABLE texts (t text, v varchar(30), c char(5), n name, ch "char");
INSERT INTO texts VALUES
    ('', '', '', '', ''),
    ('plain', 'seven77', 'ab', 'name', 'x'),
    (E'q"b\\s/\b\f\n\r\t\x01\x1f\x7f', E'\n', E'"', '"', '"'),
    (E'1234567"1234567\\12345678\n', E'12345678"', 'x', 'x', 'x'),
    (U&'\00E4\20AC\+01F600\+10FFFF\E000', U&'\00FC\2028', U&'\00FC', U&'\00FC', E'\\303');
SELECT checked_row(z) FROM texts z;
SELECT count(*), bool_and(r.t = z.t AND r.v = z.v)
FROM texts z, json_populate_record(NULL::texts, checked_row(z)::json) r;
-- every special byte at every place of a word
SELECT count(*), bool_and(checked_row(r)::json->>'f1' = r.f1)
FROM (SELECT repeat('x', i) || chr(c) || repeat('y', j) AS f1
      FROM generate_series(0, 17) i, generate_series(0, 9) j, generate_series(1, 128) c) r;

-- bytes and JSON
CREATE TABLE blobs (b bytea, j json, jb jsonb);
INSERT INTO blobs VALUES
    ('', '1', '1'),
    ('\x00', E'{"a" :\r\n\t[1, 2.50,"x\\ny"],\n"a":null}', '{"a": [1, 2.50, "x\ny", {"b": null}], "": "\u00e4\""}'),
    ('\x0001ff', '"s"', '"s"'),
    (decode(repeat('00ff10', 1000), 'hex'), 'null', 'null'),
    (decode(repeat('00ff10', 300) || 'ab', 'hex'), ' [] ', '[]');
SELECT left(checked_row(z), 200) FROM blobs z;
SELECT left(checked_row(z, json_columns => 1), 120) FROM blobs z WHERE length(b) < 100;
SELECT bool_and(decode(checked_row(z)::json->>'b', 'base64') = b) FROM blobs z;
-- every remainder of the pieces that bytes are encoded in
SELECT count(*), bool_and(decode(checked_row(z)::json->>'b', 'base64') = z.b)
FROM (SELECT decode(repeat('00ff1b', n / 3) || left('a5c3', 2 * (n % 3)), 'hex') AS b
      FROM generate_series(0, 3) m, generate_series(GREATEST(0, 768 * m - 4), 768 * m + 4) n) z;

-- arrays
CREATE TABLE arrays (i int[], t text[], ts timestamptz[], by bytea[], b box[], d positives, m mood[], j jsonb[], v int2vector, f float8[]);
INSERT INTO arrays VALUES
    ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '', '{}'),
    ('{1,NULL,3}', '{"","NULL",NULL,null,"a,b","{c}","q\"b\\s"," x ",é}', '{"2026-01-01 00:00+00",infinity,NULL}', '{"\\x00ff",NULL}',
     '{(1,2),(3,4);(5,6),(7,8)}', '{1,2}', '{sad,"very \"happy\""}', array['{"a": [1, "x,}"]}'::jsonb, '[1]'], '1 2 3', '{1.5,NaN,-Infinity}'),
    ('{{{1,2},{3,4}},{{5,6},{7,NULL}}}', '[0:1]={a,b}', '{{"2026-01-01 00:00+00","0044-03-15 12:00:00 BC+00"}}', '{{"\\x"}}', NULL, '[3:3]={7}', '{}', NULL, NULL, '{1e300,1e-7}');
SELECT checked_row(z) FROM arrays z;

-- composites
CREATE TABLE composites (p pair, n nested, dp dpair, ps pair[]);
INSERT INTO composites VALUES
    (NULL, NULL, NULL, NULL),
    ((1, 'x', '2026-01-01 00:00+00'), ((NULL, NULL, NULL), '{}', NULL), (1, '', NULL), '{}'),
    ((NULL, E'a,"b"\\)\n(', NULL), ((1, ' ', '0044-03-15 12:00:00 BC+00'), array[(2, '"', NULL)::pair, NULL, (3, NULL, 'infinity')::pair], '2026-01-01'),
     (-1, 'NULL', NULL), array[(1, '{"x"}', NULL)::pair]);
SELECT checked_row(z) FROM composites z;
ALTER TYPE pair ADD ATTRIBUTE later int;
SELECT checked_row(z) FROM composites z;

-- everything else
CREATE FUNCTION some_function(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE TABLE others (m mood, p positive, u uuid, ip inet, c cidr, mac macaddr, mac8 macaddr8, bt bit(3), vb varbit, r int4range, tr tstzrange, nr numrange,
    dr daterange, mr tsmultirange, fr floatrange, pt point, ln line, ci circle, po polygon, tv tsvector, tq tsquery, x xml, rc regclass, rt regtype, rp regprocedure,
    lsn pg_lsn, jp jsonpath, ta tid);
INSERT INTO others VALUES ('very "happy"', 7, '00000000-0000-0000-0000-0000000000ff', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
    '101', '1', '[1,5)', '[2026-01-01 00:00+00,infinity)', '(1.5,)', '[2026-01-01,2026-02-01)', '{[2026-01-01,2026-02-01),[2027-01-01,)}', '[0.1,0.3)', '(0.1,0.2)', '{1,2,0.1}', '<(0.1,0.2),0.3>', '((0.1,0),(1,1))',
    '''a'':1 b:2', 'a & b', '<a>"x"</a>', 'others', 'mood', 'some_function(integer)', '1/A', '$."a"[*]', '(1,2)');
SELECT checked_row(z) FROM others z;

-- not a byte depends on the session
CREATE TABLE before AS
    SELECT 'numbers' AS t, checked_row(z) AS r FROM numbers z UNION ALL SELECT 'times', checked_row(z) FROM times z
    UNION ALL SELECT 'blobs', checked_row(z) FROM blobs z UNION ALL SELECT 'arrays', checked_row(z) FROM arrays z
    UNION ALL SELECT 'composites', checked_row(z) FROM composites z UNION ALL SELECT 'others', checked_row(z) FROM others z;
CREATE FUNCTION differences() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT r FROM (
        (SELECT 'numbers' AS t, public.checked_row(z) AS r FROM public.numbers z UNION ALL SELECT 'times', public.checked_row(z) FROM public.times z
        UNION ALL SELECT 'blobs', public.checked_row(z) FROM public.blobs z UNION ALL SELECT 'arrays', public.checked_row(z) FROM public.arrays z
        UNION ALL SELECT 'composites', public.checked_row(z) FROM public.composites z UNION ALL SELECT 'others', public.checked_row(z) FROM public.others z)
        EXCEPT ALL SELECT t, r FROM public.before) d
$$;
SELECT count(*) FROM before;
SET datestyle = 'German, DMY';
SET intervalstyle = 'sql_standard';
SET timezone = 'Asia/Kathmandu';
SET extra_float_digits = -10;
SET bytea_output = 'escape';
SET quote_all_identifiers = on;
SELECT public.differences();
SET datestyle = 'SQL, MDY';
SET intervalstyle = 'iso_8601';
SET timezone = 'America/St_Johns';
SET extra_float_digits = 0;
SELECT public.differences();
SET datestyle = 'Postgres, YMD';
SET intervalstyle = 'postgres_verbose';
SELECT public.differences();
SHOW datestyle;
SHOW extra_float_digits;
RESET ALL;

-- events
CREATE TABLE orders (id int, "to""tal" numeric, big text, at timestamptz);
INSERT INTO orders VALUES (1, 10.50, 'b', '2026-01-01 00:00+00');
SELECT convert_from(format_event(z, key => '{id}'), 'UTF8') FROM orders z;
SELECT convert_from(format_event(z, identity => 'trigger'), 'UTF8') FROM orders z;
SELECT convert_from(format_event(z, identity => 'none', op => 'r'), 'UTF8') FROM orders z;
-- update, key unchanged, nothing known of the old row
SELECT convert_from(format_event(z, op => 'u', key => '{id}', input => 'text', unchanged => '{big}'), 'UTF8') FROM orders z;
-- the old key
SELECT convert_from(format_event(z, z, op => 'u', key => '{id}', old_is_key => true, unchanged => '{big,at}'), 'UTF8') FROM orders z;
-- a key column that was left out is what it was
SELECT convert_from(format_event(z, z, op => 'u', key => '{id,big}', old_is_key => true, unchanged => '{big}'), 'UTF8') FROM orders z;
-- the whole old row has what the WAL left out
SELECT convert_from(format_event(z, z, op => 'u', key => '{id}', unchanged => '{big}'), 'UTF8') FROM orders z;
SELECT convert_from(format_event(NULL::orders, z, op => 'd', key => '{id}', old_is_key => true), 'UTF8') FROM orders z;
SELECT convert_from(format_event(NULL::orders, z, op => 'd'), 'UTF8') FROM orders z;
SELECT convert_from(format_event(NULL::record, op => 'm'), 'UTF8');
SELECT convert_from(format_event(z, op => 't'), 'UTF8') FROM orders z;

-- flat
CREATE TABLE lake (id int, total numeric, doc jsonb, at timestamptz);
CREATE FUNCTION flat(new_row lake, old_row lake DEFAULT NULL, op text DEFAULT 'c', key text[] DEFAULT '{id}', old_is_key boolean DEFAULT false,
    unchanged text[] DEFAULT '{}', part integer DEFAULT 0, metadata integer DEFAULT 0, omit_unchanged boolean DEFAULT false, identity text DEFAULT 'wal',
    input text DEFAULT 'text')
RETURNS text LANGUAGE sql AS $$
    SELECT convert_from(format_event(new_row, old_row, op, input, key, old_is_key, unchanged, identity, 'flat', 1, 1, 1, part, metadata, omit_unchanged), 'UTF8')
$$;
INSERT INTO lake VALUES (1, 'NaN', '{"a": "b"}', '2026-01-01 00:00+00'), (2, 1.50, NULL, 'infinity');
SELECT flat(z) FROM lake z;
SELECT flat(z, metadata => 1) FROM lake z;
SELECT flat(z, metadata => 2) FROM lake z;
SELECT flat(z, identity => 'trigger') FROM lake z LIMIT 1;
SELECT flat(z, op => 'u') FROM lake z LIMIT 1;
SELECT flat(NULL::lake, z, op => 'd', old_is_key => true) FROM lake z LIMIT 1;
SELECT flat(NULL::lake, z, op => 'd') FROM lake z LIMIT 1;
SELECT flat(z, op => 'u', unchanged => '{doc}') FROM lake z LIMIT 1;
SELECT flat(z, op => 'u', unchanged => '{doc}', omit_unchanged => true) FROM lake z LIMIT 1;
SELECT flat(z, z, op => 'u', unchanged => '{doc}') FROM lake z LIMIT 1;
-- a change of the key is a delete and an insert
SELECT flat(y, z, op => 'u', old_is_key => true, part => p, input => i)
FROM lake y, lake z, generate_series(0, 1) p, unnest('{text,datum}'::text[]) i WHERE y.id = 2 AND z.id = 1 ORDER BY i, p;
SELECT flat(z, op => 't'), flat(z, op => 'r') FROM lake z LIMIT 1;
SELECT convert_from(format_event(NULL::record, op => 'm', format => 'flat'), 'UTF8');

CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
SELECT checked_row(z) FROM no_columns z;
SELECT convert_from(format_event(z, format => 'flat'), 'UTF8') FROM no_columns z;

-- a database that is not UTF8: records are, all the same
CREATE DATABASE regress_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
\c regress_latin1
\set ECHO none
\i :functions
\set ECHO all
CREATE TABLE "späti" ("schlüssel" text, j json, jb jsonb, ar text[], v varchar, c char(3), n name);
INSERT INTO "späti" VALUES ('äöü"ß', '{"ä": "\n"}', '{"ö": 1}', '{ü,a,"ä,"}', 'plain', 'é', 'ñ');
SELECT convert_from(format_row(z), 'UTF8'), format_row(z) = format_row(z, 'text') FROM "späti" z;
-- one whose meaning is unknown: UTF-8 passes, anything else is an error
CREATE DATABASE regress_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C';
\c regress_ascii
\set ECHO none
\i :functions
\set ECHO all
CREATE TABLE bytes (a text);
INSERT INTO bytes VALUES ('ä');
SELECT format_row(z) FROM bytes z;
INSERT INTO bytes VALUES (E'\xe4');
SELECT format_row(z) FROM bytes z;
\c regression
DROP DATABASE regress_latin1;
DROP DATABASE regress_ascii;
DROP DATABASE regress_utf8;
