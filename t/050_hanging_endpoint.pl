# The server is safe from its endpoint.  With one that accepts connections and
# never answers: commits are as fast as without, another stream's records are
# too, no worker holds a snapshot, databases can be dropped and the server
# stopped; and when the queue is full, puts do what on_full says and a commit
# still never waits.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '8MB',
    'firehose.queue_timeout' => '1s', 'firehose.request_timeout' => '60s');
new_stream($node, 'alive');
new_stream($node, 'dead');
$node->safe_psql('postgres', 'CREATE TABLE t (n int)');

# Median time of a commit that has put a record, in milliseconds
sub commit_time
{
    my @times = statement_times($node,
        ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT firehose_put_record('dead', 'x')",
            "COMMIT") x 1000);
    return median(map { $times[ 4 * $_ + 3 ] } 0 .. 999);
}

# Median time from the put to the known outcome on the stream that lives
sub round_trip { return median(round_trips($node, 'alive', 200)) }

commit_time();
my $commit_before = commit_time();
my $trip_before = round_trip();
wait_delivered($node);

$emulator->fault('hang_before_processing', {}, { stream => 'dead' });
put_numbered($node, 'dead', 1, 10);
wait_for_sql($node, q{SELECT in_flight > 0 FROM firehose_stat_stream WHERE stream = 'dead'});
my ($commit_during, $trip_during);
# other work may have begun on this machine: then once more
foreach my $attempt (1 .. 3)
{
    $commit_during = commit_time();
    $trip_during = round_trip();
    last if $commit_during < 2 * $commit_before + 0.5 && $trip_during < 2 * $trip_before + 2;
    sleep 3;
}
note("commit: $commit_before ms before, $commit_during ms during; "
      . "round trip: $trip_before ms before, $trip_during ms during");
cmp_ok($commit_during, '<', 2 * $commit_before + 0.5, 'a commit is as fast as before');
cmp_ok($trip_during, '<', 2 * $trip_before + 2, 'and so is another stream');

is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
        WHERE backend_type LIKE 'firehose%'
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL)}),
    '0', 'no worker holds a transaction or a snapshot');

# databases
$node->safe_psql('postgres', 'CREATE DATABASE other');
takes_at_most('DROP DATABASE of another database', 2,
    sub { $node->safe_psql('postgres', 'DROP DATABASE other') });
$node->safe_psql('postgres', 'CREATE DATABASE busy');
$node->safe_psql('busy', 'CREATE EXTENSION firehose');
new_stream($node, 'busydead', dbname => 'busy', stream_name => 'dead');
put_numbered($node, 'busydead', 1, 10, dbname => 'busy');
wait_until('its sender has requests in flight', sub {
    $node->safe_psql('postgres', q{SELECT coalesce(max(in_flight), 0)
        FROM firehose_stat_stream WHERE stream = 'busydead'}) > 0 });
takes_at_most('DROP DATABASE of one whose own sender hangs', 3,
    sub { $node->safe_psql('postgres', 'DROP DATABASE busy') });

# a full queue
foreach my $policy (qw(wait error discard))
{
    new_stream($node, "full_$policy", on_full => $policy, stream_name => 'dead');
}
my ($code, $out, $error);
foreach my $policy (qw(discard error wait))
{
    # fill what the stream may take
    for (1 .. 200)
    {
        ($code) = $node->psql('postgres', "SET firehose.queue_timeout = '10ms';
            SELECT count(firehose_put_record('full_$policy', rpad('', 1000, 'x')))
            FROM generate_series(1, 100)");
        last if $code != 0;
        last if $policy eq 'discard' && $node->safe_psql('postgres', q{SELECT discarded > 0
            FROM firehose_stat_stream WHERE stream = 'full_discard'}) eq 't';
    }
}
my $put = q{SELECT firehose_put_record('full_%s', rpad('', 100000, 'x')) IS NULL};
takes_at_most('on_full error: the put ends at once', 0.5, sub {
    ($code, $out, $error) = $node->psql('postgres', q{SET firehose.queue_timeout = '300s';}
          . sprintf($put, 'error')) });
isnt($code, 0, 'and fails');
my $took;
takes_at_most('on_full wait: the put ends not long after queue_timeout', 3, sub {
    $took = seconds(sub { ($code, $out, $error) = $node->psql('postgres', sprintf($put, 'wait')) }) });
isnt($code, 0, 'and fails');
cmp_ok($took, '>', 0.9, 'and not sooner');
alter_settings($node, 'firehose.max_queue_timeout' => '500ms');
takes_at_most('nor longer than the superuser allows', 3, sub {
    ($code, $out, $error) = $node->psql('postgres', q{SET firehose.queue_timeout = '24d';} . sprintf($put, 'wait')) });
like($error, qr/within firehose.queue_timeout \(500 ms\)/, 'and says how long that was');
alter_settings($node, 'firehose.max_queue_timeout' => '5min');
($code, $out, $error) = $node->psql('postgres',
    q{SET firehose.queue_timeout = '300s'; SET statement_timeout = '200ms';} . sprintf($put, 'wait'));
like($error, qr/statement timeout/, 'the wait can be cancelled');
my $discarded = q{SELECT discarded FROM firehose_stat_stream WHERE stream = 'full_discard'};
my $before = $node->safe_psql('postgres', $discarded);
is($node->safe_psql('postgres', sprintf($put, 'discard')), 't',
    'on_full discard: the put answers NULL');
is($node->safe_psql('postgres', $discarded), $before + 1, 'and is counted');
my $commit_full;
foreach my $attempt (1 .. 3)
{
    my @times = statement_times($node,
        ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT firehose_put_record('full_discard', 'x')",
            "COMMIT") x 200);
    $commit_full = median(map { $times[ 4 * $_ + 3 ] } 0 .. 199);
    last if $commit_full < 2 * $commit_before + 0.5;
    sleep 3;
}
cmp_ok($commit_full, '<', 2 * $commit_before + 0.5, 'a commit does not wait for a full queue');
is($node->safe_psql('postgres', q{SELECT firehose_wait(firehose_put_record('alive', 'x', false), '60 s')}),
    'accepted', 'a dead stream leaves room for another');

takes_at_most('a fast stop', 5.5, sub { $node->stop('fast') });
done_testing();
