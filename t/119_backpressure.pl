# With the endpoint dead and the queue full the WAL is the buffer: the pipeline
# says that it waits, holds no snapshot, so that CREATE INDEX CONCURRENTLY is
# not delayed, commits go on, another stream lives; a restart in that state is
# quick; and when the endpoint is back everything arrives.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '8MB',
    'firehose.request_timeout' => '60s');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, filler text);
    CREATE TABLE elsewhere (n int); INSERT INTO elsewhere SELECT generate_series(1, 1000);
    CREATE PUBLICATION p FOR TABLE t');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE TABLE elsewhere (n int)');
new_pipeline($node, 'postgres', 'dead', ['p'], copy_data => 'false');
new_stream($node, 'alive');

$emulator->fault('hang_before_processing', {}, { stream => 'dead' });
my $rows = 0;

# Insert until the pipeline waits
sub fill
{
    my ($per_transaction) = @_;
    foreach my $n (1 .. 300)
    {
        $node->safe_psql('postgres', "INSERT INTO t SELECT n, repeat('x', 1000)
            FROM generate_series($rows + 1, $rows + $per_transaction) n");
        $rows += $per_transaction;
        return if $rows >= 10000 && pipeline_state($node, 'postgres', 'dead') eq 'waiting';
    }
    return;
}

fill(200);
wait_state($node, 'postgres', 'dead', 'waiting');
my $waiting = $node->safe_psql('postgres', q{SELECT length(reason) > 0, outstanding > 0,
    confirmed_lsn < read_lsn, retained_wal_bytes > 0 FROM firehose_stat_pipeline});
is($waiting, 't|t|t|t', 'it says why, what is outstanding, and what WAL is retained');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'firehose decoder' AND backend_xmin IS NOT NULL}),
    0, 'the decoder holds no snapshot');

takes_at_most('CREATE INDEX CONCURRENTLY is not delayed', 2, sub {
    $node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY ON elsewhere (n)') });
takes_at_most('nor in another database', 2, sub {
    $node->safe_psql('other', 'CREATE INDEX CONCURRENTLY ON elsewhere (n)') });
takes_at_most('a commit does not wait', 1, sub {
    $node->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'x')}) });
is($node->safe_psql('postgres', q{SELECT firehose_wait(firehose_put_record('alive', 'x', false), '60 s')}),
    'accepted', 'another stream lives')
  or diag($node->safe_psql('postgres', q{SELECT * FROM firehose_stat_stream}));

# in the middle of a large transaction, too
$node->safe_psql('postgres', "INSERT INTO t SELECT n, repeat('y', 1000)
    FROM generate_series($rows + 1, $rows + 20000) n");
takes_at_most('a fast stop', 5.5, sub { $node->stop('fast') });
$node->start;
wait_state($node, 'postgres', 'dead', 'waiting');
my ($pid) = decoder_pids($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until('another decoder comes', sub {
    my @pids = decoder_pids($node);
    @pids == 1 && $pids[0] != $pid }, 30);
wait_state($node, 'postgres', 'dead', 'waiting');

takes_at_most('a pipeline that waits can be paused', 3, sub {
    $node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('dead')});
    wait_state($node, 'postgres', 'dead', 'paused') });
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('dead')});

$emulator->heal;
wait_confirmed($node, 'postgres', 'dead', 180);
wait_state($node, 'postgres', 'dead', 'streaming');
is($node->safe_psql('postgres', 'SELECT reason FROM firehose_stat_pipeline'), '', 'with no reason any more');
replay_ok('backpressure', $node, 'postgres', $emulator, ['dead'], table => 'public.t');

# A stream that is not delivered to keeps nothing of others out, however many
# commits reach it: 1,100 that go to both, and a pipeline has 1,024 entries for
# what is not settled.  Room is what ends, and then the reason names the stream.
new_stream($node, 'closed', enabled => 'false');
new_stream($node, 'open');
$node->safe_psql('postgres', q{CREATE TABLE a (n int PRIMARY KEY, x text); CREATE TABLE b (n int PRIMARY KEY);
    CREATE PUBLICATION ab FOR TABLE a, b});
new_pipeline($node, 'postgres', 'both', ['ab'], stream => 'open', copy_data => 'false', routes => q{'{"public.a": "closed"}'});
my $script = $node->basedir . '/both.sql';
PostgreSQL::Test::Utils::append_to_file($script, join('', map {
        "BEGIN; INSERT INTO a VALUES ($_); INSERT INTO b VALUES ($_); COMMIT;\nSELECT pg_sleep(0.003);\n" } 1 .. 1100));
IPC::Run::run([ 'psql', '-XAtqo', '/dev/null', '-d', $node->connstr('postgres'), '-f', $script ]) or die 'psql';
wait_until('all 1,100 changes for the open stream arrive',
    sub { my %seen = map { $_->{after}{n} => 1 } events($emulator, 'open'); keys %seen == 1100 }, 60);
is(pipeline_state($node, 'postgres', 'both'), 'streaming', 'and the pipeline does not wait');
is($node->safe_psql('postgres', q{SELECT outstanding FROM firehose_stat_pipeline WHERE pipeline = 'both'}), '1100',
    'those of the closed one are counted');
$node->restart;
wait_state($node, 'postgres', 'both', 'streaming');
$node->safe_psql('postgres', q{INSERT INTO a SELECT n, repeat('x', 10000) FROM generate_series(10000, 12000) n});
wait_state($node, 'postgres', 'both', 'waiting');
is($node->safe_psql('postgres', q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'both'}),
    'the queue has no room for stream "closed"; the WAL is the buffer meanwhile', 'the reason names the stream');
$node->safe_psql('postgres', q{ALTER SERVER closed OPTIONS (SET enabled 'true')});
wait_confirmed($node, 'postgres', 'both', 180);
my %arrived = map { $_->{after}{n} => 1 } events($emulator, 'closed');
is(scalar(keys %arrived), 3101, 'and once it is open everything arrives');

$node->stop;
done_testing();
