# A copy goes on where it was delivered after a decoder or the postmaster was killed,
# or the server was stopped at once, while the table changes; and a clean restart repeats at most
# what was in flight.  With --long, a table of five million rows (or so many as
# FIREHOSE_TEST_ROWS says) under traffic, whose entries fail: the postmaster is killed ten times, decoders
# and senders are terminated all the while, and a standby is promoted.
use strict;
use warnings FATAL => 'all';
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 1800 if $ENV{FIREHOSE_TEST_LONG} }    # a standby's gigabytes
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $rounds = is_long() && !$ENV{FIREHOSE_TEST_ROWS} ? 30 : 3;
my $rows = 2500 * $rounds;
my $emulator = Emulator->start(is_long() ? ('short-record-ids' => undef) : ());
my $node = new_decoding_node('main', $emulator, restart_after_crash => 'on', max_wal_senders => 5);

sub sql { return $node->safe_psql('postgres', @_) }

sub copied { return copied_rows($node) // -1 }

# ------------------------------------------------------------------------
# A small table, one way of crashing after the other
# ------------------------------------------------------------------------
sql("CREATE TABLE t (id int PRIMARY KEY, v int, filler text);
    INSERT INTO t SELECT id, 0, repeat('x', 500) FROM generate_series(1, $rows) id;
    CREATE PUBLICATION p FOR TABLE t");
$emulator->fault('delay', { seconds => 0.2 });
new_pipeline($node, 'postgres', 'crash', ['p'], stream => new_stream($node, 'crash', max_in_flight => 1));
my $seen = 0;
foreach my $round (1 .. $rounds)
{
    wait_until("round $round: more is copied", sub { copied() > $seen });
    $seen = copied();
    sql("UPDATE t SET v = $round, id = CASE WHEN id % 10 = $round % 10 THEN -id ELSE id END WHERE id % 5 = 0 OR id % 10 = $round % 10");
    if ($round % 3 == 1)
    {
        kill('KILL', (decoder_pids($node))[0]);
        wait_until("round $round: the server is back", sub { ask($node, 'SELECT 1') eq '1' });
    }
    elsif ($round % 3 == 2)
    {
        $node->kill9;
        start_postmaster($node, 600);
    }
    else
    {
        restart_by($node, 'immediate');
    }
    wait_state($node, 'postgres', 'crash', 'streaming');
    cmp_ok(copied(), '>=', $seen, "round $round: what was noted is noted");
}
$emulator->heal;
wait_copied($node, 'crash');
wait_confirmed($node, 'postgres', 'crash');
consumers_ok($node, $emulator, 'crash', ['t']);
my $read = read_rows($emulator, 'crash', 't');
cmp_ok($read, '<', 2 * $rows, "and few rows came twice, of those that moved or were on their way: $read of $rows");
sql(q{SELECT firehose_drop_pipeline('crash')});

# ------------------------------------------------------------------------
# A large one
# ------------------------------------------------------------------------
my ($standby, @sessions);
my $terminated = 0;

# Until so many rows are copied by both pipelines: end workers now and then.
sub wait_rows
{
    my ($goal) = @_;
    my $deadline = time() + 3600;
    while ((my $now = copied_rows($node) // 0) < $goal && time() < $deadline)
    {
        last if (copies_left($node) // 1) == 0;
        sleep 0.5;
        next if rand() > 0.2;
        my $type = (qw(sender decoder))[ rand 2 ];
        my $n = ask($node, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
            WHERE backend_type = 'firehose $type' ORDER BY random() LIMIT 1) w");
        $terminated += $n if $n ne '';
    }
    cmp_ok(copied_rows($node), '>=', $goal, "$goal rows are copied");
    return;
}

sub start_standby
{
    $node->backup('backup');
    $standby = PostgreSQL::Test::Cluster->new('standby');
    $standby->init_from_backup($node, 'backup', has_streaming => 1);
    $standby->start;
    return;
}

sub promote
{
    promote_with_slots($node, $standby);
    $node = $standby;
    return;
}

sub crash_a_large_copy
{
    my ($large, $kills) = @_;
    my @pipelines = qw(failing ordered);
    alter_settings($node, wal_keep_size => '6GB', checkpoint_timeout => '60s', max_wal_size => '4GB');
    start_standby();
    $emulator->fault('fail_records', { probability => 0.2, code => 'InternalFailure', message => 'try again' },
        { stream => 'failing', seed => 1 });
    prepare_traffic($node);
    create_table($node, 'large', $large, 20);
    aim_at($node, [ 'large', $large * 1.5, 20 ]);
    @sessions = start_traffic($node, 1, 0.01);
    sql('CREATE PUBLICATION large FOR TABLE large');
    new_pipeline($node, 'postgres', $_, ['large'], stream => new_stream($node, $_, $_ eq 'ordered' ? (max_in_flight => 1) : ()))
      foreach @pipelines;
    foreach my $kill (1 .. $kills)
    {
        wait_rows(2 * $large * $kill / ($kills + 3));
        my $before = copied_rows($node);
        $node->kill9;
        $_->finish foreach @sessions;
        start_postmaster($node, 600);
        wait_state($node, 'postgres', $_, 'streaming', 300) foreach @pipelines;
        # (a row that moves is read twice, so that more may be counted than there are)
        cmp_ok(copied_rows($node), '>=', $before - 1, "kill $kill: what was noted is noted");
        @sessions = start_traffic($node, $kill + 1, 0.01);
    }
    wait_rows(2 * $large * ($kills + 1) / ($kills + 3));
    stop_traffic($node, @sessions);
    my $before = copied_rows($node);
    promote();
    wait_state($node, 'postgres', $_, 'streaming', 300) foreach @pipelines;
    cmp_ok(copied_rows($node), '>=', $before, 'the copy goes on where it was on the promoted standby');
    @sessions = start_traffic($node, 0, 0.01);
    wait_copied($node, $_, 3600) foreach @pipelines;
    sleep 2;
    stop_traffic($node, @sessions);
    note("$terminated workers were terminated");
    cmp_ok($terminated, '>', $kills, 'workers were terminated');
    foreach my $name (@pipelines)
    {
        wait_confirmed($node, 'postgres', $name, 600);
        consumers_ok($node, $emulator, $name, ['large'], by_id_only => $name eq 'failing');
    }
    return;
}

crash_a_large_copy($ENV{FIREHOSE_TEST_ROWS} // 5_000_000, 10) if is_long();

$node->stop;
done_testing();
