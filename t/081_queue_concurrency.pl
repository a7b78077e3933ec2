# Many sessions fight for a small queue: transactions of random size with
# savepoints, rollbacks and errors, into a stream that is slow and one that is
# dead most of the time, so that they wait for room; statements time out,
# waiting sessions are cancelled and terminated.  What committed arrives, the
# rest does not, and no page, promise or place in the line is left behind.
# Then streams are dropped under transactions that have put into them.
use strict;
use warnings FATAL => 'all';
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $seed = $ENV{FIREHOSE_TEST_SEED} // 20150804;
srand($seed);
note("FIREHOSE_TEST_SEED=$seed");

my $workers = 12;
my $rounds = is_long() ? 40 : 4;        # sessions of each worker
my $transactions = 12;                  # of a session

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '4MB',
    'firehose.queue_timeout' => '100ms', 'firehose.status' => 'failed',
    'firehose.request_timeout' => '60s', log_min_error_statement => 'panic');
new_stream($node, 'live', on_full => 'wait');
new_stream($node, 'dead', on_full => 'wait');
$node->safe_psql('postgres', q{
    CREATE TABLE sent (stream text, n bigint, size integer);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION send(stream text, count integer, size integer) RETURNS void
    LANGUAGE plpgsql AS $$
    DECLARE
        number bigint;
    BEGIN
        FOR i IN 1 .. count LOOP
            number := nextval('numbers');
            PERFORM firehose_put_record(stream, rpad('n' || lpad(number::text, 9, '0'), size, 'x'));
            INSERT INTO sent VALUES (stream, number, size);
        END LOOP;
    END $$;
});

# A call that puts: mostly little, sometimes a good part of the queue
sub make_send
{
    my $stream = rand() < 0.3 ? 'dead' : 'live';
    my $size = 10 + int(rand() < 0.1 ? rand 100_000 : rand 1000);
    my $count = 1 + int(rand() < 0.1 ? rand(500_000 / $size) : rand 10);
    return "send('$stream', $count, $size)";
}

sub make_transaction
{
    my $text = "BEGIN;\n";
    for (0 .. rand 4)
    {
        my $dice = rand();
        if ($dice < 0.2)
        {
            $text .= "SAVEPOINT s;\nSELECT @{[ make_send() ]};\n"
              . (rand() < 0.5 ? "ROLLBACK TO s;\n" : "RELEASE s;\n");
        }
        elsif ($dice < 0.4)
        {
            # goes on whatever happens inside
            $text .= "DO \$\$ BEGIN PERFORM @{[ make_send() ]};"
              . (rand() < 0.3 ? " RAISE 'undo';" : '')
              . " EXCEPTION WHEN OTHERS OR query_canceled THEN PERFORM @{[ make_send() ]}; END \$\$;\n";
        }
        else { $text .= "SELECT @{[ make_send() ]};\n" }
    }
    return $text . (rand() < 0.8 ? "COMMIT;\n" : "ROLLBACK;\n");
}

# Run a script in a session of its own, without waiting for its end.
my $nsessions = 0;
sub start_session
{
    my ($script) = @_;
    my $file = $node->basedir . '/session' . ++$nsessions;
    append_to_file("$file.sql", $script);
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        open(STDOUT, '>', '/dev/null');
        open(STDERR, '>', "$file.err");
        exec('psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$file.sql")
          or POSIX::_exit(127);
    }
    return { pid => $pid, file => $file };
}

# Has a session ended?  Waits for it if it is told to.
sub has_ended
{
    my ($session, $wait) = @_;
    return waitpid($session->{pid}, $wait ? 0 : POSIX::WNOHANG()) != 0;
}

# What it said on standard error.
sub errors_of { return slurp_file("$_[0]{file}.err") }

sub start_worker
{
    my $timeout = rand() < 0.5 ? 20 + int(rand 100) : 10_000;
    return start_session("SET statement_timeout = '${timeout}ms';\n"
          . join('', map { make_transaction() } 1 .. $transactions));
}

