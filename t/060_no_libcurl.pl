# libcurl, its thirty libraries and libdeflate are in the memory of the sender alone: not of
# the postmaster, nor of the launcher, nor of a backend that has put a record.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

plan skip_all => 'this system has no /proc/PID/maps' unless -r "/proc/$$/maps";

my $emulator = Emulator->start();
my $node = new_node('main', $emulator);
new_stream($node, 's');

my $psql = $node->background_psql('postgres');
$psql->query_safe(q{SELECT firehose_put_record('s', 'x')});
my $backend = $psql->query_safe('SELECT pg_backend_pid()');
wait_delivered($node);

sub has_libcurl { return slurp_file("/proc/$_[0]/maps") =~ /libcurl|libdeflate/ }

my ($sender) = sender_pids($node);
ok(has_libcurl($sender), 'the sender has it');
like(slurp_file("/proc/$sender/maps"), qr/libdeflate/, 'and libdeflate');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
ok(!has_libcurl($postmaster), 'the postmaster has not');
ok(!has_libcurl($backend), 'a backend that put has not');
foreach (split /\n/, $node->safe_psql('postgres', "SELECT pid || ' ' || backend_type
        FROM pg_stat_activity WHERE pid <> ALL (ARRAY[$sender, $backend, pg_backend_pid()])"))
{
    my ($pid, $type) = split / /, $_, 2;
    ok(!has_libcurl($pid), "$type has not");
}

$psql->quit;
$node->stop;

# A server that has not preloaded the library takes the extension, and says what
# is missing.
my $without = PostgreSQL::Test::Cluster->new('without');
$without->init;
$without->start;
my ($code, undef, $warning) = $without->psql('postgres', 'CREATE EXTENSION firehose');
is($code, 0, 'not preloaded: CREATE EXTENSION works');
like($warning, qr/WARNING:  nothing can be put or sent until firehose is loaded.*\nHINT:  Add firehose to shared_preload_libraries/,
    'and warns');
$without->stop;
done_testing();
