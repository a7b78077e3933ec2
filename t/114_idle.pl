# A pipeline without work of its own retains no WAL: while others write to
# tables outside its publication, or to another database, its slot keeps up.
# (The known weakness of change data capture: a captured table that is idle
# fills the disk.)
use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, checkpoint_timeout => '30s');
$node->safe_psql('postgres', 'CREATE TABLE captured (n int PRIMARY KEY);
    CREATE TABLE elsewhere (n int, filler text); CREATE PUBLICATION p FOR TABLE captured');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE TABLE elsewhere (n int, filler text)');
new_pipeline($node, 'postgres', 'idle', ['p']);

my $bound = 16 * 1024 * 1024;
my $duration = is_long() ? 300 : 6;

sub retained
{
    return $node->safe_psql('postgres', q{SELECT pg_current_wal_lsn() - restart_lsn,
        pg_current_wal_lsn() - confirmed_flush_lsn
        FROM pg_replication_slots JOIN firehose_stat_pipeline USING (slot_name)});
}

foreach my $database ('postgres', 'other')
{
    my $script = $node->basedir . "/$database.sql";
    PostgreSQL::Test::Utils::append_to_file($script,
        "INSERT INTO elsewhere SELECT n, repeat('x', 500) FROM generate_series(1, 200) n;");
    my $before = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
    my ($out, $err) = ('', '');
    my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', $duration, '-f', $script,
            '-d', $node->connstr($database) ], '>', \$out, '2>', \$err);
    my ($worst, $samples) = (0, 0);
    while ($pgbench->pumpable)
    {
        $pgbench->pump_nb;
        sleep 0.2;
        my ($restart, $confirmed) = split /\|/, retained();
        $worst = $confirmed if $confirmed > $worst;
        $samples++;
    }
    $pgbench->finish;
    my $written = $node->safe_psql('postgres', "SELECT pg_current_wal_lsn() - '$before'");
    cmp_ok($written, '>', 2 * $bound, "database $database: enough WAL was written ($written bytes)");
    # decoding four busy sessions on a machine that has other work may fall behind
    cmp_ok($worst, '<', is_long() ? $bound : max($bound, $written / 2), "the confirmed position keeps up (at most $worst bytes behind, $samples samples)");

    # the restart position moves with what checkpoints and the background writer
    # note of running transactions
    wait_until('the restart position keeps up', sub {
        $node->safe_psql('postgres', 'CHECKPOINT');
        $node->safe_psql($database, q{INSERT INTO elsewhere SELECT n, repeat('x', 500) FROM generate_series(1, 10000) n});
        my ($restart) = split /\|/, retained();
        return $restart < $bound }, 40);
    is($node->safe_psql('postgres', q{SELECT state, outstanding FROM firehose_stat_pipeline}),
        'streaming|0', 'it streams, and nothing is outstanding');
}

# and it is awake: the first change is delivered
$node->safe_psql('postgres', 'INSERT INTO captured VALUES (1)');
wait_confirmed($node, 'postgres', 'idle');
is_deeply([ changes($emulator, 'idle') ], ['c captured after={"n":1}'], 'and the first change comes');

# An idle server is idle: none of its workers does anything for ten seconds at a
# stretch, once the decoder has saved what was confirmed.  One that polls once a
# second never does.
my ($pid) = decoder_pids($node);
SKIP:
{
    skip('this system has no /proc/PID/status', 1) unless -r "/proc/$pid/status";
    $node->safe_psql('postgres', 'CHECKPOINT');
    my $switches = sub { PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/status")
          =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die };
    my %workers = map { reverse split /\|/ } split /\n/, $node->safe_psql('postgres',
        q{SELECT backend_type, pid FROM pg_stat_activity WHERE backend_type LIKE 'firehose %'});
    is(join(', ', sort values %workers), 'firehose decoder, firehose launcher, firehose sender', 'the workers');
    my %last = map { $_ => $switches->($_) } keys %workers;
    my %quiet_since = map { $_ => time() } keys %workers;
    my (%woken, %slept);
    my $all = wait_until('no worker of an idle server polls', sub {
        foreach my $worker (keys %workers)
        {
            my $now = $switches->($worker);
            if ($now > $last{$worker})
            {
                push @{ $woken{$worker} }, sprintf('%.1f', time() - $quiet_since{$worker});
                ($quiet_since{$worker}, $last{$worker}) = (time(), $now);
            }
            $slept{$worker} = 1 if time() - $quiet_since{$worker} >= 10;
        }
        return keys %slept == keys %workers }, 120);
    note("$workers{$_} was woken after these times: @{ $woken{$_} // [] }") foreach sort keys %workers;
    diag("$workers{$_} was woken after these times: @{ $woken{$_} }") foreach grep { !$all && !$slept{$_} } sort keys %workers;

    # an open transaction leaves its last page unflushed, which no process may flush
    # for hours: to look again and again is no way to wait
    my $open = $node->background_psql('postgres');
    $open->query_safe('BEGIN; INSERT INTO captured VALUES (2)');
    my $last = $switches->($pid);
    sleep 5;
    cmp_ok($switches->($pid) - $last, '<', 50, 'an open transaction does not keep it awake: '
          . ($switches->($pid) - $last) . ' times in 5 s');
    $open->query_safe('COMMIT');
    $open->quit;
}

$node->stop;
done_testing();
