# What a sender's work and memory do not depend on: how many streams have nothing
# to do, how many there are when one is altered, and how many requests there once
# were.  Times are those that the process had a processor, compared with its own, so
# that a busy machine changes little.
use strict;
use warnings FATAL => 'all';
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $nstreams = 700;
my $connections = 150;
plan skip_all => 'this system has no /proc/PID/schedstat' unless -r "/proc/$$/schedstat";

my $emulator = Emulator->start();
# the server's; 1,024 is usual
is(system('prlimit', '--pid', $$, '--nofile=200:'), 0, 'a low limit of open files');
my $node = new_node('main', $emulator, 'firehose.max_streams' => 1000,
    'firehose.queue_size' => '64MB', 'firehose.status' => 'none', 'max_files_per_process' => 64,
    'firehose.max_connections' => $connections, 'firehose.request_timeout' => '60s');
sub sql { return $node->safe_psql('postgres', $_[0]) }

new_stream($node, 'busy');
new_stream($node, 'altered', linger => 1);
round_trips($node, 'busy', 50);
my $sender = sender_of($node, 'postgres');

# Its time on a processor, in ms.
sub cpu
{
    my ($ns) = split / /, slurp_file("/proc/$sender/schedstat");
    return $ns / 1e6;
}

# MB of its own; a page of the queue that no other process has is not
sub memory
{
    return slurp_file("/proc/$sender/smaps_rollup") =~ /^Anonymous:\s+(\d+)/m ? $1 / 1024 : die;
}

# The CPU of a record that is put, sent and waited for; the least of some rounds.
sub cpu_of_record
{
    my @costs;
    foreach (1 .. 5)
    {
        my $before = cpu();
        round_trips($node, 'busy', 50);
        push @costs, (cpu() - $before) / 50;
    }
    return (sort { $a <=> $b } @costs)[0];
}

# How many requests a rule has struck, that is how many of them are there as a whole:
# one that the sender counts as under way may not be sent yet.
sub struck
{
    my ($number) = @_;
    my ($rule) = grep { $_->{id} == $number } @{ $emulator->control(GET => 'rules')->{rules} };
    return $rule->{fired};
}

# Requests for idle streams that were answered, as they came.
sub requests_of_idle
{
    $emulator->control(POST => 'flush');
    return grep { ($_->{stream} // '') =~ /^idle_/ } $emulator->requests;
}

# The same of a change of another stream before it.
my $linger = 1;
sub cpu_of_change
{
    my $before = cpu();
    foreach (1 .. 15)
    {
        $linger++;
        sql("ALTER SERVER altered OPTIONS (SET linger '$linger'); SELECT firehose_wait(firehose_put_record('busy', 'x', false))");
    }
    return (cpu() - $before) / 15;
}

# Of a few streams
my ($few_record, $few_change) = (cpu_of_record(), cpu_of_change());

# Of many that have nothing to do
sql(q{DO $$ BEGIN FOR n IN 1 .. } . $nstreams . q{ LOOP
    EXECUTE format('CREATE SERVER idle_%s FOREIGN DATA WRAPPER firehose', n); END LOOP; END $$});
my $put_everywhere = "SELECT count(firehose_put_record('idle_' || n, 'x')) FROM generate_series(1, $nstreams) n";
sql($put_everywhere);
wait_delivered($node);
is(sender_of($node, 'postgres'), $sender, 'it is the same sender');
my ($many_record, $many_change) = (cpu_of_record(), cpu_of_change());
cmp_ok($many_record, '<', 2 * $few_record, sprintf(
    'idle streams cost nothing: %.3f ms a record, %.3f ms with a few', $many_record, $few_record));
cmp_ok($many_change, '<', 4 * $few_change, sprintf(
    'nor do they when one is altered: %.3f ms, %.3f ms with a few', $many_change, $few_change));

# Many requests at once, and none again
my $memory = memory();
my $offset = -s $node->logfile;
my $hang = $emulator->fault('hang_before_processing', {}, { stream => 'idle_*' });
sql($put_everywhere);
wait_until('as many requests as there may be connections are there',
    sub { struck($hang) == $connections });
my $sockets = grep { (readlink($_) // '') =~ /^socket:/ } glob("/proc/$sender/fd/*");
cmp_ok($sockets, '>=', $connections, "the limit of open files was raised: $sockets connections");
cmp_ok($sockets, '<=', $connections + 4, 'as far as the setting allows');
my $while_busy = memory();
$emulator->control(DELETE => "rules/$hang");
$emulator->control(POST => 'connections', { which => 'stuck' });
wait_delivered($node);
is(logged($node, 'open a socket|Too many open files', $offset), 0, 'so that none was refused');
round_trips($node, 'busy', 1);
wait_until('what they needed is given back', sub { memory() - $memory < 3 })
  or diag(sprintf('%.1f MB before, %.1f MB meanwhile, %.1f MB now', $memory, $while_busy, memory()));
note(sprintf('%.1f MB before, %.1f MB meanwhile, %.1f MB now', $memory, $while_busy, memory()));

# Responses that have piled up are dealt with before other requests begin, which would
# only wait for the sender, at a greater cost
my $delay = $emulator->fault('delay', { seconds => 5 }, { stream => 'idle_*', count => $connections });
my $came = () = requests_of_idle();
sql($put_everywhere);
wait_until('so many again are there', sub { struck($delay) == $connections });
kill('STOP', $sender);
wait_until('the responses to all that are under way wait for the sender',
    sub { (() = requests_of_idle()) == $came + $connections })
  or diag('answered: ' . ((() = requests_of_idle()) - $came));
kill('CONT', $sender);
wait_delivered($node);
my @requests = requests_of_idle();
my @waited = @requests[ $came .. $came + $connections - 1 ];
my $first = min(map { $_->{started} } @requests[ $came + $connections .. $#requests ]);
my $late = sql("SELECT count(*) FROM firehose_stat_stream WHERE last_accepted_at > to_timestamp($first)
    AND stream IN (" . join(', ', map { "'$_->{stream}'" } @waited) . ')');
# so many may be under way in any case
cmp_ok($late, '<=', 32, "of $connections, $late were dealt with after others had begun");

$node->stop('immediate');
done_testing();
