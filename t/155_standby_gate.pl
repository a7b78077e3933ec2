# What waiting for the standbys of synchronized_standby_slots costs, and what ends
# it: each event does, nothing is looked at in between, and the view says at any
# time whom it waits for.  A copy that waits holds up neither the stream, which
# goes on as far as the standby follows, nor the position; nor does the pause that
# firehose.copy_rate asks for.  The standby is a slot that the test moves.  From
# PostgreSQL 17 on.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FailoverTest;
use FirehoseTest;
use PipelineTest;

needs_failover_slots();

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
my $n = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub reason { return reason_of($node, 'changes') }

# The standby confirms all that is flushed; returns up to where.
sub advance { return sql(q{SELECT end_lsn FROM pg_replication_slot_advance('standby', pg_current_wal_flush_lsn())}) }

# Commit a row that the standby does not have.
sub owe
{
    sql('INSERT INTO t VALUES (' . ++$n . ')');
    wait_until('it waits for the standby', sub { reason() =~ /^waiting: slot/ });
    is(arrived(qr/"table":"t"/), $n - 1, 'and does not deliver what the standby has not');
    return;
}

sub arrived
{
    my ($what) = @_;
    $emulator->control('POST', 'flush');
    return scalar(grep { $_->{state} ne 'R' && $_->{data} =~ $what } $emulator->records('changes'));
}

sub confirmed_past { return sql("SELECT confirmed_lsn > '$_[0]' FROM firehose_stat_pipeline WHERE pipeline = 'changes'") eq 't' }

sub arrives
{
    my ($event) = @_;
    wait_until("$event: it goes on", sub { arrived(qr/"table":"t"/) == $n });
    wait_state($node, 'postgres', 'changes', 'streaming');
    return;
}

sub decoder { return sql(q{SELECT pid FROM firehose_stat_pipeline WHERE pipeline = 'changes'}) }

sql(q{CREATE TABLE t (n int PRIMARY KEY); CREATE TABLE big (n int PRIMARY KEY, filler text); CREATE PUBLICATION p FOR TABLE t, big;
    SELECT pg_create_physical_replication_slot('standby', true)});
new_pipeline($node, 'postgres', 'changes', ['p'], copy_data => 'false');
alter_settings($node, synchronized_standby_slots => 'standby');

subtest 'what ends the waiting' => sub {
    owe();
    advance();
    arrives('the standby confirms');

    owe();
    alter_settings($node, synchronized_standby_slots => '');
    arrives('its name is taken out of the setting');

    alter_settings($node, synchronized_standby_slots => 'other');
    sql(q{SELECT pg_create_physical_replication_slot('other', true)});
    owe();
    sql(q{SELECT pg_replication_slot_advance('standby', pg_current_wal_flush_lsn())});
    alter_settings($node, synchronized_standby_slots => 'standby');
    arrives('another one is named');

    owe();
    sql(q{SELECT firehose_alter_pipeline('changes', failover => false)});
    arrives('its slot is no failover slot any more');
    sql(q{SELECT firehose_alter_pipeline('changes', failover => true)});
    wait_state($node, 'postgres', 'changes', 'streaming');

    owe();
    sql(q{SELECT firehose_pause_pipeline('changes')});
    wait_state($node, 'postgres', 'changes', 'paused');
    sql(q{SELECT firehose_resume_pipeline('changes')});
    wait_until('it waits again after a pause', sub { reason() =~ /^waiting: slot/ });
    advance();
    arrives('the standby confirms, after a pause');
};

subtest 'whom it waits for' => sub {
    owe();
    is(reason(), 'waiting: slot "standby" of synchronized_standby_slots is not in use: its standby is not connected', 'one that is not there');
    sql(q{SELECT pg_drop_replication_slot('standby')});
    like(reason(), qr/^waiting: slot "standby" of synchronized_standby_slots does not exist/, 'once its slot is dropped');
    sql(q{SELECT pg_create_physical_replication_slot('standby', true)});
    like(reason(), qr/is not in use/, 'once it was created again');
    alter_settings($node, synchronized_standby_slots => 'other');
    wait_until('another one', sub { reason() =~ /slot "other"/ });
    alter_settings($node, synchronized_standby_slots => 'standby');
    advance();
    arrives('the new slot is confirmed');
};

