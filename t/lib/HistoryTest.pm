# What the tests of servers that are copied or set back share: the server, copies
# of its data directory, and the audit of what arrived over all histories.
package HistoryTest;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

use FirehoseTest;
use PipelineTest;

our @EXPORT = qw(new_original copy_files put_back copy_of recover_to arrived);

# A server with a table t of columns n and w, a pipeline "changes" of it, a stream
# "puts", and durable puts where a session asks for them.
sub new_original
{
    my ($emulator, %settings) = @_;
    my $node = new_decoding_node('main', $emulator, hot_standby => 'on', wal_keep_size => '1GB',
        wal_retrieve_retry_interval => '100ms', 'firehose.source' => 'main', %settings);
    $node->safe_psql('postgres', 'CREATE TABLE t (n int, w text, PRIMARY KEY (n, w)); CREATE PUBLICATION p FOR TABLE t');
    new_stream($node, 'puts');
    new_pipeline($node, 'postgres', 'changes', ['p'], copy_data => 'false');
    $node->safe_psql('postgres', 'SELECT firehose_enable_durable_puts(false)');
    wait_state($node, 'postgres', 'durable_puts', 'streaming');
    return $node;
}

# Copy a directory's files.
sub copy_files
{
    my ($from, $to) = @_;
    PostgreSQL::Test::RecursiveCopy::copypath($from, $to);
    chmod((stat($from))[2] & 07777, $to) or die "$to: $!";
    return;
}

# Put a copy in the place of a stopped server's files.
sub put_back
{
    my ($node, $copy) = @_;
    PostgreSQL::Test::Utils::system_log('rm', '-rf', $node->data_dir);
    copy_files($copy, $node->data_dir);
    return;
}

# A server with a copy of these files, or of a stopped server's, and a port of
# its own.
sub copy_of
{
    my ($of, $name) = @_;
    my $copy = PostgreSQL::Test::Cluster->new($name);
    mkdir $copy->basedir;
    copy_files(ref $of ? $of->data_dir : $of, $copy->data_dir);
    $copy->append_conf('postgresql.conf', 'port = ' . $copy->port);
    return $copy;
}

# Start a copy of a server, or its backup, and have it recover to a named point by
# the WAL of its original.
sub recover_to
{
    my ($restored, $node, $point) = @_;
    $restored->append_conf('postgresql.conf', "recovery_target_name = '$point'\nrecovery_target_action = 'promote'\n"
          . "restore_command = 'cp " . Cwd::abs_path($node->data_dir) . "/pg_wal/%f %p'\n");
    $restored->set_recovery_mode;
    $restored->start;
    wait_for_sql($restored, 'SELECT NOT pg_is_in_recovery()');
    is(logged($restored, qr/copy of another server/), 0, 'what is restored to a point in time is no copy');
    return;
}

# What arrived of a table with columns n and w: every id has one content, every
# content of a source one id.  Returns the rows, each once, sorted.
sub arrived
{
    my ($emulator, $stream, $what) = @_;
    my (%content, %id, @wrong);
    foreach my $event (events($emulator, $stream))
    {
        my $row = join(' ', $event->{source}, $event->{op}, $event->{after}{n}, $event->{after}{w});
        push @wrong, "$event->{id}: $content{$event->{id}} and $row" if ($content{ $event->{id} } //= $row) ne $row;
        push @wrong, "$row: $id{$row} and $event->{id}" if ($id{$row} //= $event->{id}) ne $event->{id};
    }
    is(join("\n", @wrong[ 0 .. ($#wrong > 4 ? 4 : $#wrong) ]), '', "$what: an id is a change, and a change an id");
    return join(' ', sort map { join('', (split / /)[ 2, 3 ]) } keys %id);
}

1;
