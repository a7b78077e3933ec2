# What a stream does about a service that fails or asks for less, and when that is
# over.  In an outage little is sent again: after the second failure one record
# at a time is tried, whatever waits; then full requests follow, and everything
# arrives.  And a stream that was asked for less is active again when nothing is
# left to send, and not held back for long by a rate that it learnt from little.
# Of status rows that cannot be written the oldest are lost.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '64MB',
    'firehose.request_timeout' => '2s');
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub state_of { return sql("SELECT state FROM firehose_stat_stream WHERE stream = '$_[0]'") }

# ------------------------------------------------------------------------
# The state throttled ends with the records
# ------------------------------------------------------------------------
new_stream($node, 'asked');
# of a small and a large record the large one is refused once, so that the rate
# is learnt from the small one, and the large one is a long pause at that rate
$emulator->fault('fail_records', { containing => 'large', code => 'ServiceUnavailableException',
    message => 'Slow down.' }, { stream => 'asked', count => 1 });
sql(q{SELECT firehose_put_batch('asked', ARRAY['small', rpad('large', 900000, 'x')])});
wait_for_sql($node, q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'asked'}, '2');
is(sql(q{SELECT throttled FROM firehose_stat_stream WHERE stream = 'asked'}), '1', 'one was refused');
wait_until('a stream that has nothing left to send is active', sub { state_of('asked') eq 'active' });
sql(q{SELECT firehose_put_record('asked', 'next')});
wait_delivered($node);
is(scalar(grep { $_->{state} eq 'A' } $emulator->records('asked')), 3, 'and what comes next arrives');

# ------------------------------------------------------------------------
# Outages
# ------------------------------------------------------------------------
my %outages = (errors => 'internal_failure', silence => 'hang_before_processing');
my $count = 8000;
foreach my $name (sort keys %outages)
{
    new_stream($node, $name, max_in_flight => 2);
    $emulator->fault($outages{$name}, {}, { stream => $name });
    put_numbered($node, $name, 1, $count, per_commit => 1000);
    # seven attempts: some are made of one record by then
    wait_for_sql($node, qq{SELECT requests >= 7 FROM firehose_stat_stream WHERE stream = '$name'});
    is(state_of($name), 'retrying', "$name: the view says so");
}
my %before = map { $_ => sql("SELECT requests FROM firehose_stat_stream WHERE stream = '$_'") } keys %outages;
$emulator->heal;
wait_delivered($node, 300);
$emulator->control('POST', 'flush');
foreach my $name (sort keys %outages)
{
    audit_ok($name, $emulator, $name, [ map { numbered($_) . "\n" } 1 .. $count ],
        duplicates => 1);
    my @sizes = map { $_->{records} // 0 } grep { ($_->{stream} // '') eq $name } $emulator->requests;
    my @failed = @sizes[ 0 .. $before{$name} - 1 ];
    my $full = grep { $_ > 1 } @failed;
    # two of the first wave; of silence, two waves more that are smaller
    cmp_ok($full, '<=', 6, "$name: few requests of many records failed: @failed");
    is($failed[-1], 1, "$name: at last one record was tried");
    # of silence they grow from one record
    cmp_ok(scalar(grep { $_ == 500 } @sizes[ @failed .. $#sizes ]), '>=', 5,
        "$name: full requests followed: @sizes[@failed .. $#sizes]");
}

# ------------------------------------------------------------------------
# Status rows that cannot be written for long: the oldest are lost
# ------------------------------------------------------------------------
# (one request after the other: then the oldest rows have the smallest ids)
new_stream($node, 'rows', status => 'all', max_in_flight => 1);
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE ' . join(', ', map { "firehose_status_$_" } 0 .. 7));
my $many = 60_000;
put_numbered($node, 'rows', 1, $many, per_commit => 5000);
wait_for_sql($node, q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'rows'}, $many, 300);
my $last = sql(q{SELECT firehose_put_record('rows', 'last')});
wait_for_sql($node, q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'rows'}, $many + 1);
$locker->quit;
wait_for_sql($node, qq{SELECT count(*) BETWEEN 25000 AND 50000 AND max(id) = $last AND count(*) = $last - min(id) + 1
    FROM firehose_status WHERE stream = 'rows'});

$node->stop;
done_testing();
