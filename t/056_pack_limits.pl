# What packing keeps to: Firehose's limits are filled and never passed, and of a
# group that is refused, for its size or for what is in it, only the record at
# fault is given up.  A quiet stream sends at once, unless pack_linger says to wait.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '64MB');
$node->safe_psql('postgres', 'CREATE TABLE sent (stream text, n int, id bigint)');

sub counters
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres', "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

# Lengths of the Firehose records of a stream, the largest first
sub lengths
{
    my ($stream) = @_;
    $emulator->control('POST', 'flush');
    return sort { $b <=> $a } map { length $_->{data} } $emulator->records($stream);
}

# Have records of these sizes, newline included, sent at once.
sub send_at_once
{
    my ($stream, %options) = @_;
    my $sizes = delete $options{sizes};
    new_stream($node, $stream, pack => 'true', paused => 'true', %options);
    $node->safe_psql('postgres', "SELECT firehose_put_batch('$stream',
        array_agg(rpad(n::text, size - 1, 'x') ORDER BY n)) FROM unnest(ARRAY[$sizes]) WITH ORDINALITY AS s(size, n)");
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    wait_delivered($node);
    return;
}

send_at_once('filled', sizes => join(',', (102400) x 10));
is(join(' ', lengths('filled')), '1024000', 'ten records fill a Firehose record');
send_at_once('one_more', sizes => join(',', (102400) x 9, 102401));
is(join(' ', lengths('one_more')), '921600 102401', 'with one byte more they are two');
send_at_once('the_largest', sizes => '1024000, 10, 10, 1024000');
is(join(' ', lengths('the_largest')), '1024000 1024000 20', 'the largest records are alone');
send_at_once('one_call', sizes => join(',', (512000) x 9), max_batch_bytes => 4194304);
my @shapes = map { [ $_->{records}, $_->{raw_bytes} ] } grep { $_->{stream} eq 'one_call' } $emulator->requests;
is(max(map { $_->[1] } @shapes), 4_096_000, 'a request fills up to four of them');
foreach my $n (500, 501)
{
    send_at_once("parts$n", sizes => join(',', (10) x $n), destination => 's3_partitioned');
    is(join(' ', map { $_ / 10 } lengths("parts$n")), $n == 500 ? '500' : '500 1',
        "$n records for dynamic partitioning");
}
is_deeply($emulator->stats->{errors}, {}, 'the endpoint never had to refuse');

# a record without its delimiter ends its group
new_stream($node, 'mixed', delimiter => 'none', paused => 'true');
$node->safe_psql('postgres', q{SELECT firehose_put_record('mixed', 'a'), firehose_put_record('mixed', E'b\n'),
    firehose_put_record('mixed', E'c\n'), firehose_put_record('mixed', 'd')});
$node->safe_psql('postgres', q{ALTER SERVER mixed OPTIONS (DROP delimiter, ADD pack 'true', SET paused 'false')});
wait_delivered($node);
$emulator->control('POST', 'flush');
is(join('|', map { $_->{data} } $emulator->records('mixed')), "a|b\nc\nd", 'a record without its delimiter ends its group');

# sizes refused: halves, down to the one record that is too large by itself
foreach my $compression (qw(none gzip))
{
    my $stream = "refused_$compression";
    $emulator->fault('size_limit', { record_bytes => 20000,
            message => 'Member must have length less than or equal to 20000' }, { stream => $stream });
    new_stream($node, $stream, pack => 'true', paused => 'true', compression => $compression);
    $node->safe_psql('postgres', qq{
        SELECT firehose_put_batch('$stream', array_agg(rpad(n || ' ', 99, md5(n::text)) ORDER BY n))
        FROM generate_series(1, 1000) n;
        SELECT firehose_put_record('$stream', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1500) n));
        SELECT firehose_put_batch('$stream', array_agg(rpad(n || ' ', 99, md5(n::text)) ORDER BY n))
        FROM generate_series(1001, 2000) n});
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    wait_delivered($node);
    is(counters($stream, 'accepted, failed'), '2000|1', "$stream: all but one arrive");
    is($node->safe_psql('postgres', "SELECT length(data) > 20000 FROM firehose_dead_letter WHERE stream = '$stream'"),
        't', "$stream: and that is the one");
    my @rows = map { unpack_record($_->{data}) } grep { $_->{state} eq 'A' } $emulator->records($stream);
    is(scalar @rows, 2000, "$stream: each once");
    $emulator->heal;
}

