# A bad day at Firehose: 30 % of the entries fail at random, replies are cut or
# never come, connections are reset and the service answers 503.  Everything
# arrives; nothing that was acknowledged is sent again, so the only duplicates
# are records whose reply was lost.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $each = is_long() ? 100_000 : 5_000;
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_timeout' => '300s',
    'firehose.request_timeout' => '20s');
my $stream = new_stream($node, 'badday');

$emulator->fault('fail_records', { probability => 0.3 }, { seed => 1 });
my $seed = 2;
foreach my $fault (qw(service_unavailable reset_before_processing close_before_processing
    reset_after_processing close_after_processing short_reply truncated_body entry_neither))
{
    $emulator->fault($fault, {}, { probability => 0.04, seed => $seed++ });
}
$emulator->fault('reset_mid_upload', { after_bytes => 1000 },
    { probability => 0.03, seed => $seed++ });
$emulator->fault('reset_on_reuse', {}, { probability => 0.03, seed => $seed++ });

my @committed = map { numbered($_, 99) . "\n" } 1 .. 4 * $each;
my @sessions = map {
    put_in_background($node, $stream, $_ * $each + 1, ($_ + 1) * $each,
        size => 99, per_commit => 20)
} 0 .. 3;
ok($_->finish, 'a session put its records') foreach @sessions;
wait_delivered($node, 600);

my $result = audit_ok('bad day', $emulator, $stream, \@committed, duplicates => 1);
note('duplicates, their replies lost: ' . @{ $result->{duplicate} });
my $stats = $emulator->stats;
cmp_ok($stats->{faults}{$_} // 0, '>', 0, "$_ happened")
  foreach qw(fail_records service_unavailable reset_before_processing);

is($node->safe_psql('postgres', q{SELECT accepted, failed, queued, in_flight
        FROM firehose_stat_stream WHERE stream = 'badday'}),
    4 * $each . '|0|0|0', 'each record was accepted once');
cmp_ok($node->safe_psql('postgres', 'SELECT resent FROM firehose_stat_stream'), '>=',
    $each, 'and many were resent');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT id) FROM firehose_status
        WHERE stream = 'badday' AND status = 'accepted'}),
    4 * $each . '|' . 4 * $each, 'one status row for each');

# what failed beside others is tried again by itself: nothing else comes, and no session
# waits for it
$emulator->heal;
new_stream($node, 'lonely');
$emulator->fault('fail_records', { containing => 'bad', probability => 1, code => 'InternalFailure' },
    { stream => 'lonely', containing => 'bad', count => 3 });
$node->safe_psql('postgres', q{SELECT firehose_put_batch('lonely', ARRAY['bad', 'good'])});
wait_for_sql($node, q{SELECT accepted, resent FROM firehose_stat_stream WHERE stream = 'lonely'}, '2|3');

$node->stop;
done_testing();
