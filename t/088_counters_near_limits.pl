# Numbers near their limits: ids that have nearly 53 bits, a record with as many
# attempts as are counted, and positions in the WAL from the half of 64 bits to near
# their end.  Everything arrives, in its order, and nothing turns negative.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;
use SavedQueue;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.status' => 'all',
    'firehose.enabled' => 'off', 'wal_keep_size' => 0, 'min_wal_size' => '32MB', 'max_wal_size' => '64MB');
my $dir = $node->data_dir . '/pg_firehose';
sub sql { return $node->safe_psql('postgres', $_[0]) }

# ------------------------------------------------------------------------
# Attempts, and ids
# ------------------------------------------------------------------------
new_stream($node, 'tried');
my ($tried) = put_numbered($node, 'tried', 1, 1);
$node->stop('fast');
write_bytes("$dir/queue", changed_queue(slurp_file("$dir/queue"), 122, pack('S', 65534)));
my $largest = 2**53 - 1;
my $noted = $largest - 20_000_000_000;
write_bytes("$dir/ids", file_of_ids($noted));
$node->start;
$emulator->fault('fail_all_records', { code => 'InternalFailure' }, { stream => 'tried', count => 3 });
alter_settings($node, 'firehose.enabled' => 'on');
wait_delivered($node);
is(sql(q{SELECT status, attempts FROM firehose_status WHERE stream = 'tried'}), 'accepted|65535',
    'attempts are counted up to 65,535, and no further');
audit_ok('attempts', $emulator, 'tried', [$tried]);

new_stream($node, 'numbered');
my $id = sql(q{SELECT firehose_put_record('numbered', 'one')});
cmp_ok($id, '>', $noted, "an id is $id");
cmp_ok($id + 1_000_000, '<', $largest, 'which is not the last one');
is(sql("SELECT firehose_wait($id, '60 s')"), 'accepted', 'it can be waited for');
is(sql("SELECT status FROM firehose_status WHERE id = $id"), 'accepted', 'and looked up');
my @batch = split(/,/, sql(q{SELECT array_to_string(firehose_put_batch('numbered', ARRAY['two', 'three']), ',')}));
is_deeply([ $batch[0] - $id, $batch[1] - $batch[0] ], [ 1, 1 ], 'those of a batch follow');
sql(q{SELECT firehose_enable_durable_puts()});
my $durable = sql(q{SELECT firehose_put_record('numbered', 'four')});
is(sql("SELECT firehose_wait($durable, '60 s')"), 'accepted', 'a durable put has such an id');
audit_ok('ids', $emulator, 'numbered', [ map { "$_\n" } qw(one two three four) ]);
my $before = sql(q{SELECT firehose_put_record('numbered', 'five')});
wait_delivered($node);
restart_by($node, 'immediate');
cmp_ok(sql(q{SELECT firehose_put_record('numbered', 'six')}), '>', $before, 'after a crash ids are larger');
wait_delivered($node);
audit_ok('ids after a crash', $emulator, 'numbered', [ map { "$_\n" } qw(one two three four five six) ],
    duplicates => 2);
sql(q{SELECT firehose_disable_durable_puts(force => true)});

# ------------------------------------------------------------------------
# Positions in the WAL
# ------------------------------------------------------------------------

# Let the WAL go on at this segment (of 16 MB).
sub jump
{
    my ($segment) = @_;
    wait_for_sql($node, q{SELECT count(*) FROM pg_replication_slots}, '0');
    $node->stop('fast');
    command_ok([ 'pg_resetwal', '-l', "00000001$segment", $node->data_dir ], "the WAL goes on at $segment");
    $node->start;
    return;
}

sub position_is { return sql("SELECT pg_current_wal_lsn() $_[0]") }

sql('CREATE TABLE t (n int PRIMARY KEY, filler text); CREATE PUBLICATION p FOR TABLE t');
my $n = 0;
foreach my $case (
    [ half => '7FFFFFFF000000FE', '80000000/0' ],
    [ end => 'FFFFFFFE000000FE', 'FFFFFFFF/0' ])
{
    my ($name, $segment, $boundary) = @$case;
    jump($segment);
    is(position_is("< '$boundary'"), 't', "$name: the WAL is before $boundary");
    new_pipeline($node, 'postgres', $name, ['p'], copy_data => 'false');
    my @expected;
    foreach my $part ('before', 'across', 'behind', 'after a restart', 'after a crash')
    {
        restart_by($node, $1 eq 'restart' ? 'fast' : 'immediate') if $part =~ /(restart|crash)/;
        wait_state($node, 'postgres', $name, 'streaming');
        my ($from, $to) = ($n + 1, $n += 20);
        sql("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series($from, $from + 9) n");
        sql('SELECT pg_switch_wal()') foreach 1 .. ($part eq 'across' ? 3 : 1);
        sql("INSERT INTO t SELECT n, 'y' FROM generate_series($from + 10, $to) n");
        push @expected, $from .. $to;
        wait_confirmed($node, 'postgres', $name);
        is(position_is("> '$boundary'"), $part eq 'before' ? 'f' : 't', "$name: $part $boundary");
    }
    # what was confirmed just before a crash may come again, under the same id
    is(join(' ', map { $_->{after}{n} } events_once($emulator, $name)), "@expected",
        "$name: each change under one id, in order");
    is(sql("SELECT confirmed_lsn > '$boundary', confirmed_lsn <= pg_current_wal_lsn(),
        lag_bytes BETWEEN 0 AND 1e8, retained_wal_bytes BETWEEN 0 AND 1e9
        FROM firehose_stat_pipeline WHERE pipeline = '$name'"), 't|t|t|t', "$name: the view tells so");
    # (those before the crash are gone with it)
    is(sql("SELECT count(*) > 0, bool_and(lsn > '$boundary') FROM firehose_status
        WHERE stream = '$name'"), 't|t', "$name: and so do status rows");
    sql(q{SELECT firehose_enable_durable_puts()});
    wait_state($node, 'postgres', 'durable_puts', 'streaming');
    my $put = sql(qq{SELECT firehose_put_record('numbered', '$name')});
    is(sql("SELECT firehose_wait($put, '60 s')"), 'accepted', "$name: a durable put arrives");
    sql(q{SELECT firehose_disable_durable_puts(force => true)});
    sql("SELECT firehose_drop_pipeline('$name')");
}

# ------------------------------------------------------------------------
# No ids are left
# ------------------------------------------------------------------------
$node->stop('fast');
write_bytes("$dir/ids", file_of_ids($largest - 2));
$node->start;
my (undef, undef, $error) = $node->psql('postgres', q{SELECT firehose_put_record('numbered', 'too late') FROM generate_series(1, 10)});
like($error, qr/ERROR:.*no record ids are left/, 'behind the last id there is an error');
wait_delivered($node);

$node->stop;
done_testing();
