# What a pipeline delivers makes an equal database: pgbench creates its tables
# and runs its own workload with four clients, while every fifth entry fails
# and some replies are lost, and the delivered records applied to an empty copy
# of the schema give the same rows.  A few seconds; a minute with --long.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.request_timeout' => '2s');
$node->safe_psql('postgres', 'CREATE DATABASE bench');
$node->safe_psql('bench', 'CREATE EXTENSION firehose');
$node->safe_psql('bench', 'CREATE PUBLICATION everything FOR ALL TABLES');
new_pipeline($node, 'bench', 'bench', ['everything']);

my $watch = watch_positions($node, 'bench', 'bench', $emulator);
$node->command_ok([ 'pgbench', '-i', '-q', '-d', $node->connstr('bench') ], 'pgbench -i');
wait_confirmed($node, 'bench', 'bench');

my @faults = (
    $emulator->fault('fail_records', { probability => 0.2 }),
    (map { $emulator->fault($_, {}, { probability => 0.02, seed => length $_ }) }
        qw(close_after_processing reset_before_processing truncated_body service_unavailable)),
    $emulator->fault('hang_after_processing', {}, { every => 100, count => 2 }));
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-j', 2, '-T', is_long() ? 60 : 5,
        '-d', $node->connstr('bench') ], 'pgbench with four clients');
wait_confirmed($node, 'bench', 'bench', 180);
$emulator->heal;

my $transactions = $node->safe_psql('bench', 'SELECT count(*) FROM pgbench_history');
note("$transactions transactions");
my $counted = $node->safe_psql('bench', q{SELECT inserts, updates, deletes, truncates, outstanding
    FROM firehose_stat_pipeline WHERE pipeline = 'bench'});
is($counted, join('|', 100_011 + $transactions, 3 * $transactions, 0, 1, 0),
    'the view has counted the changes');
is($node->safe_psql('bench', 'SELECT count(*) FROM firehose_dead_letter'), 0, 'no dead letters');
replay_ok('pgbench', $node, 'bench', $emulator, ['bench'], positions => stop_watching($watch));

$node->stop;
done_testing();
