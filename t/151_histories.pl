# Copies of a server, and servers set back in time: what each sends, over all of
# their histories.  A copy of the files beside its running original, and one on
# another machine, send nothing of what the original owes until they are told
# to; a directory that was moved, or whose machine was made anew around it, goes
# on by itself; a base backup restored to a point in time fails and says so.  In
# each case no id carries two contents, and what was committed and was not given
# up by command arrives.
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
my $node = new_original($emulator);

sub sql { my ($on, $query) = @_; return $on->safe_psql('postgres', $query) }

sub reason
{
    my ($on) = @_;
    return sql($on, q{SELECT DISTINCT reason FROM firehose_stat_pipeline});
}

# What pg_firehose/home says of one thing, changed.
sub change_home
{
    my ($on, $what, $to) = @_;
    my $file = $on->data_dir . '/pg_firehose/home';
    my $text = slurp_file($file);
    $text =~ s{^\Q$what\E \K(\d+)$}{$to // $1 ^ 1}me or die "no $what in $text";
    open(my $out, '>', $file) or die $!;
    print $out $text;
    close($out) or die $!;
    return;
}

sub changes_ok { return arrived($emulator, 'changes', $_[0]) }

sub puts { return join(', ', sort map { $_->{data} =~ s/\n//r } $emulator->records('puts')) }

sub insert
{
    my ($on, $w, $from, $to) = @_;
    sql($on, "INSERT INTO t SELECT n, '$w' FROM generate_series($from, $to) n");
    return;
}

insert($node, 'a', 1, 3);
wait_confirmed($node, 'postgres', 'changes');
$node->backup('earlier');
sql($node, q{SELECT pg_create_restore_point('earlier')});

# the original owes all kinds of records
alter_settings($node, 'firehose.enabled' => 'off');
insert($node, 'owed', 4, 5);
sql($node, q{SELECT firehose_put_text('puts', 'memory')});
sql($node, q{SET firehose.put_durability = wal; SELECT firehose_put_text('puts', 'wal')});
$node->stop;
my $copy = copy_of($node, 'copy');
my $moved = copy_of($node, 'moved');
$node->start;

subtest 'a copy beside its original' => sub {
    $_->append_conf('postgresql.auto.conf', 'firehose.enabled = on') foreach $copy, $moved;
    $copy->start;
    wait_state($copy, 'postgres', $_, 'paused') foreach qw(changes durable_puts);
    like(reason($copy), qr/^the data directory is a copy of another server's.*firehose_resume_pipeline/, 'its pipelines are paused, and say why');
    like(slurp_file($copy->logfile), qr/LOG:  firehose: the data directory is a copy of another server's, from ".*main.*": the server that it was copied from is running on this machine\n.*DETAIL: .*\n.*HINT: .*firehose_resume_pipeline/, 'so does the log');
    like(slurp_file($copy->logfile), qr/saved queue file was not loaded: the data directory is a copy of another server's\n.*firehose_load_saved_queue\('queue\.refused'\)/, 'the saved queue is set aside');
    insert($copy, 'copy', 1, 2);
    sql($copy, q{SELECT firehose_put_text('puts', 'of the copy')});
    wait_until('it sends', sub { puts() ne '' });
    is(puts(), 'of the copy', 'new puts are sent, and nothing else');
    is(changes_ok('while it is paused'), '1a 2a 3a', 'no change is');
    restart_by($copy, 'immediate');
    wait_state($copy, 'postgres', $_, 'paused') foreach qw(changes durable_puts);
    is(sql($copy, q{SELECT count(*) FROM firehose_doctor() WHERE subject LIKE 'pipeline %' AND state = 'warning' AND found LIKE '%a copy of another server%'}), '2', 'they stay so after a crash; the doctor says it');

    alter_settings($node, 'firehose.enabled' => 'on');
    wait_confirmed($node, 'postgres', $_) foreach qw(changes durable_puts);
    wait_delivered($node);
    is(puts(), 'memory, of the copy, wal', 'the original sends what it owes');
    is(changes_ok('the original'), '1a 2a 3a 4owed 5owed', 'changes, too');

    sql($copy, q{SELECT firehose_resume_pipeline('changes', from_now => true)});
    wait_state($copy, 'postgres', 'changes', 'streaming');
    insert($copy, 'copy', 11, 12);
    insert($node, 'main', 11, 12);
    wait_confirmed($_, 'postgres', 'changes') foreach $copy, $node;
    is(changes_ok('both go on'), '11copy 11main 12copy 12main 1a 2a 3a 4owed 5owed', 'from now on');
    restart_by($copy, 'fast');
    wait_state($copy, 'postgres', 'changes', 'streaming');
    is(pipeline_state($copy, 'postgres', 'durable_puts'), 'paused', 'a restart changes nothing');
    sql($copy, q{SELECT firehose_resume_pipeline('durable_puts')});
    sql($copy, q{SELECT firehose_load_saved_queue('queue.refused')});
    wait_confirmed($copy, 'postgres', 'durable_puts');
    wait_delivered($copy);
    is(puts(), 'memory, memory, of the copy, wal, wal', 'by command it sends what it had of the original, too');
    $copy->stop;
};

subtest 'a directory that was moved, or went to another machine' => sub {
    $node->stop;
    $moved->start;
    like(slurp_file($moved->logfile), qr/LOG:  firehose: the data directory was restored or copied since the server ran in ".*main/, 'it is logged');
    wait_state($moved, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    insert($moved, 'moved', 1, 2);
    wait_confirmed($moved, 'postgres', 'changes');
    is(changes_ok('moved'), '11copy 11main 12copy 12main 1a 1moved 2a 2moved 3a 4owed 5owed', 'it goes on by itself');

    # a container made anew around its volume, or a disk in another machine
    my $offset = -s $moved->logfile;
    $moved->stop;
    change_home($moved, 'machine') if slurp_file($moved->data_dir . '/pg_firehose/home') !~ /^machine 0$/m;
    $moved->start;
    wait_state($moved, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    is(logged($moved, qr/data directory (is|was)/, $offset), 0, 'the same files on another machine are the same server');

  SKIP: {
        skip 'this machine has no id', 1 if slurp_file($moved->data_dir . '/pg_firehose/home') =~ /^machine 0$/m;
        $moved->stop;
        change_home($moved, $_) foreach qw(machine inode);
        $moved->start;
        wait_state($moved, 'postgres', $_, 'paused') foreach qw(changes durable_puts);
        like(slurp_file($moved->logfile, $offset), qr/a copy of another server's.*: its files were copied from another machine/, 'other files on another machine are a copy');
        sql($moved, qq{SELECT firehose_resume_pipeline('$_')}) foreach qw(changes durable_puts);
        wait_state($moved, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);

        # a standby that is older than the copy has not got its number
        $moved->stop;
        my $home = slurp_file($moved->data_dir . '/pg_firehose/home');
        change_home($moved, 'number', 0);
        $moved->start;
        wait_state($moved, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
        $moved->stop;
        change_home($moved, 'number', $home =~ /^number (\d+)$/m);
        $moved->start;
        wait_state($moved, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);

        # its standby is at home wherever it runs (t/127_position.pl promotes one
        # of a server that is no copy)
        skip 'only with --long', 1 unless is_long();
        $moved->backup('of_moved');
        my $standby = PostgreSQL::Test::Cluster->new('standby');
        $standby->init_from_backup($moved, 'of_moved', has_streaming => 1);
        change_home($standby, 'machine');
        $standby->start;
        $moved->wait_for_catchup($standby, 'replay', $moved->lsn('insert'));
        $moved->stop;
        $standby->promote;
        wait_state($standby, 'postgres', 'changes', 'failed');
        is(logged($standby, qr/copy of another server/), 0, 'a standby that is promoted is no copy');
        sql($standby, q{SELECT firehose_resume_pipeline('changes', from_now => true)});
        wait_state($standby, 'postgres', 'changes', 'streaming');
        $standby->restart;
        wait_state($standby, 'postgres', 'changes', 'streaming');
        $standby->stop;
    }
    $moved->stop if -e $moved->data_dir . '/postmaster.pid';
    $node->start;
    wait_state($node, 'postgres', 'changes', 'streaming');
};

subtest 'a base backup, restored beside the original' => sub {
    my $restored = PostgreSQL::Test::Cluster->new('restored');
    $restored->init_from_backup($node, 'earlier');
    recover_to($restored, $node, 'earlier');
    wait_state($restored, 'postgres', 'changes', 'failed');
    like(sql($restored, q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'changes'}), qr/from_now => true/, 'the reason names the command');
    insert($restored, 'lost', 1, 2);    # before it is resumed
    sql($restored, q{SELECT firehose_resume_pipeline('changes', from_now => true)});
    wait_state($restored, 'postgres', 'changes', 'streaming');
    insert($restored, 'restored', 1, 2);
    insert($node, 'beside', 1, 2);
    wait_confirmed($_, 'postgres', 'changes') foreach $restored, $node;
    my $all = changes_ok('two histories');
    is(join(' ', grep { /restored|beside|lost/ } split / /, $all), '1beside 1restored 2beside 2restored', 'both go on, without what was given up');
    $restored->stop;
};

$node->stop;
done_testing();
