# There is one sender in every database that has the extension, and none
# anywhere else, whatever happens: the extension comes and goes, transactions
# roll back, workers are cancelled, terminated and killed, sending is switched
# off and on, the configuration is reloaded all the time.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, extension => 0, restart_after_crash => 'on');

# The databases that have senders, one name per sender
sub databases
{
    return join(' ', split /\n/, ask($node, q{SELECT datname FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' ORDER BY datname}));
}

sub launcher_pid
{
    return ask($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose launcher'});
}

# Databases as databases() gives them, sooner or later
sub wait_for_senders
{
    my ($expected, $why) = @_;
    return wait_until("$why: senders in [$expected]", sub { databases() eq $expected }, 30)
      || diag('they are in [' . databases() . ']');
}

# CREATE and DROP EXTENSION
wait_until('there is a launcher', sub { launcher_pid() ne '' });
is(databases(), '', 'no sender without the extension');
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('postgres', 'CREATE EXTENSION firehose');
wait_for_senders('postgres', 'CREATE EXTENSION');
$node->safe_psql('app', 'CREATE EXTENSION firehose');
wait_for_senders('app postgres', 'CREATE EXTENSION in a second database');

my $pid = sender_of($node, 'app');
$node->safe_psql('app', 'BEGIN; DROP EXTENSION firehose; ROLLBACK');
$node->safe_psql('app', 'BEGIN; SAVEPOINT s; DROP EXTENSION firehose; ROLLBACK TO s; COMMIT');
is(sender_of($node, 'app'), $pid, 'DROP EXTENSION that is rolled back does nothing');

$node->safe_psql('app', 'DROP EXTENSION firehose');
wait_for_senders('postgres', 'DROP EXTENSION');
$node->safe_psql('app', 'BEGIN; CREATE EXTENSION firehose; DROP EXTENSION firehose; COMMIT');
$node->safe_psql('app', 'BEGIN; CREATE EXTENSION firehose; ROLLBACK');
$node->safe_psql('app', 'CREATE EXTENSION firehose');
wait_for_senders('app postgres', 'CREATE EXTENSION again');
foreach my $round (1 .. 10)
{
    $node->safe_psql('app', 'DROP EXTENSION firehose');
    $node->safe_psql('app', 'CREATE EXTENSION firehose');
}
wait_for_senders('app postgres', 'DROP and CREATE in quick succession');

# cancelled, terminated, killed
$pid = sender_of($node, 'app');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE backend_type LIKE 'firehose%'});
$node->safe_psql('app', 'BEGIN; DROP EXTENSION firehose; ROLLBACK');
is(sender_of($node, 'app'), $pid, 'a sender takes no notice of a cancel');

$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until('a terminated sender is replaced', sub { sender_of($node, 'app') !~ /^(|$pid)$/ }, 30);

$pid = sender_of($node, 'app');
my $launcher = launcher_pid();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
wait_until('a terminated launcher is replaced', sub { launcher_pid() !~ /^(|$launcher)$/ }, 30);
is(sender_of($node, 'app'), $pid, 'and finds the senders at work');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until('and looks after them', sub { sender_of($node, 'app') !~ /^(|$pid)$/ }, 30);
wait_for_senders('app postgres', 'terminations');

foreach my $worker (sub { sender_of($node, 'app') }, \&launcher_pid, sub { sender_of($node, 'postgres') })
{
    my $victim = $worker->();
    $launcher = launcher_pid();
    kill('KILL', $victim) == 1 or die "cannot kill $victim";
    wait_until('the server has restarted', sub { launcher_pid() !~ /^(|$launcher)$/ });
    wait_for_senders('app postgres', 'a worker was killed');
}

# switched off and on, and reloaded all the time
alter_settings($node, 'firehose.enabled' => 'off');
wait_for_senders('', 'switched off');
$node->safe_psql('app', 'DROP EXTENSION firehose');
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->safe_psql('late', 'CREATE EXTENSION firehose');
is(databases(), '', 'none is started while it is off');
isnt(launcher_pid(), '', 'and the launcher stays');
alter_settings($node, 'firehose.enabled' => 'on');
wait_for_senders('late postgres', 'switched on');

foreach my $round (1 .. 20)
{
    alter_settings($node, 'firehose.enabled' => $round % 2 ? 'off' : 'on');
    my ($count, $databases) = split /\|/, $node->safe_psql('postgres', q{
        SELECT count(datid), count(DISTINCT datid) FROM pg_stat_activity
        WHERE backend_type = 'firehose sender'});
    is($count, $databases, "round $round: never two in one database");
}
wait_for_senders('late postgres', 'switched often');

# databases that do not count
$node->safe_psql('postgres', 'ALTER DATABASE late IS_TEMPLATE true');
wait_for_senders('postgres', 'a template');
$node->safe_psql('postgres', 'ALTER DATABASE late IS_TEMPLATE false');
wait_for_senders('late postgres', 'no template any more');
$node->safe_psql('postgres', 'ALTER DATABASE late ALLOW_CONNECTIONS false');
wait_for_senders('postgres', 'no connections allowed');
$node->safe_psql('postgres', 'ALTER DATABASE late ALLOW_CONNECTIONS true');
wait_for_senders('late postgres', 'connections allowed');

# stop and start
takes_at_most('a fast stop does not wait for idle workers', 3, sub { $node->stop('fast') });
$node->start;
wait_for_senders('late postgres', 'the server was restarted');
$node->stop('immediate');
$node->start;
wait_for_senders('late postgres', 'the server crashed');

$node->stop;
done_testing();
