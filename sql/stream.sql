-- Streams as foreign servers: every option with its bounds, what is refused
-- and how, and who may use, see and change a stream.
CREATE EXTENSION firehose;
SET client_min_messages = warning;

-- the options that there are
SELECT option, type, unit, min_value, max_value, default_setting, default_value
FROM firehose_stream_options;

-- each at its bounds, and beyond them; NULL bounds mean a setting
CREATE FUNCTION try_option(option text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    EXECUTE format('CREATE SERVER try FOREIGN DATA WRAPPER firehose OPTIONS (%I %L)', option, value);
    DROP SERVER try;
    RETURN 'good';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', SQLSTATE || ': ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT option, try_option(option, min_value) AS smallest, try_option(option, max_value) AS largest
FROM firehose_stream_options WHERE type = 'integer';
\pset format unaligned
\pset tuples_only on
SELECT try_option(option, (min_value::bigint - 1)::text) FROM firehose_stream_options WHERE type = 'integer';
SELECT try_option(option, (max_value::bigint + 1)::text) FROM firehose_stream_options WHERE type = 'integer';
SELECT try_option(option, value)
FROM (VALUES ('max_in_flight', ''), ('max_in_flight', 'four'), ('max_in_flight', '1e1'), ('max_in_flight', '4 MB'),
             ('linger', '1min'), ('linger', '61s'), ('linger', '-1'), ('linger', '5 parsecs'),
             ('request_timeout', '1.5s'), ('max_batch_bytes', '4MB'), ('max_batch_bytes', '4097kB'),
             ('bytes_per_second', '1MB')) v (option, value);
SELECT option || ' ' || value || ': ' || try_option(option, value)
FROM (VALUES ('delimiter', 'newline'), ('delimiter', 'NONE'), ('delimiter', 'default'), ('delimiter', 'crlf'), ('delimiter', ''),
             ('on_full', 'wait'), ('on_full', 'error'), ('on_full', 'discard'), ('on_full', 'panic'),
             ('status', 'all'), ('status', 'failed'), ('status', 'none'), ('status', 'some'),
             ('enabled', 'on'), ('enabled', '0'), ('enabled', 'perhaps')) v (option, value);
-- names of streams and regions
SELECT try_option('stream_name', value)
FROM unnest(ARRAY['a', repeat('a', 64), 'A-z_0.9', repeat('a', 65), '', 'a b', 'ünï', 'a"b', 'a/b', E'a\nb', '"; DROP TABLE t; --']) value;
SELECT try_option('region', value)
FROM unnest(ARRAY['eu-west-1', 'cn-north-1', repeat('a', 63), repeat('a', 64), '', 'EU-WEST-1', 'eu west', 'eu-west-1.evil.example', 'eu-west-1/', E'eu-west-1\r\nX-Evil: 1']) value;
-- endpoints: https or http, nothing but a host and a port; which of them may be used is asked when they are
SELECT value || ': ' || try_option('endpoint_url', value)
FROM unnest(ARRAY['https://example.com', 'https://example.com:8443/', 'HTTPS://EXAMPLE.COM', 'https://192.0.2.1', 'https://[2001:db8::1]:443',
    'http://localhost', 'http://127.0.0.1:7400', 'http://127.9.9.9/', 'http://[::1]:80',
    'http://example.com', 'http://127.0.0.1.example.com', 'http://10.0.0.1', 'http://0.0.0.0', 'http://localhost.example.com', 'http://[::2]',
    'https://user@example.com', 'https://user:secret@example.com', 'https://example.com@evil.example', 'http://127.0.0.1:80@evil.example',
    'https://example.com/path', 'https://example.com?q', 'https://example.com#f', 'https://example.com:0', 'https://example.com:65536', 'https://example.com:https', 'https://example.com:',
    'https://', 'https:///', 'https://-a.example', 'https://a..b', 'https://127.1', 'https://0x7f000001', 'https://exämple.com', 'https://exa mple.com', 'https://[::1', 'https://[1.2.3.4]',
    'file:///etc/passwd', 'gopher://127.0.0.1:70/', 'ftp://example.com', 'example.com', '//example.com', '']) value;
SELECT try_option('endpoint_url', value)
FROM unnest(ARRAY[E'https://example.com\r\nX-Evil: 1', E'https://example.com\n', E'\thttps://example.com', 'https://' || repeat('a.', 130) || 'com']) value;
-- unknown ones
SELECT try_option('colour', 'blue');
SELECT try_option('Region', 'eu-west-1');
SELECT try_option('firehose.region', 'eu-west-1');
SELECT try_option('access_key_id', 'AKIDEXAMPLE');
\pset format aligned
\pset tuples_only off

-- ALTER SERVER is checked alike, and as a whole
CREATE SERVER clicks TYPE 'Direct PUT' VERSION '1' FOREIGN DATA WRAPPER firehose OPTIONS (region 'eu-west-1', linger '10');
ALTER SERVER clicks OPTIONS (SET linger '20', ADD status 'failed', DROP region);
ALTER SERVER clicks OPTIONS (SET linger '-20');
ALTER SERVER clicks OPTIONS (ADD linger '30');
ALTER SERVER clicks OPTIONS (DROP region);
ALTER SERVER clicks OPTIONS (ADD pony 'yes');
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'clicks';

-- there are no options elsewhere: not for users, tables, columns or the wrapper
CREATE USER MAPPING FOR CURRENT_USER SERVER clicks;
ALTER USER MAPPING FOR CURRENT_USER SERVER clicks OPTIONS (ADD secret_access_key 'hush');
DROP USER MAPPING FOR CURRENT_USER SERVER clicks;
CREATE USER MAPPING FOR CURRENT_USER SERVER clicks OPTIONS (access_key_id 'AKIDEXAMPLE');
CREATE FOREIGN TABLE clicks_table (a int) SERVER clicks OPTIONS (region 'eu-west-1');
CREATE FOREIGN TABLE clicks_table (a int OPTIONS (name 'b')) SERVER clicks;
ALTER FOREIGN DATA WRAPPER firehose OPTIONS (region 'eu-west-1');
-- foreign tables are looked at by foreign_table.sql
CREATE FOREIGN TABLE clicks_table (a int) SERVER clicks;
SELECT * FROM clicks_table;
DROP FOREIGN TABLE clicks_table;
IMPORT FOREIGN SCHEMA public FROM SERVER clicks INTO public;

-- names are names: quoted where they are shown; the stream's own name has to be
-- told when Firehose would not take the server's
CREATE SERVER "Order ""items"", 2026" FOREIGN DATA WRAPPER firehose OPTIONS (stream_name 'order-items');
CREATE SERVER "größe" FOREIGN DATA WRAPPER firehose OPTIONS (stream_name 'size', enabled 'false');
SELECT firehose_put_record('Order "items", 2026', 'a') IS NOT NULL AS put;
SELECT firehose_put_record('größe', 'a');
SELECT firehose_put_record('Order "items"', 'a');
SELECT firehose_put_record('CLICKS', 'a');
SELECT firehose_put_record('clikcs', 'a');
SELECT firehose_put_record('', 'a');
SELECT firehose_put_record(repeat('x', 64), 'a');
SELECT firehose_put_record('clicks'' OR true --', 'a');
SELECT stream FROM firehose_stat_stream ORDER BY stream;

-- other servers are no streams
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
SELECT firehose_put_record('elsewhere', 'a');
SELECT firehose_flush('elsewhere', '0');
DROP FOREIGN DATA WRAPPER other CASCADE;

-- disabled and enabled again: at once, also in a session that knows the stream
SELECT firehose_put_record('clicks', 'a') IS NOT NULL AS put;
ALTER SERVER clicks OPTIONS (ADD enabled 'false');
SELECT firehose_put_record('clicks', 'a');
SELECT firehose_put_batch('clicks', ARRAY['a']);
ALTER SERVER clicks OPTIONS (SET enabled 'true');
SELECT firehose_put_record('clicks', 'a') IS NOT NULL AS put;
-- renamed, dropped, rolled back
ALTER SERVER clicks RENAME TO visits;
SELECT firehose_put_record('clicks', 'a');
SELECT firehose_put_record('visits', 'a') IS NOT NULL AS put;
BEGIN;
DROP SERVER visits CASCADE;
SAVEPOINT s;
SELECT firehose_put_record('visits', 'a');
ROLLBACK;
SELECT firehose_put_record('visits', 'a') IS NOT NULL AS put;
ALTER SERVER visits RENAME TO clicks;

-- privileges: USAGE on the wrapper to create, on the server to put, the
-- server's owner to change it
CREATE ROLE regress_owner;
CREATE ROLE "regress user";
CREATE ROLE regress_group;
SET ROLE regress_owner;
CREATE SERVER mine FOREIGN DATA WRAPPER firehose;
SELECT firehose_put_record('clicks', 'a');
ALTER SERVER clicks OPTIONS (SET linger '1');
DROP SERVER clicks;
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER firehose TO regress_owner;
SET ROLE regress_owner;
CREATE SERVER mine FOREIGN DATA WRAPPER firehose OPTIONS (region 'eu-west-1');
ALTER SERVER mine OPTIONS (SET region 'eu-central-1', endpoint_url 'https://example.com');
SELECT firehose_put_record('mine', 'a') IS NOT NULL AS put;
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a');
SELECT firehose_put_batch('mine', ARRAY['a']);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER mine TO "regress user";
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a') IS NOT NULL AS put;
SELECT firehose_put_record('mine', 'a') IS NOT NULL AS put;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER mine FROM "regress user";
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a');
RESET ROLE;
-- through a group
GRANT USAGE ON FOREIGN SERVER mine TO regress_group;
GRANT regress_group TO "regress user";
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a') IS NOT NULL AS put;
RESET ROLE;
REVOKE regress_group FROM "regress user";
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a');
RESET ROLE;
-- the owner changes, and with that who sees the statistics
ALTER SERVER mine OWNER TO "regress user";
ALTER SERVER mine OWNER TO regress_group;
GRANT USAGE ON FOREIGN DATA WRAPPER firehose TO "regress user";
ALTER SERVER mine OWNER TO "regress user";
SET ROLE "regress user";
SELECT firehose_put_record('mine', 'a') IS NOT NULL AS put;
SELECT stream FROM firehose_stat_stream;
SET ROLE regress_owner;
SELECT firehose_put_record('mine', 'a');
SELECT stream FROM firehose_stat_stream;
ALTER SERVER mine OPTIONS (DROP region);
RESET ROLE;
-- in a function that runs as its owner, the owner's rights count
CREATE FUNCTION put_as_owner() RETURNS boolean LANGUAGE sql SECURITY DEFINER
AS $$ SELECT firehose_put_record('clicks', 'a') IS NOT NULL $$;
SET ROLE regress_owner;
SELECT put_as_owner() AS put;
SELECT firehose_put_record('clicks', 'a');
RESET ROLE;

-- the library says who needs what; a stream goes with its wrapper and extension
COMMENT ON SERVER clicks IS 'page views';
DROP FUNCTION try_option(text, text), put_as_owner();
DROP EXTENSION firehose;
DROP EXTENSION firehose CASCADE;
SELECT count(*) FROM pg_foreign_server;
DROP ROLE regress_owner, "regress user", regress_group;
