-- Where Firehose delivers a stream to, and what does not fit there
\set VERBOSITY default
CREATE EXTENSION firehose;

-- options that contradict each other or the destination
CREATE FUNCTION pg_temp.try(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE format('CREATE SERVER tried FOREIGN DATA WRAPPER firehose OPTIONS (%s)', options);
	EXECUTE 'DROP SERVER tried';
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN format(E'%s: %s\n%s\n%s', SQLSTATE, message, detail, hint);
END $$;

SELECT destination, pg_temp.try(format('destination %L, pack ''true''', destination)) AS pack
FROM unnest('{any,s3,s3_partitioned,s3_converted,iceberg,redshift,opensearch,splunk,http}'::text[]) AS destination;
SELECT destination, pg_temp.try(format('destination %L, compression ''gzip''', destination)) AS gzip
FROM unnest('{any,s3,s3_partitioned,s3_converted,iceberg,redshift,opensearch,splunk,http}'::text[]) AS destination;
SELECT destination, delimiter, pg_temp.try(format('destination %L, delimiter %L', destination, delimiter)) AS result
FROM unnest('{any,s3,s3_partitioned,s3_converted,iceberg,redshift,opensearch,splunk,http}'::text[]) AS destination,
	unnest('{default,newline,none}'::text[]) AS delimiter;
SELECT pg_temp.try(options) FROM unnest(ARRAY[
	$$pack 'true', delimiter 'none'$$,
	$$pack_linger '1s'$$,
	$$pack 'true', pack_linger '1s'$$,
	$$destination 's3', pack 'true', compression 'gzip', delimiter 'newline'$$,
	$$destination 'moon'$$,
	$$compression 'zip'$$]) AS options;

-- the same when a stream is altered
CREATE SERVER lake FOREIGN DATA WRAPPER firehose OPTIONS (pack 'true', enabled 'false');
ALTER SERVER lake OPTIONS (ADD destination 'iceberg');
ALTER SERVER lake OPTIONS (SET pack 'false', ADD destination 'iceberg');
ALTER SERVER lake OPTIONS (SET pack 'true');

-- formats of pipelines
CREATE TABLE orders (id int PRIMARY KEY, total numeric);
CREATE PUBLICATION orders FOR TABLE orders;
BEGIN;
SELECT firehose_create_pipeline('p', 'lake', '{orders}', format => 'json');
ROLLBACK;
BEGIN;
SELECT firehose_create_pipeline('p', 'lake', '{orders}', format => 'flat');
ROLLBACK;
CREATE SERVER parquet FOREIGN DATA WRAPPER firehose OPTIONS (destination 's3_converted');
CREATE SERVER warehouse FOREIGN DATA WRAPPER firehose OPTIONS (destination 'redshift', compression 'gzip', pack 'true');
BEGIN;
SELECT firehose_create_pipeline('p', 'parquet', '{orders}', format => 'flat');
ROLLBACK;
BEGIN;
SELECT firehose_create_pipeline('p', 'parquet', '{orders}', format => 'flat', timestamps => 'sql', numerics => 'string');
ROLLBACK;
BEGIN;
SELECT firehose_create_pipeline('p', 'parquet', '{orders}', format => 'flat', timestamps => 'sql');
SELECT firehose_alter_pipeline('p', stream => 'warehouse');
ROLLBACK;
BEGIN;
SELECT firehose_create_pipeline('p', 'warehouse', '{orders}', format => 'flat', timestamps => 'epoch_ms');
-- a route, too
SELECT firehose_alter_pipeline('p', routes => '{"public.orders": "lake"}');
SELECT firehose_alter_pipeline('p', routes => '{"public.orders": "parquet"}');
ROLLBACK;

-- formats of triggers
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('lake');
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('lake', 'bigint_string');
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('lake', 'bigint_string', 'row');
DROP TRIGGER t ON orders;

-- a destination that is set where a pipeline or a trigger is there already
CREATE SERVER later FOREIGN DATA WRAPPER firehose OPTIONS (enabled 'false');
CREATE SERVER routed FOREIGN DATA WRAPPER firehose OPTIONS (enabled 'false');
BEGIN;
SELECT firehose_create_pipeline('p', 'later', '{orders}', routes => '{"public.orders": "routed"}');
SAVEPOINT s;
ALTER SERVER later OPTIONS (ADD destination 'iceberg');
ROLLBACK TO s;
ALTER SERVER routed OPTIONS (ADD destination 'redshift');
ROLLBACK TO s;
ALTER SERVER later OPTIONS (ADD destination 's3');
ALTER SERVER later OPTIONS (SET destination 's3_partitioned', ADD status 'failed');
ALTER SERVER later OPTIONS (SET destination 's3_converted');
ROLLBACK TO s;
SELECT firehose_alter_pipeline('p', format => 'flat');
ALTER SERVER later OPTIONS (ADD destination 'iceberg');
ALTER SERVER later OPTIONS (SET destination 's3_converted');
ROLLBACK;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('later');
ALTER SERVER later OPTIONS (ADD destination 'iceberg');
ALTER SERVER later OPTIONS (ADD destination 's3', ADD pack 'true');
ALTER SERVER later OPTIONS (SET destination 'opensearch', SET pack 'false');
ALTER SERVER later OPTIONS (DROP destination);
DROP SERVER later;
CREATE SERVER later FOREIGN DATA WRAPPER firehose OPTIONS (destination 'iceberg');
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('later', 'row');
CREATE SERVER later FOREIGN DATA WRAPPER firehose OPTIONS (destination 'iceberg');
DROP TRIGGER t ON orders;
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER other FOREIGN DATA WRAPPER other OPTIONS (destination 'moon');
ALTER SERVER other OPTIONS (SET destination 'mars');
DROP FOREIGN DATA WRAPPER other CASCADE;

-- where each line is a record of its own, no record has two
CREATE SERVER parts FOREIGN DATA WRAPPER firehose OPTIONS (destination 's3_partitioned');
SELECT firehose_put_record('parts', E'{"a":\n1}');
SELECT firehose_put_record('parts', E'{"a": 1}\n\n');
SELECT firehose_put_record('parts', E'\n{"a": 1}'::bytea);
SELECT firehose_put_batch('parts', ARRAY['{}', E'{"a":\n1}']);
SELECT firehose_put_record('parts', E'{"a": 1}\n') IS NOT NULL AS text, firehose_put_record('parts', '') IS NOT NULL AS empty,
	firehose_put_record('parts', E'{"a":\n1}'::json) IS NOT NULL AS json, firehose_put_record('parts', E'{"a":\n1}'::jsonb) IS NOT NULL AS jsonb;
ALTER SERVER parts OPTIONS (SET destination 's3');
SELECT firehose_put_record('parts', E'two\nlines') IS NOT NULL AS lines;

DROP PUBLICATION orders;
DROP TABLE orders;
DROP EXTENSION firehose CASCADE;
