# order 'strict': no record is sent before every earlier one of its stream is
# accepted or in the dead letters, whatever happens: records that fail, requests
# that are lost, groups, a sender or a server that restarts, a stream that is
# paused, disabled, or strict only from now on.  And what counts against a record
# that may be given up: that Firehose refuses it, and nothing else.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.request_timeout' => '5s',
    'firehose.probe_interval' => '200ms');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub view
{
    my ($stream, $columns) = @_;
    return sql("SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

# Each request begins with the first record that is not settled by then, and has
# those that follow it.  %dead: numbers that were given up.
sub in_order
{
    my ($name, $stream, $from, $to, %dead) = @_;
    $emulator->control('POST', 'flush');
    my %heard = map { $_->{seq} => $_->{reply_sent} } $emulator->requests;
    my ($next, @wrong, %requests) = ($from);
    foreach my $record ($emulator->records($stream))
    {
        push @{ $requests{ $record->{seq} } }, $record;
    }
    foreach my $seq (sort { $a <=> $b } keys %requests)
    {
        my @records = @{ $requests{$seq} };
        my @numbers = grep { $_ >= $from } map { /^n0*(\d+)/ ? $1 : () } map { unpack_record($_->{data}) } @records;
        next unless @numbers;
        $next++ while $dead{$next} && $numbers[0] != $next;
        push @wrong, "request $seq: @numbers[0, -1], not from $next on" if $numbers[0] != $next || $numbers[-1] - $numbers[0] != $#numbers;
        $next = $numbers[-1] + 1 if !grep { $_->{state} ne 'A' } @records and $heard{$seq};
    }
    $next++ while $dead{$next};
    is_deeply(\@wrong, [], "$name: in order");
    return is($next, $to + 1, "$name: all of them");
}

# ------------------------------------------------------------------------
# Failures of all kinds, restarts, and what is done to a stream
# ------------------------------------------------------------------------
my %streams = (single => {}, packed => { pack => 'true' });
my $seed = 1;
foreach my $stream (sort keys %streams)
{
    new_stream($node, $stream, order => 'strict', %{ $streams{$stream} });
    $emulator->fault('fail_records', { probability => 0.15, code => 'InternalFailure' }, { stream => $stream, seed => $seed++ });
    $emulator->fault($_, {}, { stream => $stream, probability => 0.05, seed => $seed++ })
      foreach qw(service_unavailable reset_before_processing close_after_processing short_reply truncated_body);
}
my $n = is_long() ? 2000 : 200;
my @sessions = map { put_in_background($node, $_, 1, $n, per_commit => 1) } sort keys %streams;
foreach my $step (
    [ 'the sender ends' => sub { sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'firehose sender'}) } ],
    [ 'paused' => sub { sql(qq{ALTER SERVER $_ OPTIONS (ADD paused 'true')}) foreach keys %streams;
        sql(qq{ALTER SERVER $_ OPTIONS (DROP paused)}) foreach keys %streams } ],
    [ 'another in-flight limit' => sub { sql(qq{ALTER SERVER $_ OPTIONS (ADD max_in_flight '8')}) foreach keys %streams } ])
{
    my ($name, $do) = @$step;
    wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'single' AND accepted IS NOT NULL}, 1);
    my $before = view('single', 'accepted');
    $do->();
    wait_until("$name: delivery goes on", sub { view('single', 'accepted') > $before || view('single', 'queued') eq '0' });
}
ok($_->finish, 'a session put its records') foreach @sessions;
sql(qq{ALTER SERVER $_ OPTIONS (ADD enabled 'false')}) foreach keys %streams;
$node->restart;
sql(qq{ALTER SERVER $_ OPTIONS (SET enabled 'true')}) foreach keys %streams;
$emulator->heal;
wait_delivered($node);
foreach my $stream (sort keys %streams)
{
    audit_ok($stream, $emulator, $stream, [ map { numbered($_) . "\n" } 1 .. $n ], duplicates => 1,
        packed => $stream eq 'packed');
    in_order($stream, $stream, 1, $n);
}

# ------------------------------------------------------------------------
# Strict from now on: what was refused before comes first
# ------------------------------------------------------------------------
new_stream($node, 'turned', max_batch_records => 5);
my $bad = $emulator->fault('fail_records', { containing => 'bad', code => 'InternalFailure' }, { stream => 'turned' });
sql(q{SELECT firehose_put_batch('turned', array_agg('n' || n || CASE WHEN n IN (3, 7) THEN ' bad' ELSE '' END ORDER BY n))
    FROM generate_series(1, 10) n});
