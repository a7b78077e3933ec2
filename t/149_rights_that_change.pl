# What a pipeline's owner may have is looked at after every change that may concern
# it, and only then: also if it was changed while the pipeline's slot was being made,
# and not once more for each thousand records of a backlog, whose changes are told by
# the catalogs of before it.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, autovacuum => 'off', 'firehose.queue_size' => '4MB');

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub as_owner { return sql("SET ROLE owner; $_[0]") }

sub arrived
{
    my ($pipeline) = @_;
    wait_confirmed($node, 'postgres', $pipeline);
    return join(' ', map { "$_->{table}$_->{after}{n}" } events($emulator, $pipeline));
}

# A change that the owner may not have is not sent.
sub refused
{
    my ($pipeline, $insert, $expected, $name) = @_;
    my $before = scalar events($emulator, $pipeline);
    sql($insert);
    my $reason = '';
    wait_until($name, sub {
        $reason = sql("SELECT reason FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
        $reason =~ $expected });
    return is(scalar events($emulator, $pipeline), $before, 'and nothing is sent');
}

# How often decoders have looked: the query reads all of pg_publication_namespace.  A
# process counts when it ends.
sub looks
{
    my ($pipeline) = @_;
    sql("SELECT firehose_pause_pipeline('$pipeline')");
    wait_until('no decoder runs', sub { !decoder_pids($node) });
    my $n = sql(q{SELECT seq_scan FROM pg_stat_sys_tables WHERE relname = 'pg_publication_namespace'});
    sql("SELECT firehose_resume_pipeline('$pipeline')");
    wait_state($node, 'postgres', $pipeline, 'streaming');
    return $n;
}

sql(q{CREATE ROLE owner LOGIN REPLICATION; CREATE SCHEMA s AUTHORIZATION owner; GRANT CREATE ON DATABASE postgres TO owner;
    CREATE SCHEMA foreign_schema; CREATE TABLE foreign_schema.secret (n int PRIMARY KEY)});
as_owner('CREATE TABLE s.t (n int PRIMARY KEY, v int); CREATE PUBLICATION p FOR TABLE s.t');
new_stream($node, 'p');
sql('GRANT USAGE ON FOREIGN SERVER p TO owner; GRANT SELECT ON s.t TO owner');

# ------------------------------------------------------------------------
# While the slot is being made, which waits for an older transaction
# ------------------------------------------------------------------------
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN');
$old->query_safe('SELECT pg_current_xact_id()');
as_owner(q{SELECT firehose_create_pipeline('p', 'p', '{p}', copy_data => false)});
wait_until('the slot is being made', sub {
    sql(q{SELECT reason FROM firehose_stat_pipeline}) =~ /the slot is being made/ });
sql('ALTER TABLE s.t OWNER TO postgres; REVOKE ALL ON s.t FROM owner');
$old->query_safe('COMMIT');
$old->quit;
wait_until('it is made', sub { sql('SELECT slot_created FROM firehose_pipelines') eq 't' });
refused('p', 'INSERT INTO s.t VALUES (1)', qr/may not read all that the pipeline sends: s\.t/, 'what was revoked meanwhile is noticed');
sql(q{ALTER TABLE s.t OWNER TO owner; GRANT ALL ON s.t TO owner; SELECT firehose_resume_pipeline('p')});
is(arrived('p'), 't1', 'granted again, it is sent');

# ------------------------------------------------------------------------
# Each thing that may concern it
# ------------------------------------------------------------------------
sql('GRANT SELECT ON s.t TO pg_database_owner; ALTER DATABASE postgres OWNER TO owner; ALTER TABLE s.t OWNER TO postgres; REVOKE ALL ON s.t FROM owner');
sql('INSERT INTO s.t VALUES (2)');
is(arrived('p'), 't1 t2', 'the owner of the database may read it');
foreach my $case (
    [ 'ALTER DATABASE postgres OWNER TO postgres', 'ALTER TABLE s.t OWNER TO owner' ],
    [ 'REVOKE ALL ON s.t FROM owner', 'GRANT ALL ON s.t TO owner' ],
    [ 'REVOKE ALL ON s.t FROM owner; GRANT SELECT (n) ON s.t TO owner', 'GRANT SELECT (v) ON s.t TO owner' ],
    [ 'REVOKE SELECT (v) ON s.t FROM owner', 'GRANT ALL ON s.t TO owner' ],
    [ 'ALTER PUBLICATION p ADD TABLE foreign_schema.secret', 'ALTER PUBLICATION p DROP TABLE foreign_schema.secret' ],
    [ 'ALTER PUBLICATION p ADD TABLES IN SCHEMA foreign_schema', 'GRANT SELECT ON foreign_schema.secret TO owner' ],
    [ 'CREATE TABLE foreign_schema.other (n int)', 'DROP TABLE foreign_schema.other' ],
    [ 'CREATE TABLE moved (n int); ALTER TABLE moved SET SCHEMA foreign_schema', 'DROP TABLE foreign_schema.moved' ])
{
    my ($revoke, $grant) = @$case;
    sql($revoke);
    refused('p', 'INSERT INTO s.t SELECT max(n) + 1 FROM s.t', qr/may not read all/, $revoke);
    sql("$grant; SELECT firehose_resume_pipeline('p')");
    wait_state($node, 'postgres', 'p', 'streaming');
    like(arrived('p'), qr/ t$_$/, $grant) foreach sql('SELECT max(n) FROM s.t');
}
sql('ALTER PUBLICATION p DROP TABLES IN SCHEMA foreign_schema; CREATE TABLE s.root (n int) PARTITION BY RANGE (n);
    CREATE TABLE s.branch PARTITION OF s.root FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (n);
    GRANT SELECT ON s.root, s.branch TO owner; ALTER PUBLICATION p ADD TABLE s.root');
sql('INSERT INTO s.t SELECT max(n) + 1 FROM s.t');
like(arrived('p'), qr/ t$_$/, 'a partitioned table') foreach sql('SELECT max(n) FROM s.t');
sql('CREATE TABLE s.leaf PARTITION OF s.branch FOR VALUES FROM (0) TO (10)');
refused('p', 'INSERT INTO s.root VALUES (5)', qr/may not read all that the pipeline sends: s\.leaf/, 'a new partition');
sql(q{GRANT SELECT ON s.leaf TO owner; SELECT firehose_resume_pipeline('p')});
like(arrived('p'), qr/ leaf5$/, 'that may be read');

# ------------------------------------------------------------------------
# And no other
# ------------------------------------------------------------------------
sql('CREATE TABLE unrelated (n int PRIMARY KEY, v text)');
my $looks = looks('p');
my $each = looks('p') - $looks;
cmp_ok($each, '>', 0, "a start looks once, which counts $each");

$looks = looks('p');
foreach my $n (1 .. 5)
{
    sql("CREATE TEMP TABLE passing (n int PRIMARY KEY, v text); DROP TABLE passing; ALTER TABLE unrelated ALTER v SET STATISTICS $n;
        ANALYZE unrelated; INSERT INTO s.t SELECT max(n) + 1 FROM s.t");
    arrived('p');
}
is(looks('p') - $looks, $each, 'temporary and other tables do not count');

$looks = looks('p');
foreach my $n (1 .. 2)
{
    sql("ALTER TABLE s.t ALTER v SET STATISTICS $n; INSERT INTO s.t SELECT max(n) + 1 FROM s.t");
    arrived('p');
}
is(looks('p') - $looks, 3 * $each, 'a table that is sent counts once');

# a backlog of many rounds
$looks = looks('p');
my ($pid) = decoder_pids($node);
kill('STOP', $pid);
sql(q{ALTER TABLE s.t ALTER v SET STATISTICS 7; SELECT count(pg_logical_emit_message(false, 'filler', '')) FROM generate_series(1, 30000);
    INSERT INTO s.t SELECT max(n) + 1 FROM s.t});
kill('CONT', $pid);
like(arrived('p'), qr/ t$_$/, 'the end of a backlog') foreach sql('SELECT max(n) FROM s.t');
is(looks('p') - $looks, 2 * $each, 'one change is looked at once in a backlog');

# ------------------------------------------------------------------------
# What is decoded, and is older than a change that is told, hides it not
# ------------------------------------------------------------------------
sql(q{ALTER SERVER p OPTIONS (ADD max_in_flight '1')});
$emulator->fault('delay', { seconds => 1 });
sql('INSERT INTO s.t SELECT n, 0 FROM generate_series(10001, 50000) n');
wait_state($node, 'postgres', 'p', 'waiting');
sql(q{INSERT INTO s.t VALUES (100001); SELECT count(pg_logical_emit_message(false, 'filler', '')) FROM generate_series(1, 5000)});
sql('REVOKE ALL ON s.t FROM owner');
sql('INSERT INTO s.t VALUES (100002)');
$emulator->heal;
sub sent { my ($n) = @_; $emulator->control('POST', 'flush'); return scalar grep { $_->{data} =~ /"n":$n\b/ } $emulator->records('p') }
wait_until('what was revoked amid a transaction is noticed after it, or what comes later is sent', sub {
    sql(q{SELECT reason FROM firehose_stat_pipeline}) =~ /may not read all/ || sent(100002) });
is(sent(100002), 0, 'what was changed afterwards is not sent');
sql(q{GRANT ALL ON s.t TO owner; SELECT firehose_resume_pipeline('p')});
wait_confirmed($node, 'postgres', 'p');
is(join(' ', sent(100001), sent(100002)), '1 1', 'until it is granted again');

$node->stop;
done_testing();
