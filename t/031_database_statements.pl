# A worker in a database is in no statement's way.  DROP, RENAME, SET TABLESPACE and
# CREATE ... TEMPLATE of its database work at once; it is kept away while they
# need it and is back afterwards, also when they fail, are rolled back,
# cancelled, or their session is terminated.  Users who may not run them cannot
# stop it that way.
use strict;
use warnings FATAL => 'all';
use IPC::Run;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, max_prepared_transactions => 1);

sub wait_for_sender
{
    my ($database, $why) = @_;
    return wait_until("$why: there is a sender in $database",
        sub { sender_of($node, $database) =~ /^\d+$/ }, 30);
}

# Run a statement that has to be done at once
sub at_once
{
    my ($statement, $database) = @_;
    return takes_at_most($statement, 2, sub { $node->safe_psql($database // 'postgres', $statement) });
}

# A session that is told what to do line by line
sub open_session
{
    my ($database) = @_;
    my $session = { in => '', out => '', err => '' };
    $session->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) ],
        '<', \$session->{in}, '>', \$session->{out}, '2>', \$session->{err},
        IPC::Run::timeout(60));
    return $session;
}

# Have it do something and wait until it is done
sub say_to
{
    my ($session, $sql) = @_;
    $session->{out} = '';
    $session->{in} .= "$sql;\n\\echo done\n";
    $session->{run}->pump until $session->{out} =~ /^done$/m;
    return $session->{out};
}

$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION firehose');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$directory'");

# the four statements
wait_for_sender('app', 'CREATE EXTENSION');
at_once('ALTER DATABASE app RENAME TO app2');
wait_for_sender('app2', 'RENAME');
at_once('ALTER DATABASE app2 SET TABLESPACE elsewhere');
wait_for_sender('app2', 'SET TABLESPACE');
at_once('CREATE DATABASE copy TEMPLATE app2');
wait_for_sender('app2', 'CREATE DATABASE');
wait_for_sender('copy', 'CREATE DATABASE, in the copy');
at_once('CREATE DATABASE copy2 TEMPLATE app2', 'app2');
wait_for_sender('app2', 'CREATE DATABASE from the current one');
wait_for_sender('copy2', 'CREATE DATABASE from the current one, in the copy');
at_once('DROP DATABASE copy');
at_once('DROP DATABASE copy2 WITH (FORCE)');
is(sender_of($node, 'copy') . sender_of($node, 'copy2'), '', 'a dropped database has no sender');
wait_for_sender('app2', 'DROP of others');

# many times, so that senders are met in all stages of their lives
foreach my $round (1 .. 10)
{
    $node->safe_psql('postgres', 'ALTER DATABASE app2 RENAME TO app3');
    $node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE app3');
    $node->safe_psql('postgres', 'DROP DATABASE copy');
    $node->safe_psql('postgres', 'ALTER DATABASE app3 RENAME TO app2');
}
pass('forty statements in a row');
wait_for_sender('app2', 'forty statements');

# RENAME is the one that can be part of a transaction
my $session = open_session('postgres');
say_to($session, 'BEGIN; ALTER DATABASE app2 RENAME TO app');
is(sender_of($node, 'app2'), '', 'no sender while the transaction is open');
say_to($session, 'COMMIT');
wait_for_sender('app', 'COMMIT');
say_to($session, 'BEGIN; SAVEPOINT s; ALTER DATABASE app RENAME TO app2; ROLLBACK TO s');
wait_for_sender('app', 'rolled back to a savepoint');
say_to($session, 'SAVEPOINT s; ALTER DATABASE app RENAME TO app2; RELEASE s');
is(sender_of($node, 'app'), '', 'kept away beyond the subtransaction');
say_to($session, 'ROLLBACK');
wait_for_sender('app', 'ROLLBACK');

# failures: another session is in the database
my $guest = open_session('app');
say_to($guest, 'SELECT 1');
my ($code, undef, $error) = $node->psql('postgres', 'DROP DATABASE app');
isnt($code, 0, 'DROP of a database in use fails');
like($error, qr/There is 1 other session using the database/, 'and the sender is not what uses it');
wait_for_sender('app', 'failed DROP');
$guest->{in} .= "\\q\n";
$guest->{run}->finish;

# users who may not
$node->safe_psql('postgres', 'CREATE ROLE meddler LOGIN CREATEDB');
my $pid = sender_of($node, 'app');
foreach my $statement ('DROP DATABASE app', 'ALTER DATABASE app RENAME TO app2',
    'ALTER DATABASE app SET TABLESPACE pg_default', 'CREATE DATABASE copy TEMPLATE app')
{
    ($code, undef, $error) = $node->psql('postgres', $statement, extra_params => [ '-U', 'meddler' ]);
    like($error, qr/must be owner|permission denied/, "$statement is refused");
}
is(sender_of($node, 'app'), $pid, 'and has not disturbed the sender');

# a sender that does not answer: the wait ends with the statement's timeout,
# or with the session
foreach my $how ('timeout', 'termination')
{
    $pid = sender_of($node, 'app');
    kill('STOP', $pid) == 1 or die "cannot stop $pid";
    if ($how eq 'timeout')
    {
        (undef, undef, $error) = $node->psql('postgres',
            "SET statement_timeout = '300ms';\nDROP DATABASE app;");
        like($error, qr/canceling statement due to statement timeout/, 'statement_timeout applies');
    }
    else
    {
        my $dropper = open_session('postgres');
        my $backend = say_to($dropper, 'SELECT pg_backend_pid()') =~ /^(\d+)$/m ? $1 : die;
        $dropper->{in} .= "DROP DATABASE app;\n";
        wait_until('it waits for the sender', sub {
            $dropper->{run}->pump_nb;
            $node->safe_psql('postgres', "SELECT wait_event IN ('Extension', 'FirehoseWorkerExit')
                FROM pg_stat_activity WHERE pid = $backend") eq 't'
        });
        is($node->safe_psql('postgres', "SELECT pg_terminate_backend($backend, 5000)"), 't',
            'the waiting session can be terminated');
        $dropper->{run}->finish;
    }
    kill('CONT', $pid) == 1 or die "cannot continue $pid";
    wait_until("$how: the sender is replaced", sub { sender_of($node, 'app') !~ /^(|$pid)$/ }, 30);
}

# an idle worker holds up no barrier
$node->safe_psql('postgres', 'CREATE DATABASE other');
at_once('DROP DATABASE other');

# a prepared transaction would tell no session of its end
($code, undef, $error) = $node->psql('app', "BEGIN;\nDROP EXTENSION firehose;\nPREPARE TRANSACTION 'p';");
like($error, qr/cannot PREPARE a transaction that has created, altered or dropped the extension/,
    'PREPARE of DROP EXTENSION is refused');
is(sender_of($node, 'app') =~ /^\d+$/, 1, 'and the sender stays');

at_once('DROP DATABASE app');
wait_for_sender('postgres', 'in the end');
$session->{in} .= "\\q\n";
$session->{run}->finish;
$node->stop;
done_testing();
