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

# The CPU of something that is done so often; the least of some rounds.
sub cpu_of_each
{
    my ($rounds, $often, $do) = @_;
    my @costs;
    foreach (1 .. $rounds)
    {
        my $before = cpu();
        $do->($often);
        push @costs, (cpu() - $before) / $often;
    }
    return min(@costs);
}

# Of a record that is put, sent and waited for.
sub cpu_of_record { return cpu_of_each(5, 50, sub { round_trips($node, 'busy', $_[0]) }) }

# Requests for idle streams that were answered, as they came.
sub requests_of_idle
{
    $emulator->control(POST => 'flush');
    return grep { ($_->{stream} // '') =~ /^idle_/ } $emulator->requests;
}

# The same of a change of another stream before it.
my $linger = 1;
sub change
{
    my ($often) = @_;
    foreach (1 .. $often)
    {
        $linger++;
        sql("ALTER SERVER altered OPTIONS (SET linger '$linger'); SELECT firehose_wait(firehose_put_record('busy', 'x', false))");
    }
    return;
}
sub cpu_of_change { return cpu_of_each(3, 8, \&change) }

# Of a few streams
my ($few_record, $few_change) = (cpu_of_record(), cpu_of_change());

# Of many that have nothing to do
sql(q{DO $$ BEGIN FOR n IN 1 .. } . $nstreams . q{ LOOP
    EXECUTE format('CREATE SERVER idle_%s FOREIGN DATA WRAPPER firehose', n); END LOOP; END $$});
my $put_everywhere = "SELECT count(firehose_put_record('idle_' || n, 'x')) FROM generate_series(1, $nstreams) n";
# one after the other, so that it is known what many at once leave behind
sql(qq{DO \$\$ BEGIN FOR n IN 1 .. $nstreams LOOP
    PERFORM firehose_wait(max(id), '60 s') FROM unnest(firehose_put_batch('idle_' || n,
        array_fill('x'::text, ARRAY[CASE WHEN n < 100 THEN 500 ELSE 1 END]), false)) id; END LOOP; END \$\$});
wait_delivered($node);
is(sender_of($node, 'postgres'), $sender, 'it is the same sender');
my ($many_record, $many_change) = (cpu_of_record(), cpu_of_change());
cmp_ok($many_record, '<', 2 * $few_record, sprintf(
    'idle streams cost nothing: %.3f ms a record, %.3f ms with a few', $many_record, $few_record));
cmp_ok($many_change, '<', 2.5 * $few_change, sprintf(
    'nor do they when one is altered: %.3f ms, %.3f ms with a few', $many_change, $few_change));

# Some large requests at once, many, most of which have a large response, and none again
sql(q{ALTER SERVER idle_1 OPTIONS (ADD compression 'gzip')});
my $memory = memory();
my $offset = -s $node->logfile;
sql(q{SELECT count(firehose_put_record('idle_' || n, repeat('x', 1000000))) FROM generate_series(1, 9) n});
wait_delivered($node);
my $with_large = memory();
my $slow = $emulator->fault('delay', { seconds => 2 }, { stream => 'idle_*', count => $connections });
sql(q{SELECT firehose_put_batch('idle_' || n, array_fill('x'::text, ARRAY[500])) FROM generate_series(1, 100) n});
sql($put_everywhere);
wait_until('as many requests as there may be connections are there',
    sub { $emulator->struck($slow) == $connections });
my $sockets = grep { (readlink($_) // '') =~ /^socket:/ } glob("/proc/$sender/fd/*");
cmp_ok($sockets, '>=', $connections, "the limit of open files was raised: $sockets connections");
cmp_ok($sockets, '<=', $connections + 4, 'as far as the setting allows');
wait_delivered($node);
is(logged($node, 'open a socket|Too many open files', $offset), 0, 'so that none was refused');
my $with_many = memory();
round_trips($node, 'busy', 1);
wait_until('what they needed is given back', sub { memory() - $memory < 5 });
note(sprintf('%.1f MB before; %.1f MB, %.1f MB, %.1f MB more after large ones, many, none', $memory,
    map { $_ - $memory } $with_large, $with_many, memory()));

# Responses that have piled up are dealt with before other requests begin, which would
# only wait for the sender, at a greater cost
my $delay = $emulator->fault('delay', { seconds => 5 }, { stream => 'idle_*', count => $connections });
my $came = () = requests_of_idle();
sql($put_everywhere);
wait_until('so many again are there', sub { $emulator->struck($delay) == $connections });
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