# a poison record: refused again and again, in whichever group it is
foreach my $case (
    [ 'poison_beside', 3000, destination => 's3_partitioned' ],
    [ 'poison_alone', 300, compression => 'gzip' ],
    [ 'poison_strict', 300, order => 'strict' ])
{
    my ($stream, $n, @options) = @$case;
    $emulator->fault('fail_records', { containing => 'n000000123', probability => 1,
        code => 'InternalFailure', message => 'It is poison.' }, { stream => $stream });
    new_stream($node, $stream, pack => 'true', paused => 'true', max_attempts => 2, @options);
    put_remembered($node, $stream, 1, $n);
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    # what comes later tells the poison from an outage
    my $more = $n;
    wait_until("$stream: the poison is found", sub {
        put_remembered($node, $stream, $more + 1, $more + 1);
        $more++;
        counters($stream, 'failed') eq '1' });
    wait_delivered($node);
    is(counters($stream, 'accepted, failed'), ($more - 1) . '|1', "$stream: all others arrive");
    is($node->safe_psql('postgres', "SELECT id = (SELECT id FROM sent WHERE stream = '$stream' AND n = 123), error_code
            FROM firehose_dead_letter WHERE stream = '$stream'"), 't|InternalFailure', "$stream: it is the dead letter");
    $emulator->heal;
}

# more poison than a request may have of refused groups: what is beside it in its
# groups arrives nevertheless
$emulator->fault('fail_records', { containing => 'n00000012', probability => 1,
    code => 'InternalFailure', message => 'It is poison.' }, { stream => 'poison_narrow' });
new_stream($node, 'poison_narrow', pack => 'true', paused => 'true', max_batch_records => 2,
    destination => 's3_partitioned');
put_remembered($node, 'poison_narrow', 1, 300);
$node->safe_psql('postgres', q{ALTER SERVER poison_narrow OPTIONS (SET paused 'false')});
my $narrow = 300;
wait_until('poison_narrow: others arrive', sub {
    put_remembered($node, 'poison_narrow', $narrow + 1, $narrow + 1);
    $narrow++;
    counters('poison_narrow', 'accepted') >= 290 + $narrow - 300 - 5 });
wait_for_sql($node, q{SELECT accepted, queued + in_flight FROM firehose_stat_stream WHERE stream = 'poison_narrow'},
    ($narrow - 10) . '|10');
is(counters('poison_narrow', 'failed'), '0', 'poison_narrow: without limits nothing is a dead letter');
$node->safe_psql('postgres', q{DROP SERVER poison_narrow});
$emulator->heal;

# compression: noise does not fit where text did, and is divided until it does; a
# record of noise that alone is too large becomes a dead letter
$emulator->control('DELETE', 'stats');
new_stream($node, 'noise', pack => 'true', compression => 'gzip', paused => 'true', delimiter => 'newline');
$node->safe_psql('postgres', q{
    CREATE FUNCTION noise(seed int, size int) RETURNS bytea LANGUAGE sql AS $$
        SELECT substr(string_agg(sha512((seed || ' ' || i)::bytea), ''), 1, size) FROM generate_series(0, size / 64) i $$;
    SELECT firehose_put_batch('noise', array_agg(repeat('text ', 20000))) FROM generate_series(1, 60);
    SELECT firehose_put_record('noise', translate(encode(noise(i, 300000), 'base64'), E'\n', '')) FROM generate_series(1, 12) i;
    SELECT firehose_put_record('noise', noise(100, 1023999));
    SELECT firehose_put_record('noise', 'the last')});
$node->safe_psql('postgres', q{ALTER SERVER noise OPTIONS (SET paused 'false')});
wait_delivered($node);
is(counters('noise', 'accepted, failed'), '73|1', 'text and noise arrive');
is($node->safe_psql('postgres', q{SELECT error_code, length(data) FROM firehose_dead_letter WHERE stream = 'noise'}),
    'RecordTooLarge|1024000', 'but for the record that is too large when compressed');
is(scalar(map { unpack_record($_->{data}) } $emulator->records('noise')), 73, 'each once');
cmp_ok(max(lengths('noise')), '<=', 1_024_000, 'within the limit');
is_deeply($emulator->stats->{errors}, {}, 'which the endpoint never saw passed');

# the first record of a quiet stream is not delayed
new_stream($node, 'plain');
new_stream($node, 'quiet', pack => 'true', compression => 'gzip');
my %took;
foreach my $round (1 .. 15)
{
    foreach my $stream (qw(plain quiet))
    {
        push @{ $took{$stream} }, seconds(sub {
            $node->safe_psql('postgres', "SELECT firehose_wait(firehose_put_record('$stream', 'x', transactional => false), '60 s')") });
    }
}
my ($plain, $quiet) = map { 1000 * median(@{ $took{$_} }) } qw(plain quiet);
note(sprintf('from put to outcome: %.1f ms, packed and compressed %.1f ms', $plain, $quiet));
cmp_ok($quiet, '<', 3 * $plain + 10, 'a packed record takes no longer');
is(counters('quiet', 'accepted = firehose_records'), 't', 'each was sent at once');

# pack_linger: records wait for each other, but not longer, nor for a flush
new_stream($node, 'patient', pack => 'true', pack_linger => '3s');
$node->safe_psql('postgres', "SELECT firehose_put_record('patient', '$_')") foreach 1 .. 5;
is(counters('patient', 'accepted'), '0', 'with pack_linger nothing is sent at once');
wait_for_sql($node, q{SELECT accepted, firehose_records FROM firehose_stat_stream WHERE stream = 'patient'}, '5|1');
$node->safe_psql('postgres', q{ALTER SERVER patient OPTIONS (SET pack_linger '1h')});
$node->safe_psql('postgres', q{SELECT firehose_put_record('patient', 'x')});
ok(seconds(sub { wait_delivered($node) }) < 30, 'a flush ends the wait');
# nor do records wait again that came back, after the last of many were flushed
$emulator->fault('http_error', { status => 500 }, { stream => 'patient', count => 1 });
$node->safe_psql('postgres', q{SELECT firehose_put_record('patient', 'again')});
ok(seconds(sub { wait_delivered($node) }) < 30, 'a record that came back does not wait anew');
$emulator->fault('reset_before_processing', {}, { stream => 'patient', count => 1 });
$node->safe_psql('postgres', q{SELECT firehose_put_batch('patient', array_agg(repeat('x', 9))) FROM generate_series(1, 40000)});
ok(seconds(sub { wait_delivered($node) }) < 30, 'a flush is for all records, however many');
$node->safe_psql('postgres', q{SELECT firehose_put_batch('patient', array_agg(repeat('x', 99))) FROM generate_series(1, 50000)});
wait_for_sql($node, q{SELECT accepted >= 40007 + 32768 FROM firehose_stat_stream WHERE stream = 'patient'}, 't');
$node->stop('fast');
my @rows = map { unpack_record($_->{data}) } grep { $_->{state} eq 'A' } $emulator->records('patient');
is(scalar @rows, 90007, 'and so does the end of the server');

# in a small queue records do not wait until it is full
my $small = new_node('small', $emulator, 'firehose.queue_size' => '4MB');
new_stream($small, 'crowded', pack => 'true', pack_linger => '1h');
$small->safe_psql('postgres', q{
    DO $$ BEGIN
        FOR i IN 1 .. 50 LOOP
            PERFORM firehose_put_batch('crowded', array_agg(repeat('x', 999))) FROM generate_series(1, 100);
            COMMIT;
        END LOOP;
    END $$});
wait_delivered($small);
is($small->safe_psql('postgres', q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'crowded'}), '5000',
    'no record waits in a queue that fills');
$small->stop;
done_testing();
