# Pipelines beside each other, and beside puts: changes that become dead letters
# by the thousand keep no other stream waiting until the last one is stored,
# several pipelines on the smallest queue share it without holding each other
# up, and a pipeline that takes the place of a dropped one is not told that the
# other's records are delivered.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '4MB', 'firehose.max_pipelines' => 4,
    max_worker_processes => 20);
sub sql { return $node->safe_psql('postgres', $_[0]) }

# ------------------------------------------------------------------------
# Dead letters
# ------------------------------------------------------------------------
sql(q{CREATE TABLE flat (id int PRIMARY KEY, n int, big text);
    ALTER TABLE flat ALTER big SET STORAGE EXTERNAL;
    INSERT INTO flat SELECT n, 0, repeat('x', 2100) FROM generate_series(1, 4000) n;
    CREATE PUBLICATION flat FOR TABLE flat});
new_pipeline($node, 'postgres', 'flat', ['flat'], copy_data => 'false', format => q{'flat'});
new_stream($node, 'other');
# all of them and a put are there when the sender looks again
kill('STOP', sender_of($node, 'postgres'));
sql('UPDATE flat SET n = n + 1');
wait_until('4,000 changes without a column are in the queue', sub {
    sql(q{SELECT dead_letters FROM firehose_stat_pipeline WHERE pipeline = 'flat'}) == 4000 });
my $put = sql(q{SELECT firehose_put_record('other', 'x')});
kill('CONT', sender_of($node, 'postgres'));
sql("SELECT firehose_wait($put, '60 s')");
my $stored = sql('SELECT count(*) FROM firehose_dead_letter');
cmp_ok($stored, '<', 4000, "a put does not wait for all dead letters ($stored were stored)");
wait_confirmed($node, 'postgres', 'flat');
is(sql('SELECT count(*) FROM firehose_dead_letter'), 4000, 'all are stored in the end');
sql(q{SELECT firehose_drop_pipeline('flat')});

# ------------------------------------------------------------------------
# A tiny queue
# ------------------------------------------------------------------------
my @names = map { "p$_" } 1 .. 3;
foreach my $name (@names)
{
    sql("CREATE TABLE ${name}_a (n int PRIMARY KEY, x text); CREATE TABLE ${name}_b (n int PRIMARY KEY, x text);
        CREATE PUBLICATION $name FOR TABLE ${name}_a, ${name}_b");
    new_stream($node, "${name}_$_") foreach qw(a b);
    wait_until("there is a place for pipeline $name", sub {
        my ($code) = $node->psql('postgres', "SELECT firehose_create_pipeline('$name', '${name}_a', '{$name}',
            routes => '{\"public.${name}_b\": \"${name}_b\"}', copy_data => false)");
        $code == 0 });
    wait_state($node, 'postgres', $name, 'streaming');
}
foreach my $round (0 .. 1)
{
    sql('BEGIN;' . join('', map { my $name = $_; map { "INSERT INTO ${name}_$_
        SELECT n, repeat('y', 1000) FROM generate_series($round * 1000 + 1, $round * 1000 + 1000) n;" } qw(a b) } @names)
        . 'COMMIT');
}
wait_confirmed($node, 'postgres', $_, 120) foreach @names;
$emulator->control('POST', 'flush');
foreach my $stream (map { ("${_}_a", "${_}_b") } @names)
{
    my %seen = map { $_->{data} =~ /"after":\{"n":(\d+)/ ? ($1 => 1) : () } $emulator->records($stream);
    is(scalar(keys %seen), 2000, "12 MB through 4 MB: all of $stream arrive");
}

# ------------------------------------------------------------------------
# The place of a dropped one
# ------------------------------------------------------------------------
# Its records are still in the queue, and are settled when another has its place.
sql("ALTER SERVER p1_a OPTIONS (ADD enabled 'false')");
sql(q{INSERT INTO p1_a SELECT n, 'old' FROM generate_series(10001, 10100) n});
wait_until('the old pipeline has records in the queue', sub {
    sql(q{SELECT outstanding FROM firehose_stat_pipeline WHERE pipeline = 'p1'}) == 100 });
sql(q{SELECT firehose_drop_pipeline('p1')});
new_stream($node, 'fresh', enabled => 'false');
wait_until('another takes its place', sub {
    my ($code) = $node->psql('postgres', q{SELECT firehose_create_pipeline('fresh', 'fresh', '{p1}', copy_data => false)});
    $code == 0 });
wait_state($node, 'postgres', 'fresh', 'streaming');
sql(q{INSERT INTO p1_a SELECT n, 'new' FROM generate_series(20001, 20100) n});
wait_until('it has records in the queue', sub {
    sql(q{SELECT outstanding FROM firehose_stat_pipeline WHERE pipeline = 'fresh'}) == 100 });
sql("ALTER SERVER p1_a OPTIONS (SET enabled 'true')");
wait_until("the old one's records are delivered", sub {
    $emulator->control('POST', 'flush');
    my %seen = map { $_->{data} =~ /"n":(1\d{4})\D/ ? ($1 => 1) : () } $emulator->records('p1_a');
    keys %seen == 100 });
is(sql('SELECT firehose_flush(\'p1_a\', \'60 s\')'), 't', 'and settled');
is(sql(q{SELECT outstanding, confirmed_lsn < read_lsn FROM firehose_stat_pipeline WHERE pipeline = 'fresh'}), '100|t',
    'which confirms nothing of the new one');
sql("ALTER SERVER fresh OPTIONS (SET enabled 'true')");
wait_confirmed($node, 'postgres', 'fresh');
my %fresh = map { $_->{after}{n} => 1 } events($emulator, 'fresh');
is(scalar(keys %fresh), 100, 'those of the new one arrive');

$node->stop;
done_testing();
