# The format wal2json is what the output plugin of that name writes as its format
# version 2 from the same WAL, byte for byte: over a column of every type of
# PostgreSQL and an array of each, with random values, under each replica
# identity, with changed keys, large values that an update leaves alone,
# truncates, logical messages and names to be quoted, and over a run of pgbench.
# Once with the plugin's options for xid, timestamp, lsn and pk, once without.
# Rows of a copy are inserts.
use strict;
use warnings FATAL => 'all';
use utf8;
use MIME::Base64 qw(decode_base64);
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;
use RandomValues;

chomp(my $libraries = `$ENV{PG_CONFIG} --pkglibdir`);
plan skip_all => "the plugin wal2json (Debian: postgresql-NN-wal2json) is not in $libraries"
  unless -e "$libraries/wal2json.so";

my $seed = $ENV{FIREHOSE_TEST_SEED} // 42;
srand($seed);
note("FIREHOSE_TEST_SEED=$seed");
my $rows = is_long() ? 200 : 12;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
sub sql { return $node->safe_psql('types', $_[0]) }
$node->safe_psql('postgres', "CREATE DATABASE types TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
if (sql(q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}))
{
    $node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput,test_decoding,wal2json'");
    $node->reload;
}
sql('CREATE EXTENSION firehose; CREATE SCHEMA app;');

my %seen = (with_source => 0, plain => 0);    # records of each that were compared

# tables that differ in how a row is told
my $n = 0;
my @columns = map { my $type = $_; map { { name => sprintf('c%03d', ++$n), type => $type, is_array => $_ } } 0, 1 } random_types();
my $columns = join(', ', map { "$_->{name} $_->{type}" . ($_->{is_array} ? '[]' : '') } @columns);
sql(q{
    CREATE TYPE app.mood AS ENUM ('sad', 'very "happy"');
    CREATE TYPE app."Mixed Case" AS (a int, b text);
    CREATE DOMAIN app.positive AS integer CHECK (VALUE > 0);});
my %identity = (
    by_default => [ 'PRIMARY KEY (id)', 'DEFAULT' ],
    by_index => [ 'PRIMARY KEY (id), UNIQUE (tag, id)', 'USING INDEX by_index_tag_id_key' ],
    by_full => [ 'CHECK (id > 0)', 'FULL' ],
    by_full_with_key => [ 'PRIMARY KEY (tag, id)', 'FULL' ]);
my @tables = sort keys %identity;
foreach my $table (@tables)
{
    sql(qq{SET search_path = app;
        CREATE TABLE $table (id int NOT NULL, tag varchar(10) NOT NULL, big text, gone int, amount numeric(10,2),
            fixed char(5), at timestamp(3), m mood, d positive, p "Mixed Case", "Quoted ""name""" bit(3), $columns, $identity{$table}[0]);
        ALTER TABLE $table DROP gone, ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY $identity{$table}[1];});
}
sql(q{CREATE PUBLICATION most FOR TABLE } . join(', ', map { "app.$_" } @tables) . q{;
    SELECT pg_create_logical_replication_slot('peer', 'wal2json');});
new_stream($node, $_, dbname => 'types', max_in_flight => 1) foreach sort keys %seen;
new_pipeline($node, 'types', 'with_source', ['most'], stream => 'with_source', format => q{'wal2json'}, messages => q{'{app}'}, copy_data => 'false');
new_pipeline($node, 'types', 'plain', ['most'], stream => 'plain', format => q{'wal2json'}, messages => q{'{app}'}, copy_data => 'false', metadata => q{'none'});
sql(q{SELECT pg_replication_slot_advance('peer', pg_current_wal_lsn())});

