# What changes amid the work of a session or a decoder.  A session that is looking a
# stream or a table up, held by a lock on a catalog, is told of a change meanwhile.  A
# table of the extension is missing for a while.  Streams come and go.  A default of
# streams' options changes.  A decoder is ended amid a transaction that waits for
# space while it copies a table.  Commands are committed while the publication of a
# pipeline is away.  And a decoder whose puts go to one stream after another keeps no
# buffer for each.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '4MB');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Have a session's query wait for a catalog, if it needs that, and make a change
# meanwhile.
sub amid
{
    my ($session, $catalog, $query, $change) = @_;
    my $pid = $session->query_safe('SELECT pg_backend_pid()');
    my $holder = $node->background_psql('postgres');
    $holder->query_safe("BEGIN; LOCK TABLE pg_catalog.$catalog IN ACCESS EXCLUSIVE MODE");
    $session->query_until(qr/asked/, "\\echo asked\n$query;\n");
    # (asked of the holder: new sessions would need the catalog)
    wait_until("it waits for $catalog, or is done", sub {
        $holder->query_safe('SELECT pg_stat_clear_snapshot()');
        $holder->query_safe("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $pid)
            OR EXISTS (SELECT FROM pg_stat_get_activity($pid) WHERE state = 'idle' AND starts_with(query, \$q\$$query\$q\$))") eq 't' });
    $holder->query_safe("$change; COMMIT");
    $holder->quit;
    $session->query('SELECT 1');
    return;
}

# ------------------------------------------------------------------------
# A session looks something up
# ------------------------------------------------------------------------
new_stream($node, 'disabled');
my $session = $node->background_psql('postgres', on_error_stop => 0);
amid($session, 'pg_foreign_data_wrapper', q{SELECT firehose_put_record('disabled', '1')},
    q{ALTER SERVER disabled OPTIONS (ADD enabled 'false')});
$session->query(q{SELECT firehose_put_record('disabled', '2')});
like($session->{stderr}, qr/stream "disabled" is disabled/, 'options that change during the look-up are read again');
$session->{stderr} = '';
$session->quit;
sql('DROP SERVER disabled');

new_stream($node, 'renamed');
sql(q{CREATE TABLE parent (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE SCHEMA old_name;
    CREATE TABLE old_name.child PARTITION OF parent FOR VALUES FROM (0) TO (100);
    CREATE TRIGGER t AFTER INSERT ON old_name.child FOR EACH ROW EXECUTE FUNCTION firehose_trigger('renamed')});
$session = $node->background_psql('postgres');
# the schema's name is known to the session, but not which schema has that name
is($session->query_safe(q{SELECT oid::regclass FROM pg_class WHERE relname = 'child'}), 'old_name.child', 'before');
amid($session, 'pg_namespace', 'INSERT INTO parent VALUES (1)', 'ALTER SCHEMA old_name RENAME TO new_name');
$session->query_safe('INSERT INTO parent VALUES (2)');
$session->quit;
is(sql(q{SELECT firehose_flush('renamed', '60 s')}), 't', 'both are delivered');
# (the first has the name of before, unless it had to wait for the catalog)
like(join(' ', map { "$_->{schema} $_->{after}{id}" } events($emulator, 'renamed')), qr/^(?:old|new)_name 1 new_name 2$/,
    'a schema that is renamed during the look-up has its new name afterwards');

# as an update of the extension adds one
sql('ALTER EXTENSION firehose DROP TABLE firehose_pipelines');
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query('SELECT count(*) FROM firehose_stat_pipeline()');
like($session->{stderr}, qr/table "firehose_pipelines" of the extension firehose does not exist/, 'a table of the extension is missing');
$session->{stderr} = '';
sql('ALTER EXTENSION firehose ADD TABLE firehose_pipelines');
is($session->query('SELECT count(*) FROM firehose_stat_pipeline()'), '0', 'and is found once it is there') or diag($session->{stderr});
$session->{stderr} = '';
$session->quit;

# ------------------------------------------------------------------------
# Streams come and go
# ------------------------------------------------------------------------
sql(q{CREATE PROCEDURE make_streams(round int) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1 .. 50 LOOP
            EXECUTE format('CREATE SERVER short_%s_%s FOREIGN DATA WRAPPER firehose', round, i);
            PERFORM firehose_put_record(format('short_%s_%s', round, i), 'x');
            COMMIT;
        END LOOP;
    END $$;
    CREATE PROCEDURE drop_streams(round int) LANGUAGE plpgsql AS $$
    BEGIN
        FOR i IN 1 .. 50 LOOP
            EXECUTE format('DROP SERVER short_%s_%s', round, i);
            COMMIT;
        END LOOP;
    END $$});
$session = $node->background_psql('postgres');
foreach my $round (1 .. 4)
{
    $session->query_safe($_)
      foreach "CALL make_streams($round)", q{SELECT 1 / firehose_flush(NULL, '60 s')::int}, "CALL drop_streams($round)";
}
cmp_ok($session->query_safe(q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'firehose stream'}), '<', 150,
    'a session forgets streams that are gone');
$session->quit;
my $offset = -s $node->logfile;
my $sender = sender_of($node, 'postgres');
sql("SELECT pg_log_backend_memory_contexts($sender)");
wait_until('the sender says what memory it has', sub { logged($node, qr/Grand total:/, $offset) });
my $log = slurp_file($node->logfile, $offset);
my $contexts = () = $log =~ /; firehose stream:/g;
$contexts += $1 while $log =~ /(\d+) more child contexts/g;
cmp_ok($contexts, '<', 150, 'and so does the sender');

# ------------------------------------------------------------------------
# A default of streams' options
# ------------------------------------------------------------------------
sql('CREATE TABLE lines (n serial PRIMARY KEY); CREATE PUBLICATION lines FOR TABLE lines');
new_pipeline($node, 'postgres', 'lines', ['lines'], copy_data => 'false');
sql('INSERT INTO lines DEFAULT VALUES');
wait_confirmed($node, 'postgres', 'lines');
is(scalar(grep { $_->{data} !~ /\n\z/ } $emulator->records('lines')), 0, 'each record is a line');
alter_settings($node, 'firehose.delimiter' => 'none');
wait_until('a decoder goes by a new firehose.delimiter', sub {
    sql('INSERT INTO lines DEFAULT VALUES');
    $emulator->control('POST', 'flush');
    grep { $_->{data} !~ /\n\z/ } $emulator->records('lines') });
alter_settings($node, 'firehose.delimiter' => 'default');
sql(q{SELECT firehose_drop_pipeline('lines')});

# ------------------------------------------------------------------------
# Commands without a publication
# ------------------------------------------------------------------------
SKIP:
{
    skip 'a publication that is missing is no error of pgoutput', 3 unless $node->pg_version < 18;
    sql('CREATE TABLE t (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
    new_pipeline($node, 'postgres', 'away', ['p'], copy_data => 'false');
    sql(q{SELECT firehose_pause_pipeline('away')});
    wait_until('its decoder goes', sub { decoder_pids($node) == 0 });
    sql($_) foreach 'DROP PUBLICATION p CASCADE', q{SELECT firehose_pause_pipeline('away')},
      'TRUNCATE firehose_dead_letters, firehose_copies', 'CREATE PUBLICATION p FOR TABLE t',
      'INSERT INTO t VALUES (1)', q{SELECT firehose_alter_pipeline('away', publications => '{p}'); SELECT firehose_resume_pipeline('away')};
    wait_until('what follows arrives, or not', sub {
        events($emulator, 'away') == 1 || pipeline_state($node, 'postgres', 'away') eq 'failed' });
    is(pipeline_state($node, 'postgres', 'away'), 'streaming', 'what changes our own tables needs no publication')
      or diag(sql('SELECT reason FROM firehose_stat_pipeline'));
    sql(q{SELECT firehose_drop_pipeline('away')});
}

# ------------------------------------------------------------------------
# A decoder ends amid a transaction, beside a copy
# ------------------------------------------------------------------------
sql(q{CREATE TABLE copied (id int PRIMARY KEY, v text); INSERT INTO copied SELECT n, 'v' FROM generate_series(1, 20000) n;
    CREATE TABLE large (n int, v text); CREATE PUBLICATION copied FOR TABLE copied, large});
alter_settings($node, 'firehose.copy_rate' => 300);
new_pipeline($node, 'postgres', 'copied', ['copied'], stream => new_stream($node, 'copied', max_in_flight => 1));
wait_for_sql($node, q{SELECT coalesce(sum(rows), 0) > 50 FROM firehose_stat_progress_copy});
my $accepted = q{SELECT accepted FROM firehose_stat_stream WHERE stream = 'copied'};
foreach my $round (1 .. 3)
{
    $emulator->fault('delay', { seconds => 0.3 });
    sql('INSERT INTO large SELECT n, repeat(chr(65 + n % 26), 500) FROM generate_series(1, 30000) n');
    wait_state($node, 'postgres', 'copied', 'waiting');
    # the chunks before it are
    my $before = sql($accepted);
    wait_until('some of it is delivered', sub { sql($accepted) > $before + 3000 });
    my ($pid) = decoder_pids($node);
    sql("SELECT pg_terminate_backend($pid)");
    wait_until('another decoder runs', sub { my ($other) = decoder_pids($node); $other && $other != $pid });
    $emulator->heal;
    wait_confirmed($node, 'postgres', 'copied');
}
my @read = read_rows($emulator, 'copied', 'copied');
my %ids = map { $_ => 1 } @read;
cmp_ok(scalar(@read), '<', 1.2 * keys %ids, 'hardly a row came twice: ' . @read . ' of ' . keys %ids);
sql(q{SELECT firehose_drop_pipeline('copied')});
wait_until('its decoder goes', sub { decoder_pids($node) == 0 });

# ------------------------------------------------------------------------
# Durable puts into one stream after another
# ------------------------------------------------------------------------
my $streams = 60;
sql('SELECT firehose_enable_durable_puts()');
wait_state($node, 'postgres', 'durable_puts', 'streaming');
sub put_much
{
    my ($stream) = @_;
    new_stream($node, $stream);
    sql("SELECT count(firehose_put_record('$stream', repeat('x', 1000))) FROM generate_series(1, 300)");
    wait_confirmed($node, 'postgres', 'durable_puts');
    return;
}
put_much('many_1');
my ($pid) = decoder_pids($node);
my $memory = worker_memory($pid);
put_much("many_$_") foreach 2 .. $streams;
is((decoder_pids($node))[0], $pid, 'one decoder has read them all');
# (a buffer for each took 260 kB of it)
my $grown = (worker_memory($pid) - $memory) / $streams;
cmp_ok($grown, '<', 100, 'a stream that had a batch leaves less than 100 kB with it') or diag("$grown kB");

$node->stop;
done_testing();
