# One transaction larger than the queue, and than all memory that decoding may
# use, passes with the queue at its default size: 200,000 rows, ten million
# with --long.  Decoder and sender stay under a stated bound of private memory.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PipelineTest;

# The reorder buffer spills to disk at logical_decoding_work_mem (64 MB; here
# less, so that 200,000 rows spill), a helping of records is 128 kB, a sender
# has max_in_flight (4) requests of at most 4 MiB and their base64 (5.6 MiB).
my $work_mem = is_long() ? 64 : 8;
my $decoder_bound = ($work_mem + 40) * 1024;
my $sender_bound = 64 * 1024;
my $rows = is_long() ? 10_000_000 : 200_000;

my $emulator = Emulator->start(is_long() ? ('journal-data' => 'none') : ());
my $node = new_decoding_node('main', $emulator, logical_decoding_work_mem => "${work_mem}MB",
    max_wal_size => '4GB');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, a text, b numeric, c timestamptz);
    CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'large', ['p']);
my ($decoder) = decoder_pids($node);
my ($sender) = sender_pids($node);

$node->safe_psql('postgres', "INSERT INTO t SELECT n, 'row ' || md5(n::text) || repeat('x', 60), n / 7.0, now()
    FROM generate_series(1, $rows) n");
my $lsn = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
my %peak = ($decoder => 0, $sender => 0);
my $took = seconds(sub {
    wait_until('the transaction passes', sub {
        foreach my $pid (keys %peak)
        {
            my $kb = worker_memory($pid);
            $peak{$pid} = $kb if $kb > $peak{$pid};
        }
        $node->safe_psql('postgres', "SELECT confirmed_lsn >= '$lsn' FROM firehose_stat_pipeline") eq 't';
    }, is_long() ? 1800 : 120) });
note(sprintf('%d rows in %.1f s, %.0f a second; private memory: decoder %d MB, sender %d MB',
        $rows, $took, $rows / $took, $peak{$decoder} / 1024, $peak{$sender} / 1024));
is_deeply([ decoder_pids($node) ], [$decoder], 'by the decoder that began it');
cmp_ok($peak{$decoder}, '>', 0, 'its memory was seen');
cmp_ok($peak{$decoder}, '<', $decoder_bound, "the decoder has at most $decoder_bound kB");
cmp_ok($peak{$sender}, '<', $sender_bound, "the sender has at most $sender_bound kB");

my $stats = $emulator->stats;
is($stats->{accepted}, $rows, 'every row arrived once');
# all of one transaction, numbered without a gap
replay_ok('large', $node, 'postgres', $emulator, ['large'], compare => 0, 'max-duplicates' => 0)
  unless is_long();

$node->stop;
done_testing();
