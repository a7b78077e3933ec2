# A pipeline's life: made, paused, altered, resumed, dropped; its slot lost or
# invalidated is an explained state with the command to go on; DROP DATABASE
# and DROP EXTENSION work while pipelines run, and leave no slot; a copy of the
# database, a restored dump and a standby do not ship the original's changes,
# and a promoted standby goes on.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, min_wal_size => '32MB', hot_standby => 'on');

sub slots { return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots') }
sub reason
{
    my ($name) = @_;
    return $node->safe_psql('postgres', "SELECT reason FROM firehose_stat_pipeline WHERE pipeline = '$name'");
}
sub insert { return $node->safe_psql('postgres', "INSERT INTO t VALUES ($_[0])") }
sub numbers
{
    my ($stream) = @_;
    return [ map { $_->{after}{n} } grep { $_->{op} eq 'c' } events($emulator, $stream) ];
}

$node->safe_psql('postgres', 'CREATE TABLE t (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
insert(1);

# made, in a transaction that is rolled back, and in one that commits
new_stream($node, 'life');
$node->safe_psql('postgres', q{BEGIN; SELECT firehose_create_pipeline('life', 'life', '{p}'); ROLLBACK});
is($node->safe_psql('postgres', 'SELECT count(*) FROM firehose_stat_pipeline'), 0, 'rolled back');
new_pipeline($node, 'postgres', 'life', ['p'], stream => 'life');
insert(2);
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('life'), [2], 'changes from its creation on');

# paused and resumed
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('life')});
wait_state($node, 'postgres', 'life', 'paused');
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });
insert(3);
$node->restart;
wait_state($node, 'postgres', 'life', 'paused');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('life')});
wait_state($node, 'postgres', 'life', 'streaming');
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('life'), [ 2, 3 ], 'what was committed meanwhile comes, and nothing twice');

# altered: to another stream, where changes go that are read from then on
new_stream($node, 'second');
$node->safe_psql('postgres', q{SELECT firehose_alter_pipeline('life', stream => 'second')});
wait_confirmed($node, 'postgres', 'life');
wait_until('the new stream is used', sub {
    $node->safe_psql('postgres', q{SELECT stream FROM firehose_pipeline WHERE pipeline = 'life'}) eq 'second' });
wait_state($node, 'postgres', 'life', 'streaming');
insert(4);
wait_confirmed($node, 'postgres', 'life');
is_deeply([ @{ numbers('life') }, @{ numbers('second') } ], [ 2, 3, 4 ], 'each change once');

# switched off and on
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('no decoder while firehose.enabled is off', sub { decoder_pids($node) == 0 });
insert(5);
alter_settings($node, 'firehose.enabled' => 'on');
wait_state($node, 'postgres', 'life', 'streaming');
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('second'), [ 4, 5 ], 'and goes on');

# a decoder that is cancelled, terminated; a decoder that is killed
my ($pid) = decoder_pids($node);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
insert(6);
wait_confirmed($node, 'postgres', 'life');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'firehose decoder'});
insert(7);
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('second'), [ 4 .. 7 ], 'cancelled, terminated: nothing lost, nothing twice');

# its slot is dropped by a session while no decoder uses it
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM firehose_stat_pipeline WHERE pipeline = 'life'});
insert(8);
alter_settings($node, 'firehose.enabled' => 'on');
wait_state($node, 'postgres', 'life', 'failed');
like(reason('life'), qr/gone.*firehose_resume_pipeline\('life', from_now => true\)/, 'a lost slot: why, and the command');
is(slots(), 0, 'and it is not made anew silently');
$node->restart;
wait_state($node, 'postgres', 'life', 'failed');
my ($code, undef, $error) = $node->psql('postgres', q{SELECT firehose_resume_pipeline('life')});
like($error, qr/is lost.*from_now => true/s, 'to go on as if nothing were is refused');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('life', from_now => true)});
wait_state($node, 'postgres', 'life', 'streaming');
insert(9);
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('second'), [ 4 .. 7, 9 ], 'from now on');

