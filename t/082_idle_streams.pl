# More streams than firehose.max_streams: an idle one gives its place up, whether
# a sender reads it or none runs; one that owes records, or that an open
# transaction counts on, never does; nothing is lost or repeated, and whoever
# knew the old place finds the new one.  A session that waits for a place is woken
# when there is one.  And no place is left behind by an extension that is dropped
# under an open transaction.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;
use SystemFaults;

my $faults = SystemFaults->new;
my $emulator = Emulator->start();
local %ENV = (%ENV, $faults->environment);
my $node = new_node('main', $emulator, 'firehose.max_streams' => 6, 'wal_level' => 'logical',
    'firehose.queue_size' => '4MB');
my $nstreams = 10;
my %committed;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub put
{
    my ($stream, $payload) = @_;
    sql("SELECT firehose_put_record('$stream', '$payload')");
    push @{ $committed{$stream} }, "$payload\n";
    return;
}

# Put, and wait until the stream is idle.
sub put_idle
{
    my ($stream, $payload) = @_;
    sql("SELECT firehose_put_record('$stream', '$payload'); SELECT firehose_flush('$stream')");
    push @{ $committed{$stream} }, "$payload\n";
    return;
}

new_stream($node, "s$_") foreach 1 .. $nstreams;
new_stream($node, $_) foreach qw(held stuck changes);

# from session to session, and within one, which knows places that are gone
foreach my $round (1 .. 2)
{
    put_idle("s$_", "round $round") foreach 1 .. $nstreams;
}
sql(join('', map { my $round = $_;
            map { "SELECT firehose_put_record('s$_', 'again $round'); SELECT firehose_flush();" }
              1 .. $nstreams } 1 .. 3));
push @{ $committed{"s$_"} }, map { "again $_\n" } 1 .. 3 foreach 1 .. $nstreams;
my $id = sql(q{SELECT firehose_put_record('s1', 'told')});
push @{ $committed{s1} }, "told\n";
is(sql("SELECT firehose_wait($id)"), 'accepted', 'a record is waited for');
put_idle("s$_", 'after it') foreach 2 .. $nstreams;
is(sql("SELECT firehose_wait($id)"), 'accepted', 'its outcome outlives the place of its stream');
wait_delivered($node);
audit_ok("s$_", $emulator, "s$_", $committed{"s$_"}) foreach 1 .. $nstreams;
cmp_ok(sql('SELECT count(*) FROM firehose_stat_stream'), '<=', 6, 'no more streams than places');

# a pipeline whose stream lost its place while nothing changed
sql(q{CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t;
    SELECT firehose_create_pipeline('p', 'changes', '{p}', format => 'flat')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline}, 'streaming');
put_idle("s$_", 'beside a pipeline') foreach 1 .. $nstreams;
wait_delivered($node);
is(sql(q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'changes'}), '0',
    'the stream of a pipeline is idle, too');
sql('INSERT INTO t VALUES (1)');
wait_until('its change arrives', sub { $emulator->records('changes') == 1 }, 20);
is(sql('SELECT state FROM firehose_stat_pipeline'), 'streaming', 'and the pipeline goes on');
sql(q{SELECT firehose_drop_pipeline('p')});

# what is not idle keeps its place: records to send, an open transaction
my $fault = $emulator->fault('hang_before_processing', {}, { stream => 'stuck' });
put('stuck', 'hangs');
my $open = $node->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe(q{SELECT firehose_put_record('held', 'from the open transaction')});
put_idle("s$_", 'beside the others') foreach 1 .. $nstreams;
is(sql(q{SELECT string_agg(stream, ' ' ORDER BY stream) FROM firehose_stat_stream
        WHERE stream IN ('held', 'stuck')}), 'held stuck', 'those in use stay');

# no place at all, which is said at once
foreach my $n (1 .. 4)
{
    $open->query_safe("SELECT firehose_put_record('s$n', 'open')");
    push @{ $committed{"s$n"} }, "open\n";
}
my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_put_record('s9', 'x')});
like($error, qr/no room for another stream.*Each stream of this database has records to send/s,
    'all in use: an error that says so');
$open->query_safe('COMMIT');
push @{ $committed{held} }, "from the open transaction\n";
$open->quit;
$emulator->heal($fault);
wait_delivered($node);
audit_ok($_, $emulator, $_, $committed{$_}, duplicates => 1) foreach qw(held stuck);

# without a sender
sql('ALTER SYSTEM SET firehose.enabled = off; SELECT pg_reload_conf()');
wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'firehose sender'}, '0');
put("s$_", 'nobody reads') foreach 6 .. 8;
sql('ALTER SYSTEM RESET firehose.enabled; SELECT pg_reload_conf()');
wait_delivered($node);
audit_ok("s$_", $emulator, "s$_", $committed{"s$_"}) foreach 1 .. $nstreams;

