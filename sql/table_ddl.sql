-- firehose_table_ddl: the tables at the destination that a pipeline of format
-- flat fills, in each dialect, for each form of values.
CREATE EXTENSION firehose;
SET client_min_messages = warning;
CREATE SCHEMA regress_ddl;
SET search_path = regress_ddl, public;
\pset format unaligned
\pset tuples_only on
CREATE SERVER lake FOREIGN DATA WRAPPER firehose;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN money_amount AS numeric(12,2);
CREATE TYPE pair AS (a int, "B" text, at timestamptz, list numeric(6,1)[]);
CREATE TYPE odd AS ("a b" int);
CREATE TABLE "Orders" (
    id bigint PRIMARY KEY, gone int, small int2, medium int, flag boolean, r real, d double precision,
    exact numeric(10,2), amount money_amount, plain numeric, wide numeric(50,2), negative numeric(5,-2), tiny numeric(2,3),
    at timestamp, atz timestamptz(3), day date, t time, i interval,
    name text, code varchar(10), large varchar(20000), fixed char(4), "Mixed `""Case" name,
    bytes bytea, j json, jb jsonb, u uuid, m mood, p pair, o odd, tags text[], amounts numeric(10,2)[], pairs pair[],
    v oidvector, r4 int4range, g int GENERATED ALWAYS AS (1) STORED);
ALTER TABLE "Orders" DROP gone;
CREATE TABLE events (n int PRIMARY KEY, secret text, at timestamptz) PARTITION BY RANGE (n);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE PUBLICATION leaves FOR TABLE "Orders", events;
CREATE PUBLICATION root FOR TABLE events (n, at) WITH (publish_via_partition_root);
SELECT firehose_create_pipeline('lake', 'lake', '{leaves}', format => 'flat', unchanged => 'omit');
SELECT ddl FROM firehose_table_ddl('lake', 'iceberg');
SELECT ddl FROM firehose_table_ddl('lake', 'athena') WHERE table_name = 'Orders';
SELECT ddl FROM firehose_table_ddl('lake', 'redshift') WHERE table_name = 'Orders';

-- other forms of values
CREATE FUNCTION types(dialect text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT dialect || ':' || regexp_replace(l, ',$|"', '', 'g') FROM firehose_table_ddl('lake', dialect), regexp_split_to_table(ddl, '\n') l
    WHERE table_name = 'Orders' AND l ~ '^  .(id|exact|plain|at|atz|jb|p|_.*). ' $$;
SELECT firehose_alter_pipeline('lake', timestamps => 'sql', numerics => 'string', bigints => 'string', metadata => 'routing');
SELECT types(d) FROM unnest(ARRAY['iceberg', 'athena', 'redshift']) d;
SELECT firehose_alter_pipeline('lake', timestamps => 'iso', json_columns => 'embed', metadata => 'none');
SELECT types(d) FROM unnest(ARRAY['iceberg', 'athena', 'redshift']) d;
SELECT firehose_alter_pipeline('lake', timestamps => 'epoch_ms', numerics => 'number');
SELECT types(d) FROM unnest(ARRAY['iceberg', 'athena', 'redshift']) d;

-- the tables are those that records name
SELECT firehose_alter_pipeline('lake', publications => '{root}', metadata => 'full', timestamps => 'default');
SELECT * FROM firehose_table_ddl('lake', 'athena');

-- errors
SELECT * FROM firehose_table_ddl('lake', 'hive');
SELECT * FROM firehose_table_ddl('sea', 'athena');
SELECT firehose_alter_pipeline('lake', format => 'json');
SELECT * FROM firehose_table_ddl('lake', 'athena');
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SELECT * FROM public.firehose_table_ddl('lake', 'athena');
RESET ROLE;
DROP ROLE regress_nobody;
SELECT firehose_drop_pipeline('lake');
DROP SCHEMA regress_ddl CASCADE;
DROP EXTENSION firehose CASCADE;
