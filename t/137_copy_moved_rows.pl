# Changes of the key move more rows of a table that is being copied than memory has
# room to note: they are noted in files, and read again, after a crash as well; where
# files cannot be written the copy fails, and the stream goes on.  Nothing is lost
# where files cannot be closed, or where it cannot be stored that the copy failed: a
# new decoder goes on.  A key may have a large value that the change leaves alone.
# And the table has another key for a while, in which changes do not tell which rows
# they move: the copy begins anew, whether its decoder has seen the other key itself
# or not.  The position is not confirmed beyond such changes before it is stored that
# the copy begins anew; the decoder is killed at that moment, and so is the server.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, logical_decoding_work_mem => '64kB', log_temp_files => 0);

sub sql { return $node->safe_psql('postgres', @_) }

sub rate { alter_settings($node, 'firehose.copy_rate' => $_[0]); return }

sub position { return sql("SELECT $_[1] FROM firehose_stat_pipeline WHERE pipeline = '$_[0]'") }

sub anew { my ($name) = @_; return logged($node, qr/pipeline "$name" begins the copy of table/) }

# Read rows of a table that have this column as their key.
sub rows_read
{
    my ($name, $column) = @_;
    return scalar(grep { /"$column"/ } read_rows($emulator, $name, $name));
}

# A table whose copy has begun.
sub begin_copy
{
    my ($name, $key) = @_;
    $key //= 'id';
    sql("CREATE TABLE $name (id int, other int NOT NULL, big text, b text,
            CONSTRAINT ${name}_pkey PRIMARY KEY ($key));
        ALTER TABLE $name ALTER big SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
        INSERT INTO $name SELECT id, id, repeat('b', 2100) || id, CASE WHEN '$key' ~ 'b' THEN repeat('k', 2100) END
            FROM generate_series(1, 1300) id;
        CREATE TABLE beside_$name (id int PRIMARY KEY);
        CREATE PUBLICATION $name FOR TABLE $name, beside_$name");
    rate(100);
    new_pipeline($node, 'postgres', $name, [$name], stream => new_stream($node, $name, max_in_flight => 1));
    wait_until('the copy has begun', sub { sql("SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy WHERE pipeline = '$name'") >= 50 });
    return;
}

# Change a table, and wait until what comes after that is delivered; returns the
# position after the changes.
sub change
{
    my ($name, $changes) = @_;
    sql($changes);
    my $changed = sql('SELECT pg_current_wal_insert_lsn()');
    sql("INSERT INTO beside_$name SELECT count(*) FROM beside_$name");
    my $after = sql('SELECT pg_current_wal_insert_lsn()');
    wait_until('what comes after the changes is delivered', sub { position($name, "accepted_lsn >= '$changed' AND read_lsn >= '$after'") eq 't' });
    return $changed;
}

