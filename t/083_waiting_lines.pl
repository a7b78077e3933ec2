# Processes that wait in line for space in the queue, a step at a time: whoever
# may go on is woken, not left to its timeout; none is overtaken; a session that
# is cancelled or terminated, and a decoder that ends, leave the line and keep
# nothing; those whose stream is dropped meanwhile are sent on.  Sessions wait up
# to half an hour here, so that a wake-up that gets lost is missed.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '4MB',
    'firehose.queue_timeout' => '30min', 'firehose.max_queue_timeout' => '30min',
    'firehose.max_streams' => 16);
my $accounts = q{SELECT pages_promised || ' ' || waiters FROM firehose_stat_queue};

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Put records of one size after the other into a stream until it may have no more.
sub fill
{
    my ($stream, @sizes) = @_;
    sql("DO \$\$ BEGIN
        SET LOCAL firehose.queue_timeout = 0;
        LOOP
            PERFORM firehose_put_record('$stream', repeat('f', $_), transactional => false);
        END LOOP;
    EXCEPTION WHEN insufficient_resources THEN NULL;
    END \$\$") foreach @sizes ? @sizes : 50000;
    return;
}

# Sessions that put a record each, one after the other in line; returns them.  What
# comes after the sizes is done in the same transaction.
my $waiters = 0;
sub stand_in_line
{
    my ($stream, @sizes) = @_;
    my $then = @sizes && $sizes[-1] =~ /^;/ ? pop @sizes : '';
    return map {
        my $size = $_;
        my $session = { out => '', err => '' };
        $session->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
                "SELECT firehose_put_record('$stream', repeat('w', $size))$then" ],
            '<', '/dev/null', '>', \$session->{out}, '2>', \$session->{err});
        wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', ++$waiters);
        $session->{pid} = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
            AND query LIKE 'SELECT firehose_put_record%' ORDER BY backend_start DESC LIMIT 1});
        $session
    } @sizes;
}

# They get what they wait for.
sub served
{
    my ($name, @sessions) = @_;
    foreach my $session (@sessions)
    {
        my $gone = wait_until("$name: goes on", sub {
            sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $session->{pid}") eq '0' });
        sql("SELECT pg_terminate_backend($session->{pid})") unless $gone;
        $session->{run}->finish;
        is($session->{err}, '', "$name: and has put its record");
        $waiters--;
    }
    return;
}

sub gone
{
    my ($name, $session, $error) = @_;
    $session->{run}->finish;
    like($session->{err}, $error, $name);
    return $waiters--;
}

# Once what is held has been delivered.
sub nothing_is_kept
{
    my ($name) = @_;
    sql(q{ALTER SERVER held OPTIONS (SET paused 'false')});
    wait_delivered($node);
    return is(sql($accounts), '0 0', $name);
}

new_stream($node, 'held', paused => 'true');
fill('held');

# the first wants more than there is, those behind it less
my ($large, @small) = stand_in_line('held', 1_000_000, 10, 10);
is(sql('SELECT waiters FROM firehose_stat_queue'), '3', 'a small record does not overtake a large one');
sql("SELECT pg_cancel_backend($large->{pid})");
gone('the first is cancelled', $large, qr/canceling statement due to user request/);
served('one behind a session that was cancelled', @small);
is(sql($accounts), '0 0', 'and nothing is kept for anybody');

# from the middle and from the end
my @line = stand_in_line('held', (1_000_000) x 4);
sql("SELECT pg_cancel_backend($line[1]{pid})");
gone('one in the middle is cancelled', $line[1], qr/canceling statement/);
sql("SELECT pg_terminate_backend($line[3]{pid})");
gone('the last is terminated', $line[3], qr/terminating connection/);
wait_for_sql($node, $accounts, '0 2');
push @line, stand_in_line('held', 10);
sql(q{ALTER SERVER held OPTIONS (SET paused 'false')});
served('one that is left when space comes free', @line[ 0, 2, 4 ]);
wait_delivered($node);
is(sql($accounts), '0 0', 'nothing is kept for anybody');

# one that catches the cancellation, and goes on in its transaction without a place
# in the line or space of its own
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
fill('held');
my $caught = { out => '', err => '' };
$caught->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
        q{DO $$ BEGIN
            BEGIN
                PERFORM firehose_put_record('held', repeat('w', 1000000));
            EXCEPTION WHEN query_canceled THEN
                PERFORM pg_advisory_lock(1);
            END;
            SET LOCAL firehose.queue_timeout = 0;
            BEGIN
                PERFORM firehose_put_record('held', repeat('w', 1000000));
            EXCEPTION WHEN insufficient_resources THEN
                RAISE WARNING 'full';
            END;
        END $$} ], '<', '/dev/null', '>', \$caught->{out}, '2>', \$caught->{err});
wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', '1');
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO $$ BEGIN%'});
wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1');
is(sql($accounts), '0 0', 'one that caught its cancellation waits no longer');
$gate->query_safe('SELECT pg_advisory_unlock(1)');
$gate->quit;
$caught->{run}->finish;
like($caught->{err}, qr/WARNING:  full$/, 'and goes on');

# many are served by one release, and nothing comes after it
sql(q{ALTER SERVER held OPTIONS (SET paused 'false')});
wait_delivered($node);
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
my $holder = $node->background_psql('postgres');
$holder->query_safe($_) foreach 'BEGIN', (q{SELECT firehose_put_record('held', repeat('c', 900000))}) x 2;
fill('held');
my @many = stand_in_line('held', 1_000_000, (10) x 20);
$holder->query_safe('ROLLBACK');
$holder->quit;
served('one of many that one release serves', @many);
nothing_is_kept('nothing is kept of theirs');

# and by one that gives up: it wanted more than there is, and nothing is given
# back, since those behind it keep their transactions open
$gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
fill('held');
($large) = stand_in_line('held', 1_000_000);
my @open = map { stand_in_line('held', 10, '; SELECT pg_advisory_xact_lock_shared(1)') } 1 .. 20;
sql("SELECT pg_cancel_backend($large->{pid})");
gone('the first of many is cancelled', $large, qr/canceling statement/);
wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', '0');
$gate->query_safe('SELECT pg_advisory_unlock(1)');
$gate->quit;
served('one of many behind it', @open);
nothing_is_kept('nothing is kept of theirs');

# Give a session its space, so that more than so many pages are promised, and cancel
# it before it knows.
sub cancel_when_served
{
    my ($name, $session, $pages) = @_;
    kill('STOP', $session->{pid});
    sql(q{ALTER SERVER held OPTIONS (SET paused 'false')});
    wait_for_sql($node, "SELECT queued + in_flight = 0 AND pages_promised > $pages
        FROM firehose_stat_stream, firehose_stat_queue WHERE stream = 'held'");
    sql("SELECT pg_cancel_backend($session->{pid})");
    kill('CONT', $session->{pid});
    gone($name, $session, qr/canceling statement/);
    return;
}

# one that was given its space and is cancelled before it knows
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
fill('held');
my ($stopped) = stand_in_line('held', 1_000_000);
cancel_when_served('one that has its space is cancelled', $stopped, 100);
is(sql($accounts), '0 0', 'and gives it back');

# and so that one behind it goes on, for whom there is no other space: an open
# transaction has the rest
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
my $open = $node->background_psql('postgres');
$open->query_safe($_) foreach 'BEGIN', (q{SELECT firehose_put_record('held', repeat('c', 900000))}) x 2;
fill('held');
my ($served, $behind) = stand_in_line('held', (1_000_000) x 2);
cancel_when_served('one that has its space is cancelled before another', $served, 330);
served('the one behind it', $behind);
$open->query_safe('ROLLBACK');
$open->quit;
wait_delivered($node);
is(sql($accounts), '0 0', 'and nothing is kept');

# the stream is dropped, and its entry with it: they find out, and go on
sql(q{ALTER SERVER held OPTIONS (SET paused 'true')});
fill('held');
@line = stand_in_line('held', 1_000_000, 10);
sql('DROP SERVER held');
served('one that waited for a stream that was dropped', @line);
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE data LIKE 'ww%'}, '2');
wait_for_sql($node, $accounts, '0 0');

