# Servers that are set back, or copied, while they owe records of all kinds: puts
# in memory, durable puts and changes.  Over both histories, the one that was given
# up or runs beside and the new one, no id is given to two puts or two changes,
# what is sent again is the same under the same id, and all arrives that the
# server's state of then still owes: from a storage snapshot of a stopped server,
# of a crashed one, a base backup, and a copy of the files, the last two restored
# to a point in time.  (t/151_histories.pl has the copy beside its original.)
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
my %put;    # id => content, of all histories
my $copy = $node->basedir . '/copy';

sub sql { my ($on, $query) = @_; return $on->safe_psql('postgres', $query) }

# What arrived again and again counts once, with how often.
sub puts
{
    my %times;
    $times{ $_->{data} =~ s/\n//r }++ foreach $emulator->records('puts');
    return join(', ', map { $times{$_} > 1 ? "$_ x$times{$_}" : $_ } sort keys %times);
}

sub rows { return arrived($emulator, 'changes', $_[0]) }

# Two rows, a put in memory and a durable one.
sub write_all
{
    my ($on, $w, %options) = @_;
    sql($on, "INSERT INTO t SELECT n, '$w' FROM generate_series(1, 2) n") unless $options{puts_only};
    my %id = ("memory $w" => sql($on, "SELECT firehose_put_text('puts', 'memory $w')"),
        "wal $w" => sql($on, "SET firehose.put_durability = wal; SELECT firehose_put_text('puts', 'wal $w')"));
    foreach my $content (sort keys %id)
    {
        is($put{ $id{$content} } //= $content, $content, "$content has an id of its own");
    }
    return;
}

# Write while nothing is sent.
sub owe
{
    my ($on, $w) = @_;
    alter_settings($on, 'firehose.enabled' => 'off');
    wait_until('nothing is sent', sub { sender_pids($on) == 0 });
    write_all($on, $w);
    return;
}

# All is sent that is owed.
sub send_all
{
    my ($on) = @_;
    alter_settings($on, 'firehose.enabled' => 'on');
    wait_confirmed($on, 'postgres', $_) foreach qw(changes durable_puts);
    wait_delivered($on);
    return;
}

foreach my $mode (qw(fast immediate))
{
    subtest "a storage snapshot is put back, of a server after a stop by $mode" => sub {
        owe($node, "owed$mode");
        $node->stop($mode);
        copy_files($node->data_dir, $copy);
        $node->start;
        send_all($node);
        write_all($node, "givenup$mode");
        send_all($node);
        my $memory = $mode eq 'fast' ? 1 : 0;    # survives a clean stop only
        my $before = puts();
        is(scalar(() = $before =~ /owed$mode/g), 1 + $memory, 'what was owed has arrived');
        is(scalar(() = $before =~ /givenup$mode/g), 2, 'what came then, too');

        $node->stop;
        put_back($node, $copy);
        PostgreSQL::Test::Utils::system_log('rm', '-rf', $copy);
        # whether the server takes note of it is up to the file system, which may
        # give the copied files the numbers of the removed ones
        $node->start;
        send_all($node);
        write_all($node, "new$mode");
        send_all($node);
        my $all = puts();
        is(scalar(() = $all =~ /(?:memory|wal) owed$mode x2/g), 1 + $memory, 'what was owed then comes again');
        unlike($all, qr/givenup$mode x|new$mode x/, 'nothing else does');
        is(scalar(() = $all =~ /new$mode/g), 2, 'new puts arrive');
        my $rows = rows('both histories');
        is(scalar(() = $rows =~ /[12](?:owed|givenup|new)$mode\b/g), 6, 'so do changes');
    };
}

# Restore to a named point, beside the original, and send.
sub restore
{
    my ($restored, $point) = @_;
    $restored->append_conf('postgresql.auto.conf', 'firehose.enabled = on');
    return recover_to($restored, $node, $point);
}

# More of the original's, a point to restore to, and what it does afterwards.
sub go_on
{
    my ($w, %options) = @_;
    write_all($node, "before$w", %options);
    sql($node, "SELECT pg_create_restore_point('$w'), pg_switch_wal()");
    write_all($node, "after$w");
    send_all($node);
    return;
}

subtest 'a base backup, restored to a point in time' => sub {
    owe($node, 'owedbackup');
    $node->backup('backup');
    go_on('backup');
    my $before = puts();
    my $restored = PostgreSQL::Test::Cluster->new('restored');
    $restored->init_from_backup($node, 'backup');
    restore($restored, 'backup');
    wait_state($restored, 'postgres', $_, 'failed') foreach qw(changes durable_puts);
    is(puts(), $before, 'it sends nothing of what was owed');
    sql($restored, qq{SELECT firehose_resume_pipeline('$_', from_now => true)}) foreach qw(changes durable_puts);
    wait_state($restored, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    write_all($restored, 'restoredbackup');
    write_all($node, 'besidebackup');
    send_all($_) foreach $restored, $node;
    my $all = puts();
    is(scalar(() = $all =~ /(?:owed|before|after|restored|beside)backup/g), 10, 'all of both histories has arrived');
    unlike($all, qr/backup x/, 'once');
    my $rows = rows('both histories');
    is(scalar(() = $rows =~ /(?:owed|before|after|restored|beside)backup\b/g), 10, 'changes, too');
    $restored->stop;
};

subtest 'a copy of the files, restored to a point in time' => sub {
    owe($node, 'owedfiles');
    $node->stop;
    copy_files($node->data_dir, $copy);
    $node->start;
    # (changes since the original's start have no epoch yet that the copy could know)
    go_on('files', puts_only => 1);
    my $before = puts();
    is(scalar(() = $before =~ /(?:owed|before|after)files/g), 6, 'the original sends all');
    my $restored = copy_of($copy, 'restored_files');
    restore($restored, 'files');
    wait_state($restored, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    write_all($restored, 'restoredfiles');
    send_all($_) foreach $restored, $node;
    my $all = puts();
    is(join(', ', $all =~ /(\w+ \w+files x\d)/g), 'wal beforefiles x2, wal owedfiles x2', 'it has slots: what they owe comes again, up to the point');
    is(scalar(() = $all =~ /restoredfiles/g), 2, 'new puts arrive');
    like(slurp_file($restored->logfile), qr/saved queue file was not loaded/, 'the saved queue is set aside');
    sql($restored, q{SELECT firehose_load_saved_queue('queue.refused')});
    send_all($restored);
    is(join(', ', puts() =~ /(memory \w+files x\d)/g), 'memory owedfiles x2', 'and sent by command');
    my $rows = rows('both histories');
    is(scalar(() = $rows =~ /(?:owed|after|restored)files\b/g), 6, 'changes have arrived');
    $restored->stop;
};

$node->stop;
done_testing();
