# origin => 'none' leaves out what was replicated into a database, and the numbers
# of the rest do not depend on it: in a transaction of which a part has an origin,
# each change has the same number under 'none' and under 'any'.  For PostgreSQL
# 16 and later, whose pgoutput knows origins.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
plan skip_all => 'origins are known from PostgreSQL 16 on' if $major < 16;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TABLE other (a int PRIMARY KEY);
    ALTER TABLE t REPLICA IDENTITY FULL;
    CREATE PUBLICATION p FOR TABLE t, other;
    SELECT pg_replication_origin_create('elsewhere')});
new_pipeline($node, 'postgres', 'local', ['p'], origin => q{'none'}, messages => q{'{m}'});
new_pipeline($node, 'postgres', 'all', ['p'], messages => q{'{m}'});

my ($from, $back) = (q{SELECT pg_replication_origin_session_setup('elsewhere')}, 'SELECT pg_replication_origin_session_reset()');
sql("BEGIN;
    INSERT INTO t VALUES (1, 'here');
    $from;
    INSERT INTO t VALUES (2, 'there'), (3, 'there');
    UPDATE t SET b = 'changed there' WHERE a = 2;
    TRUNCATE other, t;
    $back;
    INSERT INTO t VALUES (4, 'here');
    SELECT pg_logical_emit_message(true, 'm', 'here');
    COMMIT");
# and one that is from elsewhere as a whole
sql("$from; INSERT INTO t VALUES (5, 'there'); $back");
sql(q{INSERT INTO t VALUES (6, 'here')});
wait_confirmed($node, 'postgres', $_) foreach qw(local all);

my %number = map { ($_->{op} . ($_->{after}{a} // '') => $_->{id}) } events($emulator, 'all');
is(join(' ', map { $_->{op} . ($_->{after}{a} // '') } events($emulator, 'local')), 'c1 c4 m c6',
    'what came from elsewhere is left out');
is($_->{id}, $number{ $_->{op} . ($_->{after}{a} // '') }, "$_->{op}: under its number") foreach events($emulator, 'local');

# it can be altered
sql(q{SELECT firehose_pause_pipeline('local')});
wait_state($node, 'postgres', 'local', 'paused');
sql(q{SELECT firehose_alter_pipeline('local', origin => 'any'); SELECT firehose_resume_pipeline('local')});
wait_state($node, 'postgres', 'local', 'streaming');
sql(q{INSERT INTO t VALUES (7, 'here')});
wait_confirmed($node, 'postgres', 'local');
my @last = events($emulator, 'local');
is($last[-1]{after}{a}, 7, 'altered, it goes on');

$node->stop;
done_testing();
