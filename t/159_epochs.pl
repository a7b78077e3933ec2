# Each run of the server says its epoch in the WAL.  So a change has one id on
# every server that has it, and in every pipeline: when storage is put back, or a
# standby is promoted, of before the pipeline had read up to the last start; after
# from_now; and when one pipeline reads it before a restart and another one
# afterwards.  A run without the library has the epoch of the next one, and no
# session can pretend to say one.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use HistoryTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_original($emulator, max_prepared_transactions => 2);
my $copy = $node->basedir . '/copy';

sub sql { my ($on, $query) = @_; return $on->safe_psql('postgres', $query) }

sub insert
{
    my ($on, $w) = @_;
    sql($on, "INSERT INTO t SELECT n, '$w' FROM generate_series(1, 3) n");
    return;
}

# Restart without decoders.
sub restart_silently
{
    alter_settings($node, 'firehose.enabled' => 'off');
    restart_by($node, 'fast');
    return;
}

# What is owed is sent.
sub send_all
{
    my ($on, $pipeline) = @_;
    alter_settings($on, 'firehose.enabled' => 'on');
    wait_state($on, 'postgres', $pipeline // 'changes', 'streaming');
    wait_confirmed($on, 'postgres', $pipeline // 'changes');
    return;
}

# Send what a stopped server owes, twice, in two histories.
sub send_in_two_histories
{
    copy_files($node->data_dir, $copy);
    $node->start;
    send_all($node);
    $node->stop;
    put_back($node, $copy);
    $node->start;
    send_all($node);
    PostgreSQL::Test::Utils::system_log('rm', '-rf', $copy);
    return;
}

# Pause a pipeline, and wait until nothing uses its slot; returns its name.
sub pause
{
    my ($pipeline) = @_;
    sql($node, "SELECT firehose_pause_pipeline('$pipeline')");
    my $slot = sql($node, "SELECT slot_name FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
    wait_until('the decoder goes', sub {
        sql($node, "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'f' });
    return $slot;
}

# The same, and drop the slot.
sub give_up
{
    my $slot = pause(@_);
    sql($node, "SELECT pg_drop_replication_slot('$slot')");
    return $slot;
}

# How often a row arrived.
sub sent_times
{
    my ($w, $stream) = @_;
    return scalar grep { $_->{after}{w} eq $w } events($emulator, $stream // 'changes');
}

# The epochs of what arrived of a row, each once.
sub epochs
{
    my ($w, $stream) = @_;
    my %epochs = map { $_->{id} =~ /^([0-9A-F]{12})-/ ? ($1 => 1) : () } grep { $_->{after}{w} eq $w } events($emulator, $stream // 'changes');
    return join(' ', sort keys %epochs);
}

# Decoding by this slot begins in the first run, whatever becomes of the slot.
sql($node, q{SELECT pg_create_logical_replication_slot('far', 'pgoutput')});
sql($node, q{BEGIN; INSERT INTO t VALUES (0, 'prepared'); PREPARE TRANSACTION 'prepared'});
my $first_run = sql($node, 'SELECT pg_current_wal_insert_lsn()');

subtest 'storage of before the last start was read' => sub {
    foreach my $mode (qw(fast immediate))
    {
        restart_silently();
        insert($node, "back $mode");
        $node->stop($mode);
        send_in_two_histories();
        is(sent_times("back $mode"), 6, "after a stop by $mode: each change was sent in both histories");
    }
    arrived($emulator, 'changes', 'in both histories');
    # in a run that is neither that nor the one in which it is read
    sql($node, q{SELECT pg_replication_slot_advance('far', pg_current_wal_lsn())});
    insert($node, 'far');
    wait_confirmed($node, 'postgres', 'changes');
};

subtest 'the first commit of a run' => sub {
    # no launcher can have been there before it
    restart_silently();
    $node->stop;
    my ($bindir) = `$ENV{PG_CONFIG} --bindir` =~ /^(.*)$/;
    foreach my $statement (q{BEGIN; INSERT INTO t SELECT n, 'single' FROM generate_series(1, 3) n; COMMIT},
        q{INSERT INTO t SELECT n, 'alone' FROM generate_series(1, 3) n})
    {
        my ($out, $error) = ('', '');
        ok(IPC::Run::run([ "$bindir/postgres", '--single', '-D', $node->data_dir, 'postgres' ], '<', \"$statement\n", '>', \$out, '2>', \$error),
            'a run in single-user mode') or diag($error);
    }
    send_in_two_histories();
    is(sent_times($_), 6, "$_: each change was sent in both histories") foreach qw(single alone);
    arrived($emulator, 'changes', 'in both histories');
    isnt(epochs('single'), epochs('alone'), 'each run has its own');
};

subtest 'a slot that keeps the WAL of earlier runs' => sub {
    is(sql($node, qq{SELECT restart_lsn < '$first_run' AND confirmed_flush_lsn > '$first_run' FROM pg_replication_slots WHERE slot_name = 'far'}),
        't', 'decoding begins in the first run');
    sql($node, q{ROLLBACK PREPARED 'prepared'});
    new_stream($node, 'far');
    sql($node, q{SELECT firehose_create_pipeline('far', 'far', '{p}', slot_name => 'far', create_slot => false, copy_data => false)});
    wait_confirmed($node, 'postgres', 'far');
    is(epochs($_, 'far'), epochs($_), "$_: has the epoch of its own run") foreach qw(far single alone);
    sql($node, q{SELECT firehose_drop_pipeline('far')});
};

subtest 'a standby without what its primary noted' => sub {
    $node->backup('backup');
    my $standby = PostgreSQL::Test::Cluster->new('standby');
    $standby->init_from_backup($node, 'backup', has_streaming => 1);
    $standby->start;
    # its slot needs no WAL from before the backup, which the standby has not
    new_pipeline($node, 'postgres', 'failover', ['p'], copy_data => 'false');
    restart_silently();
    insert($node, 'failover');
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    $standby->stop;
    copy_files($node->data_dir . '/pg_replslot', $copy);
    send_all($node, 'failover');
    is(sent_times('failover', 'failover'), 3, 'sent by the primary');
    $node->stop('immediate');

    my $slots = $standby->data_dir . '/pg_replslot';
    PostgreSQL::Test::Utils::system_log('rm', '-rf', $slots);
    rename($copy, $slots) or die $!;
    $standby->start;
    $standby->promote;
    insert($standby, 'promoted');
    send_all($standby, 'failover');
    is(sent_times('failover', 'failover'), 6, 'and by the new one');
    arrived($emulator, 'failover', 'on both servers');
    cmp_ok(epochs('promoted', 'failover'), 'gt', epochs('failover', 'failover'), 'a new run has a higher one');
    $standby->stop;
    $node->start;
    sql($node, q{SELECT firehose_drop_pipeline('failover')});
};

subtest 'pipelines agree' => sub {
    my $slot;
    new_pipeline($node, 'postgres', 'other', ['p'], copy_data => 'false');
    insert($node, 'one run');
    wait_confirmed($node, 'postgres', $_) foreach qw(changes other);
    is(epochs('one run', 'other'), epochs('one run'), 'in one run');

    sql($node, q{SELECT firehose_pause_pipeline('other')});
    wait_until('the decoder goes', sub {
        sql($node, q{SELECT count(*) FROM firehose_stat_pipeline WHERE pipeline = 'other' AND pid IS NOT NULL}) eq '0' });
    insert($node, 'later');
    wait_confirmed($node, 'postgres', 'changes');
    restart_by($node, 'immediate');
    sql($node, q{SELECT firehose_resume_pipeline('other')});
    wait_confirmed($node, 'postgres', 'other');
    is(epochs('later', 'other'), epochs('later'), 'when one reads a change after a restart');

    $slot = give_up('other');
    sql($node, "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
    insert($node, 'from now');
    sql($node, q{SELECT firehose_resume_pipeline('other')});
    wait_state($node, 'postgres', 'other', 'failed');
    sql($node, q{SELECT firehose_resume_pipeline('other', from_now => true)});
    wait_confirmed($node, 'postgres', $_) foreach qw(changes other);
    is(epochs('from now', 'other'), epochs('from now'), 'after from_now');

    # the slot has neither the start of the run nor its epoch
    sql($node, "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')");
    insert($node, 'adopted');
    new_pipeline($node, 'postgres', 'gone', ['p'], copy_data => 'false');
    my $read = epochs('from now', 'other');
    give_up($_) foreach qw(other gone);
    restart_by($node, 'fast');
    insert($node, 'after');
    new_stream($node, 'adopted');
    sql($node, q{SELECT firehose_create_pipeline('adopted', 'adopted', '{p}', slot_name => 'mine', create_slot => false, copy_data => false)});
    wait_confirmed($node, 'postgres', $_) foreach qw(changes adopted);
    is(epochs('after', 'adopted'), epochs('after'), 'with a slot of an earlier run');

    # these leave the start of the run out
    sql($node, "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
    foreach my $pipeline (qw(other gone))
    {
        sql($node, "SELECT firehose_resume_pipeline('$pipeline', from_now => true)");
        wait_state($node, 'postgres', $pipeline, 'streaming');
    }
    insert($node, 'jumped');
    wait_confirmed($node, 'postgres', $_) foreach qw(changes other gone);
    is(epochs('jumped', $_), epochs('jumped'), "$_: after from_now in a later run") foreach qw(other gone);
    cmp_ok(epochs('jumped'), 'gt', $read, 'which has another');
    sql($node, qq{SELECT firehose_drop_pipeline('$_')}) foreach qw(adopted other gone);
};

subtest 'what pretends to be an epoch' => sub {
    my $preloaded = sql($node, 'SHOW shared_preload_libraries');
    my $before = epochs('after');
    my $pretend = sub {
        my ($role, $number) = @_;
        my $bytes = join('', reverse $number =~ /../g);
        sql($node, qq{SET ROLE $role; SELECT pg_logical_emit_message($_, 'firehose epoch', '\\x${bytes}0000'::bytea)}) foreach qw(false true);
    };
    sql($node, q{CREATE ROLE stranger});
    $pretend->('stranger', 'FFFFFFFFFFFF');
    insert($node, 'pretended');
    wait_confirmed($node, 'postgres', 'changes');
    is(epochs('pretended'), $before, 'is none');

    # where the server itself says none
    $node->stop;
    $node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
    $node->start;
    $pretend->($_, 'FFFFFFFFFFFF') foreach qw(stranger NONE);
    $pretend->('stranger', $before);
    insert($node, 'not loaded');
    $node->stop;
    $node->append_conf('postgresql.conf', "shared_preload_libraries = '$preloaded'");
    $node->start;
    insert($node, 'loaded');
    wait_confirmed($node, 'postgres', 'changes');
    is(epochs('not loaded'), epochs('loaded'), 'a run without the library has that of the next');
    cmp_ok(epochs('loaded'), 'gt', $before, 'which is above those before');
    cmp_ok(epochs('loaded'), 'lt', 'FFFFFFFFFFFF', 'and not what sessions wrote');
    arrived($emulator, 'changes', 'in all');
};

$node->stop;
done_testing();
