# The rows that tables have when a pipeline is made are copied, with op r, before
# or beside their changes: tables with keys of one and of several columns, without
# a key, partitioned, with row filters, column lists, generated and dropped
# columns and names that have to be quoted, in each format; with the same values
# as the stream's; and nothing is copied that is not wanted.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);

sub sql { return $node->safe_psql('postgres', @_) }

sub wait_copied
{
    my ($pipeline) = @_;
    return wait_until("pipeline $pipeline has copied all", sub {
        sql("SELECT count(*) FROM firehose_stat_progress_copy
             WHERE pipeline = '$pipeline' AND phase IN ('waiting', 'reading')") == 0 });
}

sql(q{
    CREATE TABLE plain (id int PRIMARY KEY, t text, n numeric, at timestamptz, j jsonb, b bytea, a int[]);
    INSERT INTO plain SELECT i, 'row ' || i, i / 3.0, '2026-01-01'::timestamptz + i * interval '1 s',
        jsonb_build_object('i', i), decode(to_hex(i + 4096), 'hex'), ARRAY[i, NULL] FROM generate_series(1, 3000) i;
    CREATE TABLE "Odd ""names""" ("a b" text COLLATE "C", "C" date, v int, gone int, double int GENERATED ALWAYS AS (v * 2) STORED,
        PRIMARY KEY ("C", "a b"));
    INSERT INTO "Odd ""names""" SELECT 'k' || i % 7, '2026-01-01'::date + i / 7, i FROM generate_series(1, 1000) i;
    ALTER TABLE "Odd ""names""" DROP COLUMN gone;
    CREATE TABLE keyless (v int, t text);
    INSERT INTO keyless SELECT i, repeat('x', 200) FROM generate_series(1, 8000) i;
    DELETE FROM keyless WHERE v % 2 = 0;
    CREATE TABLE filtered (id int PRIMARY KEY, secret text, v int);
    INSERT INTO filtered SELECT i, 'no', i FROM generate_series(1, 9000) i;
    CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts_2 (v int, id int);
    ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (100) TO (200);
    INSERT INTO parts SELECT i, i FROM generate_series(0, 199) i;
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
    INSERT INTO parent VALUES (1);
    INSERT INTO child VALUES (2);
    CREATE TABLE empty (id int PRIMARY KEY);
    CREATE TABLE other (id int PRIMARY KEY);
    INSERT INTO other VALUES (1);
    CREATE PUBLICATION most FOR TABLE plain, "Odd ""names""", keyless, parent, empty;
    CREATE PUBLICATION narrow FOR TABLE filtered (id, v) WHERE (id > 8000);
    CREATE PUBLICATION roots FOR TABLE parts WITH (publish_via_partition_root);
    CREATE PUBLICATION leaves FOR TABLE parts;});

new_pipeline($node, 'postgres', 'most', ['most']);
wait_copied('most');
is(sql(q{SELECT string_agg(concat_ws(' ', "table", phase, rows, error), E'\n' ORDER BY "table") FROM firehose_stat_progress_copy
    WHERE pipeline = 'most'}), join("\n", '"Odd ""names""" done 1000', 'child done 1', 'empty done 0',
        'keyless done 4000', 'parent done 1', 'plain done 3000'), 'what the progress view says');
my @events = events($emulator, 'most');
is(scalar(grep { $_->{op} ne 'r' } @events), 0, 'all of them have op r');
my %ids = map { $_->{id} => 1 } @events;
is(scalar(keys %ids), 8002, 'each row came once, under an id of its own');
my %seen;
$seen{ $_->{table} }{ $_->{table} eq 'keyless' ? $_->{after}{v} : JSON::PP->new->canonical->encode($_->{key}) }++ foreach @events;
is(scalar(keys %{ $seen{plain} }), 3000, 'all keys of a table');
is(scalar(keys %{ $seen{'Odd "names"'} }), 1000, 'all keys of two columns');
is(scalar(keys %{ $seen{keyless} }), 4000, 'all rows of a table without a key');
ok(!exists((grep { $_->{table} =~ /Odd/ } @events)[0]{after}{gone}), 'no dropped column');

# the same as the stream sends them
sql('UPDATE plain SET t = t WHERE id <= 20; UPDATE "Odd ""names""" SET v = v');
wait_confirmed($node, 'postgres', 'most');
my %read;
my $canonical = JSON::PP->new->canonical;
my ($same, $differing) = (0, 0);
foreach my $event (events($emulator, 'most'))
{
    my $name = "$event->{table} " . $canonical->encode($event->{key} // {});
    my $image = $canonical->encode($event->{after});
    if ($event->{op} eq 'r') { $read{$name} = $image; next }
    if ($image eq $read{$name}) { $same++ } else { diag("$image $read{$name}") unless $differing++ }
}
is("$same $differing", '1020 0', 'images of r and u are the same');

new_pipeline($node, 'postgres', 'narrow', ['narrow'], format => "'flat'");
wait_copied('narrow');
my @flat = events($emulator, 'narrow');
is(scalar(@flat), 1000, 'a row filter holds for copies');
is(join(' ', sort keys %{ $flat[0] }), '_db _id _lsn _op _schema _seq _table _ts id v', 'and a column list');
is($flat[0]{_op}, 'insert', 'flat has inserts');

new_pipeline($node, 'postgres', 'roots', ['roots']);
wait_copied('roots');
my @parts = events($emulator, 'roots');
is(join(' ', scalar(@parts), map { $_->{table} } @parts[0 .. 0]), '200 parts', 'through the root of a partitioned table');
is_deeply([ sort { $a <=> $b } map { $_->{after}{id} } @parts ], [ 0 .. 199 ], 'all of its rows');
new_pipeline($node, 'postgres', 'leaves', ['leaves']);
wait_copied('leaves');
is(scalar(grep { $_->{table} eq 'parts_2' } events($emulator, 'leaves')), 100, 'or each partition');

# only what is wanted
new_pipeline($node, 'postgres', 'changes', ['most'], copy_data => 'false');
sql('INSERT INTO parent VALUES (10)');
wait_confirmed($node, 'postgres', 'changes');
is_deeply([ map { "$_->{op} $_->{after}{id}" } events($emulator, 'changes') ], ['c 10'], 'copy_data => false: changes only');
sql('ALTER PUBLICATION most ADD TABLE other');
is(sql(q{SELECT firehose_refresh_pipeline('changes')}), 1, 'one table is new');
wait_copied('changes');
is(scalar(grep { $_->{op} eq 'r' && $_->{table} eq 'other' } events($emulator, 'changes')), 1, 'and is copied');
sql(q{SELECT firehose_copy_table('changes', 'plain', 'id % 1000 = 0')});
wait_copied('changes');
is(scalar(grep { $_->{op} eq 'r' && $_->{table} eq 'plain' } events($emulator, 'changes')), 3, 'a table again, with a condition');

# a condition and a key have values of rows, which those who watch need not see
sql('CREATE ROLE watcher IN ROLE pg_monitor');
my $seen = q{SET ROLE watcher; SELECT rows > 0, condition, last_key IS NULL FROM firehose_stat_progress_copy
    WHERE pipeline = 'changes' AND "table" = 'plain'};
is(sql($seen), 't||t', 'who may not read the table is told neither condition nor key');
sql('GRANT SELECT ON plain TO watcher');
like(sql($seen), qr/^t\|.*id % 1000/, 'who may is told');
sql('REVOKE SELECT ON plain FROM watcher');

# a condition means what it means to the decoder, whichever search_path the caller has
sql(q{CREATE SCHEMA own; CREATE FUNCTION own.wanted(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 % 500 = 0';
    CREATE FUNCTION own.abs(int) RETURNS int LANGUAGE sql AS 'SELECT 0'});
my ($code, $out, $err) = $node->psql('postgres', q{SET search_path = own, public;
    SELECT firehose_copy_table('changes', 'public.plain', 'wanted(id)')});
like($err, qr/function wanted\(integer\) does not exist.*HINT:  The condition is evaluated later, with search_path = pg_catalog/s,
    'an unqualified name of another schema is an error at once');
sql(q{SELECT firehose_copy_table('changes', 'plain', 'own.wanted(id)')});
wait_copied('changes');
is(sql(q{SELECT phase || rows FROM firehose_stat_progress_copy WHERE pipeline = 'changes' AND "table" = 'plain'}), 'done6',
    'with its schema it is found');
sql(q{SET search_path = own, pg_catalog, public; SELECT firehose_copy_table('changes', 'public.plain', 'abs(id) > 2990')});
wait_copied('changes');
is(sql(q{SELECT phase || rows FROM firehose_stat_progress_copy WHERE pipeline = 'changes' AND "table" = 'plain'}), 'done10',
    'and a name of pg_catalog is that');

# a table that is locked, and one that is dropped, hold nothing up
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE plain');
sql(q{SELECT firehose_copy_table('changes', 'plain')});
sql('INSERT INTO parent VALUES (11)');
wait_confirmed($node, 'postgres', 'changes');
is(sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE pipeline = 'changes' AND "table" = 'plain'}), 'reading', 'a locked table waits');
$session->query_safe('DROP TABLE plain; COMMIT');
$session->quit;
wait_copied('changes');
is(sql(q{SELECT error FROM firehose_stat_progress_copy WHERE pipeline = 'changes' AND phase = 'failed'}), 'the table was dropped', 'a dropped one ends');

$node->stop;
done_testing();
