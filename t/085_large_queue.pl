# What a queue of 8 GB costs while little is in it: no more memory than one of 64 MB,
# at the start, after a crash and after puts.  Memory is touched as it is needed,
# and what was used before is used again.  (bench/contention measures the time.)
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '64MB', restart_after_crash => 'on');
new_stream($node, 'clicks');

# Resident memory of a process, in MB: with the pages of shared memory that it has
# touched, which are those of the queue for a sender.
sub resident
{
    my ($pid) = @_;
    return slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 / 1024 : die "no memory of $pid";
}

sub postmaster { return (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] }

# 80 MB, a little at a time.
sub put_much
{
    foreach my $round (1 .. 8)
    {
        $node->safe_psql('postgres', q{SELECT count(firehose_put_batch('clicks', array_fill(repeat('x', 10000), ARRAY[100])))
            FROM generate_series(1, 10)});
        wait_delivered($node);
    }
    return;
}

put_much();
my ($small, $sender) = map { resident($_) } postmaster(), sender_pids($node);
alter_settings($node, 'firehose.queue_size' => '8GB');
$node->restart;
cmp_ok(resident(postmaster()), '<', $small + 20, 'the postmaster with 8 GB is no larger than with 64 MB');
put_much();
cmp_ok(resident((sender_pids($node))[0]), '<', $sender + 40, 'nor is the sender, whatever has passed through the queue');

my $launcher = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose launcher'});
kill('KILL', $launcher);
wait_until('the server restarts after a crash', sub {
    my ($code, $out) = $node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose launcher'});
    return $code == 0 && $out =~ /^\d+$/ && $out ne $launcher });
cmp_ok(resident(postmaster()), '<', $small + 20, 'nor is the postmaster after it');

$node->stop;
done_testing();
