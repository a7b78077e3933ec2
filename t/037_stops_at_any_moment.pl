# Whatever a sender is at, a fast stop takes at most 5 s, and statements that need
# its database empty 2 s: the endpoint hangs, the queue is full and sessions wait
# for space in it, or the sender waits for a lock on the catalog of streams.  And a stop that saves a queue takes as long as
# the disk does: 32 MB, and 1 GB with --long.  (Decoders: t/121.)
use strict;
use warnings FATAL => 'all';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $megabytes = is_long() ? 1024 : 32;
my $node = new_node('main', $emulator, max_prepared_transactions => 1, 'firehose.queue_size' => '4MB',
    'firehose.queue_timeout' => '5min', 'firehose.max_queue_timeout' => '5min', 'firehose.request_timeout' => '60s');

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

sub set_up
{
    sql('CREATE DATABASE app');
    sql('CREATE EXTENSION firehose', 'app');
    new_stream($node, 'clicks', dbname => 'app');
    return;
}

sub stop_fast { return takes_at_most("$_[0]: a fast stop", 5, sub { $node->stop('fast') }) }

# Statements that need the database without connections; it is created anew.
sub empty_database
{
    my ($name, $again) = @_;
    takes_at_most("$name: RENAME", 2, sub { sql('ALTER DATABASE app RENAME TO app2') });
    sql('ALTER DATABASE app2 RENAME TO app');
    $again->();
    takes_at_most("$name: TEMPLATE", 2, sub { sql('CREATE DATABASE copy TEMPLATE app') });
    $again->();
    sql('DROP DATABASE copy');
    takes_at_most("$name: DROP DATABASE", 2, sub { sql('DROP DATABASE app') });
    set_up();
    return;
}

# Put until there is no more space.
sub fill
{
    my ($database) = @_;
    sql("DO \$\$ BEGIN
        SET LOCAL firehose.queue_timeout = 0;
        LOOP
            PERFORM firehose_put_record('clicks', repeat('f', 50000), transactional => false);
        END LOOP;
    EXCEPTION WHEN insufficient_resources THEN NULL;
    END \$\$", $database);
    return;
}

sub has_requests
{
    wait_for_sql($node, q{SELECT max(in_flight) > 0 FROM firehose_stat_stream WHERE datname = 'app'});
    return;
}

# Sessions of the database that wait for space; they are in the way of statements
# that need it empty, as any session is.
sub start_waiters
{
    my @sessions = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c',
                q{SELECT firehose_put_record('clicks', repeat('w', 50000))} ],
            '<', '/dev/null', '>', \my $out, '2>', \my $err) } 1 .. 8;
    wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', 8);
    return @sessions;
}

set_up();
$emulator->fault('hang_before_processing');
sql(q{SELECT firehose_put_record('clicks', 'x', false)}, 'app');
has_requests();
empty_database('the endpoint hangs', \&has_requests);
sql(q{SELECT firehose_put_record('clicks', 'x', false)}, 'app');
has_requests();
stop_fast('the endpoint hangs');
$node->start;

fill('app');
has_requests();
empty_database('the queue is full', \&has_requests);
fill('app');
has_requests();
my @waiters = start_waiters();
stop_fast('sessions wait for space');
$_->finish foreach @waiters;
$node->start;
fill('app');
@waiters = start_waiters();
takes_at_most('sessions wait for space: DROP DATABASE WITH (FORCE)', 2, sub { sql('DROP DATABASE app WITH (FORCE)') });
$_->finish foreach @waiters;
is(sql('SELECT waiters FROM firehose_stat_queue'), '0', 'no place in the line is left');
$emulator->heal;

# a sender that waits for a lock
set_up();
my $on_lock = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'firehose sender'
    AND datname = 'app' AND wait_event_type = 'Lock'};
my $lock = 'BEGIN; LOCK pg_foreign_server IN ACCESS EXCLUSIVE MODE';
sub hold_lock { sql("$lock; PREPARE TRANSACTION 'held'", 'app'); return sender_on_lock() }

sub sender_on_lock
{
    sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' AND datname = 'app'});
    wait_for_sql($node, $on_lock, '1', 60);
    return;
}
sql(q{SELECT firehose_wait(firehose_put_record('clicks', 'y', false), '60 s')}, 'app');
hold_lock();
takes_at_most('a sender on a lock: it is terminated', 2, sub {
    is(sql(q{SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' AND datname = 'app'}), 't', 'terminated') });
sql(q{ROLLBACK PREPARED 'held'}, 'app');
wait_for_sql($node, $on_lock, '0', 60);
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app'), '-c', "$lock; SELECT pg_sleep(600)" ],
    '<', '/dev/null', '>', \my $out, '2>', \my $err);
wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND wait_event = 'PgSleep'}, '1');
sender_on_lock();
takes_at_most('a sender on a lock: DROP DATABASE WITH (FORCE)', 2, sub { sql('DROP DATABASE app WITH (FORCE)') });
$session->finish;
set_up();
sql(q{SELECT firehose_wait(firehose_put_record('clicks', 'y', false), '60 s')}, 'app');
hold_lock();
stop_fast('a sender on a lock');
# a session that starts would wait for the lock, too, and could not roll it back
unlink glob($node->data_dir . '/pg_twophase/*');
$node->start;
sql(q{SELECT firehose_wait(firehose_put_record('clicks', 'z', false), '60 s')}, 'app');

# much to save
alter_settings($node, 'firehose.queue_size' => "${megabytes}MB", 'firehose.max_transaction_size' => '-1');
$node->restart;
$emulator->fault('hang_before_processing');
my $records = int($megabytes * 0.7);
sql("SELECT count(firehose_put_batch('clicks', array_fill(repeat('s', 10000), ARRAY[100]), false))
    FROM generate_series(1, $records)", 'app');
takes_at_most("a fast stop that saves $megabytes MB", is_long() ? 15 : 5, sub { $node->stop('fast') });
note(sprintf('%.0f MB were saved', (-s $node->data_dir . '/pg_firehose/queue') / 1e6));
$emulator->heal;
my $started = seconds(sub { $node->start });
note(sprintf('and loaded in %.1f s', $started));
wait_for_sql($node, "SELECT accepted >= 100 * $records FROM firehose_stat_stream WHERE datname = 'app'", 't', 300);

$node->stop;
done_testing();
