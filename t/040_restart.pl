# Nothing is lost when the sender is terminated in mid-flight, again and again,
# or when the server restarts cleanly with its memory queue full and an endpoint
# that hangs; duplicates are at most what was in flight.  A fast stop takes at
# most five seconds whatever the endpoint does.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '16MB',
    'firehose.queue_timeout' => '120s');
new_stream($node, 'kills', max_in_flight => 2);

# terminated in mid-flight
# two requests of 500 records a second: there is something in flight each time
$emulator->fault('delay', { seconds => 1 });
my $count = 20_000;
my $session = put_in_background($node, 'kills', 1, $count, size => 99, per_commit => 100);
my $kills = 4;
for (1 .. $kills)
{
    wait_for_sql($node, q{SELECT max(in_flight) > 0 FROM firehose_stat_stream});
    my ($pid) = sender_pids($node);
    is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"), 't', 'terminated');
    wait_until('it is gone', sub { !grep { $_ == $pid } sender_pids($node) }, 10);
}
$emulator->heal;
ok($session->finish, 'the session that puts noticed nothing');
wait_delivered($node, 300);
my @committed = map { numbered($_, 99) . "\n" } 1 .. $count;
my $result = audit($emulator, 'kills', @committed);
is(scalar @{ $result->{lost} }, 0, 'terminations: nothing lost');
is(scalar @{ $result->{phantom} }, 0, 'terminations: nothing phantom');
cmp_ok(scalar @{ $result->{duplicate} }, '<=', $kills * 2 * 500,
    'terminations: duplicates at most what was in flight');

# Put records into a stream until it has its share of the queue; returns how many.
sub fill
{
    my ($stream) = @_;
    my $fitted = 0;
    while ($fitted < 1_000_000)
    {
        my ($code) = $node->psql('postgres', "SELECT firehose_put_record('$stream',
                rpad('n' || lpad(n::text, 9, '0'), 99, 'x'))
            FROM generate_series($fitted + 1, $fitted + 1000) n");
        last if $code != 0;
        $fitted += 1000;
    }
    return $fitted;
}

# a clean restart with a full queue
new_stream($node, 'filled', on_full => 'error');
$emulator->fault('hang_before_processing');
my $fitted = fill('filled');
cmp_ok($fitted, '<', 1_000_000, "the queue is full after $fitted records");
takes_at_most('a fast stop', 5.5, sub { $node->stop('fast') });
$emulator->heal;
$node->start;
wait_delivered($node, 300);
@committed = map { numbered($_, 99) . "\n" } 1 .. $fitted;
audit_ok('restart', $emulator, 'filled', \@committed, duplicates => 1);
is($node->safe_psql('postgres', 'SELECT count(*) FROM firehose_dead_letter'), '0',
    'no dead letters');

# and again with nothing to save: the saved queue is not read twice
$emulator->reset;
$node->restart;
put_numbered($node, 'filled', 1, 10);
wait_delivered($node);
is(scalar(() = $emulator->records('filled')), 10, 'an old queue is not sent again');

# two streams, of which the first in the file grew when the second was large
new_stream($node, $_, on_full => 'error') foreach qw(first second);
put_numbered($node, 'first', 900_000_000, 900_000_000);
wait_delivered($node);
$emulator->fault('hang_before_processing');
my %filled = map { $_ => fill($_) } qw(second first);
$node->stop('fast');
$emulator->heal;
$node->start;
wait_delivered($node, 300);
audit_ok("restart, $_", $emulator, $_,
    [ $_ eq 'first' ? numbered(900_000_000) . "\n" : (), map { numbered($_, 99) . "\n" } 1 .. $filled{$_} ],
    duplicates => 1)
  foreach qw(first second);

$node->stop;
done_testing();