# Compare what the plugin makes of everything since the last call with what was sent
sub compare
{
    my ($what) = @_;
    wait_confirmed($node, 'types', $_) foreach sort keys %seen;
    my %option = (with_source => q{, 'include-xids', '1', 'include-timestamp', '1', 'include-lsn', '1', 'include-pk', '1'}, plain => '');
    foreach my $pipeline (qw(with_source plain))
    {
        my $take = $pipeline eq 'with_source' ? 'peek' : 'get';
        my @expected = map { decode_base64($_) } split /\n/, sql(qq{
            SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = postgres; SET extra_float_digits = 3;
            SET bytea_output = hex; SET lc_monetary = 'C'; SET search_path = '';
            SELECT pg_catalog.translate(pg_catalog.encode(data::pg_catalog.bytea, 'base64'), E'\\n', '') FROM pg_catalog.pg_logical_slot_${take}_binary_changes('peer', NULL, NULL, 'format-version', '2',
                'include-transaction', '0', 'add-tables', 'app.*', 'add-msg-prefixes', 'app'$option{$pipeline})});
        my @got = split /\n/, join('', map { $_->{data} } $emulator->records($pipeline));
        splice(@got, 0, $seen{$pipeline});
        $seen{$pipeline} += @got;
        utf8::decode($_) foreach @got, @expected;
        is(scalar @got, scalar @expected, "$what, $pipeline: as many records as of the plugin: " . @expected);
        my ($first) = grep { ($got[$_] // '') ne ($expected[$_] // '') } 0 .. $#expected;
        ok(!defined $first, "$what, $pipeline: equal to the plugin's");
        diag(different($got[$first] // '', $expected[$first])) if defined $first;
    }
    return;
}

# What was got and what was expected, from where they differ
sub different
{
    my ($got, $expected) = @_;
    my $at = 0;
    $at++ while $at < length($got) && substr($got, $at, 1) eq substr($expected, $at, 1);
    my $from = $at > 80 ? $at - 80 : 0;
    return join('', map { my $text = substr($_, $from, 240); $text =~ s/([^ -~])/sprintf('<%x>', ord $1)/ger . "\n" }
        $got, $expected);
}

my @script = ('SET client_encoding = UTF8', 'SET search_path = app', 'SET xmloption = content');
foreach my $table (@tables)
{
    foreach my $id (1 .. $rows)
    {
        push @script, "INSERT INTO $table VALUES ($id, 't$id', repeat('big$id', 2000), $id.5, 'ab', '2026-11-21 22:34:01.6596', 'very \"happy\"', 7, ROW(1, E'x\\\\\"\\ny'), B'101', "
          . join(', ', map { random_value($_->{type}, $_->{is_array}) } @columns) . ')';
    }
    push @script, "INSERT INTO $table (id, tag) VALUES (1000, 'nulls')",
      "UPDATE $table SET amount = 'NaN', d = NULL WHERE id % 3 = 0",
      "UPDATE $table SET id = id + 10000 WHERE id % 4 = 1",
      "UPDATE $table SET tag = 'k' || id, big = 'short' WHERE id % 5 = 2",
      "BEGIN", "DELETE FROM $table", "ROLLBACK",
      "DELETE FROM $table WHERE id % 2 = 0";
}
push @script, q{SELECT pg_logical_emit_message(true, 'app', E'say "hello"\n')}, q{SELECT pg_logical_emit_message(false, 'app', 'at once')},
  q{SELECT pg_logical_emit_message(true, 'other', 'unwanted')},
  'TRUNCATE by_default, by_full', 'INSERT INTO by_full (id, tag) VALUES (1, \'again\')',
  'ALTER TABLE by_full ALTER fixed TYPE char(9), ALTER amount TYPE numeric(12,3), ADD added int[] DEFAULT \'{1}\', ADD PRIMARY KEY (tag)',
  'UPDATE by_full SET id = 2', 'DELETE FROM by_full';
my $script = join(";\n", @script, '');
utf8::encode($script);
sql($script);
compare('types');

# pgbench, whose tables have char(n), and a history without a key
my @in_app = ('PGOPTIONS=-c search_path=app');
$node->command_ok([ 'env', @in_app, 'pgbench', '-i', '-q', '-I', 'dtgp', '-d', $node->connstr('types') ], 'pgbench -i');
sql(q{ALTER PUBLICATION most ADD TABLE app.pgbench_accounts, app.pgbench_branches, app.pgbench_tellers, app.pgbench_history});
sql(qq{SELECT firehose_refresh_pipeline('$_', false)}) foreach sort keys %seen;
wait_confirmed($node, 'types', $_) foreach sort keys %seen;
sql(q{SELECT pg_replication_slot_advance('peer', pg_current_wal_lsn())});
$seen{$_} = () = $emulator->delivered($_) =~ /\n/g foreach sort keys %seen;
$node->command_ok([ 'env', @in_app, 'pgbench', '-n', '-c', 4, '-j', 2, '-t', is_long() ? 5000 : 300, '-d', $node->connstr('types') ],
    'pgbench with four clients');
compare('pgbench');

# rows that were there before
sql(q{CREATE TABLE app.copied (id int PRIMARY KEY, v varchar(7), d app.positive, f float8, b bytea, ok boolean);
    INSERT INTO app.copied VALUES (1, 'x', 5, 'NaN', '\xbeef', true), (2, NULL, NULL, 1.5, '', false);
    CREATE PUBLICATION copied FOR TABLE app.copied;});
new_pipeline($node, 'types', 'copied', ['copied'], format => q{'wal2json'}, metadata => q{'none'});
wait_until('rows are copied', sub { 2 <= (() = $emulator->delivered('copied') =~ /\n/g) });
is_deeply([ sort split /\n/, $emulator->delivered('copied') ], [
    '{"action":"I","schema":"app","table":"copied","columns":[{"name":"id","type":"integer","value":1},'
      . '{"name":"v","type":"character varying(7)","value":"x"},{"name":"d","type":"app.positive","value":"5"},'
      . '{"name":"f","type":"double precision","value":null},{"name":"b","type":"bytea","value":"beef"},{"name":"ok","type":"boolean","value":true}]}',
    '{"action":"I","schema":"app","table":"copied","columns":[{"name":"id","type":"integer","value":2},'
      . '{"name":"v","type":"character varying(7)","value":null},{"name":"d","type":"app.positive","value":null},'
      . '{"name":"f","type":"double precision","value":1.5},{"name":"b","type":"bytea","value":""},{"name":"ok","type":"boolean","value":false}]}' ],
    'rows of a copy are inserts');
is(sql('SELECT count(*) FROM firehose_dead_letter'), 0, 'no dead letters');

$node->stop;
done_testing();
