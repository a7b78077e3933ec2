# A saved queue that was set aside is loaded by command: into the streams that
# have its names, in one database after the other, as far as there is room, and
# on in the next call.  Nothing of it is lost or sent twice, not by two calls at
# once, nor by one that fails or is cancelled, and an error changes neither file
# nor queue.  A file that is left is removed in time.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use SavedQueue;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '16MB', 'firehose.enabled' => 'off',
    'max_worker_processes' => 8);
my $dir = $node->data_dir . '/pg_firehose';
my $queued = q{SELECT coalesce(sum(queued), 0) FROM firehose_stat_stream};

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# A call, as "stream records loaded reason" of each stream
sub load
{
    my ($file, $dbname, $more) = @_;
    return sql("SELECT concat_ws(' ', stream, records, loaded, reason)
        FROM firehose_load_saved_queue('$file'" . ($more // '') . ') ORDER BY stream, records', $dbname);
}

sub load_fails
{
    my ($what, $file, $pattern, $more) = @_;
    my $before = -f "$dir/$file" ? slurp_file("$dir/$file") : '';
    my $was = sql($queued);
    my (undef, undef, $error) = $node->psql('postgres', "SELECT * FROM firehose_load_saved_queue('$file'" . ($more // '') . ')');
    like($error, $pattern, "$what: the error");
    is(sql($queued), $was, "$what: nothing is queued");
    ok((-f "$dir/$file" ? slurp_file("$dir/$file") : '') eq $before, "$what: the file is as it was");
    ok(!-e "$dir/loading.tmp", "$what: no other is left");
    return;
}

# Stop, have the saved queue refused as that of another timeline, and start.
sub set_aside
{
    $node->stop('fast');
    write_bytes("$dir/queue", changed_queue(slurp_file("$dir/queue"), 16, pack('L', 77)));
    my $offset = -s $node->logfile;
    $node->start;
    like(slurp_file($node->logfile, $offset), qr/another timeline\n.*HINT: .*firehose_load_saved_queue\('queue\.refused'\)/,
        'the hint names the function and the file');
    return;
}

# ------------------------------------------------------------------------
# Streams and databases
# ------------------------------------------------------------------------
sql('CREATE DATABASE other');
sql('CREATE EXTENSION firehose', 'other');
new_stream($node, $_) foreach qw(kept renamed dropped again);
new_stream($node, 'kept', dbname => 'other', stream_name => 'other');
my @kept = put_numbered($node, 'kept', 1, 100);
my @renamed = put_numbered($node, 'renamed', 101, 110);
my @dropped = put_numbered($node, 'dropped', 111, 120);
my @again = put_numbered($node, 'again', 121, 130);
my @other = put_numbered($node, 'kept', 201, 210, dbname => 'other');
set_aside();
is(sql($queued), '0', 'nothing of it is queued');
my $whole = slurp_file("$dir/queue.refused");
sql('DROP SERVER dropped; DROP SERVER again; ALTER SERVER renamed RENAME TO newer');
new_stream($node, 'again');
my $elsewhere = 'it is of another database';
my $unknown = 'there is no stream of this name: create it, and call again';
is(load('queue.refused', 'other'), join("\n", "again 10 0 it is of database \"postgres\": call the function there",
        'dropped 10 0 it is of database "postgres": call the function there',
        'kept 10 10', 'kept 100 0 it is of database "postgres": call the function there',
        'renamed 10 0 it is of database "postgres": call the function there'), 'in one database');
is(sql(q{BEGIN; SELECT sum(loaded) FROM firehose_load_saved_queue('queue.refused'); ROLLBACK}), '110', 'in the other, rolled back');
is(load('queue.refused'), "dropped 10 0 $unknown\nrenamed 10 0 $unknown", 'what is loaded is gone from the file');
ok(-s "$dir/queue.refused" < length $whole, 'which is smaller');
is(sql('SELECT saved_queues_refused FROM firehose_stat_server'), '1', 'and counted');
sql('ALTER SERVER newer RENAME TO renamed');
new_stream($node, 'dropped');
is(load('queue.refused'), "dropped 10 10\nrenamed 10 10", 'the rest');
ok(!-e "$dir/queue.refused", 'the file is gone');
load_fails('once more', 'queue.refused', qr/could not open saved queue file.*No such file.*HINT:  A file that was loaded whole is gone/s);
$node->restart;
is(sql($queued), '140', 'all of it is queued, and survives a restart');
alter_settings($node, 'firehose.enabled' => 'on');
wait_delivered($node);
is(sql('SELECT firehose_flush()', 'other'), 't', 'so it is in the other database');
audit_ok('kept', $emulator, 'kept', \@kept);
audit_ok('renamed', $emulator, 'renamed', \@renamed);
audit_ok('dropped', $emulator, 'dropped', \@dropped);
audit_ok('again', $emulator, 'again', \@again);
audit_ok('other', $emulator, 'other', \@other);

# ------------------------------------------------------------------------
# Files that are not loaded
# ------------------------------------------------------------------------
my ($dboid) = sql(q{SELECT oid FROM pg_database WHERE datname = 'postgres'});
write_bytes("$dir/queue.damaged", substr($whole, 0, 150) . 'x' . substr($whole, 151));
load_fails('damaged', 'queue.damaged', qr/cannot be loaded: its checksum is wrong/);
write_bytes("$dir/queue.short", substr($whole, 0, -10));
load_fails('cut short', 'queue.short', qr/cannot be loaded: it is cut short/);
mkdir "$dir/queue.directory" or die $!;
load_fails('a directory', 'queue.directory', qr/is not a regular file/);
rmdir "$dir/queue.directory";
symlink('/dev/zero', "$dir/queue.link") or die $!;
load_fails('a link', 'queue.link', qr/is not a regular file/);
write_bytes("$dir/queue.foreign", changed_queue($whole, 8, pack('Q', 42)));
load_fails('another cluster', 'queue.foreign', qr/was written by another cluster\nDETAIL:  The system identifier there is 42\.\nHINT: .*from_database => OID/);
is(load('queue.foreign', 'postgres', ', from_database => 1'), join("\n", map { "$_ $elsewhere" }
        'again 10 0', 'dropped 10 0', 'kept 10 0', 'kept 100 0', 'renamed 10 0'), 'another cluster, another database: nothing');
unlink map { "$dir/queue.$_" } qw(damaged short link);

# what is kept cannot be written
symlink('/dev/full', "$dir/loading.tmp") or die $!;
write_bytes("$dir/queue.partly", $whole);
sql('DROP SERVER dropped');
load_fails('the disk is full', 'queue.partly', qr/could not write file "pg_firehose\/loading.tmp": No space left/);
mkdir "$dir/loading.tmp" or die $!;
my (undef, undef, $error) = $node->psql('postgres', q{SELECT * FROM firehose_load_saved_queue('queue.partly')});
like($error, qr/could not write file/, 'nor opened');
rmdir "$dir/loading.tmp";
wait_delivered($node);
is(scalar(() = $emulator->records('kept')), 100, 'nothing of it was sent');
unlink "$dir/queue.partly";

# ------------------------------------------------------------------------
# Room, and two calls at once
# ------------------------------------------------------------------------
alter_settings($node, 'firehose.enabled' => 'off');
new_stream($node, 'large');
my @large = put_numbered($node, 'large', 1001, 13000, size => 800, per_commit => 2000);
$node->stop('fast');
rename("$dir/queue", "$dir/queue.refused") or die $!;
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "firehose.queue_size = '4MB'");
$node->start;
my ($loaded) = load('queue.refused') =~ /^large 12000 (\d+) the queue has no room/;
cmp_ok($loaded, '>', 1000, 'a part of it has room') or diag($loaded);
cmp_ok($loaded, '<', 8000, 'but not all');
is(sql($queued), $loaded, 'that part is queued');
is(load('queue.refused'), 'large ' . (12000 - $loaded) . ' 0 the queue has no room for the rest: call again when records are accepted', 'no more for now');
alter_settings($node, 'firehose.enabled' => 'on');
my @calls = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
        q{DO $$ BEGIN WHILE (pg_stat_file('pg_firehose/queue.refused', true)).size IS NOT NULL LOOP
            BEGIN PERFORM firehose_load_saved_queue('queue.refused'); EXCEPTION WHEN undefined_file THEN NULL; END;
            COMMIT; PERFORM firehose_flush(timeout => '1 s');
          END LOOP; END $$} ], '<', '/dev/null', '2>', '/dev/null') } 1 .. 2;
