# Tables and publications are changed while sessions write and a pipeline sends:
# columns come and go, tables are emptied, rewritten and dropped, a publication is
# altered and at last dropped with its pipeline.  No statement waits for a decoder,
# the pipeline streams on, and each row that was committed arrives.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $rounds = is_long() ? 50 : 6;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE TABLE written (id int PRIMARY KEY, filler text);
    CREATE TABLE beside (id int PRIMARY KEY);
    CREATE TABLE stop (now boolean);
    CREATE SEQUENCE ids;
    CREATE PUBLICATION p FOR TABLE written, beside;
    CREATE PROCEDURE write() LANGUAGE plpgsql AS $$
    BEGIN
        WHILE NOT EXISTS (SELECT FROM stop) LOOP
            INSERT INTO written (id, filler) SELECT nextval('ids'), repeat('x', 50) FROM generate_series(1, 5);
            COMMIT;
            PERFORM pg_sleep(0.002);
        END LOOP;
    END $$});
new_pipeline($node, 'postgres', 'load', ['p'], copy_data => 'false');

# While sessions write, run statements; none may wait for long.
sub under_load
{
    my ($what, @statements) = @_;
    my @sessions = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL write()' ],
            '<', '/dev/null') } 1 .. 2;
    my $before = sql('SELECT last_value FROM ids');
    wait_until("$what: sessions write", sub { sql('SELECT last_value FROM ids') > $before });
    my @times;
    push @times, seconds(sub { sql($_) }) foreach @statements;
    cmp_ok(max(@times), '<', 10, sprintf('%s: no statement waits (%.2f s at most)', $what, max(@times)));
    wait_for_sql($node, q{SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND backend_type LIKE 'firehose %'}, '0');
    sql('INSERT INTO stop VALUES (true)');
    ok($_->finish, "$what: a session has written") foreach @sessions;
    sql('TRUNCATE stop');
    return;
}

under_load('tables', map { (
        "ALTER TABLE written ADD COLUMN added_$_ int DEFAULT $_",
        "CREATE TABLE gone (id int PRIMARY KEY); ALTER PUBLICATION p ADD TABLE gone; INSERT INTO gone VALUES ($_)",
        'ALTER TABLE written ALTER filler TYPE varchar(' . (100 + $_) . ')',
        'TRUNCATE beside', "INSERT INTO beside VALUES ($_)",
        'DROP TABLE gone',
        $_ % 2 ? 'VACUUM FULL written' : 'CLUSTER written USING written_pkey',
        "ALTER TABLE written DROP COLUMN added_$_",
        'ALTER PUBLICATION p SET TABLE written, beside') } 1 .. $rounds);
wait_confirmed($node, 'postgres', 'load');
is(pipeline_state($node, 'postgres', 'load'), 'streaming', 'the pipeline streams on');
my @events = events($emulator, 'load');
my %inserted = map { $_->{after}{id} => 1 } grep { $_->{op} eq 'c' && $_->{table} eq 'written' } @events;
my @committed = split /\n/, sql('SELECT id FROM written');
is(scalar(grep { !$inserted{$_} } @committed), 0, scalar(@committed) . ' rows were committed, and each arrived');
is(scalar(keys %inserted), scalar(@committed), 'and no other');
is(scalar(grep { $_->{op} eq 'c' && $_->{table} eq 'gone' } @events), $rounds, 'those of tables that were dropped since, too');
is(sql('SELECT count(*) FROM firehose_dead_letter'), '0', 'there is no dead letter');

# the publication: a pipeline keeps it, unless it is to go with it
my ($code, undef, $error) = $node->psql('postgres', 'DROP PUBLICATION p');
like($error, qr/cannot drop publication because pipeline "load" needs it/, 'a publication that is needed is not dropped');
under_load('publication', 'DROP PUBLICATION p CASCADE');
wait_state($node, 'postgres', 'load', 'failed');
like(sql(q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'load'}),
    qr/publication "p" was dropped.*firehose_alter_pipeline/, 'a pipeline without a publication says so, and what to do');

$node->stop;
done_testing();
