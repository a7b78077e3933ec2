# What a pipeline needs, and what its owner may have, stays true while it runs:
# publications and streams are known by OID, a rename is followed from the place
# in the WAL where it happened, a drop is refused or stops the pipeline with a
# reason, and privileges that are revoked stop it before the next transaction.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub refused
{
    my ($statement, $expected, $name) = @_;
    my (undef, undef, $error) = $node->psql('postgres', $statement);
    like($error, $expected, $name);
}
sub reason { return sql("SELECT reason FROM firehose_stat_pipeline WHERE pipeline = '$_[0]'") }
sub wait_reason
{
    my ($pipeline, $expected, $name) = @_;
    wait_until($name, sub { reason($pipeline) =~ $expected });
    like(reason($pipeline), $expected, $name);
}
sub numbers
{
    my ($stream) = @_;
    return join(' ', map { $_->{after}{n} } grep { $_->{op} eq 'c' } events($emulator, $stream));
}

sql(q{CREATE ROLE owner LOGIN REPLICATION; GRANT CREATE ON DATABASE postgres TO owner; CREATE SCHEMA s AUTHORIZATION owner});
new_stream($node, $_) foreach 'one', 'two';
sql(q{GRANT USAGE ON FOREIGN SERVER one, two TO owner});
sql(q{SET ROLE owner; CREATE TABLE s.t (n int PRIMARY KEY); CREATE TABLE s.u (n int PRIMARY KEY);
    CREATE PUBLICATION p FOR TABLE s.t, s.u;
    SELECT firehose_create_pipeline('mine', 'one', '{p}', routes => '{"s.u": "two"}')});
wait_state($node, 'postgres', 'mine', 'streaming');

# renames: what was committed before them is decoded after them, too
sql('INSERT INTO s.t VALUES (1)');
wait_confirmed($node, 'postgres', 'mine');
sql('ALTER PUBLICATION p RENAME TO q; INSERT INTO s.t VALUES (2)');
wait_until('a renamed publication', sub { numbers('one') eq '1 2' });
sql(q{SELECT firehose_pause_pipeline('mine')});
wait_until('paused', sub { decoder_pids($node) == 0 });
sql('INSERT INTO s.t VALUES (3)');
sql('BEGIN; INSERT INTO s.t VALUES (4); ALTER PUBLICATION q RENAME TO r; INSERT INTO s.t VALUES (5); COMMIT');
sql('ALTER SERVER two RENAME TO three; INSERT INTO s.u VALUES (6); INSERT INTO s.t VALUES (7)');
is(sql(q{SELECT publications, stream, routes FROM firehose_pipeline}), '{r}|one|{"s.u": "three"}', 'new names are shown');
sql(q{SELECT firehose_resume_pipeline('mine')});
wait_until('renames are followed where they happened', sub { numbers('one') eq '1 2 3 4 5 7' });
wait_until('those of streams as well', sub { numbers('two') eq '6' || numbers('three') eq '6' });
wait_state($node, 'postgres', 'mine', 'streaming');

# rights that are revoked, and granted again
foreach my $case (
    [ 'ALTER PUBLICATION r OWNER TO postgres', qr/is not owner of publication "r"/, 'ALTER PUBLICATION r OWNER TO owner' ],
    [ 'ALTER TABLE s.t OWNER TO postgres', qr/may not read all that the pipeline sends: s\.t/, 'ALTER TABLE s.t OWNER TO owner' ],
    [ 'REVOKE USAGE ON FOREIGN SERVER one FROM owner', qr/permission denied for stream "one"/, 'GRANT USAGE ON FOREIGN SERVER one TO owner' ])
{
    my ($revoke, $expected, $grant) = @$case;
    sql($revoke);
    my $before = numbers('one');
    sql('INSERT INTO s.t SELECT max(n) + 1 FROM s.t');
    wait_reason('mine', $expected, $revoke);
    is(numbers('one'), $before, 'what comes later is not sent');
    sql("$grant; SELECT firehose_resume_pipeline('mine')");
    wait_until('granted again, it is', sub { numbers('one') ne $before });
    wait_state($node, 'postgres', 'mine', 'streaming');
}
wait_confirmed($node, 'postgres', 'mine');

# rights to tables of others, as a whole and by column, to new columns, partitions
# and schemas; other tables and what becomes of them are none of its business
sql(q{CREATE SCHEMA x; CREATE TABLE x.lent (n int PRIMARY KEY); GRANT SELECT ON x.lent TO owner;
    CREATE TABLE x.parts (n int PRIMARY KEY) PARTITION BY RANGE (n); GRANT SELECT ON x.parts TO owner;
    CREATE TABLE x.private (n int);
    CREATE SCHEMA y; CREATE TABLE y.private (n int PRIMARY KEY);
    ALTER PUBLICATION r ADD TABLE x.lent, x.parts});
