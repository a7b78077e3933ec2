# One budget for all requests of a sender.  Many streams, each of which may
# have 64 requests in flight, meet an endpoint that hangs, and then a system
# that has no descriptors and no memory left, and one whose headers have no end:
# connections and memory stay within their settings, streams take turns and say
# what they wait for, nothing is lost, and the sender neither ends nor spins.
# 200 streams with --long.
use strict;
use warnings FATAL => 'all';
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $nstreams = is_long() ? 200 : 60;
my $connections = 40;
my $emulator = Emulator->start();
my $elsewhere = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.max_streams' => 512,
    'firehose.max_in_flight' => 64, 'firehose.max_batch_records' => 1,
    'firehose.request_memory' => '16MB', 'firehose.max_connections' => $connections,
    'firehose.request_timeout' => '60s', 'firehose.linger' => 0);
my @streams = map { sprintf('s%03d', $_) } 1 .. $nstreams;
$node->safe_psql('postgres', join(';', map { "CREATE SERVER $_ FOREIGN DATA WRAPPER firehose" } @streams));
$node->safe_psql('postgres', "SELECT firehose_put_record('s001', 'first')");
wait_delivered($node);
my $sender = sender_of($node, 'postgres');
my %committed = map { $_ => [] } @streams;
push @{ $committed{s001} }, "first\n";
my $number = 0;

# Put so many records of this size into every stream, one record a request.
sub put_everywhere
{
    my ($records, $size) = @_;
    my $from = $number + 1;
    foreach my $stream (@streams)
    {
        push @{ $committed{$stream} }, map { numbered($_, $size) . "\n" } $number + 1 .. $number + $records;
        $number += $records;
    }
    my $list = join(', ', map { "'$_'" } @streams);
    $node->safe_psql('postgres', <<"SQL");
        DO \$\$ DECLARE n int := $from - 1; s text; BEGIN
            FOREACH s IN ARRAY ARRAY[$list] LOOP
                PERFORM firehose_put_record(s, rpad('n' || lpad((n + i)::text, 9, '0'), $size, 'x'))
                FROM generate_series(1, $records) i;
                n := n + $records;
                COMMIT;
            END LOOP;
        END \$\$
SQL
    return;
}

# The sender's sockets, and its own memory in MB; a page of the queue that no other
# process has is not.
sub sockets
{
    return scalar grep { (readlink($_) // '') =~ /^socket:/ } glob("/proc/$sender/fd/*");
}

sub own_memory
{
    open(my $in, '<', "/proc/$sender/smaps_rollup") or die "smaps_rollup: $!";
    return (map { /^Anonymous:\s+(\d+)/ ? $1 / 1024 : () } <$in>)[0];
}

sub limit
{
    my ($what) = @_;
    is(system('prlimit', '--pid', $sender, $what), 0, "prlimit $what");
    return;
}

# What has arrived is what was committed; $again: some of it twice, since
# replies were lost.
sub all_arrived
{
    my ($name, $again) = @_;
    $emulator->control('POST', 'flush');
    my %left = map { my $s = $_; map { ("$s $_" => 1) } @{ $committed{$s} } } @streams;
    my ($phantoms, $twice) = (0, 0);
    my %seen;
    foreach my $stream (@streams)
    {
        foreach my $record ($emulator->records($stream))
        {
            next if $record->{state} eq 'R';
            my $key = "$stream $record->{data}";
            $twice++ if $seen{$key}++;
            $phantoms++ unless exists $left{$key} || $seen{$key} > 1;
            delete $left{$key};
        }
    }
    is(scalar(keys %left), 0, "$name: nothing is lost");
    is($phantoms, 0, "$name: nothing is invented");
    is($twice, 0, "$name: nothing is sent again") unless $again;
    return;
}

my $memory = own_memory();

# an endpoint that hangs
my $hang = $emulator->fault('hang_before_processing');
put_everywhere(64, 100);
wait_for_sql($node, q{SELECT sum(in_flight) FROM firehose_stat_stream}, $connections, 30);
cmp_ok(sockets(), '<=', $connections + 4, 'hanging: connections are bounded');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM firehose_stat_stream WHERE in_flight > 0'),
    '>=', 6, 'hanging: no stream has them all');
wait_for_sql($node, q{SELECT count(*) > 0 AND bool_and(reason LIKE '%of 40 connections (firehose.max_connections)')
    FROM firehose_stat_stream WHERE state = 'waiting'}, 't', 20);
my $before = cpu_of($sender);
sleep 2;
cmp_ok(cpu_of($sender) - $before, '<', 0.5, 'hanging: the sender sleeps');
cmp_ok(own_memory() - $memory, '<', 16, 'hanging: memory is within its setting');
$emulator->heal;
wait_delivered($node);
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE state <> 'active'}, '0', 30);
all_arrived('hanging', 1);