subtest 'no look in between' => sub {
    owe();
    my $pid = decoder();
    # what was delivered before is noted within five seconds
    wait_until('it sleeps', sub { my $before = switches($pid); sleep 6; switches($pid) == $before });
    my $before = switches($pid);
    my $seconds = is_long() ? 30 : 3;
    my $until = time() + $seconds;
    while (time() < $until) { sql('INSERT INTO t VALUES (' . ++$n . ')'); }
    my $woken = switches($pid) - $before;
    # a look every ten seconds would be three in thirty
    cmp_ok($woken, '<=', 1, "$n commits in $seconds s, and it was awake $woken times");
    advance();
    arrives('the standby confirms');
};

# Each row that is read waits for the standby for milliseconds, and a second passes
# before the next one.
subtest 'a slow copy beside a fast standby' => sub {
    sql('CREATE TABLE slow (n int PRIMARY KEY); CREATE TABLE stop (n int);
        INSERT INTO slow SELECT generate_series(1, 1000); ALTER PUBLICATION p ADD TABLE slow');
    alter_settings($node, 'firehose.copy_rate' => 1);
    my ($out, $err) = ('', '');
    my $standby = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{DO $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM stop) LOOP
            PERFORM pg_replication_slot_advance('standby', pg_current_wal_flush_lsn()), pg_sleep(0.005);
        END LOOP; END $$} ], '<', '/dev/null', '>', \$out, '2>', \$err);
    sql(q{SELECT firehose_copy_table('changes', 'slow')});
    wait_until('it is being copied', sub { sql('SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy') >= 2 });

    my $begun = time();
    foreach (1 .. 6)
    {
        my $lsn = sql('INSERT INTO t VALUES (' . ++$n . ') RETURNING pg_current_wal_insert_lsn()');
        wait_until('a commit is read', sub { sql("SELECT read_lsn > '$lsn' FROM firehose_stat_pipeline WHERE pipeline = 'changes'") eq 't' });
    }
    my $seconds = time() - $begun;
    cmp_ok($seconds, '<', 4, "six commits in a row were read within $seconds s");

    my $pid = decoder();
    my $before = cpu_of($pid);
    my $rows = sql('SELECT sum(rows) FROM firehose_stat_progress_copy');
    sleep 4;
    my $used = cpu_of($pid) - $before;
    cmp_ok($used, '<', 0.2, "in four seconds it had $used s of CPU");
    cmp_ok(sql('SELECT sum(rows) FROM firehose_stat_progress_copy'), '>', $rows, 'and went on with the copy');

    alter_settings($node, 'firehose.copy_rate' => 0);
    wait_for_sql($node, q{SELECT phase FROM firehose_stat_progress_copy WHERE "table" = 'slow'}, 'done');
    sql('INSERT INTO stop VALUES (1)');
    $standby->finish;
    is($err, '', 'the standby confirmed');
};

subtest 'a copy that waits' => sub {
    my $rows = 5000;
    sql("INSERT INTO big SELECT n, repeat('x', 1000) FROM generate_series(1, $rows) n");
    advance();
    arrives('all is confirmed');
    sql(q{SELECT firehose_copy_table('changes', 'big')});
    wait_until('some is copied', sub {
        advance();
        sleep 0.05;
        sql(q{SELECT coalesce(sum(chunks), 0) FROM firehose_stat_progress_copy}) > 0 });
    # a chunk is read, and waits; what comes now is behind it
    foreach my $round (1 .. 3)
    {
        sql(qq{DO \$\$ BEGIN FOR i IN $n + 1 .. $n + 1500 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END \$\$});
        $n += 1500;
        my $mark = sql(q{SELECT pg_logical_emit_message(true, 'mark', '')});
        advance();
        wait_until("round $round: stream and position come as far as the standby", sub { confirmed_past($mark) });
        is(arrived(qr/"table":"t"/), $n, 'all of it has arrived');
    }
    isnt(sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE "table" = 'big'}), 'done', 'the copy has more to read');
    wait_until('it waits for the standby', sub { reason() =~ /^waiting: slot "standby"/ });
    my $before = arrived(qr/"op":"r"/);
    restart_by($node, 'immediate');
    wait_until('the rest is copied', sub {
        advance();
        sleep 0.05;
        sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE "table" = 'big'}) eq 'done' });
    $emulator->control('POST', 'flush');
    my %copied = map { $_->{state} ne 'R' && $_->{data} =~ /"op":"r".*"after":\{"n":(\d+)/ ? ($1 => 1) : () } $emulator->records('changes');
    is(scalar(keys %copied), $rows, "all of it arrived, after $before rows before a crash");
    alter_settings($node, synchronized_standby_slots => '');
    wait_confirmed($node, 'postgres', 'changes');
};

$node->stop;
done_testing();
