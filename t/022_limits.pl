# Firehose's limits as its strict counterpart sees them: at most 500 records and
# 4,000,000 bytes in a request (or what max_batch_bytes says), at most 1,024,000
# bytes in a record.  Batches fill up to each limit and never pass it; a record
# one byte too large is an error at the put.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '64MB');

# The requests to a stream as [records, bytes]
sub shapes
{
    my ($stream) = @_;
    # a request is in the journal a moment after its answer has left
    $emulator->control('POST', 'flush');
    return map { [ $_->{records}, $_->{raw_bytes} ] }
      grep { $_->{stream} eq $stream } $emulator->requests;
}

foreach my $count (499, 500, 501, 1500)
{
    my $stream = new_stream($node, "count$count");
    my @committed = put_numbered($node, $stream, 1, $count);
    wait_delivered($node);
    audit_ok("$count records", $emulator, $stream, \@committed);
    is(max(map { $_->[0] } shapes($stream)), $count < 500 ? $count : 500,
        "$count records: the largest batch");
}

# 40 records of 100,000 bytes are 4,000,000; with one byte more in one of them
# the last record needs a second request
foreach my $extra (0, 1)
{
    my $stream = new_stream($node, "bytes$extra", delimiter => 'none');
    $node->safe_psql('postgres', "SELECT firehose_put_batch('$stream',
            array_agg(rpad(n::text, 100000 + (n = 1)::int * $extra, 'x') ORDER BY n))
        FROM generate_series(1, 40) n");
    wait_delivered($node);
    is(max(map { $_->[1] } shapes($stream)), $extra ? 3_900_001 : 4_000_000,
        '4,000,000 bytes' . ($extra ? ' and one' : '') . ': the largest batch');
    is(length $emulator->delivered($stream), 4_000_000 + $extra, 'all arrive');
}

# as much as Firehose takes at all, when told so
new_stream($node, 'wide', delimiter => 'none', max_batch_bytes => '4194304');
$node->safe_psql('postgres', q{SELECT firehose_put_batch('wide',
        array_agg(rpad(n::text, 1024000, 'x')))
    FROM generate_series(1, 4) n});
wait_delivered($node);
is(max(map { $_->[1] } shapes('wide')), 4_096_000, 'max_batch_bytes is obeyed upward');

new_stream($node, 'narrow', max_batch_records => 7);
my @committed = put_numbered($node, 'narrow', 1, 100);
wait_delivered($node);
audit_ok('max_batch_records', $emulator, 'narrow', \@committed);
is(max(map { $_->[0] } shapes('narrow')), 7, 'max_batch_records is obeyed');

# records
new_stream($node, 'record', delimiter => 'none');
new_stream($node, 'line');
foreach my $put (
    [ "'record', rpad('', 1024000, 'x')", 1 ],
    [ "'record', rpad('', 1024001, 'x')", 0 ],
    [ "'record', convert_to(rpad('', 1024001, 'x'), 'UTF8')", 0 ],
    [ "'line', rpad('', 1023999, 'x')", 1 ],
    [ "'line', rpad('', 1024000, 'x')", 0 ],
    [ "'line', rpad('', 1023999, 'x') || E'\\n'", 1 ])
{
    my ($arguments, $fits) = @$put;
    my ($code, $out, $error) =
      $node->psql('postgres', "SELECT firehose_put_record($arguments)");
    is($code == 0, $fits == 1, "$arguments " . ($fits ? 'fits' : 'is too large'));
    like($error, qr/1,?024,?000/, 'the error names the limit') unless $fits;
}
wait_delivered($node);
is(length $emulator->delivered('record'), 1_024_000, 'the largest record arrives');
is(length $emulator->delivered('line'), 2 * 1_024_000, 'newline counted');
is_deeply($emulator->stats->{errors}, {}, 'the endpoint never had to refuse');

$node->stop;
done_testing();
