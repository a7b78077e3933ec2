# Changes of the key move more rows of a table that is being copied than memory has
# room to note: they are noted in files, and read again, after a crash as well; where
# files cannot be written the copy fails, and the stream goes on.  A key may have a
# large value that the change leaves alone.  And the table has another
# key for a while, in which changes do not tell which rows they move: the copy
# begins anew, whether its decoder has seen the other key itself or not.  The position
# is not confirmed beyond such changes before it is stored that the copy begins anew;
# the decoder is killed at that moment, and so is the server.
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
    sql("INSERT INTO beside_$name VALUES (0)");
    my $after = sql('SELECT pg_current_wal_insert_lsn()');
    wait_until('what comes after the changes is delivered', sub { position($name, "accepted_lsn >= '$changed' AND read_lsn >= '$after'") eq 't' });
    return $changed;
}

sub other_key { return "ALTER TABLE $_[0] DROP CONSTRAINT $_[0]_pkey, ADD CONSTRAINT $_[0]_other PRIMARY KEY (other);" }
sub same_key { return "ALTER TABLE $_[0] DROP CONSTRAINT $_[0]_other, ADD CONSTRAINT $_[0]_pkey PRIMARY KEY (id);" }
sub move { return "UPDATE $_[0] SET id = id - 10000 WHERE id > 650;" }

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
alter_settings($node, temp_file_limit => '8kB');
begin_copy('limited');
change('limited', move('limited'));
my $limited = q{FROM firehose_stat_progress_copy WHERE "table" = 'limited'};
wait_for_sql($node, "SELECT phase $limited", 'failed');
like(sql("SELECT error $limited"), qr/^moved rows cannot be noted: .*temp_file_limit/, 'the copy says why it failed');
alter_settings($node, temp_file_limit => -1);
wait_state($node, 'postgres', 'limited', 'streaming');
sql(q{SELECT firehose_copy_table('limited', 'limited')});
is_complete('limited');

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
my $decoder = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose decoder' AND query LIKE '%ended%'};
my $pid = sql($decoder);
sql("SELECT pg_terminate_backend($pid)");
wait_until('another decoder runs', sub { my $other = sql($decoder); $other && $other != $pid });
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
