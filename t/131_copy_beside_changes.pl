# Tables are copied while four sessions insert, update, delete, change keys and
# leave large values alone, decoders are terminated and VACUUM runs in a loop, by
# two pipelines.  Of one a request at a time is under way: consumers end with the
# tables that the server has, whether they apply by arrival or by id.  Entries of
# the other fail at random and are delivered in any order: one that applies by id
# does.  All copies wait for a standby that follows by leaps, where the server has
# failover slots.  Twenty tables, one after another, each with its own dice; with --long a
# hundred, and one of five million rows.  FIREHOSE_TEST_ROWS chooses another size of
# that one, and twenty tables.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $first = $ENV{FIREHOSE_TEST_SEED} // 1;
my $emulator = Emulator->start(is_long() ? ('short-record-ids' => undef) : ());
my $node = new_decoding_node('main', $emulator, autovacuum => 'off', 'firehose.copy_rate' => 1500);

sub sql { return $node->safe_psql('postgres', @_) }

prepare_traffic($node);
srand($first);

# A standby's slot that follows by leaps, until the traffic stops.
my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
my $has_gate = $major >= 17;
sub start_leaps
{
    return () unless $has_gate;
    sql(q{SELECT pg_create_physical_replication_slot('standby', true);
        CREATE PROCEDURE leap() LANGUAGE plpgsql AS $$
        BEGIN
            WHILE NOT EXISTS (SELECT FROM stop) LOOP
                PERFORM pg_replication_slot_advance('standby', pg_current_wal_flush_lsn());
                COMMIT;
                PERFORM pg_sleep(random() * 0.1);
            END LOOP;
        END $$;});
    alter_settings($node, synchronized_standby_slots => 'standby');
    return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL leap()' ], '<', '/dev/null');
}

# (an error that is no throttling, which would make it wait for the pace)
$emulator->fault('fail_records', { probability => 0.2, code => 'InternalFailure', message => 'try again' },
    { stream => 'failing*', seed => $first });

# Two pipelines that copy tables, one of them only the first few, since each
# waits for entries that fail again and again.
my $few = 3;
sub copy_tables
{
    my ($n, @tables) = @_;
    sql("CREATE PUBLICATION ordered$n FOR TABLE " . join(', ', @tables));
    sql("CREATE PUBLICATION failing$n FOR TABLE " . join(', ', grep { defined } @tables[ 0 .. $few - 1 ]));
    new_pipeline($node, 'postgres', "failing$n", ["failing$n"]);
    new_pipeline($node, 'postgres', "ordered$n", ["ordered$n"],
        stream => new_stream($node, "ordered$n", max_in_flight => 1));
    return;
}

