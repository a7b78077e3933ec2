# The queue's logic against a model: random reservations, runs, savepoints,
# commits and aborts of transactions that interleave, processes that wait for
# space, are served in order, give up or lose their stream, senders that take and
# settle records in random order and are restarted at any time, streams that
# are dropped and databases that go, on small queues in private memory.  After
# every step the accounts, the chains, and what observers find must be what a
# model made of plain lists says; the bytes of each record are compared twice.
# 200 seeds, with --long 5,000; FIREHOSE_TEST_SEED is the first.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use PostgreSQL::Test::Cluster;
use Test::More;

use FirehoseTest;

my $module = Cwd::abs_path('test/modules/firehose_queue_test');
system('make', '-s', '-C', $module, "PG_CONFIG=$ENV{PG_CONFIG}", 'WERROR=1') == 0
  or die 'cannot build the test module';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'firehose'");
$node->start;
$node->safe_psql('postgres', "CREATE FUNCTION queue_model_test(seed bigint, operations integer)
    RETURNS text LANGUAGE c AS '$module/firehose_queue_test'");

my $first = $ENV{FIREHOSE_TEST_SEED} // 1;
my $seeds = is_long() ? 5000 : 200;
my $operations = 3000;
my (%sum, @failed);
foreach my $seed ($first .. $first + $seeds - 1)
{
    my ($code, $out, $error) = $node->psql('postgres',
        "SELECT queue_model_test($seed, $operations)");
    if ($code == 0) { $sum{$1} += $2 while $out =~ /(\w+) (\d+)/g }
    else { push @failed, $error }
}
is(scalar @failed, 0, "$seeds random programs of $operations steps");
diag($_) foreach @failed[ 0 .. ($#failed < 4 ? $#failed : 4) ];

# a test that never met a full queue or a restarted sender would show little
note(join(', ', map { "$_ $sum{$_}" } sort keys %sum));
cmp_ok($sum{$_} // 0, '>', $seeds, "$_: often enough")
  foreach qw(put full settled dropped restarts releases crowded evicted asked stale waited served crowds cancelled);
cmp_ok($sum{discarded} // 0, '>', 0, 'discarded: often enough');

$node->stop;
done_testing();
