# A change of the key moves more rows of a table that is being copied than can be
# noted: the copy begins anew, and its consumers end with the table.  The position
# is not confirmed beyond the change before it is stored that the copy begins anew;
# the decoder is killed at that moment, and so is the server.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, logical_decoding_work_mem => '64kB');

sub sql { return $node->safe_psql('postgres', @_) }

sub rate { sql("ALTER SYSTEM SET firehose.copy_rate = $_[0]"); sql('SELECT pg_reload_conf()'); return }

sub position { return sql("SELECT $_[1] FROM firehose_stat_pipeline WHERE pipeline = '$_[0]'") }

sub anew { my ($name) = @_; return scalar(() = slurp_file($node->logfile) =~ /pipeline "$name" begins the copy of table/g) }

# A table whose copy is under way, and whose last rows move to its beginning.
# Returns the position after that.
sub move_many_rows
{
    my ($name, $meanwhile) = @_;
    sql("CREATE TABLE $name (id int PRIMARY KEY, big text);
        ALTER TABLE $name ALTER big SET STORAGE EXTERNAL;
        INSERT INTO $name SELECT id, repeat('b', 2100) || id FROM generate_series(1, 1300) id;
        CREATE TABLE beside_$name (id int PRIMARY KEY);
        CREATE PUBLICATION $name FOR TABLE $name, beside_$name");
    rate(50);
    new_pipeline($node, 'postgres', $name, [$name], stream => new_stream($node, $name));
    wait_until('the copy has begun', sub { sql("SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy WHERE pipeline = '$name'") >= 50 });
    my $lock = $meanwhile ? $node->background_psql('postgres') : undef;
    $lock->query_safe('BEGIN; LOCK TABLE firehose_copies IN SHARE MODE') if $lock;
    sql("UPDATE $name SET id = id - 10000 WHERE id > 650");
    my $changed = sql('SELECT pg_current_wal_insert_lsn()');
    sql("INSERT INTO beside_$name VALUES (0)");
    my $after = sql('SELECT pg_current_wal_insert_lsn()');
    wait_until('the copy begins anew', sub { anew($name) > 0 });
    wait_until('what comes after the change is delivered', sub { position($name, "accepted_lsn >= '$changed' AND read_lsn >= '$after'") eq 't' });
    return ($changed, $lock);
}

sub is_complete
{
    my ($name) = @_;
    rate(0);
    wait_until('all is copied', sub { sql("SELECT bool_and(phase = 'done') FROM firehose_stat_progress_copy WHERE pipeline = '$name'") eq 't' });
    wait_confirmed($node, 'postgres', $name);
    my $base = $node->basedir . "/$name";
    append_to_file("$base.expected",
        sql("SELECT jsonb_build_object('key', jsonb_build_object('id', id), 'row', to_jsonb(t)) FROM $name t") . "\n");
    append_to_file("$base.records", join('', map { JSON::PP->new->canonical->encode($_) . "\n" } grep { $_->{table} eq $name } events($emulator, $name)));
    my ($out, $err) = ('', '');
    ok(IPC::Run::run([ '/usr/bin/python3', 'test/replay/consumers.py', "$base.records", "$base.expected" ],
            '>', \$out, '2>', \$err), "$name: both consumers end with the table, large values too") or diag("$out$err");
    return;
}

# ------------------------------------------------------------------------
# Nothing in the way
# ------------------------------------------------------------------------
move_many_rows('plain');
is_complete('plain');
is(anew('plain'), 1, 'it began anew once');

# ------------------------------------------------------------------------
# It cannot be stored that the copy begins anew, and the server crashes
# ------------------------------------------------------------------------
my ($changed, $lock) = move_many_rows('crash', 1);
is(position('crash', "confirmed_lsn < '$changed'"), 't', 'the position stays before the moved rows');
FirehoseTest::restart_by($node, 'immediate');
eval { $lock->quit };
is_complete('crash');

# ------------------------------------------------------------------------
# The same, and only the decoder ends
# ------------------------------------------------------------------------
($changed, $lock) = move_many_rows('ended', 1);
my $decoder = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose decoder' AND query LIKE '%ended%'};
my $pid = sql($decoder);
sql("SELECT pg_terminate_backend($pid)");
wait_until('another decoder runs', sub { my $other = sql($decoder); $other && $other != $pid });
is(position('ended', "confirmed_lsn < '$changed'"), 't', 'the position stays before them with the next decoder');
$lock->query_safe('COMMIT');
$lock->quit;
is_complete('ended');

$node->stop;
done_testing();
