# A decoder hears that it is to stop wherever it is: while its slot is being
# made, which waits for every older transaction of the cluster (here a prepared
# one, and one of another database), and amid a commit that takes long to
# decode, whether its changes are published or not.  A fast stop takes at most
# 5 s in each, statements that need the database empty 2 s; pause, drop and
# pg_terminate_backend work; nothing is lost and no slot is left behind.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_prepared_transactions => 5, 'firehose.queue_size' => '8MB',
    max_worker_processes => 20, logical_decoding_work_mem => '1GB');
my $rows = is_long() ? 12_000_000 : 2_000_000;

sub sql { return $node->safe_psql($_[1] // 'app', $_[0]) }

sub stop_fast
{
    my ($name) = @_;
    return takes_at_most("$name: a fast stop", 5, sub { $node->stop('fast') });
}

# Statements that need the database without connections; it keeps its name.
sub empty_database
{
    my ($name) = @_;
    takes_at_most("$name: RENAME", 2, sub { sql('ALTER DATABASE app RENAME TO app2', 'postgres') });
    sql('ALTER DATABASE app2 RENAME TO app', 'postgres');
    takes_at_most("$name: TEMPLATE", 2, sub { sql('CREATE DATABASE copy TEMPLATE app', 'postgres') });
    sql('DROP DATABASE copy', 'postgres');
    return;
}

sub set_up
{
    sql('CREATE DATABASE app', 'postgres');
    sql(q{CREATE EXTENSION firehose;
        CREATE SERVER s FOREIGN DATA WRAPPER firehose;
        CREATE TABLE t (a int PRIMARY KEY, b int);
        CREATE TABLE other (a int);
        CREATE PUBLICATION p FOR TABLE t WHERE (a < 0) WITH (publish = 'insert')});
    return;
}

# The decoder waits inside core for an older transaction.
sub making_slot
{
    my ($name) = @_;
    return wait_until("$name: the slot is being made", sub {
        sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'firehose decoder'
              AND wait_event = 'transactionid'}, 'postgres') eq '1' }, 30);
}

# slots in the making
set_up();
sql('CREATE TABLE x (a int)', 'postgres');
foreach my $how ('a prepared transaction', 'a session of another database')
{
    my $session;
    if ($how =~ /prepared/)
    {
        sql(q{BEGIN; INSERT INTO x VALUES (1); PREPARE TRANSACTION 'old'}, 'postgres');
    }
    else
    {
        $session = $node->background_psql('postgres');
        $session->query_safe('BEGIN; INSERT INTO x VALUES (1)');
    }
    my $name = "a slot behind $how";

    sql(q{SELECT firehose_create_pipeline('one', 's', '{p}')});
    making_slot($name);
    empty_database($name);
    making_slot($name);

    takes_at_most("$name: pause", 2, sub {
        sql(q{SELECT firehose_pause_pipeline('one')});
        wait_until("$name: paused", sub { decoder_pids($node) == 0 }) });
    is(sql('SELECT count(*) FROM pg_replication_slots'), '0', "$name: no half-made slot is left");
    sql(q{SELECT firehose_resume_pipeline('one')});
    making_slot($name);
    takes_at_most("$name: pg_terminate_backend", 2, sub {
        is(sql(q{SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity
                 WHERE backend_type = 'firehose decoder'}), 't', "$name: terminated") });
    making_slot($name);
    takes_at_most("$name: firehose.enabled = off", 2, sub {
        alter_settings($node, 'firehose.enabled' => 'off');
        wait_until("$name: switched off", sub { decoder_pids($node) == 0 }) });
    alter_settings($node, 'firehose.enabled' => 'on');
    making_slot($name);

    if ($how =~ /prepared/)
    {
        stop_fast($name);
        $node->start;
        making_slot("$name, after a restart");
        takes_at_most("$name: drop", 2, sub {
            sql(q{SELECT firehose_drop_pipeline('one')});
            wait_until("$name: dropped", sub { decoder_pids($node) == 0 }) });
        sql(q{ROLLBACK PREPARED 'old'}, 'postgres');
    }
    else
    {
        takes_at_most("$name: DROP DATABASE", 2, sub { sql('DROP DATABASE app', 'postgres') });
        $session->query_safe('COMMIT');
        $session->quit;
        set_up();
    }
    wait_for_sql($node, 'SELECT count(*) FROM pg_replication_slots', '0');
}

# a large transaction; its table is emptied, for a copy of it would take time
sql(q{SELECT firehose_create_pipeline('one', 's', '{p}')});
wait_state($node, 'app', 'one', 'streaming');
foreach my $table ('t', 'other')
{
    my $name = $table eq 't' ? 'a large filtered transaction' : 'a large transaction of others';
    sql("INSERT INTO $table SELECT g FROM generate_series(1, $rows) g;
        TRUNCATE $table");
    empty_database($name);
    takes_at_most("$name: pause", 2, sub {
        sql(q{SELECT firehose_pause_pipeline('one')});
        wait_until("$name: paused", sub { decoder_pids($node) == 0 }) });
    sql(q{SELECT firehose_resume_pipeline('one')});
    sql("INSERT INTO $table SELECT g FROM generate_series(1, $rows) g;
        TRUNCATE $table");
    stop_fast($name);
    $node->start;
}
sql(q{INSERT INTO t VALUES (-1)});
wait_confirmed($node, 'app', 'one', 300);
is(join(' ', map { $_->{after}{a} } events($emulator, 's')), '-1', 'what comes after is sent, once');

# one that is sent: the queue is full, and the stream does not take it
# (a copy of the database shall take no time)
sql('TRUNCATE t, other; CHECKPOINT');
$emulator->fault('hang_before_processing');
sql('ALTER PUBLICATION p SET TABLE t');
sql('INSERT INTO t SELECT -g FROM generate_series(1, 400000) g; CHECKPOINT');
wait_state($node, 'app', 'one', 'waiting', 60);
empty_database('a published transaction, queue full');
wait_state($node, 'app', 'one', 'waiting', 60);
stop_fast('a published transaction, queue full');
$emulator->heal;
$node->start;
sql('CHECKPOINT');
takes_at_most('DROP DATABASE while it is sent', 2, sub { sql('DROP DATABASE app', 'postgres') });

$node->stop;
done_testing();