sub other_key
{
    my ($name, $key) = @_;
    return "ALTER TABLE $name DROP CONSTRAINT ${name}_pkey, ADD CONSTRAINT ${name}_other PRIMARY KEY (" . ($key // 'other') . ');';
}
sub same_key { return "ALTER TABLE $_[0] DROP CONSTRAINT $_[0]_other, ADD CONSTRAINT $_[0]_pkey PRIMARY KEY (id);" }
sub move { return "UPDATE $_[0] SET id = id - 10000 WHERE id > 650;" }

# End the decoder, and wait for another one.
sub end_decoder
{
    my ($name) = @_;
    my $decoder = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose decoder' AND query LIKE '%$name%'";
    my $pid = sql($decoder);
    sql("SELECT pg_terminate_backend($pid)");
    wait_until('another decoder runs', sub { my $other = sql($decoder); $other && $other != $pid });
    return;
}

sub is_complete
{
    my ($name) = @_;
    rate(0);
    wait_copied($node, $name);
    wait_confirmed($node, 'postgres', $name);
    consumers_ok($node, $emulator, $name, [$name], key => 'other');
    sql("SELECT firehose_drop_pipeline('$name')");    # (there are more than workers)
    return;
}

# ------------------------------------------------------------------------
# More moved rows than memory has room for, twice
# ------------------------------------------------------------------------
begin_copy('many');
change('many', move('many') . 'UPDATE many SET id = id - 10000 WHERE id > 500');
restart_by($node, 'immediate');
is_complete('many');
is(anew('many'), 0, 'the copy did not begin anew');
cmp_ok(logged($node, qr/temporary file: path/), '>', 0, 'notes were in a file');

begin_copy('wide', 'id, b');
change('wide', move('wide'));
is_complete('wide');

# ------------------------------------------------------------------------
# Files cannot be written
# ------------------------------------------------------------------------
alter_settings($node, temp_file_limit => 0);
begin_copy('limited');
# (all rows, because how many notes fit into memory differs between versions)
change('limited', move('limited') . 'UPDATE limited SET id = id - 10000 WHERE id > 0');
my $limited = q{FROM firehose_stat_progress_copy WHERE "table" = 'limited'};
wait_for_sql($node, "SELECT phase $limited", 'failed');
like(sql("SELECT error $limited"), qr/^moved rows cannot be noted: .*temp_file_limit/, 'the copy says why it failed');
alter_settings($node, temp_file_limit => -1);
wait_state($node, 'postgres', 'limited', 'streaming');
sql(q{SELECT firehose_copy_table('limited', 'limited')});
is_complete('limited');

# ------------------------------------------------------------------------
# Files that are there already
# ------------------------------------------------------------------------

# A table whose copy has begun, with notes of moved rows in a file, a part of it still to
# be written, and no space for that.  Returns a session that has locked the table, so
# that nothing is read, and the position after the moves.
sub begin_spilled
{
    my ($name, $key) = @_;
    begin_copy($name, $key);
    my ($writer, $holder) = map { $node->background_psql('postgres') } 1 .. 2;
    $writer->query_safe('BEGIN; ' . move($name));
    $holder->query_until(qr/to lock/, "\\echo to lock\nBEGIN;\nLOCK TABLE $name;\n");
    wait_for_sql($node, "SELECT count(*) FROM pg_locks WHERE relation = '$name'::regclass AND NOT granted", 1);
    $writer->query_safe('COMMIT');
    $writer->quit;
    my $moved = change($name, '');
    wait_for_sql($node, 'SELECT count(*) FROM pg_ls_tmpdir()', 1);
    alter_settings($node, temp_file_limit => 0);
    return ($holder, $moved);
}

sub end_session
{
    my ($session, $last) = @_;
    $session->query_safe("$last; COMMIT");
    $session->quit;
    return;
}

sub make_room
{
    wait_for_sql($node, 'SELECT count(*) FROM pg_ls_tmpdir()', 0);
    alter_settings($node, temp_file_limit => -1);
    return;
}

my $not_closed = qr/could not close a temporary file of moved rows: .*temp_file_limit/;

my ($session, $moved) = begin_spilled('filled');
end_session($session, other_key('filled', 'id, other'));
wait_until('rows are read by the other key', sub { rows_read('filled', 'other') > 0 });
rate(1);
make_room();
change('filled', 'UPDATE filled SET id = id - 20000 WHERE id > 0');
is_complete('filled');
is(logged($node, $not_closed), 1, 'a file could not be closed when the key was another one');

($session, $moved) = begin_spilled('dropped');
end_session($session, 'DROP TABLE dropped');
wait_for_sql($node, q{SELECT error FROM firehose_stat_progress_copy WHERE pipeline = 'dropped' AND phase = 'failed'}, 'the table was dropped');
make_room();
wait_state($node, 'postgres', 'dropped', 'streaming');
is(position('dropped', 'last_error'), '', 'the pipeline had no error');
is(logged($node, $not_closed), 2, 'a file could not be closed when the copy ended');
sql(q{SELECT firehose_drop_pipeline('dropped')});

# (What memory has room for is read in one chunk, so nothing else holds the position.)
($session, $moved) = begin_spilled('unread', 'id, b');
my $copies = $node->background_psql('postgres');
$copies->query_safe('BEGIN; LOCK TABLE firehose_copies IN SHARE MODE');
end_session($session, '');
wait_until('the copy fails', sub { logged($node, qr/"unread" ends the copy .*: moved rows cannot be noted/) > 0 });
change('unread', '');
is(position('unread', "confirmed_lsn < '$moved'"), 't', 'the position stays before the moves');
alter_settings($node, temp_file_limit => -1);
end_decoder('unread');
end_session($copies, '');
is_complete('unread');

# ------------------------------------------------------------------------
# Another key that the copy does not see
# ------------------------------------------------------------------------
begin_copy('unseen');
rate(1);
change('unseen', 'BEGIN;' . other_key('unseen') . move('unseen') . same_key('unseen') . 'COMMIT');
is(rows_read('unseen', 'other'), 0, 'no row was read by the other key');
is_complete('unseen');
is(anew('unseen'), 1, 'the copy began anew');

# ------------------------------------------------------------------------
# Another key, while it cannot be stored that the copy begins anew
# ------------------------------------------------------------------------
sub change_key_unstored
{
    my ($name) = @_;
    begin_copy($name);
    my $lock = $node->background_psql('postgres');
    $lock->query_safe('BEGIN; LOCK TABLE firehose_copies IN SHARE MODE');
    sql(other_key($name));
    wait_until('rows are read by the other key', sub { rows_read($name, 'other') > 0 });
    rate(1);
    my $changed = change($name, move($name) . same_key($name));
    is(position($name, "confirmed_lsn < '$changed'"), 't', 'the position stays before the changes');
    return ($changed, $lock);
}

my ($changed, $lock) = change_key_unstored('crash');
restart_by($node, 'immediate');
eval { $lock->quit };
is_complete('crash');

($changed, $lock) = change_key_unstored('ended');
end_decoder('ended');
is(position('ended', "confirmed_lsn < '$changed'"), 't', 'the position stays before them with the next decoder');
$lock->query_safe('COMMIT');
$lock->quit;
is_complete('ended');

# ------------------------------------------------------------------------
# A replica identity in descending order is a key to read by
# ------------------------------------------------------------------------
sql(q{CREATE TABLE descending (id int NOT NULL, sub int NOT NULL); INSERT INTO descending SELECT n % 5, n FROM generate_series(1, 10) n;
    CREATE UNIQUE INDEX descending_key ON descending (id DESC, sub DESC);
    ALTER TABLE descending REPLICA IDENTITY USING INDEX descending_key; CREATE PUBLICATION descending FOR TABLE descending});
new_pipeline($node, 'postgres', 'descending', ['descending']);
wait_copied($node, 'descending');
is(sql(q{SELECT key_columns FROM firehose_copies WHERE relid = 'descending'::regclass}), '{id,sub}', 'a descending key is read by');
wait_confirmed($node, 'postgres', 'descending');
is(join(' ', read_rows($emulator, 'descending', 'descending')),
    join(' ', map { my $id = $_; map { qq{"id":$id,"sub":$_} } grep { $_ % 5 == $id } 1 .. 10 } 0 .. 4), 'in order');

$node->stop;
done_testing();
