# INSERT and COPY into foreign tables of streams: what commits arrives, once and
# in its order, and nothing else.  Many rows (50,000, with --long 1,000,000) by
# COPY, from memory and through the WAL; rows routed by a partitioned table from
# several sessions; transactions that abort, savepoints and sessions that are
# killed; a full queue of a stream that discards; and memory that does not grow
# with the number of rows.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $rows = is_long() ? 1_000_000 : 50_000;
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'wal_level' => 'logical', 'firehose.queue_size' => is_long() ? '512MB' : '64MB',
    'firehose.max_transaction_size' => is_long() ? '400MB' : '40MB', 'firehose.queue_timeout' => '60s', 'firehose.status' => 'failed');
# Start a session that runs these statements; finish what is returned.
sub session
{
    my ($output, @statements) = @_;
    return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), map { ('-c', $_) } @statements ],
        '<', \undef, '>', $output, '2>&1');
}
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql('SELECT firehose_enable_durable_puts(set_default => false)');
wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline}, 'streaming');

# many rows by COPY, and by INSERT ... SELECT
my $file = "$emulator->{dir}/rows";
open(my $out, '>', $file) or die "$file: $!";
print $out "$_\tpage $_\n" for 1 .. $rows;
close($out);
chmod 0644, $file;
foreach my $durability (qw(memory wal))
{
    my $stream = new_stream($node, "copied_$durability", max_in_flight => 1);
    sql("CREATE FOREIGN TABLE ${stream}_out (n int, page text) SERVER $stream");
    my @returned = split /\n/, sql("SET firehose.put_durability = $durability; COPY ${stream}_out FROM '$file';
            INSERT INTO ${stream}_out SELECT n, 'selected' FROM generate_series(1, 1001) n;
            INSERT INTO ${stream}_out SELECT n, 'returned' FROM generate_series(1, 1001) n RETURNING n;");
    is_deeply(\@returned, [ 1 .. 1001 ], "$durability: RETURNING gives every row");
    wait_delivered($node, 600);
    my @expected = ((map { qq({"n":$_,"page":"page $_"}\n) } 1 .. $rows),
        (map { qq({"n":$_,"page":"selected"}\n) } 1 .. 1001),
        map { qq({"n":$_,"page":"returned"}\n) } 1 .. 1001);
    my $result = audit_ok("COPY, $durability", $emulator, $stream, \@expected);
    is(join('', @{ $result->{order} }), join('', @expected), "$durability: in their order");
}

# routed by a partitioned table, by several sessions at once
new_stream($node, $_) foreach qw(even odd);
sql(q{
    CREATE TABLE routed (n int, who text) PARTITION BY LIST (who);
    CREATE FOREIGN TABLE routed_even PARTITION OF routed FOR VALUES IN ('even') SERVER even;
    CREATE FOREIGN TABLE routed_odd PARTITION OF routed FOR VALUES IN ('odd') SERVER odd;
    CREATE TABLE routed_here PARTITION OF routed FOR VALUES IN ('here');});
my $output = '';
my @sessions = map {
    my $from = $_ * 10_000;
    session(\$output,
        "INSERT INTO routed SELECT n, (ARRAY['even', 'odd', 'here'])[n % 3 + 1] FROM generate_series($from + 1, $from + 3000) n",
        'BEGIN', "INSERT INTO routed SELECT n, 'even' FROM generate_series($from + 5001, $from + 5500) n", 'ROLLBACK',
        'BEGIN', 'SAVEPOINT s', "INSERT INTO routed SELECT n, 'odd' FROM generate_series($from + 6001, $from + 6500) n",
        'ROLLBACK TO s', "INSERT INTO routed VALUES ($from + 7000, 'odd'), ($from + 7000, 'here')", 'COMMIT');
} 0 .. 3;
$_->finish foreach @sessions;
is($output, '', 'sessions insert');
wait_delivered($node);
foreach my $stream (qw(even odd))
{
    my @expected = map {
        my $from = $_ * 10_000;
        ((grep { $_ % 3 == ($stream eq 'odd') } $from + 1 .. $from + 3000), $stream eq 'odd' ? ($from + 7000) : ());
    } 0 .. 3;
    audit_ok("partition $stream", $emulator, $stream, [ map { qq({"n":$_,"who":"$stream"}\n) } @expected ]);
}
is(sql('SELECT count(*) FROM routed_here'), 4 * 1001, 'rows of other partitions stay');

# a session that is killed in the middle of a statement sends nothing of it
new_stream($node, 'killed');
sql(q{CREATE FOREIGN TABLE killed_out (n int) SERVER killed});
foreach my $durability (qw(memory wal))
{
    my $said = '';
    my $victim = session(\$said, "SET firehose.put_durability = $durability", "SET application_name = 'victim'",
        'INSERT INTO killed_out SELECT n FROM generate_series(1, 1000) n WHERE n < 500 OR pg_sleep(600) IS NOT NULL');
    wait_for_sql($node, q{SELECT wait_event FROM pg_stat_activity WHERE application_name = 'victim'}, 'PgSleep');
    sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'});
    $victim->finish;
    like($said, qr/terminating connection/, "$durability: a session is killed");
}
sql(q{INSERT INTO killed_out VALUES (0)});
wait_delivered($node);
is_deeply([ map { $_->{data} } $emulator->records('killed') ], [ qq({"n":0}\n) ], 'a session that is killed sends nothing');
is(sql('SELECT sum(queued + in_flight) FROM firehose_stat_stream'), '0', 'and nothing of it stays in the queue');

# a stream that discards: the statement tells how many rows were taken
new_stream($node, 'lossy', on_full => 'discard', paused => 'true');
sql(q{CREATE FOREIGN TABLE lossy_out (n int, filler text) SERVER lossy});
my $taken = 0;
my $discarded;
for (1 .. 50)
{
    my $count = sql(q{WITH i AS (INSERT INTO lossy_out SELECT n, repeat('x', 500000) FROM generate_series(1, 30) n RETURNING 1) SELECT count(*) FROM i});
    my ($code, $tag) = $node->psql('postgres', q{\set QUIET off
        INSERT INTO lossy_out SELECT n, repeat('x', 500000) FROM generate_series(1, 30) n});
    $taken += $count;
    $taken += $1 if $tag =~ /INSERT 0 (\d+)/;
    $discarded = sql(q{SELECT discarded FROM firehose_stat_stream WHERE stream = 'lossy'});
    last if $discarded > 0 && $count == 0;
}
cmp_ok($discarded, '>', 0, "rows are discarded when the queue is full: $discarded");
is(sql(q{SELECT queued FROM firehose_stat_stream WHERE stream = 'lossy'}), $taken, "and those that a statement counts are queued: $taken");
sql(q{ALTER SERVER lossy OPTIONS (SET paused 'false')});
wait_delivered($node);

# memory does not grow with the rows (through the WAL, so that no run grows)
new_stream($node, 'lean');
sql(q{CREATE FOREIGN TABLE lean_out (n int, amount numeric, at timestamptz, r int4range, p text) SERVER lean});
my $growth = sql(q{
    SET firehose.put_durability = wal;
    CREATE FUNCTION resident() RETURNS bigint LANGUAGE sql AS $$
        SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') FROM 'RssAnon:\s+(\d+)')::bigint $$;
    INSERT INTO lean_out SELECT n, n * 1.5, now(), int4range(n, n + 9), repeat('x', 100) FROM generate_series(1, 2000) n;
    CREATE TEMP TABLE before AS SELECT resident() AS kb;
    INSERT INTO lean_out SELECT n, n * 1.5, now(), int4range(n, n + 9), repeat('x', 100) FROM generate_series(1, 40000) n;
    SELECT resident() - kb FROM before;});
cmp_ok($growth, '<', 4000, "40,000 rows leave the session as it was: $growth kB more");
wait_delivered($node, 300);
is(scalar(grep { $_->{state} eq 'A' } $emulator->records('lean')), 42_000, 'and all of them arrive');

$node->stop;
done_testing();