# many sessions at once, over all streams, as long as it takes
sql(q{CREATE TABLE sent (stream text, payload text);
    CREATE PROCEDURE hammer(session integer, streams integer, n integer) LANGUAGE plpgsql AS $$
    DECLARE
        stream text;
        payload text;
    BEGIN
        FOR i IN 1 .. n LOOP
            stream := 's' || 1 + (i * (2 * session + 1)) % streams;
            payload := 'session ' || session || ' ' || i;
            LOOP
                BEGIN
                    PERFORM firehose_put_record(stream, payload);
                    INSERT INTO sent VALUES (stream, payload);
                    EXIT;
                EXCEPTION WHEN configuration_limit_exceeded THEN
                    PERFORM pg_sleep(0.001);
                END;
            END LOOP;
            COMMIT;
        END LOOP;
    END $$});
my @sessions = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
        '-c', "CALL hammer($_, $nstreams, 100)" ], '<', '/dev/null') } 1 .. 4;
ok($_->finish, 'a session has put all it wanted') foreach @sessions;
foreach (split /\n/, sql('SELECT stream, payload FROM sent'))
{
    my ($stream, $payload) = split /\|/;
    push @{ $committed{$stream} }, "$payload\n";
}
wait_delivered($node);
audit_ok("s$_", $emulator, "s$_", $committed{"s$_"}) foreach 1 .. $nstreams;

# A session waits for a place, without a timeout, while the sender that was asked
# for one is stopped; it goes on when there is room.
sub woken_by
{
    my ($what, $make_room) = @_;
    my $stream = sql(q{SELECT min(srvname) FROM pg_foreign_server
        WHERE srvname ~ '^s[0-9]' AND srvname NOT IN (SELECT stream FROM firehose_stat_stream WHERE datname = current_database())});
    my $sender = sender_of($node, 'postgres');
    my $session = $node->background_psql('postgres');
    my $pid = $session->query_safe('SELECT pg_backend_pid()');
    my $doing = "FROM pg_stat_activity WHERE pid = $pid";

    wait_for_sql($node, "SELECT wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = $sender");
    kill 'STOP', $sender;
    $faults->sleeper($pid);
    $session->query_until(qr/waits/, "\\echo waits\nSELECT firehose_put_record('$stream', 'woken');\n");
    wait_for_sql($node, "SELECT wait_event IN ('Extension', 'FirehoseStreamSlot') $doing");
    $make_room->($sender);
    wait_for_sql($node, "SELECT state = 'idle' $doing") or sql("SELECT pg_terminate_backend($pid)");
    kill 'CONT', $sender;
    $faults->sleeper;
    $session->quit;
    push @{ $committed{$stream} }, "woken\n";
    wait_delivered($node);
    return audit_ok("woken by $what", $emulator, $stream, $committed{$stream}, duplicates => 1);
}
put_idle("s$_", 'for a place') foreach 1 .. 6;
is(sql('SELECT streams FROM firehose_stat_queue'), '6', 'all places are in use');
woken_by('a sender that gives a place up', sub { kill 'CONT', $_[0] });
sql('CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION firehose; CREATE SERVER s FOREIGN DATA WRAPPER firehose;
    SELECT firehose_put_record('s', 'x'); SELECT firehose_flush()});
is(sql('SELECT streams FROM firehose_stat_queue'), '6', 'all places are in use, by two databases');
woken_by('an extension that is dropped', sub { $node->safe_psql('other', 'DROP EXTENSION firehose CASCADE') });
sql('DROP DATABASE other');

# the extension is dropped under transactions that have put, whatever their end
foreach my $end (qw(COMMIT ROLLBACK))
{
    sql('CREATE DATABASE other');
    $node->safe_psql('other', 'CREATE EXTENSION firehose; CREATE SERVER s FOREIGN DATA WRAPPER firehose');
    $open = $node->background_psql('other');
    $open->query_safe('BEGIN');
    $open->query_safe(q{SELECT firehose_put_record('s', 'too late')});
    $node->safe_psql('other', 'DROP EXTENSION firehose CASCADE');
    # a sender has looked, and left what the transaction counts on
    wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' AND datname = 'other'}, '0');
    is(sql(q{SELECT count(*) FROM firehose_stat_stream WHERE datname = 'other'}), '1',
        'its place is there');
    $open->query_safe($end);
    $open->quit;
    wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE datname = 'other'}, '0');
    is(sql(q{SELECT firehose_drain('10 s')}), 't', "a drain after the $end");
    sql('DROP DATABASE other');
}

$node->stop;
done_testing();
