# A copy goes on though its decoder ends again and again before what it has handed
# over is delivered: chunks that wait in the queue count for the next decoder.  Rows
# that a change of their key moved into the part that was read do not keep the rest
# waiting, and the position is not confirmed beyond them before they are read again,
# by this decoder or the next one.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);

sub sql { return $node->safe_psql('postgres', @_) }

sub phase { return sql("SELECT phase FROM firehose_stat_progress_copy WHERE pipeline = '$_[0]'") }

# ------------------------------------------------------------------------
# A slow service, decoders of a second
# ------------------------------------------------------------------------
my $rows = 5_000;
sql("CREATE TABLE t (id int PRIMARY KEY, filler text);
    INSERT INTO t SELECT id, repeat('x', 500) FROM generate_series(1, $rows) id;
    CREATE PUBLICATION p FOR TABLE t");
$emulator->fault('delay', { seconds => 0.2 });
new_pipeline($node, 'postgres', 'restarts', ['p'], stream => new_stream($node, 'restarts', max_in_flight => 1));
my $decoders = 1;
while ($decoders < 25 && phase('restarts') ne 'done')
{
    my ($pid) = decoder_pids($node);
    sleep 0.3;
    sql("SELECT firehose_alter_pipeline('restarts', timestamps => '" . (qw(iso epoch_ms))[$decoders % 2] . "')");
    wait_until('another decoder runs', sub { my ($other) = decoder_pids($node); $other && $other != $pid });
    $decoders++;
}
is(phase('restarts'), 'done', 'all is copied, by ' . $decoders . ' decoders');
$emulator->heal;
wait_confirmed($node, 'postgres', 'restarts');
my @rows_read = read_rows($emulator, 'restarts', 't');
my %ids = map { $_ => 1 } @rows_read;
is(scalar(keys %ids), $rows, 'all rows came');
# (a decoder may end between two steps of handing a chunk over)
cmp_ok(scalar(@rows_read), '<', 1.2 * $rows, 'hardly one came twice: ' . scalar(@rows_read));


# ------------------------------------------------------------------------
# Moved rows
# ------------------------------------------------------------------------
sub rate { sql("ALTER SYSTEM SET firehose.copy_rate = $_[0]"); sql('SELECT pg_reload_conf()'); return }

sub position { return sql("SELECT $_[1] FROM firehose_stat_pipeline WHERE pipeline = '$_[0]'") }

# A table whose copy is stopped by a lock when it has begun, and whose last rows
# then move to its beginning without their large values.  Returns the session that
# holds the lock, and the position after the change.
sub move_rows_amid_copy
{
    my ($name) = @_;
    sql("CREATE TABLE $name (id int PRIMARY KEY, big text);
        ALTER TABLE $name ALTER big SET STORAGE EXTERNAL;
        INSERT INTO $name SELECT id, repeat('b', 3000) FROM generate_series(1, 1600) id;
        CREATE TABLE beside_$name (id int PRIMARY KEY);
        CREATE PUBLICATION $name FOR TABLE $name, beside_$name");
    rate(50);
    new_pipeline($node, 'postgres', $name, [$name], stream => new_stream($node, $name, max_in_flight => 1));
    wait_until('the copy has begun', sub { sql("SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy WHERE pipeline = '$name'") >= 50 });
    # (the slot's WAL begins here, and has more than one round of it before the change)
    my $old = $node->background_psql('postgres');
    $old->query_safe('BEGIN; SELECT txid_current()');
    sql("INSERT INTO beside_$name SELECT generate_series(1, 2500)");
    wait_until('the stream is there', sub { position($name, 'read_lsn >= pg_current_wal_flush_lsn() - 1000') eq 't' });
    my ($first, $second) = map { $node->background_psql('postgres') } 1 .. 2;
    $first->query_safe("BEGIN; LOCK TABLE $name");
    # one that waits for the lock has it when the change commits
    my $pid = $second->query_safe('SELECT pg_backend_pid()');
    $second->query_until(qr/asked/, "\\echo asked\nBEGIN; LOCK TABLE $name;\n\\echo locked\n");
    wait_until('it waits', sub { sql("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Lock' });
    $first->query_safe("UPDATE $name SET id = id - 10000 WHERE id > 800; COMMIT");
    $first->quit;
    my $changed = sql('SELECT pg_current_wal_insert_lsn()');
    sql("INSERT INTO beside_$name VALUES (0)");
    my $after = sql('SELECT pg_current_wal_insert_lsn()');
    wait_until('the change and one after it are delivered', sub { position($name, "accepted_lsn >= '$changed' AND outstanding = 0 AND read_lsn >= '$after'") eq 't' });
    return ($second, $old, $changed);
}

my ($lock, $old) = move_rows_amid_copy('starved');
rate(0);
$lock->query_safe('COMMIT');
wait_copied($node, 'starved');
wait_confirmed($node, 'postgres', 'starved');
my @read = map { /(-?\d+)/ } read_rows($emulator, 'starved', 'starved');
my %moved = map { $_ => 1 } grep { $_ < 0 } @read;
is(scalar(keys %moved), 800, 'all moved rows are read again');
my ($begun, $before_rest) = (0, 0);
foreach my $id (@read)
{
    if ($id < 0) { $begun = 1; $before_rest++ }
    elsif ($begun) { last }
}
cmp_ok($before_rest, '<', 200, "after some of them the copy goes on: $before_rest");
$_->quit foreach $lock, $old;

($lock, $old, my $changed) = move_rows_amid_copy('held');
is(position('held', "confirmed_lsn < '$changed'"), 't', 'the position stays before moved rows');
my ($pid) = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose decoder' AND query LIKE '%held%'});
my $end = sql('SELECT pg_current_wal_insert_lsn()');
sql("SELECT pg_terminate_backend($pid)");
wait_until('another decoder has come as far', sub {
    sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'firehose decoder' AND query LIKE '%held%' AND pid <> $pid") == 1 &&
      position('held', "read_lsn >= '$end'") eq 't' });
is(position('held', "confirmed_lsn < '$changed'"), 't', 'and does with the next decoder');
rate(0);
FirehoseTest::restart_by($node, 'immediate');
wait_copied($node, 'held');
wait_confirmed($node, 'postgres', 'held');
consumers_ok($node, $emulator, 'held', ['held']);

$node->stop;
done_testing();
