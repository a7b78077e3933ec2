# Limits.  With one background worker to spare, all databases are still looked
# at, quietly; when there are more senders than workers the log says so once,
# and the rest is started when a worker is free.  More databases than
# firehose.max_databases are no matter until more of them have the extension.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, extension => 0);

sub senders
{
    return join(' ', split /\n/, $node->safe_psql('postgres', q{
        SELECT datname FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' ORDER BY datname}));
}

my $no_worker = qr/WARNING:.*firehose launcher: out of background worker slots/;
my $crowded = qr/WARNING:.*more databases have the extension than firehose.max_databases/;

$node->safe_psql('postgres', "CREATE DATABASE d$_") foreach 1 .. 6;
$node->safe_psql('d6', 'CREATE EXTENSION firehose');

# two launchers, ours and that of logical replication, and one more
my $log = -s $node->logfile;
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
wait_until('the sender is found with one worker to spare', sub { senders() eq 'd6' }, 60);
is(logged($node, $no_worker, $log), 0, 'without a warning');

$node->safe_psql('d2', 'CREATE EXTENSION firehose');
wait_until('a second one is too many', sub { logged($node, $no_worker, $log) == 1 }, 60);
$node->safe_psql('d4', 'CREATE EXTENSION firehose');
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('switched off', sub { senders() eq '' });
alter_settings($node, 'firehose.enabled' => 'on');
wait_until('switched on', sub { senders() =~ /^d\d$/ });
is(logged($node, $no_worker, $log), 1, 'one warning is enough');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach senders();
wait_until('the next one takes its place', sub { senders() =~ /^d\d$/ }, 60);

# enough workers, but little room for databases
$node->safe_psql('postgres', "DROP DATABASE IF EXISTS d$_") foreach 1 .. 6;
$node->safe_psql('postgres', "CREATE DATABASE d$_") foreach 1 .. 6;
$node->safe_psql("d$_", 'CREATE EXTENSION firehose') foreach 5 .. 6;
$log = -s $node->logfile;
$node->append_conf('postgresql.conf', "max_worker_processes = 20\nfirehose.max_databases = 2");
$node->restart;
wait_until('databases are found among many', sub { senders() eq 'd5 d6' }, 60);
is(logged($node, $crowded, $log), 0, 'without a warning');

$node->safe_psql('d4', 'CREATE EXTENSION firehose');
wait_until('one too many is told', sub { logged($node, $crowded, $log) == 1 }, 60);
$node->safe_psql('postgres', 'ALTER DATABASE d1 CONNECTION LIMIT 10');
$node->safe_psql('postgres', 'DROP DATABASE d5');
wait_until('it takes the place of another', sub { senders() eq 'd4 d6' }, 60);
is(logged($node, $crowded, $log), 1, 'one warning is enough');

$node->stop;
done_testing();
