# There is one decoder for every pipeline that is to run, and a replication slot
# for every pipeline there is, whatever happens: pipelines are paused, altered
# and dropped, extensions and databases go, workers end, sending is switched
# off, the server crashes.  A slot without a pipeline would retain WAL for ever.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, restart_after_crash => 'on', wal_level => 'logical',
    max_worker_processes => 20);

# Names of the pipelines that have decoders, by database
sub decoders
{
    return join(' ', split /\n/, ask($node, q{SELECT datname || ':' ||
        substring(application_name from 'pipeline (.*)')
        FROM pg_stat_activity WHERE backend_type = 'firehose decoder' ORDER BY 1}));
}

sub decoder_pid
{
    my ($pipeline) = @_;
    return ask($node, "SELECT pid FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
}

sub slots
{
    return ask($node, 'SELECT count(*) FROM pg_replication_slots');
}

sub wait_for_decoders
{
    my ($expected, $why) = @_;
    return wait_until("$why: decoders of [$expected]", sub { decoders() eq $expected }, 30)
      || diag('there are those of [' . decoders() . ']');
}

sub wait_for_slots
{
    my ($expected, $why) = @_;
    return wait_until("$why: $expected slots", sub { slots() eq $expected }, 30)
      || diag(slots() . ' slots');
}

sub state_of
{
    my ($pipeline, $database) = @_;
    return ask($node, "SELECT state FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'", $database);
}

sub set_up
{
    my ($database) = @_;
    $node->safe_psql($database, q{
        CREATE EXTENSION IF NOT EXISTS firehose;
        CREATE SERVER s FOREIGN DATA WRAPPER firehose;
        CREATE TABLE t (a int PRIMARY KEY);
        CREATE PUBLICATION p FOR TABLE t});
    return;
}

set_up('postgres');
$node->safe_psql('postgres', 'CREATE DATABASE app');
set_up('app');

# they come and go
$node->safe_psql('postgres', q{SELECT firehose_create_pipeline('one', 's', '{p}')});
$node->safe_psql('postgres', q{SELECT firehose_create_pipeline('two', 's', '{p}', slot_name => 'my_slot')});
$node->safe_psql('postgres', q{BEGIN; SELECT firehose_create_pipeline('three', 's', '{p}'); ROLLBACK});
wait_for_decoders('postgres:one postgres:two', 'created');
wait_for_sql($node, q{SELECT bool_and(slot_created) FROM firehose_pipelines}, 't');
wait_for_sql($node, q{SELECT string_agg(DISTINCT state, ' ') FROM firehose_stat_pipeline}, 'streaming');
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('one')});
wait_for_decoders('postgres:two', 'paused');
is(slots(), 2, 'a paused pipeline keeps its slot');
is(state_of('one'), 'paused', 'and says that it is paused');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('one')});
wait_for_decoders('postgres:one postgres:two', 'resumed');
my $pid = decoder_pid('one');
$node->safe_psql('postgres', q{BEGIN; SELECT firehose_drop_pipeline('one'); ROLLBACK});
is(decoder_pid('one'), $pid, 'DROP that is rolled back does nothing');
$node->safe_psql('postgres', q{SELECT firehose_alter_pipeline('one', format => 'flat', unchanged => 'omit')});
wait_until('altered: another decoder follows the new definition', sub { decoder_pid('one') !~ /^(|$pid)$/ }, 30);

# terminated, killed, crashed
$pid = decoder_pid('one');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until('a terminated decoder is replaced', sub { decoder_pid('one') !~ /^(|$pid)$/ }, 30);
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type IN ('firehose launcher', 'firehose sender')});
wait_until('others come back', sub { ask($node, q{SELECT count(DISTINCT backend_type) FROM pg_stat_activity
    WHERE backend_type LIKE 'firehose%'}) eq '3' }, 30);
$pid = decoder_pid('two');
kill('KILL', $pid) == 1 or die "cannot kill $pid";
wait_until('the server has restarted', sub { decoder_pid('two') !~ /^(|$pid)$/ }, 30);
wait_for_decoders('postgres:one postgres:two', 'a decoder was killed');