# Do something to one of the sessions that wait for room.
sub disturb
{
    my $what = rand() < 0.5 ? 'pg_cancel_backend' : 'pg_terminate_backend';
    return $node->safe_psql('postgres', "SELECT $what(pid) FROM pg_stat_activity
        WHERE backend_type = 'client backend'
        AND wait_event IN ('Extension', 'FirehoseQueueFull') ORDER BY random() LIMIT 1") ne '';
}

my $slow = $emulator->fault('delay', { seconds => 0.02 }, { stream => 'live' });
my $hanging = $emulator->fault('hang_before_processing', {}, { stream => 'dead' });
my @sessions = map { start_worker() } 1 .. $workers;
my ($left, $disturbed, $errors) = ($workers * ($rounds - 1), 0, '');
my $switch = time() + 2;
while (@sessions)
{
    sleep 0.1;
    $disturbed++ if disturb();
    foreach my $session (@sessions)
    {
        next unless has_ended($session);
        $errors .= errors_of($session);
        $session = $left-- > 0 ? start_worker() : undef;
    }
    @sessions = grep { defined } @sessions;
    next if time() < $switch;
    # the dead stream comes to life for a moment
    if (defined $hanging) { $emulator->heal($hanging); undef $hanging }
    else { $hanging = $emulator->fault('hang_before_processing', {}, { stream => 'dead' }) }
    $switch = time() + (defined $hanging ? 2 : 0.5);
}
cmp_ok($disturbed, '>', 5, 'sessions were cancelled or terminated while they waited');
cmp_ok(scalar(() = $errors =~ /has no room for stream/g), '>', 5, 'others waited in vain');
cmp_ok(scalar(() = $errors =~ /due to statement timeout/g), '>', 5, 'others ran out of time');
my @unexpected = grep { /ERROR|FATAL|PANIC/ && !/has\ no\ room\ for\ stream
    |canceling\ statement\ due\ to\ (?:statement\ timeout|user\ request)
    |current\ transaction\ is\ aborted|terminating\ connection
    |savepoint\ "s"\ does\ not\ exist/x } split /\n/, $errors;
is(scalar @unexpected, 0, 'no other errors');
diag($_) foreach @unexpected[ 0 .. ($#unexpected < 4 ? $#unexpected : 4) ];
is($node->safe_psql('postgres', 'SELECT waiters FROM firehose_stat_queue'), '0', 'no put waits');

$emulator->heal;
wait_delivered($node, 300);
foreach my $stream (qw(live dead))
{
    my @committed = map { my ($n, $size) = split /\|/; numbered($n, $size) . "\n" }
      split /\n/, $node->safe_psql('postgres',
        "SELECT n, size FROM sent WHERE stream = '$stream'");
    cmp_ok(scalar @committed, '>', 100, "$stream: a fair number of records");
    # healing a fault breaks the connections it held, of either stream
    audit_ok($stream, $emulator, $stream, \@committed, duplicates => 1);
}
is($node->safe_psql('postgres', 'SELECT sum(queued + in_flight) FROM firehose_stat_stream'),
    '0', 'nothing is owed');

# each stream in use keeps the page that it will go on in
my $accounts = q{SELECT pages_promised || ' ' || waiters || ' ' || pages - pages_free - streams
    FROM firehose_stat_queue};
wait_for_sql($node, $accounts, '0 0 0', 10);

# Sessions below go on when they are let through this lock.
my $gate = $node->background_psql('postgres');
my ($close, $pass, $open) = map { "SELECT $_(4711)" }
  qw(pg_advisory_lock pg_advisory_xact_lock pg_advisory_unlock);

# streams dropped under an open transaction: what it commits becomes dead letters
foreach my $end (qw(COMMIT ROLLBACK))
{
    new_stream($node, 'gone');
    $gate->query_safe($close);
    my $session = start_session("BEGIN;\nSELECT firehose_put_batch('gone', ARRAY['a', 'b']);\n"
          . "$pass;\n$end;\n");
    wait_for_sql($node, 'SELECT streams FROM firehose_stat_queue', '3', 10);
    $node->safe_psql('postgres', 'DROP SERVER gone');
    $gate->query_safe($open);
    has_ended($session, 1);
    is(errors_of($session), '', "a $end after DROP SERVER");
    wait_for_sql($node, 'SELECT streams FROM firehose_stat_queue', '2', 10);
    wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'gone'}, '2', 10);
}
wait_for_sql($node, $accounts, '0 0 0', 10);

# and the extension dropped under one
$gate->query_safe($close);
my $session = start_session("BEGIN;\nSELECT firehose_put_record('live', rpad('', 20000));\n"
      . "$pass;\nROLLBACK;\n");
wait_for_sql($node, 'SELECT pages_promised > 0 FROM firehose_stat_queue', 't', 10);
$node->safe_psql('postgres', 'DROP EXTENSION firehose CASCADE');
$gate->query_safe($open);
$gate->quit;
has_ended($session, 1);
is(errors_of($session), '', 'a ROLLBACK after DROP EXTENSION');
$node->safe_psql('postgres', 'CREATE EXTENSION firehose');
new_stream($node, 'live');
put_numbered($node, 'live', 900_000_000, 900_000_009);
wait_delivered($node);

$node->stop;
done_testing();
