# A copy under way while its pipeline is changed: resumed from now on, its
# publication altered, or carried to a standby that is promoted.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.copy_rate' => 1000);
my $rows = 4000;

sub sql { return $node->safe_psql('postgres', @_) }
sub rate { alter_settings($node, 'firehose.copy_rate' => $_[0]); return }

sub copy_of
{
    my ($table, $columns) = @_;
    return sql(qq{SELECT concat_ws(' ', $columns) FROM firehose_stat_progress_copy WHERE "table" = '$table'});
}

sub wait_phase
{
    my ($table, $phase) = @_;
    return wait_until("the copy of $table is $phase", sub { copy_of($table, 'phase') eq $phase });
}

# A table with a pipeline that has begun to copy it.
sub begin_copy
{
    my ($table, @sql) = @_;
    rate(1000);
    sql("CREATE TABLE $table (id int PRIMARY KEY, v int);
        INSERT INTO $table SELECT id, 0 FROM generate_series(1, $rows) id;
        CREATE PUBLICATION $table FOR TABLE $table");
    new_pipeline($node, 'postgres', $table, [$table]);
    wait_until('the copy has begun', sub { copy_of($table, 'rows') >= 300 });
    return;
}

sub ids { my ($name) = @_; return map { /(-?\d+)/ } read_rows($emulator, $name, $name) }

# ------------------------------------------------------------------------
# A decoder looks at the tables that it copies when it starts: what was changed
# before they were altered still has the shape of then
# ------------------------------------------------------------------------
begin_copy('shape');
sql(q{SELECT firehose_pause_pipeline('shape')});
wait_until('no decoder runs', sub { !decoder_pids($node) });
sql('UPDATE shape SET v = 1 WHERE id = 1');
sql('ALTER TABLE shape ADD w int');
sql('UPDATE shape SET v = 2 WHERE id = 1');
sql(q{SELECT firehose_resume_pipeline('shape')});
wait_state($node, 'postgres', 'shape', 'streaming');
rate(0);
wait_phase('shape', 'done');
wait_confirmed($node, 'postgres', 'shape');
is(join(' ', map { join(',', sort keys %{ $_->{after} }) } grep { $_->{op} eq 'u' } events($emulator, 'shape')),
    'id,v id,v,w', 'changes have the shape of their time');
sql(q{SELECT firehose_drop_pipeline('shape')});

# ------------------------------------------------------------------------
# From now on: rows that changed in the gap are read, because all is read anew
# ------------------------------------------------------------------------
begin_copy('now');
sql(q{SELECT firehose_pause_pipeline('now')});
wait_until('no decoder runs', sub { !decoder_pids($node) });
sql(q{SELECT pg_drop_replication_slot(slot_name) FROM firehose_stat_pipeline WHERE pipeline = 'now'});
sql('UPDATE now SET v = 1 WHERE id <= 200');
sql(q{SELECT firehose_resume_pipeline('now', from_now => true)});
wait_state($node, 'postgres', 'now', 'streaming');
rate(0);
wait_phase('now', 'done');
wait_confirmed($node, 'postgres', 'now');
is(copy_of('now', 'rows'), $rows, 'from_now has a copy that is under way begin anew');
my %last;
$last{ $_->{after}{id} } = $_->{after}{v} foreach events($emulator, 'now');
is(scalar(grep { $last{$_} == 1 } keys %last), 200, 'so that changes of the gap are in it');
is(scalar(keys %last), $rows, 'with all rows');

# ------------------------------------------------------------------------
# The publication
# ------------------------------------------------------------------------
begin_copy('filtered');
sql(q{ALTER PUBLICATION filtered SET TABLE filtered WHERE (id % 2 = 0)});
my $at = copy_of('filtered', 'rows');
rate(0);
wait_phase('filtered', 'done');
wait_confirmed($node, 'postgres', 'filtered');
my @odd = grep { $_ % 2 } ids('filtered');
my %even = map { $_ => 1 } grep { $_ % 2 == 0 } ids('filtered');
is(scalar(keys %even), $rows / 2, 'a row filter that comes amid a copy leaves the rest in');
cmp_ok(scalar(@odd), '<', $at + 600, 'and holds from then on: ' . scalar(@odd) . ' rows were sent before');

begin_copy('dropped');
sql(q{CREATE TABLE added (id int PRIMARY KEY); INSERT INTO added VALUES (1);
    ALTER PUBLICATION dropped SET TABLE added; SELECT firehose_refresh_pipeline('dropped')});
rate(0);
wait_phase('dropped', 'failed');
wait_phase('added', 'done');
like(copy_of('dropped', 'error'), qr/publication/, 'a table that leaves its publication ends its copy, and says why');

# it is there again before it could be noted that the copy ended
begin_copy('returned');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE firehose_copies IN SHARE MODE');
sql('ALTER PUBLICATION returned SET TABLE added');
my $ends = qr/pipeline "returned" ends the copy of table/;
wait_until('the copy is to end', sub { logged($node, $ends) });
is(logged($node, $ends), 1, 'and the log has it once');
sql('ALTER PUBLICATION returned SET TABLE returned');
$holder->query_safe('COMMIT');
$holder->quit;
$at = copy_of('returned', 'rows');
wait_until('the copy goes on', sub { copy_of('returned', 'rows') > $at + 200 });
is(copy_of('returned', 'phase, error, finished_at'), 'reading', 'and has neither failed nor finished');
rate(0);
wait_phase('returned', 'done');
wait_confirmed($node, 'postgres', 'returned');
my %returned = map { $_ => 1 } ids('returned');
is(scalar(keys %returned), $rows, 'all rows are sent');
sql(q{SELECT firehose_drop_pipeline('returned')});

# ------------------------------------------------------------------------
# A promotion
# ------------------------------------------------------------------------
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
begin_copy('carried');
sql('UPDATE carried SET v = 1 WHERE id <= 100; UPDATE carried SET id = -id WHERE id > 3900');
my $before = copy_of('carried', 'rows');
wait_until('progress is noted', sub { copy_of('carried', 'rows') > $before });
promote_with_slots($node, $standby);
$node = $standby;
wait_state($node, 'postgres', 'carried', 'streaming');
cmp_ok(copy_of('carried', 'rows'), '>=', $before, 'the copy goes on where it was');
sql('UPDATE carried SET v = 2 WHERE id BETWEEN 50 AND 60; DELETE FROM carried WHERE id = 70');
rate(0);
wait_phase('carried', 'done');
wait_confirmed($node, 'postgres', 'carried');
consumers_ok($node, $emulator, 'carried', ['carried'], by_id_only => 1);
cmp_ok(scalar(ids('carried')), '<', 2 * $rows, 'which was not read from the beginning: ' . scalar(ids('carried')));

$node->stop;
done_testing();
