# VACUUM beside a copy: while a chunk is being read, no row that it needs is
# removed.  While the copy waits, for its rate, for the service, for space in the
# queue, or to note how far it is, its processes hold no snapshot, and rows that
# die then can be removed.  Nor does it hold the slot's position.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, autovacuum => 'off');

sub sql { return $node->safe_psql('postgres', @_) }

sub state_of { return sql(q{SELECT concat_ws(' ', state, outstanding) FROM firehose_stat_pipeline}) }

# What VACUUM does to a table: how many dead rows it removes, and how many it cannot.
sub vacuum
{
    my ($table) = @_;
    my ($code, $out, $err) = $node->psql('postgres', "VACUUM VERBOSE $table");
    return $err =~ /tuples: (\d+) removed, \d+ remain, (\d+) are dead but not yet removable/ ? ($1, $2) : die $err;
}

# delivers => 1: nothing is on its way all the time, so that the slot is confirmed.
sub horizon_moves
{
    my ($while, %options) = @_;
    # (a chunk or a note of the progress may fall on some)
    my $looks = sql('SELECT looks()');
    cmp_ok($looks, '<', 10, "$while: no process holds a snapshot: $looks of 20 looks saw one");
    my $removed = 0;
    sql('UPDATE dead SET v = v + 1');
    wait_until("$while: VACUUM removes what died", sub { my ($n, $left) = vacuum('dead'); $removed += $n; $left == 0 });
    # (a crash may have taken an earlier VACUUM back)
    cmp_ok($removed, '>=', 100, "$while: all of it");
    is(sql('SELECT count(xmin) FROM pg_replication_slots'), 0, "$while: the slot holds rows of no table");
    return unless $options{delivers};
    # (for little that was not for the pipeline it does not)
    my $lsn = sql(q{SELECT pg_logical_emit_message(false, 'much', repeat('x', 2000000))});
    wait_until("$while: the slot follows the WAL", sub {
        sql("SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots") eq 't' });
    return;
}

sub wait_unchanged
{
    my ($what, $pattern) = @_;
    my ($before, $times) = ('', 0);
    return wait_until($what, sub {
        my $now = state_of();
        $times = $now eq $before && $now =~ $pattern ? $times + 1 : 0;
        $before = $now;
        sleep 0.05;
        $times >= 8 });
}

sub alter { alter_settings($node, @_); return }

# ------------------------------------------------------------------------
# The rows that a chunk needs
# ------------------------------------------------------------------------
sql(q{CREATE TABLE dead (id int PRIMARY KEY, v int); INSERT INTO dead SELECT id, 0 FROM generate_series(1, 100) id;
    CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT id, 'v' FROM generate_series(1, 600) id;
    CREATE TABLE large (id int PRIMARY KEY, v text);
    CREATE PUBLICATION p FOR TABLE t, large;
    -- of twenty looks within a second, at how many does a process of ours have a snapshot?
    CREATE FUNCTION looks() RETURNS int LANGUAGE plpgsql AS $$
    DECLARE
        n int := 0;
    BEGIN
        FOR i IN 1 .. 20 LOOP
            PERFORM pg_stat_clear_snapshot(), pg_sleep(0.05);
            n := n + EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'firehose%'
                AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL))::int;
        END LOOP;
        RETURN n;
    END $$;
    -- a chunk does not get beyond row 50 while another session has the lock
    CREATE FUNCTION waits(id int) RETURNS bool LANGUAGE plpgsql AS $$
    BEGIN
        WHILE id = 50 AND NOT pg_try_advisory_xact_lock_shared(1) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
        RETURN true;
    END $$});
new_pipeline($node, 'postgres', 'copy', ['p'], copy_data => 'false',
    stream => new_stream($node, 'copy', max_in_flight => 1));
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(1)');
sql(q{SELECT firehose_copy_table('copy', 't', 'public.waits(id)')});
my $decoder = q{FROM pg_stat_activity WHERE backend_type = 'firehose decoder'};
wait_for_sql($node, "SELECT wait_event = 'PgSleep' AND backend_xmin IS NOT NULL $decoder");
sql('DELETE FROM t WHERE id > 100');
is(join(' ', vacuum('t')), '0 500', 'rows that a chunk has yet to read are not removed');
$lock->query_safe('SELECT pg_advisory_unlock(1)');
$lock->quit;
wait_until('all is copied', sub { (copies_left($node) // 1) == 0 });
wait_confirmed($node, 'postgres', 'copy');
is(scalar(read_rows($emulator, 'copy', 't')), 600, 'and are read');
is(join(' ', vacuum('t')), '500 0', 'then they are removed');

# ------------------------------------------------------------------------
# A copy that waits
# ------------------------------------------------------------------------
sql(q{INSERT INTO t SELECT id, 'v' FROM generate_series(2001, 3000) id});
alter('firehose.copy_rate' => 1);
sql(q{SELECT firehose_copy_table('copy', 't')});
wait_until('rows are copied', sub { copied_rows($node) > 0 });
horizon_moves('between chunks', delivers => 1);

my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE firehose_copies IN SHARE MODE');
alter('firehose.copy_rate' => 0);
wait_until('all rows came', sub { read_rows($emulator, 'copy', 't') == 1700 });
horizon_moves('while progress cannot be noted', delivers => 1);
$holder->query_safe('COMMIT');
$holder->quit;
wait_until('all is copied', sub { (copies_left($node) // 1) == 0 });

# (of 2.5 kB as a record, and much less in the table)
sql(q{INSERT INTO large SELECT id, repeat('x', 2500) FROM generate_series(1, 3000) id});
wait_confirmed($node, 'postgres', 'copy');
$emulator->fault('delay', { seconds => 600 });
sql(q{SELECT firehose_copy_table('copy', 'large')});
wait_unchanged('as many chunks are under way as may be', qr/^streaming \d{3}/);
my $rows = (split / /, state_of())[1];
cmp_ok($rows, '<', 1200, "hundreds of rows, $rows, and not the whole table, behind which a commit would stand in line");
horizon_moves('while the service does not answer');

# other streams leave a chunk no space
sql(q{SELECT firehose_cancel_copy('copy', 'large')});
alter('firehose.queue_size' => '8MB');
restart_by($node, 'immediate');
new_stream($node, "other$_", on_full => 'error') foreach 1 .. 8;
sql(q{DO $$
    BEGIN
        FOR s IN 1 .. 8 LOOP
            BEGIN
                LOOP
                    PERFORM firehose_put_record('other' || s, repeat('x', 50000), false);
                END LOOP;
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END $$});
sql(q{SELECT firehose_copy_table('copy', 'large')});
wait_unchanged('a chunk waits for space', qr/^waiting/);
horizon_moves('while a chunk waits for space');

# or changes of the stream do
restart_by($node, 'immediate');
sql(q{INSERT INTO large SELECT id, repeat('x', 2500) FROM generate_series(3001, 8000) id});
wait_unchanged('the queue is full', qr/^waiting [1-9]/);
horizon_moves('while the queue has no space');

$emulator->heal;
wait_until('all is copied', sub { (copies_left($node) // 1) == 0 });
$node->stop;
done_testing();