# switched off, and what happens meanwhile
alter_settings($node, 'firehose.enabled' => 'off');
wait_for_decoders('', 'switched off');
is(ask($node, q{SELECT DISTINCT state || ': ' || reason FROM firehose_stat_pipeline}),
    'starting: firehose.enabled is off', 'and the view says so');
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline('two')});
is(slots(), 2, 'the slot of a dropped pipeline waits for its burial');
like($node->psql('postgres', q{SELECT firehose_create_pipeline('two', 's', '{p}', slot_name => 'my_slot')},
        on_error_stop => 1), qr/3/, 'its name cannot be used yet');
$node->stop('immediate');
$node->start;
alter_settings($node, 'firehose.enabled' => 'on');
wait_for_slots(1, 'a crash later it is dropped');
wait_for_sql($node, 'SELECT count(*) FROM firehose_pipelines', 1);
$node->safe_psql('postgres', q{SELECT firehose_create_pipeline('two', 's', '{p}', slot_name => 'my_slot')});
wait_for_decoders('postgres:one postgres:two', 'switched on');

# statements that need a database without connections
$node->safe_psql('app', q{SELECT firehose_create_pipeline('three', 's', '{p}')});
wait_for_decoders('app:three postgres:one postgres:two', 'in another database');
foreach my $statement ('ALTER DATABASE app RENAME TO app2', 'ALTER DATABASE app2 RENAME TO app',
    'CREATE DATABASE copy TEMPLATE app')
{
    takes_at_most($statement, 3, sub { $node->safe_psql('postgres', $statement) });
    wait_for_decoders(join(' ', sort(split(/ /, $statement =~ /TO app2/ ? 'app2:three' : 'app:three'),
        'postgres:one', 'postgres:two')), $statement);
}
is(state_of('three', 'copy'), 'paused', 'a copy sends nothing by itself');
$node->safe_psql('copy', q{SELECT firehose_resume_pipeline('three')});
wait_for_decoders('app:three copy:three postgres:one postgres:two', 'until it is told to');
is(slots(), 4, 'with a slot of its own');
foreach my $statement ('DROP DATABASE copy', 'DROP DATABASE app WITH (FORCE)')
{
    takes_at_most($statement, 3, sub { $node->safe_psql('postgres', $statement) });
}
wait_for_slots(2, 'DROP DATABASE');

# a lost slot
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('one')});
wait_for_decoders('postgres:two', 'paused');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM firehose_pipeline WHERE pipeline = 'one'});
my ($code, $out, $err) = $node->psql('postgres', q{SELECT firehose_resume_pipeline('one')});
like($err, qr/is lost.*from_now => true/s, 'a lost slot cannot be resumed as if nothing had happened');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('one', from_now => true)});
wait_for_decoders('postgres:one postgres:two', 'from now on');

# a slot that has lost the WAL it needs, by max_slot_wal_keep_size
alter_settings($node, 'max_slot_wal_keep_size' => '1MB', 'max_wal_size' => '32MB');
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('one')});
wait_for_decoders('postgres:two', 'paused');
foreach my $round (1 .. 4)
{
    $node->safe_psql('postgres', q{CREATE TABLE junk AS SELECT repeat('x', 1000) FROM generate_series(1, 20000);
        DROP TABLE junk; SELECT pg_switch_wal(); CHECKPOINT});
}
wait_for_sql($node, q{SELECT wal_status FROM firehose_stat_pipeline WHERE pipeline = 'one'}, 'lost');
($code, $out, $err) = $node->psql('postgres', q{SELECT firehose_resume_pipeline('one')});
like($err, qr/is lost.*from_now => true/s, 'the same goes for one that was invalidated');
$node->safe_psql('postgres', q{UPDATE firehose_pipelines SET enabled = true WHERE name = 'one'});
$node->restart;
wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline WHERE pipeline = 'one'}, 'failed');
like(ask($node, q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'one'}),
    qr/invalidated.*committed after .*from_now => true/, 'a decoder says so and does not try again');
alter_settings($node, 'max_slot_wal_keep_size' => '-1');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline(pipeline, from_now => true) FROM firehose_stat_pipeline
    WHERE wal_status = 'lost'});
wait_for_decoders('postgres:one postgres:two', 'from now on, once more');

# dump and restore
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restore');
is(ask($node, q{SELECT string_agg(pipeline || ' ' || state, ', ' ORDER BY pipeline) FROM firehose_stat_pipeline}, 'restored'),
    'one paused, two paused', 'restored pipelines are paused');
