# A new version of the package is installed under a running server: the sender
# that starts next is of another build than the server, with another layout of
# shared memory.  It touches nothing: every stream says that the server is to be
# restarted, the log says so once, puts go on, and after the restart everything
# that was put arrives.  The same if the new library misses a function of ours.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $trouble = 'restart the server to finish the upgrade of firehose';
my $emulator = Emulator->start();
my $installed = `$ENV{PG_CONFIG} --pkglibdir`;
chomp $installed;

# what the server loads, until the upgrade links to what is installed
my $library = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
my @objects = qw(firehose.so firehose_sender.so);
symlink("$installed/$_", "$library/$_") or die "$_: $!" foreach @objects;

my $node = new_node('main', $emulator, dynamic_library_path => "$library:\$libdir");
# not $libdir/firehose, which this test must leave alone
$node->safe_psql('postgres',
    q{UPDATE pg_proc SET probin = 'firehose' WHERE probin = '$libdir/firehose'});
new_stream($node, 'clicks');
my @committed = put_numbered($node, 'clicks', 1, 10);
wait_delivered($node);

# another version with another layout
my $tree = PostgreSQL::Test::Utils::tempdir();
system("cp -R Makefile firehose.control firehose--1.0.sql src '$tree'") == 0 or die 'cannot copy the sources';
my $header = slurp_file("$tree/src/queue/layout.h");
$header =~ s/(typedef struct QueueStream\n\{\n)/$1\tchar\t\tadded[32];\n/ or die 'where is QueueStream?';
open(my $out, '>', "$tree/src/queue/layout.h") or die $!;
print $out $header;
close($out) or die $!;
is(system("make -s -C '$tree' PG_CONFIG='$ENV{PG_CONFIG}' COPT=-O0 @objects >&2"), 0, 'another version builds');

sub install
{
    my ($from) = @_;
    foreach my $object (@objects)
    {
        copy("$from/$object", "$library/$object.new") or die "$object: $!";
        chmod 0755, "$library/$object.new";
        rename("$library/$object.new", "$library/$object") or die "$object: $!";
    }
    return;
}

sub restart_sender
{
    my ($pid) = sender_pids($node);
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
    return;
}

my $offset = -s $node->logfile;
install($tree);
restart_sender();
my $state = q{SELECT state || ': ' || reason FROM firehose_stat_stream};
wait_for_sql($node, $state, "stopped: $trouble", 30);
push @committed, put_numbered($node, 'clicks', 11, 20);
# it is tried again, and that is no news
wait_until('tried again', sub {
    my @tries = slurp_file($node->logfile, $offset) =~ /"firehose sender" \(PID \d+\) exited with exit code 1/g;
    return @tries >= 3;
}, 60);
is(scalar(() = slurp_file($node->logfile, $offset) =~ /firehose: \Q$trouble\E/g), 1, 'the log says so once');
is($node->safe_psql('postgres', 'SELECT queued FROM firehose_stat_stream'), '10', 'nothing is lost meanwhile');
is($node->safe_psql('postgres', $state), "stopped: $trouble", 'and it still says so');

$node->restart;
wait_delivered($node);
wait_for_sql($node, 'SELECT state FROM firehose_stat_stream', 'active', 10);
push @committed, put_numbered($node, 'clicks', 21, 30);
wait_delivered($node);
audit_ok('upgrade', $emulator, 'clicks', \@committed);

$node->stop;
done_testing();
