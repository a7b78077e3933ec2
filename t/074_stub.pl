# contrib/stub.sql, for servers without the library, does not drift: its functions
# have the signatures of the extension's, its view the columns, and the same
# statements have the same results, records and errors in both.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'firehose'\nfirehose.enabled = off\nfirehose.region = 'eu-west-1'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE real; CREATE DATABASE stub');
$node->safe_psql('real', 'CREATE EXTENSION firehose');

# on a server that has never heard of the library
my $stock = PostgreSQL::Test::Cluster->new('stock');
$stock->init;
$stock->start;
foreach my $server ([ $node, 'stub' ], [ $stock, 'postgres' ])
{
    is(($server->[0]->psql($server->[1], slurp_file('contrib/stub.sql')))[0], 0, 'the stub can be loaded');
}
my $id = $stock->safe_psql('postgres', q{CREATE SERVER clicks FOREIGN DATA WRAPPER firehose OPTIONS (region 'eu-west-1');
    SELECT firehose_put_json('clicks', '{"page": "/"}')});
is($stock->safe_psql('postgres', "SELECT firehose_wait($id), firehose_flush(), status FROM firehose_last('clicks')"),
    'accepted|t|accepted', 'a program finds what it expects there');
$stock->stop;

# ------------------------------------------------------------------------
# Signatures
# ------------------------------------------------------------------------
my $signatures = q{SELECT format('%s(%s) %s %s%s %s %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
        p.prokind, p.provolatile, p.proisstrict, p.proretset)
    FROM pg_proc p WHERE p.proname LIKE 'firehose\_%' AND p.proname NOT LIKE 'firehose\_stub\_%' ORDER BY 1};
my %real = map { $_ => 1 } split /\n/, $node->safe_psql('real', $signatures);
my %stub = map { $_ => 1 } split /\n/, $node->safe_psql('stub', $signatures);
is_deeply([ grep { !$real{$_} } sort keys %stub ], [], 'each function of the stub is one of the extension');