# Work on what is being copied, remove dead rows, and terminate decoders with
# this chance, until a pipeline has copied all, or all have.
sub meanwhile
{
    my ($pipeline, $chance, $seconds, $aims) = @_;
    my ($vacuums, $removed) = (0, 0);
    my $deadline = time() + $seconds;
    my $started = time();
    while ((copies_left($node, $pipeline) // 1) > 0 && time() < $deadline)
    {
        my @now = tables_being_copied($node);
        aim_at($node, $aims->(@now));
        my $vacuumed = seconds(sub {
            foreach my $table (@now)
            {
                my ($code, $out, $err) = $node->psql('postgres', "VACUUM VERBOSE $table");
                $removed++ if $err =~ /tuples: [1-9]\d* removed/;
                $vacuums++;
            } });
        # (of a large table it would take most of the machine's time otherwise)
        sleep($vacuumed < 1 ? 0.05 : 4 * $vacuumed);
        next unless rand() < $chance;
        my @pids = decoder_pids($node);
        $node->psql('postgres', "SELECT pg_terminate_backend($pids[rand @pids])") if @pids;
    }
    is(copies_left($node, $pipeline), 0, sprintf('all is copied, in %.0f s', time() - $started));
    cmp_ok($removed, '>', 0, "dead rows were removed while the copies ran ($removed of $vacuums)");
    return;
}

sub judge
{
    my ($n, @tables) = @_;
    foreach my $name ("ordered$n", "failing$n")
    {
        my @some = grep { defined } $name =~ /failing/ ? @tables[ 0 .. $few - 1 ] : @tables;
        wait_copied($node, $name, 600);
        wait_confirmed($node, 'postgres', $name, 600);
        consumers_ok($node, $emulator, $name, \@some, by_id_only => $name =~ /failing/ ? 1 : 0);
    }
    note(sql(q{SELECT concat_ws(' ', pipeline, sum(rows), sum(chunks)) FROM firehose_stat_progress_copy GROUP BY pipeline}));
    sql("SELECT firehose_drop_pipeline('$_$n')") foreach qw(failing ordered);
    return;
}

# ------------------------------------------------------------------------
# A commit that is in the WAL, and not visible because it waits for a standby
# ------------------------------------------------------------------------
sql(q{CREATE TABLE hidden (id int PRIMARY KEY, v text); INSERT INTO hidden SELECT id, 'before' FROM generate_series(1, 10) id;
    CREATE PUBLICATION hidden FOR TABLE hidden});
new_pipeline($node, 'postgres', 'hidden', ['hidden'], copy_data => 'false',
    stream => new_stream($node, 'hidden', max_in_flight => 1));
alter_settings($node, synchronous_standby_names => 'nobody');
wait_for_sql($node, 'SHOW synchronous_standby_names', 'nobody');
my $hidden = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{UPDATE hidden SET v = 'after'} ],
    '<', '/dev/null', '2>', '/dev/null');
my $waiting = q{FROM pg_stat_activity WHERE wait_event = 'SyncRep'};
wait_for_sql($node, "SELECT count(*) $waiting", 1);
sql(q{SET synchronous_commit = local; SELECT firehose_copy_table('hidden', 'hidden')});
wait_until('the changes are delivered', sub { events($emulator, 'hidden') >= 10 });
sleep 1;
is(sql("SELECT v FROM hidden WHERE id = 1"), 'before', 'the commit is not visible');
is(scalar(read_rows($emulator, 'hidden', 'hidden')), 0, 'and the copy waits for it');
sql("SELECT pg_cancel_backend(pid) $waiting");
$hidden->finish;
alter_settings($node, synchronous_standby_names => '');
wait_copied($node, 'hidden');
wait_confirmed($node, 'postgres', 'hidden');
consumers_ok($node, $emulator, 'hidden', ['hidden']);
sql(q{SELECT firehose_drop_pipeline('hidden')});

# ------------------------------------------------------------------------
# Small tables
# ------------------------------------------------------------------------
my $rows = 700;
my @tables = map { "t$_" } $first .. $first + (is_long() && !$ENV{FIREHOSE_TEST_ROWS} ? 100 : 20) - 1;
create_table($node, $_, $rows, 2) foreach @tables;
my @sessions = (start_leaps(), start_traffic($node, $first, 0.004));
copy_tables('', @tables);
# (and one time in five on any of them)
meanwhile('ordered', 0.1, 600, sub { (map { [ $_, $rows * 1.5, 2 ] } (@_) x 4, $tables[ rand @tables ]) });
sleep 0.3;
stop_traffic($node, @sessions);
alter_settings($node, synchronized_standby_slots => '') if $has_gate;
judge('', @tables);

# ------------------------------------------------------------------------
# A large one
# ------------------------------------------------------------------------
if (is_long())
{
    my $large = $ENV{FIREHOSE_TEST_ROWS} // 5_000_000;
    alter_settings($node, 'firehose.copy_rate' => 0, max_wal_size => '4GB');
    create_table($node, 'large', $large, 20);
    @sessions = start_traffic($node, $first, 0.004);
    copy_tables('2', 'large');
    meanwhile(undef, 0.2, 7200, sub { [ 'large', $large * 1.5, 20 ] });
    sleep 2;
    stop_traffic($node, @sessions);
    judge('2', 'large');
}

$node->stop;
done_testing();
