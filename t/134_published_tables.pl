# A pipeline copies, and firehose_doctor judges, exactly the tables and columns
# that PostgreSQL says are published: by name, by schema, all of them, partitions
# or their roots, with column lists and row filters.  And finding out waits for
# no table that is locked.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_replication_slots => 20, max_worker_processes => 25);
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');

sub sql { return $node->safe_psql('postgres', @_) }

# partitions in another schema, of two levels, one detached; a generated column
sql(q{
    CREATE SCHEMA other;
    CREATE TABLE one (a int, b int, gone int, c int GENERATED ALWAYS AS (b + 1) STORED);
    ALTER TABLE one DROP COLUMN gone;
    CREATE TABLE two (a int, b int);
    CREATE UNLOGGED TABLE unlogged (a int);
    CREATE VIEW a_view AS SELECT 1 AS a;
    CREATE TABLE parts (a int, b int) PARTITION BY RANGE (a);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE other.parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200) PARTITION BY LIST (b);
    CREATE TABLE other.parts_2_1 PARTITION OF other.parts_2 FOR VALUES IN (1);
    CREATE TABLE parts_2_2 PARTITION OF other.parts_2 DEFAULT;
    CREATE TABLE other.parts_3 PARTITION OF parts FOR VALUES FROM (200) TO (300);
    ALTER TABLE parts DETACH PARTITION other.parts_3;
    CREATE TABLE other.three (a int, b int);
    INSERT INTO one SELECT 1, 2;
    INSERT INTO two SELECT 1, 2;
    INSERT INTO parts VALUES (1, 1), (101, 1), (102, 2);
    INSERT INTO other.parts_3 SELECT 1, 2;
    INSERT INTO other.three SELECT 1, 2;});

my %publications = (
    names => 'FOR TABLE one, two',
    lists => 'FOR TABLE one (a, b) WHERE (a > 0), two (b), parts',
    leaves => 'FOR TABLE parts',
    leaf => 'FOR TABLE other.parts_2_1 (a), other.parts_2',
    root => 'FOR TABLE parts (b), other.three WITH (publish_via_partition_root)',
    root_and_leaf => 'FOR TABLE parts, parts_1, other.parts_2, parts_2_2 WITH (publish_via_partition_root)',
    middle => 'FOR TABLE other.parts_2 WITH (publish_via_partition_root)',
    schema => 'FOR TABLES IN SCHEMA other',
    schema_root => 'FOR TABLES IN SCHEMA other, public WITH (publish_via_partition_root)',
    schema_and_name => 'FOR TABLES IN SCHEMA other, TABLE other.three WHERE (a < 0), parts',
    all_tables => 'FOR ALL TABLES',
    all_roots => 'FOR ALL TABLES WITH (publish_via_partition_root)');
$publications{generated} = 'FOR TABLE one, two WITH (publish_generated_columns = stored)' if $version >= 180000;

sub published
{
    my ($what, $publication) = @_;
    # generated columns are left out below 18, whatever the publication says
    my $columns = q{(SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = ANY (p.attnames)
        AND (a.attgenerated = '' OR current_setting('server_version_num')::int >= 180000))};
    $columns =~ s/^/c.relname || ' ' || /;
    return sql("SELECT string_agg(t, E'\\n' ORDER BY t) FROM (SELECT " . ($what eq 'tables' ? 'c.oid::regclass::text' : $columns) . " AS t
        FROM pg_publication_tables p JOIN pg_class c
          ON c.relname = p.tablename AND c.relnamespace = p.schemaname::regnamespace
        WHERE p.pubname = '$publication' AND NOT c.relname ~ '^firehose_') s");
}

foreach my $name (sort keys %publications)
{
    sql("CREATE PUBLICATION $name $publications{$name}");
    new_pipeline($node, 'postgres', $name, [$name]);
}
foreach my $name (sort keys %publications)
{
    wait_until("pipeline $name has copied all", sub { sql(qq{SELECT count(*) FROM firehose_stat_progress_copy
        WHERE pipeline = '$name' AND phase IN ('waiting', 'reading')}) == 0 });
    is(sql(qq{SELECT string_agg("table", E'\\n' ORDER BY "table") FROM firehose_stat_progress_copy WHERE pipeline = '$name'}),
        published('tables', $name), "$name: tables that are copied");
    my %columns = map { $_->{table} => join(',', sort keys %{ $_->{after} }) } events($emulator, $name);
    is(join("\n", sort map { "$_ $columns{$_}" } keys %columns),
        published('columns', $name), "$name: and their columns");
    my $tables = sql("SELECT count(*) FROM pg_publication_tables WHERE pubname = '$name' AND NOT tablename ~ '^firehose_'");
    like(sql(qq{SELECT string_agg(found, ' ') FROM firehose_doctor() WHERE subject = 'pipeline $name' AND found ~ 'replica identity'}),
        qr/^$tables of its tables/, "$name: tables that the doctor judges");
}

# a table that is locked, named by the publications, or a partition
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE one, parts, other.three IN ACCESS EXCLUSIVE MODE');
foreach my $name (qw(names lists leaves root schema all_tables all_roots))
{
    sql("SET lock_timeout = '1s'; SELECT firehose_refresh_pipeline('$name')");
}
sql(q{SET lock_timeout = '1s'; SELECT firehose_copy_table('lists', 'two'), firehose_copy_table('lists', 'parts_1')});
wait_until('a table beside locked ones is copied', sub { sql(q{SELECT phase FROM firehose_stat_progress_copy
    WHERE pipeline = 'lists' AND relid = 'two'::regclass}) eq 'done' });
is(sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE pipeline = 'lists' AND relid = 'parts_1'::regclass}), 'reading',
    'one that is locked is not, yet');
ok(sql(q{SET lock_timeout = '1s'; SELECT count(*) FROM firehose_doctor()}) > 5, 'and the doctor answers');
$session->query_safe('COMMIT');
$session->quit;
wait_until('it is copied afterwards', sub { sql(q{SELECT phase FROM firehose_stat_progress_copy
    WHERE pipeline = 'lists' AND relid = 'parts_1'::regclass}) eq 'done' });

$node->stop;
done_testing();