# and one whose calls are cancelled wherever they are, or end with their session
push @calls, IPC::Run::start([ 'bash', '-c', 'for ((i = 1; ; i++)); do [ -e "$0" ] || exit 0; psql -XAtq -d "$1" ' .
        '-c "SET statement_timeout = $((i % 9 + 1))" -c "SELECT sum(loaded) FROM firehose_load_saved_queue(\'queue.refused\')"; done',
        "$dir/queue.refused", $node->connstr('postgres') ], '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
push @calls, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
        q{DO $$ BEGIN WHILE (pg_stat_file('pg_firehose/queue.refused', true)).size IS NOT NULL LOOP
            PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT sum(loaded)%' AND pid <> pg_backend_pid();
            COMMIT; PERFORM pg_sleep(0.05); END LOOP; END $$} ], '<', '/dev/null', '2>', '/dev/null');
$_->finish foreach @calls;
cmp_ok(logged($node, qr/canceling statement due to statement timeout/, $offset), '>', 0, 'some calls were cancelled');
ok(!-e "$dir/queue.refused", 'several callers, again and again: all is loaded');
wait_delivered($node);
audit_ok('two at once', $emulator, 'large', \@large);

# ------------------------------------------------------------------------
# Another cluster's, to this database
# ------------------------------------------------------------------------
new_stream($node, 'dropped');
is(load('queue.foreign', 'postgres', ", from_database => $dboid"), join("\n", 'again 10 10', 'dropped 10 10',
        "kept 10 0 $elsewhere", 'kept 100 100', 'renamed 10 10'), "another cluster's database");
