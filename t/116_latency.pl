# How long it takes on a quiet server from a commit to the endpoint's answer:
# from the commit's own time to the moment the emulator had answered, both by
# the clock of this machine.  The bounds are generous, for machines that do
# other things, and narrow with --long; what was measured is printed.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);
use Time::Local qw(timegm);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $commits = is_long() ? 2000 : 200;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
$node->safe_psql('postgres', 'CREATE TABLE t (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'latency', ['p']);

my $next = 1;
foreach my $synchronous ('on', 'off')
{
    my $first = $next;
    $node->safe_psql('postgres', "SET synchronous_commit = $synchronous; DO \$\$ BEGIN
        FOR i IN $next .. @{[ $next + $commits - 1 ]} LOOP
            INSERT INTO t VALUES (i);
            COMMIT;
            PERFORM pg_sleep(0.010);
        END LOOP; END \$\$");
    $next += $commits;
    wait_confirmed($node, 'postgres', 'latency');
    $emulator->control('POST', 'flush');

    my %replied = map { $_->{seq} => $_->{replied} } $emulator->requests;
    my @latencies;
    foreach my $record ($emulator->records('latency'))
    {
        my ($n) = $record->{data} =~ /"after":\{"n":(\d+)\}/ or next;
        next if $n < $first;
        my ($date, $fraction) = $record->{data} =~ /"ts":"([^".Z]+)(\.\d+)?Z"/ or die $record->{data};
        my ($year, $month, $day, $hour, $minute, $second) = split /[-T:]/, $date;
        my $committed = timegm($second, $minute, $hour, $day, $month - 1, $year) + ($fraction // 0);
        push @latencies, 1000 * ($replied{ $record->{seq} } - $committed);
    }
    is(scalar @latencies, $commits, "synchronous_commit $synchronous: every commit came once");
    @latencies = sort { $a <=> $b } @latencies;
    my ($p50, $p99) = map { $latencies[ $_ * $#latencies ] } 0.5, 0.99;
    note(sprintf('synchronous_commit %s: commit to acknowledged p50 %.2f ms, p99 %.2f ms, at most %.2f ms',
            $synchronous, $p50, $p99, $latencies[-1]));
    my ($half, $most) = is_long() ? (20, 250) : (500, 5000);
    cmp_ok($p50, '<', $half, "synchronous_commit $synchronous: half within $half ms");
    cmp_ok($p99, '<', $most, "synchronous_commit $synchronous: all but the last percent within $most ms");
}

$node->stop;
done_testing();