# a decoder that ends while it waits, amid a transaction
new_stream($node, 'changes', paused => 'true');
sql('CREATE TABLE t (a int PRIMARY KEY, x text); CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'p', ['p'], stream => 'changes');
sql(q{INSERT INTO t SELECT n, repeat('x', 10000) FROM generate_series(1, 2000) n});
foreach my $way (q{SELECT firehose_pause_pipeline('p')},
    q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'firehose decoder'})
{
    wait_state($node, 'postgres', 'p', 'waiting');
    my ($decoder) = decoder_pids($node);
    wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', '1');
    # by itself, the next one would take its place
    alter_settings($node, 'firehose.enabled' => 'off') if $way =~ /terminate/;
    sql($way);
    wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $decoder", '0');
    wait_for_sql($node, $accounts, '0 0');
    sql(q{SELECT firehose_resume_pipeline('p')}) unless $way =~ /terminate/;
}
alter_settings($node, 'firehose.enabled' => 'on');
sql(q{ALTER SERVER changes OPTIONS (SET paused 'false')});
wait_confirmed($node, 'postgres', 'p');
my %seen = map { $_->{after}{a} => 1 } events($emulator, 'changes');
is(scalar keys %seen, 2000, 'its changes arrive');

# and outside of one, with what is put at once
sql(q{SELECT firehose_enable_durable_puts()});
wait_state($node, 'postgres', 'durable_puts', 'streaming');
new_stream($node, 'late', paused => 'true');
sql(q{SET firehose.put_durability = wal;
    SELECT count(firehose_put_record('late', repeat('x', 10000), false)) FROM generate_series(1, 1000)});
wait_for_sql($node, 'SELECT waiters FROM firehose_stat_queue', '1');
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('the decoder has left', sub { decoder_pids($node) == 0 });
wait_for_sql($node, $accounts, '0 0');
alter_settings($node, 'firehose.enabled' => 'on');
sql(q{ALTER SERVER late OPTIONS (SET paused 'false')});
wait_confirmed($node, 'postgres', 'durable_puts');
wait_until('what was put arrives', sub { $emulator->records('late') >= 1000 });

# All places are taken, and no sender runs.  A database that has more than its share
# gives up an idle stream for a new one, and may not have the place even so; but what
# the idle one held is room for others.
sql('SELECT firehose_disable_durable_puts()');
sql('CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION firehose;
    SELECT format('CREATE SERVER s%s FOREIGN DATA WRAPPER firehose', n) FROM generate_series(1, 10) n \gexec
    SELECT firehose_put_record('s' || n, 'x') FROM generate_series(1, 9) n;
    SELECT firehose_flush()});
while ((my $n = sql('SELECT streams FROM firehose_stat_queue')) < 16)
{
    new_stream($node, "p$n");
    sql("SELECT firehose_put_record('p$n', 'x'); SELECT firehose_flush()");
}
is($node->safe_psql('other', q{SELECT count(*) FROM firehose_stat_stream WHERE datname = 'other'}), '9',
    'nine of sixteen places are those of one database');
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('the senders have left', sub { sender_pids($node) == 0 });
fill('p15', 50000, 1000, 10);
my ($beside) = stand_in_line('p15', 10);
my (undef, undef, $refused) = $node->psql('other', q{SELECT firehose_put_record('s10', 'x')});
like($refused, qr/no room for another stream/, 'a place is asked for in vain');
served('one that waits in another database', $beside);
alter_settings($node, 'firehose.enabled' => 'on');
wait_delivered($node);

$node->stop;
done_testing();
