# An outage of the service while two hundred streams deliver: seconds of it, ten
# minutes with --long.  Nothing is lost or invented, each stream says what is
# wrong, the log and the sender's memory stay small, and when the service is back
# what has piled up is sent within the quota, and most of that is used.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max min sum0);
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $nstreams = is_long() ? 200 : 40;
my $seconds = is_long() ? 600 : 4;
my $rate = 200;    # records a second, of each of the streams that have a quota
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.max_streams' => 300,
    'firehose.queue_size' => '256MB', 'firehose.request_memory' => '32MB',
    'firehose.request_timeout' => '5s', 'firehose.status' => 'failed');
my @streams = map { sprintf('s%03d', $_) } 1 .. $nstreams;
my @limited = @streams[ 0 .. 4 ];
$node->safe_psql('postgres', join(';', map { "CREATE SERVER $_ FOREIGN DATA WRAPPER firehose" } @streams));
my $list = join(', ', map { "'$_'" } @streams);
my $put = 0;

# So many records into every stream.
sub put_everywhere
{
    my ($count) = @_;
    my $from = $put + 1;
    $put += $count;
    $node->safe_psql('postgres', <<"SQL");
        DO \$\$ DECLARE s text; BEGIN
            FOREACH s IN ARRAY ARRAY[$list] LOOP
                PERFORM firehose_put_record(s, rpad('n' || lpad(n::text, 9, '0'), 99, 'x')) FROM generate_series($from, $put) n;
                COMMIT;
            END LOOP;
        END \$\$
SQL
    return;
}

# MB of its own; a page of the queue that no other process has is not
sub memory_of_sender
{
    my $pid = sender_of($node, 'postgres');
    open(my $in, '<', "/proc/$pid/smaps_rollup") or die "smaps_rollup: $!";
    return sum0(map { /^Anonymous:\s+(\d+)/ ? $1 : () } <$in>) / 1024;
}

put_everywhere(10);
wait_delivered($node);
$emulator->control(POST => 'quota', { stream => $_, records_per_second => $rate }) foreach @limited;
my $memory = memory_of_sender();
my $offset = -s $node->logfile;

# errors of one kind, silence, resets, errors of another kind
my $ends = time() + $seconds;
my @faults = (is_long() ? qw(hang_before_processing reset_before_processing) : (), 'internal_failure');
my $total = @faults;
my $most = 0;
$emulator->fault('service_unavailable', {}, {});
while (time() < $ends || $put < 1000)
{
    put_everywhere(is_long() ? 10 : 110) if $put < (is_long() ? 2000 : 1000);
    if (@faults && $ends - time() < $seconds * @faults / ($total + 1))
    {
        $emulator->heal;
        $emulator->fault(shift @faults, {}, {});
    }
    sleep(is_long() ? 2 : 0.2);
    $most = max($most, memory_of_sender());
}
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream
    WHERE state = 'active' OR reason = '' OR queued + in_flight = 0}, '0');
$emulator->heal;
my $healed = time();
wait_delivered($node, 300);
note(sprintf('%d records; drained in %.1f s', $put * $nstreams, time() - $healed));
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE state <> 'active'}, '0');
$most = max($most, memory_of_sender());
cmp_ok($most - $memory, '<', 32 + 16, sprintf('memory is within the setting and the notes on records (%.0f MB, %.0f MB before)', $most, $memory));
cmp_ok(logged($node, 'firehose sender: ', $offset), '<', 5 * $nstreams, 'the log is not filled');

$emulator->control('POST', 'flush');
my %expected = map { numbered($_, 99) . "\n" => 1 } 1 .. $put;
my ($lost, $invented) = (0, 0);
my %arrived;
foreach my $stream (@streams)
{
    my %seen = map { $_ . "\n" => 1 } split /\n/, $emulator->delivered($stream);
    $lost += grep { !$seen{$_} } keys %expected;
    $invented += grep { !$expected{$_} } keys %seen;
}
is($lost, 0, 'nothing is lost');
is($invented, 0, 'nothing is invented');

# the quota, from the first success after the outage to the last, which is ten
# seconds at best, some of which pass until the rate is found (test_pace: longer)
my @requests = grep { $_->{started} > $healed } $emulator->requests;
foreach my $stream (@limited)
{
    my @taken = grep { ($_->{stream} // '') eq $stream && $_->{accepted} > 0 } @requests;
    my $asked = sum0(map { $_->{records} } grep { ($_->{stream} // '') eq $stream } @requests);
    my $taken = sum0(map { $_->{accepted} } @taken);
    my $took = max(map { $_->{replied} } @taken) - min(map { $_->{replied} } @taken);
    my $used = ($taken - $rate) / $took / $rate;
    note(sprintf('%s: %.0f %% of the quota used, %.2f times the records sent', $stream, 100 * $used, $asked / $taken));
    cmp_ok($used, '>', is_long() ? 0.4 : 0.2, "$stream: its quota is used");
    cmp_ok($asked, '<', (is_long() ? 1.5 : 2) * $taken, "$stream: and kept to");
}

$node->stop;
done_testing();
