# A copy beside commands on its table and its pipeline: row security that would hide
# rows ends it with the reason; cancelled ones stay so, also when the decoder is
# amid a chunk; tables that are asked for again begin anew; the smallest comes
# first; firehose.copy_rate holds; another key, or moved rows, begin a table anew;
# columns come and go; a pipeline that is paused, altered or resumed goes on.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(time);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.copy_rate' => 2000);

sub sql { return $node->safe_psql('postgres', @_) }

sub copies
{
    my ($pipeline, $columns) = @_;
    return sql(qq{SELECT string_agg(concat_ws(' ', $columns), E'\n' ORDER BY "table"::text COLLATE "C")
        FROM firehose_stat_progress_copy WHERE pipeline = '$pipeline'});
}

sub wait_copied
{
    my ($pipeline) = @_;
    return wait_until("pipeline $pipeline has copied all", sub {
        sql("SELECT count(*) FROM firehose_stat_progress_copy
             WHERE pipeline = '$pipeline' AND phase IN ('waiting', 'reading')") == 0 });
}

sub wait_rows
{
    my ($pipeline, $rows) = @_;
    return wait_until("pipeline $pipeline has copied $rows rows", sub {
        sql("SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy WHERE pipeline = '$pipeline'") >= $rows });
}

sub rate
{
    my ($rate) = @_;
    sql("ALTER SYSTEM SET firehose.copy_rate = $rate");
    sql('SELECT pg_reload_conf()');
    return;
}

sub rows_of { my ($stream, $table) = @_; return grep { $_->{op} eq 'r' && $_->{table} eq $table } events($emulator, $stream) }

# ------------------------------------------------------------------------
# Rights and row security, as the owner of the pipeline
# ------------------------------------------------------------------------
sql(q{
    CREATE ROLE keeper LOGIN REPLICATION;
    GRANT CREATE ON DATABASE postgres TO keeper;
    GRANT CREATE ON SCHEMA public TO keeper;
    SET ROLE keeper;
    CREATE TABLE secured (id int PRIMARY KEY, who text);
    INSERT INTO secured VALUES (1, 'keeper'), (2, 'other');
    ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    ALTER TABLE secured FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON secured USING (who = current_user);
    CREATE TABLE small (id int PRIMARY KEY);
    INSERT INTO small VALUES (1);
    CREATE PUBLICATION kept FOR TABLE secured, small;});
new_stream($node, 'kept');
sql(q{GRANT USAGE ON FOREIGN SERVER kept TO keeper; SET ROLE keeper;
    SELECT firehose_create_pipeline('kept', 'kept', '{kept}')});
wait_copied('kept');
is(copies('kept', '"table", phase, rows, error'), join("\n", 'secured failed 0 query would be affected by row-level security policy for table "secured"', 'small done 1'),
    'row security ends a copy, and says so');
is(scalar(rows_of('kept', 'secured')), 0, 'and no row of it is sent');
sql(q{ALTER TABLE secured NO FORCE ROW LEVEL SECURITY;
    SET ROLE keeper; SELECT firehose_copy_table('kept', 'secured')});
wait_copied('kept');
is(copies('kept', '"table", phase, rows, error'), "secured done 2\nsmall done 1", 'it is copied once that is mended');

# ------------------------------------------------------------------------
# The smallest first, at the rate
# ------------------------------------------------------------------------
sql(q{
    CREATE TABLE a_large (id int PRIMARY KEY, v int);
    INSERT INTO a_large SELECT i, 0 FROM generate_series(1, 8000) i;
    CREATE TABLE b_small (id int PRIMARY KEY);
    INSERT INTO b_small SELECT generate_series(1, 10);
    CREATE PUBLICATION sizes FOR TABLE a_large, b_small;});
my $begun = time();
new_pipeline($node, 'postgres', 'sizes', ['sizes']);
wait_rows('sizes', 1000);
is(copies('sizes', '"table", phase'), "a_large reading\nb_small done", 'the smallest table comes first');
like(sql(q{SELECT state || ': ' || reason FROM firehose_stat_pipeline WHERE pipeline = 'sizes'}),
    qr/^streaming: copying the rows of 1 table, see firehose_stat_progress_copy$/, 'the pipeline says that it copies');
wait_copied('sizes');
cmp_ok(time() - $begun, '>=', 3.5, 'at most 2,000 rows a second');
is(scalar(rows_of('sizes', 'a_large')), 8000, 'all rows came once');
is(sql(q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'sizes'}), '', 'it says nothing any more');

# ------------------------------------------------------------------------
# Commands in the middle
# ------------------------------------------------------------------------
sub start_copy
{
    my ($rows) = @_;
    rate(1000);
    sql(q{SELECT firehose_copy_table('sizes', 'a_large')});
    wait_rows('sizes', 10 + $rows);
    return;
}

foreach my $round (1 .. 3)
{
    start_copy(100);
    is(sql(q{SELECT firehose_cancel_copy('sizes', 'a_large')}), 't', 'a copy is cancelled');
    wait_state($node, 'postgres', 'sizes', 'streaming');
    sql('INSERT INTO b_small VALUES (1000 + ' . $round . ')');
    wait_confirmed($node, 'postgres', 'sizes');
    is(copies('sizes', '"table", phase, error'), "a_large failed cancelled by command\nb_small done", 'and stays so');
}
is(sql(q{SELECT firehose_cancel_copy('sizes', 'a_large')}), 'f', 'nothing is left to be cancelled');

my $before = scalar(rows_of('sizes', 'a_large'));
start_copy(500);
sql(q{SELECT firehose_copy_table('sizes', 'a_large', 'id <= 50')});
rate(0);
wait_copied('sizes');
is(copies('sizes', '"table", phase, rows, condition'), "a_large done 50 id <= 50\nb_small done 10",
    'a table that is asked for again begins anew');

start_copy(500);
sql(q{ALTER TABLE a_large ADD late text DEFAULT 'x', DROP v});
sql(q{SELECT firehose_pause_pipeline('sizes')});
my $rows = sql(q{SELECT rows FROM firehose_stat_progress_copy WHERE "table" = 'a_large'});
sql(q{SELECT firehose_resume_pipeline('sizes'); SELECT firehose_alter_pipeline('sizes', timestamps => 'epoch_ms')});
rate(0);
wait_copied('sizes');
my @rows = rows_of('sizes', 'a_large');
is(join(' ', sort keys %{ $rows[-1]{after} }), 'id late', 'columns come and go');
is(copies('sizes', '"table", phase'), "a_large done\nb_small done", 'over a pause and an alteration');
my %copied = map { $_->{after}{id} => 1 } grep { exists $_->{after}{late} } @rows;
cmp_ok(scalar(keys %copied), '>=', 6000, 'rows after the change have the new columns');
cmp_ok(sql(q{SELECT rows FROM firehose_stat_progress_copy WHERE "table" = 'a_large'}), '<=', 9000,
    'a copy goes on where it was');

# by another order: from the beginning
start_copy(500);
sql(q{ALTER TABLE a_large ALTER id TYPE text});
rate(0);
wait_copied('sizes');
cmp_ok(sql(q{SELECT rows FROM firehose_stat_progress_copy WHERE "table" = 'a_large'}), '>=', 8500,
    'a key of another type is another order: the table is read anew');
is(sql(q{SELECT key_columns FROM firehose_stat_progress_copy WHERE "table" = 'a_large'}), '{id}', 'by the same column');

# without a key by blocks; VACUUM FULL moves rows to what was read
sql(q{
    CREATE TABLE heap (v int, filler text);
    INSERT INTO heap SELECT i, repeat('x', 500) FROM generate_series(1, 6000) i;
    DELETE FROM heap WHERE v <= 3000;
    CREATE PUBLICATION heaps FOR TABLE heap;});
rate(1000);
new_pipeline($node, 'postgres', 'heaps', ['heaps']);
wait_rows('heaps', 300);
sql('VACUUM FULL heap');
rate(0);
wait_copied('heaps');
is(scalar(keys %{ { map { $_->{after}{v} => 1 } rows_of('heaps', 'heap') } }), 3000, 'rows that VACUUM FULL moved are read');

# a partition that is locked stops neither the stream nor the rest
sql(q{
    CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
    INSERT INTO parts SELECT i, i FROM generate_series(0, 199) i;
    CREATE TABLE beside (id int PRIMARY KEY);
    CREATE PUBLICATION roots FOR TABLE parts, beside WITH (publish_via_partition_root);});
new_pipeline($node, 'postgres', 'roots', ['roots'], copy_data => 'false');
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE ONLY parts_2');
sql(q{SELECT firehose_copy_table('roots', 'parts')});
sql('INSERT INTO beside VALUES (1)');
wait_confirmed($node, 'postgres', 'roots');
is(copies('roots', '"table", phase'), "beside skipped\nparts reading", 'a locked partition waits alone');
$session->query_safe('COMMIT');
$session->quit;
wait_copied('roots');
is(scalar(rows_of('roots', 'parts')), 200, 'and is copied in the end');

$node->stop;
done_testing();
