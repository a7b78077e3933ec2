# Faults that show only in numbers: each attempt is one request, replies that
# trickle are given up in time, a quota is used and kept to after an outage, one
# dead stream of two hundred holds up none of the others, and numbers near their
# limits, in replies and of our own, overflow nothing.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max min sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '64MB',
    'firehose.max_streams' => 300, 'firehose.request_timeout' => '2s',
    'firehose.probe_interval' => '200ms');

sub view
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres',
        "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

# Put ten records into each of the many streams; the time that is enough for 99 %
# of them, of the seventh stream none, in milliseconds.
sub slowest_of_many
{
    my $last = $node->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM firehose_status');
    my $accepted = q{SELECT sum(accepted) FROM firehose_stat_stream
        WHERE stream LIKE 'many\_%' AND stream <> 'many_7'};
    my $before = $node->safe_psql('postgres', $accepted) || 0;
    foreach my $round (1 .. 10)
    {
        $node->safe_psql('postgres', "SELECT firehose_put_record('many_' || s, 'round $round')
            FROM generate_series(1, 200) s");
    }
    wait_for_sql($node, $accepted, $before + 10 * 199, 30);
    # status rows come a moment later
    wait_for_sql($node, "SELECT count(*) >= 1990 FROM firehose_status
        WHERE id > $last AND stream LIKE 'many\_%' AND stream <> 'many_7'");
    return $node->safe_psql('postgres', "SELECT round(1000 * extract(epoch FROM
            percentile_disc(0.99) WITHIN GROUP (ORDER BY completed_at - queued_at)))
        FROM firehose_status WHERE id > $last AND stream LIKE 'many\_%' AND stream <> 'many_7'");
}

# One request per attempt: what the view counts is what came, however it ended.
# A client library that tries again by itself would send more.  Less comes where
# a connection was closed a moment before a request was written to it.
my @attempts = qw(close_on_reuse reset_on_reuse close_mid_upload reset_mid_upload
  close_before_processing reset_before_processing close_after_processing
  reset_after_processing early_reply close_after_reply short_reply);
foreach my $fault (@attempts)
{
    new_stream($node, $fault, max_in_flight => 2, max_batch_records => 2);
    $emulator->fault($fault, {}, { stream => $fault, every => 3, count => 4 });
}
my @sessions = map { put_in_background($node, $_, 1, 60, per_commit => 2) } @attempts;
ok($_->finish, 'a session put its records') foreach @sessions;
wait_delivered($node);
foreach my $fault (@attempts)
{
    audit_ok($fault, $emulator, $fault, [ map { numbered($_) . "\n" } 1 .. 60 ], duplicates => 1);
}
my $came = grep { ($_->{operation} // '') =~ /^Put/ } $emulator->requests;
my $faults = $emulator->stats->{faults};
my $attempts = $node->safe_psql('postgres', 'SELECT sum(requests) FROM firehose_stat_stream');
cmp_ok($came, '<=', $attempts, "each attempt was one request: $came");
cmp_ok($came, '>=', $attempts - $faults->{close_after_reply}, "and each came");
cmp_ok($faults->{$_} // 0, '>', 0, "$_ happened") foreach @attempts;
$emulator->heal;

# A reply that trickles ends at request_timeout, and nothing of it is believed.
new_stream($node, 'trickling', max_in_flight => 1);
$emulator->fault('slow_reply', { bytes_per_second => 20 }, { stream => 'trickling' });
my @trickled = put_numbered($node, 'trickling', 1, 3);
wait_until('a reply that trickles is given up', sub {
    view('trickling', 'last_error_message') =~ /time/i && view('trickling', 'accepted, queued > 0') eq '0|t' }, 20)
  or diag(view('trickling', 'state, reason, accepted'));
$emulator->heal;
wait_delivered($node);
audit_ok('trickling', $emulator, 'trickling', \@trickled, duplicates => 1);
$emulator->control('POST', 'flush');
my @times = map { $_->{replied} - $_->{started} }
  grep { ($_->{stream} // '') eq 'trickling' } $emulator->requests;
cmp_ok(max(@times), '<', is_long() ? 4 : 15, 'after request_timeout');

# A quota, entry by entry and call by call, after an outage with the queue
# filled: at least nine tenths of it are used, and what is refused is little.
my $rate = 2000;
my $count = $rate * (is_long() ? 180 : 8);
my %quotas = (by_entry => 'partial', by_call => 'error');
$emulator->fault('service_unavailable', {}, { stream => 'by_*' });
foreach my $name (sort keys %quotas)
{
    new_stream($node, $name);
    $emulator->control(POST => 'quota', { stream => $name, records_per_second => $rate,
        over_records => $quotas{$name}, put_record_error => 'throttle' });
    put_numbered($node, $name, 1, $count, per_commit => 1000);
}
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream
    WHERE stream LIKE 'by_%' AND state <> 'active' AND accepted = 0}, 2);
$emulator->heal;
wait_delivered($node, 300);
$emulator->control('POST', 'flush');
foreach my $name (sort keys %quotas)
{
    audit_ok("quota $name", $emulator, $name, [ map { numbered($_) . "\n" } 1 .. $count ]);
    my @taken = grep { ($_->{stream} // '') eq $name && $_->{accepted} > 0 } $emulator->requests;
    my $seconds = max(map { $_->{replied} } @taken) - min(map { $_->{replied} } @taken);
    # the bucket was full at first
    my $used = ($count - $rate) / $seconds / $rate;
    my $asked = sum0(map { $_->{records} } grep { ($_->{stream} // '') eq $name } $emulator->requests);
    note(sprintf('%s: %.0f %% of the quota used, %.2f times the records sent', $name, 100 * $used, $asked / $count));
    # a few seconds of it pass until the rate is found
    cmp_ok($used, '>=', is_long() ? 0.9 : 0.15, "quota $name: is used");
    cmp_ok($asked, '<', 1.5 * $count, "quota $name: and little is sent in vain");
}

# Two hundred streams, of which one is dead: the others take hardly longer than
# when all live.
my $streams = 200;
$node->safe_psql('postgres', join(';', map {
    "CREATE SERVER many_$_ FOREIGN DATA WRAPPER firehose" } 1 .. $streams));
my $alive = slowest_of_many();
# whoever waited for it would wait this long
alter_settings($node, 'firehose.request_timeout' => '60s');
$emulator->fault('hang_before_processing', {}, { stream => 'many_7' });
$node->safe_psql('postgres', q{SELECT firehose_put_record('many_7', 'dead') FROM generate_series(1, 100)});
wait_until('one is dead', sub { view('many_7', 'in_flight > 0') eq 't' });
my $beside_dead = slowest_of_many();
cmp_ok($beside_dead, '<', 2 * $alive + (is_long() ? 500 : 10_000),
    "one dead stream of $streams holds up none of the others: p99 is $beside_dead ms, was $alive ms");
is(view('many_7', 'queued + in_flight'), '110', 'and keeps its own records');
alter_settings($node, 'firehose.request_timeout' => '2s');
$emulator->heal;
wait_delivered($node);
is(scalar(split /\n/, $emulator->delivered("many_$_")), 20, "many_$_: all arrived") foreach 1, 8, 10, 200;

# Numbers of a service near and beyond their limits
my @wishes = qw(0 -1 9223372036854775807 18446744073709551615 99999999999999999999 1e400 nan);
foreach my $at (0 .. $#wishes)
{
    new_stream($node, "wish_$at");
    $emulator->fault('http_error', { status => 503, code => 'ServiceUnavailableException',
        headers => { 'x-amz-retry-after' => $wishes[$at] } }, { stream => "wish_$at", count => 1 });
    $node->safe_psql('postgres', "SELECT firehose_put_record('wish_$at', 'x')");
}
my @counts = qw(9223372036854775807 18446744073709551616 -1 1e300 -9223372036854775808);
foreach my $at (0 .. $#counts)
{
    new_stream($node, "count_$at");
    $emulator->fault('failed_put_count', { value => JSON::PP->new->allow_nonref->decode($counts[$at]) },
        { stream => "count_$at" });
    $node->safe_psql('postgres', "SELECT firehose_put_batch('count_$at', ARRAY['a', 'b'])");
}
ok(wait_delivered($node, 60), 'no wish of a service is waited for longer than a few seconds');
foreach my $at (0 .. $#counts)
{
    is(length $emulator->delivered("count_$at"), 4, "FailedPutCount $counts[$at]: the entries count");
}

$node->stop;
done_testing();