# what programs call; not what is of pipelines, durable puts, copies, dead letters and statistics
my $called = qr/^firehose_(?:put_\w+|send|row_json|trigger|attach|detach|wait\w*|pending|flush|last)\(/;
is_deeply([ grep { /$called/ && !$stub{$_} } sort keys %real ],
    [ grep { /^firehose_put_batch\(stream text, data record\[\],/ } sort keys %real ],
    'each function that programs call is in the stub, but for a batch of rows');
cmp_ok(scalar keys %stub, '>', 25, 'there are functions');

my $columns = q{SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'firehose_status'::regclass AND attnum > 0 ORDER BY attnum};
is($node->safe_psql('stub', $columns), $node->safe_psql('real', $columns), 'firehose_status has the same columns');

# ------------------------------------------------------------------------
# Behaviour
# ------------------------------------------------------------------------
my $script = <<'END';
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SERVER s FOREIGN DATA WRAPPER firehose;
CREATE SERVER lines FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'newline');
CREATE SERVER bare FOREIGN DATA WRAPPER firehose OPTIONS (delimiter 'none');
CREATE SERVER off FOREIGN DATA WRAPPER firehose OPTIONS (enabled 'false');
CREATE TYPE kind AS ENUM ('new', 'old');
CREATE TYPE place AS (x int, "y z" numeric, big bigint);
CREATE DOMAIN money_of AS numeric(10,2);
CREATE TABLE wide (id bigint PRIMARY KEY, a smallint, b numeric(10,3), c money_of, d real, e double precision, f boolean,
    g timestamptz, h timestamp, i date, j time, k interval, l bytea, m json, n jsonb, o text, p varchar(5), q char(4), r uuid, s kind,
    t place, u int[], v text[], w numeric[], x place[], y timestamptz[], z bytea[], aa jsonb[], ab int4range, ac inet, ad bigint[], ae oid, af name, ag point);
INSERT INTO wide VALUES (9007199254740993, -1, 1.50, 2, 0.1, 1e20, true, '2026-01-02 03:04:05.678+03', '2026-01-02 03:04:05', '2026-01-02', '03:04',
    '1 day 2 hours', '\x00ff0a', E'{"a":\n [1]}', '{"b": 2.50}', E'line\n"q"', 'abc', 'ab', '01234567-89ab-cdef-0123-456789abcdef', 'new',
    (1, 2.50, 3), '{{1,2},{3,4}}', '{a,NULL,"b c"}', '{1.0,NULL}', ARRAY[(1, 2, 3)::place, NULL], '{2026-01-02 03:04:05+00}', '{"\\x01"}',
    ARRAY['[1]', '{"a": null}']::jsonb[], '[1,5)', '10.0.0.1/8', '{1,2}', 7, 'n', '(1,2)');
INSERT INTO wide (id) VALUES (2);
INSERT INTO wide (id, b, d, e, g, h, i) VALUES (3, 'NaN', 'NaN', '-Infinity', 'infinity', '-infinity', 'infinity');
SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape';
SELECT firehose_row_json(wide) FROM wide ORDER BY id;
SELECT firehose_row_json(wide, bigints => 'string') FROM wide ORDER BY id;
SELECT firehose_row_json(wide, 'text') FROM wide;
SELECT firehose_row_json(ROW(1, 2.50, 'a', now() IS NULL, '\x01'::bytea)), firehose_row_json(q) FROM (SELECT 1.0 AS one, NULL::int AS "t w o", 'x'::text) q;
SELECT firehose_row_json(NULL::wide) IS NULL, firehose_row_json(ROW());
RESET bytea_output;
BEGIN;
SELECT firehose_put_record('s', 'a') > 0, firehose_put_record('s', '\x00'::bytea) > 0, firehose_put_record('s', E'[1,\n2]'::json) > 0, firehose_put_record('s', '{"b": 1, "a": 2}'::jsonb) > 0;
SELECT firehose_put_record('s', wide) > 0 FROM wide WHERE id = 2;
SELECT firehose_put_text('s', E'b\n') > 0, firehose_put_bytes('s', '\x01') > 0, firehose_put_json('s', E'{"a":\n1}') > 0, firehose_put_json('s', '1'::json) > 0, firehose_put_json('s', '[1.50]'::jsonb, false) > 0;
SELECT cardinality(firehose_put_batch('s', '{a,"b c"}')), cardinality(firehose_put_batch('s', ARRAY['x'])), cardinality(firehose_put_batch('s', '{"\\x0001"}'::bytea[])), cardinality(firehose_put_batch('s', ARRAY['{"a": 1}']::json[])), cardinality(firehose_put_batch('s', ARRAY['2']::jsonb[]));
SELECT cardinality(firehose_put_texts('s', '{a,"\\x6162"}')), cardinality(firehose_put_bytes_array('s', '{"\\x61","\\x6262"}'));
SELECT cardinality(firehose_put_jsons('s', '[{"a": 1}, 2, "three", [4], null]')), cardinality(firehose_put_jsons('s', '[1]'::json)), cardinality(firehose_put_jsons('s', '[2.50]'::jsonb));
SELECT cardinality(firehose_put_jsons('s', ARRAY['{"a":1}', '2'])), cardinality(firehose_put_jsons('s', ARRAY['{"a":2}']::json[])), cardinality(firehose_put_jsons('s', ARRAY['{"a":3}']::jsonb[]));
SELECT firehose_put_texts('s', '{}'), firehose_put_texts('s', NULL), firehose_put_jsons('s', '[]'), firehose_put_batch('s', NULL), firehose_put_bytes_array('s', '{}');
CALL firehose_send('s', '{"sent": 1}');
CALL firehose_send('s', '{"sent": 2}'::jsonb);
CALL firehose_send('s', '{"sent":3}'::json);
SELECT firehose_put_record('lines', 'x') > 0, firehose_put_bytes('lines', '\x01') > 0, firehose_put_bytes('lines', '\x') > 0, firehose_put_json('lines', E'[\n]') > 0;
SELECT firehose_put_record('bare', 'x') > 0, firehose_put_bytes('bare', '\x01') > 0, firehose_put_json('bare', E'[\n]') > 0;
SELECT stream, data FROM firehose_pending();
SELECT firehose_wait(max(id)) FROM firehose_pending();
ROLLBACK;
BEGIN; SELECT firehose_put_text('s', 'x') > 0; SELECT firehose_flush(); ROLLBACK;
BEGIN; SELECT firehose_put_text('s', 'x') > 0; SELECT firehose_flush('bare'), count(*) FROM firehose_pending(); SAVEPOINT a; SELECT firehose_put_text('s', 'y') > 0; ROLLBACK TO a; SELECT count(*) FROM firehose_pending(); ROLLBACK;
SELECT firehose_wait(7), status FROM firehose_wait_all('{7}');
SELECT count(*) FROM firehose_wait_all('{}');
-- errors
SELECT firehose_put_batch('s', '{"\\x6162"}'::text);
SELECT firehose_put_batch('s', 'a');
SELECT firehose_put_batch('s', '["a"]');
SELECT firehose_put_batch('s', '{a,NULL}');
SELECT firehose_put_texts('s', '{a,NULL}');
SELECT firehose_put_texts('s', '{{a},{b}}');
SELECT firehose_put_jsons('s', '{"a": 1}');
SELECT firehose_put_jsons('s', '1'::jsonb);
SELECT firehose_put_text('s', NULL);
SELECT firehose_put_text(NULL, 'a');
SELECT firehose_put_record('s', NULL::place);
SELECT firehose_put_bytes('s', 'a', NULL);
CALL firehose_send('s', NULL);
SELECT firehose_put_texts('nonesuch', NULL);
SELECT firehose_put_text('no such', 'a');
SELECT firehose_put_text('off', 'a');
SELECT firehose_flush('nonesuch');
SELECT firehose_wait(NULL);
SELECT firehose_wait(7, '-1 s');
SELECT firehose_wait(7, seconds => -1);
SELECT firehose_wait_all('{1,NULL}');
SELECT firehose_put_text('s', repeat('x', 1024000));
\set VERBOSITY sqlstate
SELECT firehose_put_json('s', '{"a": 1');
SELECT firehose_put_jsons('s', ARRAY['{"a": 1}', 'b']);
\set VERBOSITY default
CREATE ROLE stranger;
SET ROLE stranger;
SELECT firehose_put_text('s', 'a');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s TO stranger;
SET ROLE stranger;
BEGIN; SELECT firehose_put_text('s', 'a') > 0; SELECT count(*) FROM firehose_pending(); ROLLBACK;
RESET ROLE;
-- triggers
CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(10,2), note text);
SELECT firehose_attach('orders', 's');
SELECT firehose_attach('orders', 's');
SELECT firehose_attach('orders', 'lines', level => 'statement', always => true);
SELECT firehose_attach('orders', 'lines', 'statement', bigints => 'string');
SELECT firehose_attach('orders', 'bare', content => 'row', always => true);
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname LIKE 'firehose%' ORDER BY 1;
BEGIN;
INSERT INTO orders VALUES (1, 9.5), (2, 3, 'b');
UPDATE orders SET total = 10;
DELETE FROM orders WHERE id = 1;
TRUNCATE orders;
SELECT stream, convert_from(data, 'UTF8') FROM firehose_pending();
ROLLBACK;
SELECT firehose_detach('orders', 'bare');
SELECT firehose_detach('orders', 'bare');
SELECT firehose_detach('orders');
CREATE TABLE events (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE e1 PARTITION OF events FOR VALUES FROM (0) TO (10);
SELECT firehose_attach('events', 's', names => 'root');
BEGIN; INSERT INTO events VALUES (1, 1); INSERT INTO e1 VALUES (2, 2); SELECT convert_from(data, 'UTF8') FROM firehose_pending(); ROLLBACK;
SELECT firehose_attach('orders', 's', level => 'table');
SELECT firehose_attach('orders', NULL);
SELECT firehose_attach('orders', 'nonesuch');
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s', 'leaf');
INSERT INTO orders VALUES (1);
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION firehose_trigger('s');
INSERT INTO orders VALUES (1);
DROP TRIGGER t ON orders;
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('s');
INSERT INTO orders VALUES (1);
DROP OWNED BY stranger; DROP ROLE stranger;
END

# What a database prints, without what differs between any two.
sub printed
{
    my ($dbname) = @_;
    my $out = '';
    # both into one, in their order
    my @command = ('psql', '-XAt', '-d', $node->connstr($dbname), '-f', '-');
    IPC::Run::run(\@command, '<', \"\\set ECHO queries\n$script", '>&', \$out);
    $out =~ s/"source":"[^"]*","db":"\w*"/"source"/g;
    $out =~ s/"id":"\d{16}","xid":\d+,"ts":"[^"]*"/"id"/g;
    $out =~ s/^psql:<stdin>:\d+: //mg;
    $out =~ s/for record \d+/for record N/g;
    $out =~ s/wait for record \d+/wait for record N/g;
    return [ split /\n/, $out ];
}
my ($real, $stub) = (printed('real'), printed('stub'));
cmp_ok(scalar @$real, '>', 250, 'something is printed');
is(scalar(grep { /does not exist/ && !/nonesuch|no such/ } @$real), 0, 'nothing is missing');
is_deeply($stub, $real, 'the stub prints what the extension prints');

$node->stop;
done_testing();