is(decoders(), 'postgres:one postgres:two', 'and have no decoders');
$node->safe_psql('restored', q{SELECT firehose_create_pipeline('three', 's', '{p}')});
$node->safe_psql('restored', q{SELECT firehose_resume_pipeline('two')});
wait_for_decoders('postgres:one postgres:two restored:three restored:two', 'restored ones are resumed');
is(slots(), 4, 'each has a slot of its own');
$node->safe_psql('restored', q{SELECT firehose_drop_pipeline('one')});
is(slots(), 4, 'dropping one that came from elsewhere drops no slot');

# DROP EXTENSION
$node->safe_psql('restored', 'DROP EXTENSION firehose CASCADE');
wait_for_slots(2, 'DROP EXTENSION');
wait_for_decoders('postgres:one postgres:two', 'DROP EXTENSION');
$node->safe_psql('restored', q{CREATE EXTENSION firehose; CREATE SERVER s FOREIGN DATA WRAPPER firehose;
    SELECT firehose_create_pipeline('one', 's', '{p}')});
wait_for_decoders('postgres:one postgres:two restored:one', 'CREATE EXTENSION');
alter_settings($node, 'firehose.enabled' => 'off');
wait_for_decoders('', 'switched off');
$node->safe_psql('restored', 'DROP EXTENSION firehose CASCADE');
$node->stop('immediate');
$node->start;
alter_settings($node, 'firehose.enabled' => 'on');
wait_for_slots(2, 'DROP EXTENSION unseen, and a crash');
wait_for_decoders('postgres:one postgres:two', 'DROP EXTENSION unseen');

# our catalog is none of a subscriber's business
$node->safe_psql('postgres', q{
    CREATE PUBLICATION everything FOR ALL TABLES;
    SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput');
    SELECT firehose_create_pipeline('four', 's', '{p}');
    SELECT firehose_pause_pipeline('four');
    SELECT firehose_drop_pipeline('four')});
wait_for_slots(3, 'dropped');
is(ask($node, q{SELECT string_agg(DISTINCT chr(get_byte(data, 0)), '') FROM
    pg_logical_slot_get_binary_changes('subscriber', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything')
    WHERE chr(get_byte(data, 0)) NOT IN ('B', 'C')}), '', 'a subscriber to all tables sees no change of the catalog');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('subscriber'); DROP PUBLICATION everything});

# limits: workers, slots, pipelines, wal_level
my $log = -s $node->logfile;
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
wait_until('too few workers are told of', sub { logged($node, qr/out of background worker slots/, $log) == 1 }, 60);
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_pipeline WHERE reason LIKE '%max_worker_processes%'}, 1);
$node->safe_psql('postgres', qq{SELECT firehose_pause_pipeline(pipeline) FROM firehose_stat_pipeline WHERE state = 'streaming'});
wait_until('the other one takes its place', sub { decoders() =~ /^postgres:\w+$/ && ask($node,
    q{SELECT count(*) FROM firehose_stat_pipeline WHERE state = 'streaming'}) eq '1' }, 60);
$node->safe_psql('postgres', qq{SELECT firehose_resume_pipeline(pipeline) FROM firehose_stat_pipeline WHERE state = 'paused'});

$log = -s $node->logfile;
$node->append_conf('postgresql.conf', "max_worker_processes = 20\nfirehose.max_pipelines = 1\nmax_replication_slots = 2");
$node->restart;
wait_until('too many pipelines are told of', sub { logged($node, qr/more pipelines than firehose.max_pipelines \(1\)/, $log) == 1 }, 60);
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_pipeline WHERE reason LIKE '%firehose.max_pipelines'}, 1);
($code, $out, $err) = $node->psql('postgres', q{SELECT firehose_create_pipeline('four', 's', '{p}')});
like($err, qr/all replication slots are in use.*max_replication_slots/s, 'max_replication_slots');
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline(pipeline) FROM firehose_stat_pipeline WHERE state = 'streaming'});
wait_until('there is room again', sub { decoders() =~ /^postgres:\w+$/ && slots() eq '1' }, 60);
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline(pipeline) FROM firehose_pipeline});
wait_for_slots(0, 'all dropped');

$node->append_conf('postgresql.conf', 'wal_level = replica');
$node->restart;
($code, $out, $err) = $node->psql('postgres', q{SELECT firehose_create_pipeline('one', 's', '{p}')});
like($err, qr/requires wal_level to be logical.*Set wal_level = logical/s, 'wal_level');

$node->stop;
done_testing();