foreach my $case (
    [ 'REVOKE SELECT ON x.lent FROM owner', 'x.lent', 'GRANT SELECT (n) ON x.lent TO owner' ],
    [ 'ALTER TABLE x.lent ADD COLUMN secret text', 'x.lent', 'GRANT SELECT (secret) ON x.lent TO owner' ],
    [ 'REVOKE SELECT (n) ON x.lent FROM owner', 'x.lent', 'GRANT SELECT ON x.lent TO owner' ],
    [ 'CREATE TABLE x.part PARTITION OF x.parts FOR VALUES FROM (1) TO (10)', 'x.part', 'GRANT SELECT ON x.part TO owner' ],
    [ 'ALTER PUBLICATION r ADD TABLES IN SCHEMA y', 'y.private', 'GRANT SELECT ON y.private TO owner' ])
{
    my ($revoke, $table, $grant) = @$case;
    sql(q{ALTER TABLE x.private ADD COLUMN IF NOT EXISTS other int; CREATE TEMP TABLE brief (n int)});
    sql('INSERT INTO s.t SELECT max(n) + 1 FROM s.t');
    wait_confirmed($node, 'postgres', 'mine');
    is(pipeline_state($node, 'postgres', 'mine'), 'streaming', 'it streams');
    sql($revoke);
    my $before = numbers('one');
    sql('INSERT INTO s.t SELECT max(n) + 1 FROM s.t');
    wait_reason('mine', qr/may not read all that the pipeline sends: \Q$table\E\b/, $revoke);
    is(numbers('one'), $before, 'what comes later is not sent');
    sql("$grant; SELECT firehose_resume_pipeline('mine')");
    wait_until('granted again, it is', sub { numbers('one') ne $before });
    wait_state($node, 'postgres', 'mine', 'streaming');
}
sql('ALTER PUBLICATION r DROP TABLES IN SCHEMA y; ALTER PUBLICATION r SET TABLE s.t, s.u');

# options of a stream that records depend on
sub lines { my ($n) = @_; return join(' ', map { $_->{data} =~ /\n\z/ ? 'newline' : 'none' }
    grep { $_->{state} ne 'R' && $_->{data} =~ /"n":$n\D/ } $emulator->records('one')) }
sql(q{ALTER SERVER one OPTIONS (ADD delimiter 'none'); INSERT INTO s.t VALUES (50)});
sql('INSERT INTO s.t VALUES (51)');
wait_confirmed($node, 'postgres', 'mine');
$emulator->control('POST', 'flush');
is(lines(51), 'none', 'a delimiter that was altered');
sql('ALTER SERVER one OPTIONS (DROP delimiter)');
sql('INSERT INTO s.t VALUES (52)');
wait_confirmed($node, 'postgres', 'mine');
$emulator->control('POST', 'flush');
is(lines(52), 'newline', 'and altered back');

# drops
refused('DROP PUBLICATION r', qr/cannot drop publication because pipeline "mine" needs it/, 'a publication is not dropped');
refused('DROP SERVER three', qr/cannot drop stream because pipeline "mine" needs it/, 'nor is a stream');
sql('INSERT INTO s.t VALUES (100)');
wait_until('it goes on', sub { numbers('one') =~ / 100$/ });

# another publication of the name is another publication
sql('CREATE TABLE secret (n int PRIMARY KEY)');
my (undef, undef, $notice) = $node->psql('postgres', 'DROP PUBLICATION r CASCADE');
like($notice, qr/NOTICE:  pipeline "mine" stops because a publication of it is dropped/, 'CASCADE drops it, and says what stops');
sql('CREATE PUBLICATION r FOR ALL TABLES; INSERT INTO secret VALUES (666); INSERT INTO s.t VALUES (101)');
wait_state($node, 'postgres', 'mine', 'failed');
like(reason('mine'), qr/publication "r" was dropped.*firehose_alter_pipeline\('mine', publications/, 'the reason tells what to do');
sql(q{SELECT firehose_resume_pipeline('mine')});
wait_state($node, 'postgres', 'mine', 'failed');
refused(q{SET ROLE owner; SELECT firehose_alter_pipeline('mine')}, qr/must be owner of publication r/, 'its name alone is not enough');
unlike(numbers('one'), qr/666/, 'nothing of it was sent');

# on from now with another one
sql(q{SET ROLE owner; CREATE PUBLICATION other FOR TABLE s.t, s.u; SELECT firehose_alter_pipeline('mine', publications => '{other}')});
sql(q{SELECT firehose_resume_pipeline('mine', from_now => true)}) if pipeline_state($node, 'postgres', 'mine') eq 'failed';
wait_until('it streams, or says that it cannot', sub { pipeline_state($node, 'postgres', 'mine') =~ /streaming|failed/ });
if (pipeline_state($node, 'postgres', 'mine') eq 'failed')
{
    like(reason('mine'), qr/from_now => true/, 'the reason names from_now');
    sql(q{SELECT firehose_resume_pipeline('mine', from_now => true)});
    wait_state($node, 'postgres', 'mine', 'streaming');
}
sql('INSERT INTO s.t VALUES (102)');
wait_until('from now on', sub { numbers('one') =~ / 102$/ });
unlike(numbers('one'), qr/666/, 'and nothing of the other');

# a stranger's command takes no lock that others wait for
sql('CREATE ROLE stranger LOGIN');
is(sql(q{BEGIN; SET LOCAL ROLE stranger; SELECT firehose_drop_pipeline('nope', true);
    SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareRowExclusiveLock'; COMMIT}) =~ s/\s//gr, '0',
    'a stranger blocks no command on pipelines');

# its owner is dropped
sql('REASSIGN OWNED BY owner TO postgres; DROP OWNED BY owner; DROP ROLE owner');
sql('INSERT INTO s.t VALUES (103)');
wait_state($node, 'postgres', 'mine', 'failed');
like(reason('mine'), qr/its owner was dropped.*firehose_resume_pipeline\('mine'\)/, 'the owner is gone');
sql(q{SELECT firehose_resume_pipeline('mine')});
wait_until('another one takes it over', sub { numbers('one') =~ / 103$/ });
is(sql('SELECT owner FROM firehose_pipeline'), 'postgres', 'and owns it');

done_testing();