wait_for_sql($node, q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'turned'}, '8');
sql(q{ALTER SERVER turned OPTIONS (ADD paused 'true')});
wait_for_sql($node, q{SELECT state, in_flight FROM firehose_stat_stream WHERE stream = 'turned'}, 'paused|0');
sql(q{SELECT firehose_put_batch('turned', array_agg('n' || n ORDER BY n)) FROM generate_series(11, 30) n});
$emulator->fault('fail_records', { containing => 'bad', code => 'InternalFailure' }, { stream => 'turned', count => 3 });
$emulator->control(DELETE => "rules/$bad");
sql(q{ALTER SERVER turned OPTIONS (SET paused 'false', ADD order 'strict')});
wait_delivered($node);
$emulator->control('POST', 'flush');
my @accepted = map { $_->{data} =~ /^n(\d+)/ } grep { $_->{state} eq 'A' } $emulator->records('turned');
is_deeply([ @accepted[ 8 .. $#accepted ] ], [ 3, 7, 11 .. 30 ], 'turned: what was refused before comes first');

# ------------------------------------------------------------------------
# A dead letter that cannot be stored holds up what comes after it
# ------------------------------------------------------------------------
foreach my $stream (sort keys %streams)
{
    my $name = new_stream($node, "poisoned_$stream", order => 'strict', max_attempts => 3, paused => 'true', %{ $streams{$stream} });
    $emulator->fault('fail_records', { containing => 'n000000003', code => 'InternalFailure' }, { stream => $name });
    put_numbered($node, $name, 1, 20);
    my $locker = $node->background_psql('postgres');
    $locker->query_safe('BEGIN; LOCK TABLE firehose_dead_letters');
    my $offset = -s $node->logfile;
    sql(qq{ALTER SERVER $name OPTIONS (SET paused 'false')});
    wait_until("$name: the dead letter cannot be stored", sub { logged($node, 'could not write dead letters', $offset) > 0 });
    is(view($name, 'accepted, failed, queued + in_flight'), '2|0|18', "$name: what comes after it waits");
    $locker->query_safe('COMMIT');
    $locker->quit;
    wait_delivered($node);
    is(view($name, 'accepted, failed'), '19|1', "$name: and then arrives");
    is(sql("SELECT convert_from(substr(data, 1, 10), 'UTF8') FROM firehose_dead_letter WHERE stream = '$name'"), 'n000000003',
        "$name: and the one at fault is the dead letter");
    in_order($name, $name, 1, 20, 3 => 1) if $stream eq 'single';
}

# a stream that is dropped: none is sent any more, all become dead letters
new_stream($node, 'dropped', order => 'strict');
$emulator->fault('access_denied', {}, { stream => 'dropped' });
put_numbered($node, 'dropped', 1, 20);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'dropped'}, 'parked');
sql('DROP SERVER dropped');
wait_for_sql($node, q{SELECT string_agg(substr(convert_from(data, 'UTF8'), 9, 2), ' ' ORDER BY failed_at, id)
    FROM firehose_dead_letter WHERE stream = 'dropped'}, join(' ', map { sprintf('%02d', $_) } 1 .. 20));
$emulator->heal;

# ------------------------------------------------------------------------
# What counts against a record that may be given up
# ------------------------------------------------------------------------
# A record that was refused beside others is not given up in an outage that begins
# then, however often it is tried alone.
new_stream($node, 'refused', max_attempts => 3, max_batch_records => 10, max_in_flight => 1, paused => 'true');
$emulator->fault('fail_records', { containing => 'n000000005', code => 'InternalFailure' }, { stream => 'refused', count => 1 });
my $outage = $emulator->fault('internal_failure', {}, { stream => 'refused', skip => 1 });
put_numbered($node, 'refused', 1, 40);
sql(q{ALTER SERVER refused OPTIONS (SET paused 'false')});
wait_for_sql($node, q{SELECT requests >= 10 FROM firehose_stat_stream WHERE stream = 'refused'});
is(view('refused', 'accepted, failed, queued + in_flight'), '9|0|31', 'in an outage nothing is given up');
$emulator->control(DELETE => "rules/$outage");
wait_delivered($node);
is(view('refused', 'accepted, failed'), '40|0', 'and after it all arrive');
# Nor do the attempts of an outage count when one is refused after it: only three
# refusals do.  (Alone it could not be told from an outage.)
new_stream($node, 'outlived', max_attempts => 3);
$outage = $emulator->fault('internal_failure', {}, { stream => 'outlived' });
put_numbered($node, 'outlived', 1, 2);
wait_for_sql($node, q{SELECT requests >= 8 FROM firehose_stat_stream WHERE stream = 'outlived'});
put_numbered($node, 'outlived', 3, 10);
$emulator->fault('fail_records', { containing => 'n000000002', code => 'InternalFailure' }, { stream => 'outlived', count => 2 });
$emulator->control(DELETE => "rules/$outage");
wait_delivered($node);
is(view('outlived', 'accepted, failed'), '10|0', 'the attempts of an outage do not count');
# three times is enough
$emulator->fault('fail_records', { containing => 'n000000045', code => 'InternalFailure' }, { stream => 'refused' });
put_numbered($node, 'refused', 41, 50);
wait_for_sql($node, q{SELECT accepted, failed FROM firehose_stat_stream WHERE stream = 'refused'}, '49|1');
is(sql(q{SELECT attempts FROM firehose_dead_letter WHERE stream = 'refused'}), '3', 'but by three refusals');

# In strict order an outage cannot be told from a record's fault: but those behind
# it do not follow at once, and a stream that has nothing left does not retry.
new_stream($node, 'outage', order => 'strict', max_attempts => 1, paused => 'true');
$outage = $emulator->fault('http_error', { status => 500, code => 'InternalFailure',
        headers => { 'x-amz-retry-after' => 500 } }, { stream => 'outage' });
put_numbered($node, 'outage', 1, 200);
sql(q{ALTER SERVER outage OPTIONS (SET paused 'false')});
wait_for_sql($node, q{SELECT failed >= 4 FROM firehose_stat_stream WHERE stream = 'outage'});
$emulator->control(DELETE => "rules/$outage");
wait_delivered($node);
my $given_up = view('outage', 'failed');
is(sql(q{SELECT max(failed_at) - min(failed_at) > '1 s' FROM (SELECT failed_at FROM firehose_dead_letter WHERE stream = 'outage' ORDER BY id LIMIT 4) AS first}),
    't', 'between two that are given up there is the pause that was asked for');
cmp_ok($given_up, '<', 20, "so that most arrive after it: all but $given_up");
$emulator->fault('internal_failure', {}, { stream => 'outage' });
put_numbered($node, 'outage', 201, 201);
wait_for_sql($node, q{SELECT failed FROM firehose_stat_stream WHERE stream = 'outage'}, $given_up + 1);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'outage'}, 'active');

$node->stop;
done_testing();