wait_delivered($node);
is(scalar(() = $emulator->records('kept')), 200, 'is sent on command');

# ------------------------------------------------------------------------
# Ids above those that the server gives out: it gives out none of them again
# ------------------------------------------------------------------------
my $first_stream = unpack('Z64', substr($whole, 32 + 24, 64));
my $first_database = ', from_database => ' . unpack('L', substr($whole, 32, 4));
my $put = qq{SELECT firehose_put_text('$first_stream', 'later')};
my $hour = 3600 * 1_000_000;
my $id = sql($put);
write_bytes("$dir/queue.ahead", changed_queue($whole, 128, pack('Q', $id + 26 * $hour)));
load_fails('an id of the day after tomorrow', 'queue.ahead',
    qr/cannot be loaded: it has a record id more than a day ahead of this server's/, $first_database);
write_bytes("$dir/queue.ahead", changed_queue($whole, 128, pack('Q', $id + $hour)));
load('queue.ahead', 'postgres', $first_database);
cmp_ok(sql($put), '>', $id + $hour, 'the next id is above those that were loaded');
wait_delivered($node);
restart_by($node, 'immediate');
cmp_ok(sql($put), '>', $id + $hour, 'after a crash, too');
unlink "$dir/queue.ahead";

# ------------------------------------------------------------------------
# A file that is left
# ------------------------------------------------------------------------
rename("$dir/queue.foreign", "$dir/queue.refused") or die $!;
$node->restart;
is(sql('SELECT saved_queues_refused FROM firehose_stat_server'), '1', 'a file is set aside');
alter_settings($node, 'firehose.saved_queue_retention' => '1h');
is(sql('SELECT pg_sleep(0.2), saved_queues_refused FROM firehose_stat_server'), '|1', 'it is younger than an hour');
alter_settings($node, 'firehose.saved_queue_retention' => '1s');
wait_until('it goes when it is older than that', sub { !-e "$dir/queue.refused" });
ok(logged($node, qr/removed file "pg_firehose\/queue\.refused", a saved queue that was not loaded/), 'which the log says');

# an old one is kept until a server that has just started could be asked
$node->stop;
write_bytes("$dir/queue.refused", $whole);
wait_until('it is old', sub { time - (stat "$dir/queue.refused")[10] > 2 });
$offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "log_line_prefix = '%n %p '");
$node->append_conf('postgresql.auto.conf', "firehose.saved_queue_retention = '2s'");
$node->start;
wait_until('it goes in the end', sub { !-e "$dir/queue.refused" });
my $log = slurp_file($node->logfile, $offset);
my ($ready) = $log =~ /^(\S+) .*ready to accept connections/m;
my ($removed) = $log =~ /^(\S+) .*removed file/m;
cmp_ok($removed - $ready, '>', 1.5, 'its time counts from the start of the server');

# what cannot be removed is logged once, and goes when it can
my $cannot = qr/could not remove file "pg_firehose\/queue\.refused/;
my @files = ('queue.refused', 'queue.refused.1');
write_bytes("$dir/$_", $whole) foreach @files;
chmod 0500, $dir or die $!;
alter_settings($node, 'firehose.saved_queue_retention' => '1s');
wait_until('it is tried', sub { logged($node, $cannot, $offset) > 0 });
chmod 0700, $dir or die $!;
alter_settings($node, 'firehose.saved_queue_retention' => '2s');
wait_until('they go', sub { !grep { -e "$dir/$_" } @files });
is(logged($node, $cannot, $offset), 1, 'what cannot be removed is logged once');

$node->stop;
done_testing();
