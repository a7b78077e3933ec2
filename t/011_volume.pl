# A hundred thousand records (a million with --long) from four sessions at once
# arrive exactly once, byte for byte, when nothing goes wrong; and with one
# request in flight the records of each session arrive in its commit order.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $each = is_long() ? 250_000 : 25_000;
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.status' => 'failed',
    'firehose.queue_timeout' => '60s');

foreach my $in_flight (4, 1)
{
    my $stream = new_stream($node, "flight$in_flight", max_in_flight => $in_flight);
    my @committed = map { numbered($_, 99) . "\n" } 1 .. 4 * $each;
    my @sessions = map {
        put_in_background($node, $stream, $_ * $each + 1, ($_ + 1) * $each,
            size => 99, per_commit => 50)
    } 0 .. 3;
    ok($_->finish, 'a session put its records') foreach @sessions;
    wait_delivered($node, 600);

    my $result = audit_ok("max_in_flight $in_flight", $emulator, $stream, \@committed);
    is(length $emulator->delivered($stream), 100 * @committed, 'not a byte more');
    if ($in_flight == 1)
    {
        my @last = (0) x 4;
        my $disorder = 0;
        foreach (@{ $result->{order} })
        {
            my ($n) = /^n(\d+)/;
            my $session = int(($n - 1) / $each);
            $disorder++ if $n < $last[$session];
            $last[$session] = $n;
        }
        is($disorder, 0, 'each session in its commit order');
    }
    $emulator->reset;
}

$node->stop;
done_testing();