# idle connections are among them: those of another host take their place
my @away = map { new_stream($node, "away$_", endpoint_url => $elsewhere->url) } 1 .. 8;
sub put_away
{
    my ($records) = @_;
    $node->safe_psql('postgres', "SELECT firehose_put_record('$_', 'x') FROM generate_series(1, $records)")
      foreach @away;
    return;
}
my $many = sockets();
cmp_ok($many, '>', $connections / 2, "idle: $many connections are kept");
$elsewhere->fault('hang_before_processing');
put_away(16);
wait_for_sql($node, q{SELECT sum(in_flight) FROM firehose_stat_stream}, $connections, 30);
cmp_ok(sockets(), '<=', $connections + 4, 'idle: those of two hosts are bounded together');
$elsewhere->heal;
wait_delivered($node);

# large records: it is memory that there is too little of
my $held = own_memory();
$emulator->fault('hang_before_processing');
$node->safe_psql('postgres', "SELECT firehose_put_record('$_', repeat('x', 1000000))") foreach @streams[ 0 .. 19 ];
push @{ $committed{$_} }, 'x' x 1_000_000 . "\n" foreach @streams[ 0 .. 19 ];
wait_for_sql($node, q{SELECT count(*) > 10 FROM firehose_stat_stream
    WHERE state = 'waiting' AND reason LIKE 'waits for memory (firehose.request_memory)'});
cmp_ok(own_memory() - $held, '<', 16, 'large records: memory is within its setting');
$emulator->heal;
wait_delivered($node);

# requests of many records: none takes all the memory that is left
new_stream($node, "wide$_", max_batch_records => 500) foreach 1 .. 5;
$hang = $emulator->fault('hang_before_processing', {}, { stream => 'wide*' });
$node->safe_psql('postgres', "SELECT firehose_put_record('wide$_', repeat('x', 100000)) FROM generate_series(1, 40)")
  foreach 1 .. 5;
wait_until('wide: each has a request', sub { $emulator->struck($hang) >= 5 });
$emulator->heal;
wait_delivered($node);

# no descriptors
my $files = () = glob("/proc/$sender/fd/*");
my $resent = $node->safe_psql('postgres', 'SELECT sum(resent) FROM firehose_stat_stream');
$_->control('POST', 'connections', { which => 'all' }) foreach $emulator, $elsewhere;
# the soft limit: some files and six sockets
limit('--nofile=' . ($files - sockets() + 6) . ':');
my $offset = -s $node->logfile;
$before = cpu_of($sender);
my $began = time();
put_everywhere(10, 100);
wait_delivered($node);
note(sprintf('%.1f s with few descriptors, %.1f s of CPU', time() - $began, cpu_of($sender) - $before));
is(sender_of($node, 'postgres'), $sender, 'no descriptors: the sender lives');
all_arrived('no descriptors', 1);
# an attempt for which there was no descriptor sent nothing (those that had one
# were closed above)
cmp_ok($node->safe_psql('postgres', 'SELECT sum(resent) FROM firehose_stat_stream') - $resent, '<=', 2 * $connections,
    'no descriptors: attempts that sent nothing do not count as sent again');
# nor do idle connections keep them from another host
put_away(1);
wait_for_sql($node, q{SELECT sum(queued + in_flight) FROM firehose_stat_stream}, '0');
cmp_ok(logged($node, 'firehose sender', $offset), '<=', 20, 'no descriptors: the log is not filled');

