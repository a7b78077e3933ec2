# What packing changes of attempts and of waiting: those that a record shared with
# others of its group do not count against it, not even when it is packed no more,
# a group that is refused alone makes way for what comes behind, and records that
# linger cost nothing meanwhile.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator);
$node->safe_psql('postgres', 'CREATE TABLE sent (stream text, n int, id bigint)');

sub counters
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres', "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

# packed first, and not any more when its poison is looked for; by the same sender
# and by another one
foreach my $killed (0, 1)
{
    my $stream = "own_$killed";
    new_stream($node, $stream, pack => 'true', paused => 'true', max_attempts => 3);
    # of the whole call, so that all are sent again as they were
    $emulator->fault('throttle', {}, { stream => $stream });
    put_remembered($node, $stream, 1, 10);
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    wait_for_sql($node, "SELECT resent >= 20 FROM firehose_stat_stream WHERE stream = '$stream'");
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'true', SET pack 'false')");
    wait_for_sql($node, "SELECT queued, in_flight FROM firehose_stat_stream WHERE stream = '$stream'", '10|0');
    my $shared = grep { $_->{stream} eq $stream } $emulator->requests;
    if ($killed)
    {
        my ($sender) = sender_pids($node);
        $node->safe_psql('postgres', "SELECT pg_terminate_backend($sender)");
        wait_until('another sender comes', sub { my ($now) = sender_pids($node); ($now // $sender) != $sender });
    }
    $emulator->heal;
    $emulator->fault('fail_records', { containing => 'n000000007', probability => 1,
        code => 'InternalFailure', message => 'It is poison.' }, { stream => $stream });
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    # what comes later tells the poison from an outage
    my $n = 10;
    wait_until("$stream: the poison is given up", sub {
        put_remembered($node, $stream, ++$n, $n);
        counters($stream, 'failed') eq '1' });
    my $own = $node->safe_psql('postgres', "SELECT attempts - $shared FROM firehose_dead_letter WHERE stream = '$stream'");
    cmp_ok($own, '>=', 3, "$stream: after three attempts of its own ($shared were its group's)");
    wait_delivered($node);
    is(counters($stream, 'accepted'), $n - 1, "$stream: and all others arrive");
    $emulator->heal;
}

# requests of one group each, and the first group fails as a whole
foreach my $pack (qw(true false))
{
    my $stream = "way_$pack";
    new_stream($node, $stream, pack => $pack, paused => 'true', max_batch_records => 1, max_in_flight => 1);
    $emulator->fault('fail_records', { containing => 'n000000001', probability => 1,
        code => 'InternalFailure', message => 'It is poison.' }, { stream => $stream });
    put_remembered($node, $stream, 1, 5);
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    wait_until("$stream: it has failed", sub { counters($stream, 'resent') > 0 });
    put_remembered($node, $stream, $_, $_) foreach 6 .. 10;
    wait_for_sql($node, "SELECT accepted, queued + in_flight, failed FROM firehose_stat_stream WHERE stream = '$stream'",
        '9|1|0');
    $emulator->heal;
    wait_delivered($node);
    is(counters($stream, 'accepted'), '10', "$stream: it arrives when it can");
}

# records that linger: puts do not wake the sender, until they fill a request
new_stream($node, 'patient', pack => 'true', pack_linger => '1h');
$node->safe_psql('postgres', q{SELECT firehose_put_record('patient', 'the first')});
SKIP:
{
    my ($sender) = sender_pids($node);
    skip('this system has no /proc/PID/status', 1) unless -r "/proc/$sender/status";
    my $switches = sub { PostgreSQL::Test::Utils::slurp_file("/proc/$sender/status")
          =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die };
    my $before = $switches->();
    $node->safe_psql('postgres', q{
        DO $$ BEGIN
            FOR i IN 1 .. 300 LOOP
                PERFORM firehose_put_record('patient', i::text), pg_sleep(0.01);
                COMMIT;
            END LOOP;
        END $$});
    my $woken = $switches->() - $before;
    cmp_ok($woken, '<', 30, "300 puts in 3 s wake it hardly ever ($woken times)");
}
is(counters('patient', 'accepted'), '0', 'and none is sent');
$node->safe_psql('postgres', q{
    DO $$ BEGIN
        FOR i IN 1 .. 33 LOOP
            PERFORM firehose_put_batch('patient', array_agg(repeat('x', 9))) FROM generate_series(1, 500);
            COMMIT;
        END LOOP;
    END $$});
wait_for_sql($node, q{SELECT accepted >= 16384 FROM firehose_stat_stream WHERE stream = 'patient'});
$node->safe_psql('postgres', q{SELECT firehose_flush()});

# by bytes, too
$node->safe_psql('postgres', q{SELECT firehose_put_record('patient', 'the second')});
$node->safe_psql('postgres', q{SELECT firehose_put_record('patient', repeat('x', 1000000)) FROM generate_series(1, 5)});
wait_for_sql($node, q{SELECT accepted >= 16802 + 3 FROM firehose_stat_stream WHERE stream = 'patient'});
$node->stop;

# and none lingers in a queue that others fill
my $small = new_node('small', $emulator, 'firehose.queue_size' => '4MB');
new_stream($small, 'lingers', pack => 'true', pack_linger => '1h');
new_stream($small, 'fills', paused => 'true');
$small->safe_psql('postgres', q{SELECT firehose_put_record('lingers', 'x')});
$small->safe_psql('postgres', q{SELECT firehose_put_record('fills', repeat('x', 1000)) FROM generate_series(1, 500)});
is($small->safe_psql('postgres', q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'lingers'}), '0',
    'a record lingers in a queue that has room');
$small->safe_psql('postgres', q{SELECT firehose_put_record('fills', repeat('x', 1000)) FROM generate_series(1, 1000)});
wait_for_sql($small, q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'lingers'}, '1');
$small->stop;
done_testing();
