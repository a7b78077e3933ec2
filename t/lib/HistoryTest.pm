# What the tests of servers that are copied or set back share: copies of a data
# directory, and the audit of what arrived over all histories.
package HistoryTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

use FirehoseTest;
use PipelineTest;

our @EXPORT = qw(copy_files put_back copy_of arrived);

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