# no descriptor for a single socket: an attempt that sends nothing is none, and the
# next one comes after a pause
limit('--nofile=1024:');
new_stream($node, 'unsent');
round_trips($node, 'unsent', 1);
wait_delivered($node);
$_->control('POST', 'connections', { which => 'all' }) foreach $emulator, $elsewhere;
wait_until('no connection is left', sub { $emulator->stats->{open_connections} == 0 });
limit('--nofile=3:');
my $unsent = $node->safe_psql('postgres', q{SELECT firehose_put_record('unsent', 'x', false)});
wait_for_sql($node, q{SELECT state, reason, last_error_code FROM firehose_stat_stream WHERE stream = 'unsent'},
    'waiting|waits for the system, which refused more: could not open a socket: Too many open files|Resources');
my %attempts;
$began = time();
foreach (1 .. 20)
{
    $attempts{ $node->safe_psql('postgres', q{SELECT last_error_at FROM firehose_stat_stream WHERE stream = 'unsent'}) } = 1;
    sleep 0.1;
}
cmp_ok(scalar keys %attempts, '<', 10 + (time() - $began) / 2, 'no socket: there are pauses between attempts');
limit('--nofile=1024:');
is($node->safe_psql('postgres', "SELECT firehose_wait($unsent, '60 s')"), 'accepted', 'no socket: it is sent when there is one');
is($node->safe_psql('postgres', q{SELECT accepted, requests, resent FROM firehose_stat_stream WHERE stream = 'unsent'}), '2|2|0',
    'no socket: no attempt before it counts');
wait_for_sql($node, "SELECT attempts FROM firehose_status WHERE id = $unsent", '1');
is(sender_of($node, 'postgres'), $sender, 'no socket: the sender lives');

# headers, trailers and a body without an end
my $endless = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
my $child = fork() // die "fork: $!";
if ($child == 0)
{
    # or it would end the test's server, which it takes for its own
    $SIG{TERM} = 'DEFAULT';
    local $SIG{PIPE} = 'IGNORE';
    while (my $client = $endless->accept)
    {
        my $request = '';
        until ($request =~ /"DeliveryStreamName":"(\w+)".*\}\z/s)
        {
            sysread($client, $request, 65536, length $request) or last;
        }
        my $lines = join('', map { "x-filler-$_: " . 'x' x 1000 . "\r\n" } 1 .. 60);
        syswrite($client, 'HTTP/1.1 200 OK' . ($request =~ /"endless_body"/ ? "\r\n\r\n"
            : $request =~ /"endless_trailers"/ ? "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
            : "\r\n"));
        1 while syswrite($client, $lines);
        close($client);
    }
    POSIX::_exit(0);
}
# with its end there is none that listens, so that no request waits for a response
my $port = $endless->sockport;
close($endless);
my $what = 'headers of the response are';
foreach my $stream (qw(endless_headers endless_trailers endless_body))
{
    $what = 'response is' if $stream eq 'endless_body';
    new_stream($node, $stream, endpoint_url => "http://127.0.0.1:$port");
    $node->safe_psql('postgres', "SELECT firehose_put_record('$stream', 'x')");
    wait_for_sql($node, "SELECT reason ~ 'the $what larger than \\d+ bytes', accepted
        FROM firehose_stat_stream WHERE stream = '$stream'", 't|0');
}
cmp_ok(own_memory() - $memory, '<', 16, 'without an end: memory is within its setting');
is(sender_of($node, 'postgres'), $sender, 'without an end: the sender lives');
kill 'TERM', $child;
waitpid($child, 0);
$node->safe_psql('postgres', 'DROP SERVER endless_headers, endless_trailers, endless_body');

# no memory: large records, and no more address space than the setting allows
open(my $statm, '<', "/proc/$sender/statm") or die "statm: $!";
my ($pages) = split / /, <$statm>;
$memory = own_memory();
limit('--as=' . ($pages * 4096 + 20 * 1024 * 1024));
put_everywhere(is_long() ? 8 : 4, 60_000);
wait_delivered($node);
is(sender_of($node, 'postgres'), $sender, 'no memory: the sender lives');
cmp_ok(own_memory() - $memory, '<', 20, 'no memory: what it has is within the setting');
all_arrived('no memory', 1);

$node->stop;
done_testing();