# its slot is invalidated, since it kept too much WAL
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });
alter_settings($node, max_slot_wal_keep_size => '1MB');
insert(10);
for (1 .. 5)
{
    $node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)); SELECT pg_switch_wal()});
}
$node->safe_psql('postgres', 'CHECKPOINT');
wait_until('the slot is lost', sub {
    $node->safe_psql('postgres', q{SELECT wal_status FROM firehose_stat_pipeline}) eq 'lost' });
alter_settings($node, 'firehose.enabled' => 'on');
wait_state($node, 'postgres', 'life', 'failed');
like(reason('life'), qr/firehose_resume_pipeline\('life', from_now => true\)/, 'an invalidated slot: the command');
note(reason('life'));
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('life', from_now => true)});
wait_state($node, 'postgres', 'life', 'streaming');
alter_settings($node, max_slot_wal_keep_size => '-1');
insert(11);
wait_confirmed($node, 'postgres', 'life');
is_deeply(numbers('second'), [ 4 .. 7, 9, 11 ], 'and on from there');

# a poison: an error at the same place, again and again
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('life')});
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });
if ($node->pg_version < 18)
{
    $node->safe_psql('postgres', 'DROP PUBLICATION p CASCADE');
    insert(12);
    $node->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE t');
    insert(13);
    $node->safe_psql('postgres', q{SELECT firehose_alter_pipeline('life', publications => '{p}'); SELECT firehose_resume_pipeline('life')});
    wait_state($node, 'postgres', 'life', 'failed', 60);
    like(reason('life'), qr/publication "p" did not exist at the commit/, 'a poison is shown');
    my $command = qr{(firehose_resume_pipeline\('life', skip_lsn => '([0-9A-F]+/[0-9A-F]+)'\))};
    like(reason('life'), $command, 'with the command that leaves it out');
    insert(14);
    # (the pause itself is another one, if the decoder had gone before it)
    my %skipped;
    wait_until('it goes on without what is left out', sub {
        my ($skip, $lsn) = reason('life') =~ $command;
        $node->safe_psql('postgres', "SELECT $skip") if defined $lsn && !$skipped{$lsn}++;
        grep { $_ == 14 } @{ numbers('second') } });
    wait_confirmed($node, 'postgres', 'life');
    is_deeply([ grep { $_ > 11 } @{ numbers('second') } ], [ 13, 14 ], 'and leaves out nothing else');
}

# dropped
$node->safe_psql('postgres', q{BEGIN; SELECT firehose_drop_pipeline('life'); ROLLBACK});
is(pipeline_state($node, 'postgres', 'life') ne '', 1, 'a rolled back drop does nothing');
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline('life')});
wait_until('its slot goes', sub { slots() == 0 });
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });

# a copy of the database
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION firehose; CREATE TABLE t (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'app', 'original', ['p']);
$node->safe_psql('app', 'INSERT INTO t VALUES (1)');
wait_confirmed($node, 'app', 'original');
takes_at_most('CREATE DATABASE TEMPLATE while its pipeline runs', 4,
    sub { $node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE app') });
wait_state($node, 'copy', 'original', 'paused');
wait_state($node, 'app', 'original', 'streaming');
$node->safe_psql('copy', 'INSERT INTO t VALUES (2)');
$node->safe_psql('app', 'INSERT INTO t VALUES (3)');
wait_confirmed($node, 'app', 'original');
is_deeply(numbers('original'), [ 1, 3 ], 'the copy does not ship');
is(slots(), 1, 'and has no slot');
like($node->safe_psql('copy', q{SELECT reason FROM firehose_stat_pipeline}), qr/resume/, 'it says what to do');
$node->safe_psql('copy', q{SELECT firehose_resume_pipeline('original')});
wait_state($node, 'copy', 'original', 'streaming');
$node->safe_psql('copy', 'INSERT INTO t VALUES (4)');
wait_confirmed($node, 'copy', 'original');
is_deeply(numbers('original'), [ 1, 3, 4 ], 'resumed, it has a slot of its own');
is(slots(), 2, 'a second slot');

# renamed: it goes on
takes_at_most('RENAME', 4, sub { $node->safe_psql('postgres', 'ALTER DATABASE copy RENAME TO renamed') });
$node->safe_psql('renamed', 'INSERT INTO t VALUES (5)');
wait_confirmed($node, 'renamed', 'original');
is_deeply(numbers('original'), [ 1, 3, 4, 5 ], 'a renamed database goes on');

# a dump and its restore
my $dump = $node->basedir . '/app.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('app'), '-f', $dump ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');
wait_state($node, 'restored', 'original', 'paused');
$node->safe_psql('restored', 'INSERT INTO t VALUES (6)');
is(slots(), 2, 'a restored pipeline is paused and has no slot');
is_deeply(numbers('original'), [ 1, 3, 4, 5 ], 'and ships nothing');

# gone: the database, the extension
takes_at_most('DROP DATABASE while its pipeline runs', 4, sub { $node->safe_psql('postgres', 'DROP DATABASE renamed') });
wait_until('its slot is gone', sub { slots() == 1 });
takes_at_most('DROP EXTENSION while its pipeline runs', 4, sub {
    (undef, undef, $error) = $node->psql('app', 'DROP EXTENSION firehose CASCADE') });
like($error, qr/NOTICE:  1 pipeline is dropped with extension "firehose"/, 'and says so');
unlike($error, qr/queued record/, 'and nothing of records, of which there are none');
wait_until('its slot is gone', sub { slots() == 0 });
wait_until('there is no decoder', sub { decoder_pids($node) == 0 });
$node->safe_psql('app', 'CREATE EXTENSION firehose');
$node->safe_psql('postgres', 'DROP DATABASE restored');

# A publication is dropped in the transaction that has its pipeline use another: the
# decoder that still has the old definition does not fail the pipeline for it
$node->safe_psql('postgres', q{
    CREATE TABLE moved (n int PRIMARY KEY);
    CREATE PUBLICATION here FOR TABLE moved;
    CREATE PUBLICATION there FOR TABLE moved});
new_pipeline($node, 'postgres', 'moving', ['here'], copy_data => 'false');
my ($now, $other) = ('here', 'there');
foreach my $turn (1 .. 12)
{
    $node->safe_psql('postgres', qq{
        BEGIN;
        INSERT INTO moved VALUES ($turn);
        SELECT firehose_alter_pipeline('moving', publications => '{$other}');
        DROP PUBLICATION $now;
        CREATE PUBLICATION $now FOR TABLE moved;
        COMMIT});
    $node->safe_psql('postgres', "INSERT INTO moved VALUES (100 + $turn)");
    wait_confirmed($node, 'postgres', 'moving');
    ($now, $other) = ($other, $now);
}
is((grep { $_->{table} eq 'moved' } events_once($emulator, 'moving')), 24, 'and each change arrives');
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline('moving')});

# promotion: the slot is not there, which the pipeline says
new_pipeline($node, 'app', 'at_primary', ['p']);
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->safe_psql('app', 'INSERT INTO t VALUES (7)');
wait_confirmed($node, 'app', 'at_primary');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(scalar(decoder_pids($standby)), 0, 'a standby has no decoder');
$node->stop;
$standby->promote;
wait_until('promoted: the pipeline says that its slot is missing', sub {
    $standby->safe_psql('app', 'SELECT state FROM firehose_stat_pipeline') =~ /^(failed|paused)$/ }, 30);
like($standby->safe_psql('app', 'SELECT reason FROM firehose_stat_pipeline'), qr/firehose_resume_pipeline/,
    'with the command');
note($standby->safe_psql('app', 'SELECT state, reason FROM firehose_stat_pipeline'));
$standby->safe_psql('app', q{SELECT firehose_resume_pipeline('at_primary', from_now => true)});
wait_state($standby, 'app', 'at_primary', 'streaming');
$standby->safe_psql('app', 'INSERT INTO t VALUES (8)');
wait_confirmed($standby, 'app', 'at_primary');
is_deeply(numbers('at_primary'), [ 7, 8 ], 'and then it goes on');
is(length((events($emulator, 'at_primary'))[-1]{id}), 38, 'ids are of one length');

$standby->stop;
done_testing();
