# A table is copied while four sessions insert, update, delete, change keys and
# leave large values alone, entries fail, decoders are terminated and VACUUM runs
# in a loop.  Both kinds of consumer end with the table that the server has: one
# that applies by arrival (of a stream that keeps the order) and one by id.
# Meanwhile VACUUM's horizon moves.  With --long the table has five million rows,
# and the postmaster is killed ten times.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $first = $ENV{FIREHOSE_TEST_SEED} // 1;
my $seeds = is_long() ? 20 : 2;
my $rows = 3000;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, autovacuum => 'off');

sub sql { return $node->safe_psql('postgres', @_) }

# A session at work on a table: short transactions until told to stop.
sql(q{
    CREATE TABLE stop (at int);
    CREATE PROCEDURE work(tab regclass, max int) LANGUAGE plpgsql AS $$
    DECLARE
        k int; m int;
    BEGIN
        WHILE NOT EXISTS (SELECT FROM stop) LOOP
            FOR i IN 1 .. 1 + (random() * 3)::int LOOP
                k := (random() * max)::int;
                m := (random() * max)::int;
                CASE (random() * 6)::int
                WHEN 0 THEN
                    EXECUTE format('INSERT INTO %s VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', tab)
                        USING k, random()::text, repeat(chr(97 + m % 26), 3000 + m % 100);
                WHEN 1 THEN EXECUTE format('DELETE FROM %s WHERE id = $1', tab) USING k;
                WHEN 2, 3 THEN
                    BEGIN
                        EXECUTE format('UPDATE %s SET id = $2 WHERE id = $1', tab) USING k, m;
                    EXCEPTION WHEN unique_violation THEN NULL;
                    END;
                WHEN 4 THEN
                    EXECUTE format('UPDATE %s SET big = $2 WHERE id = $1', tab)
                        USING k, repeat(chr(97 + k % 26), 3000 + m % 100);
                ELSE EXECUTE format('UPDATE %s SET v = $2 WHERE id = $1', tab) USING k, random()::text;
                END CASE;
            END LOOP;
            IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
            PERFORM pg_sleep(0.004);
        END LOOP;
    END $$;});

sub start
{
    my (@command) = @_;
    my ($out, $err) = ('', '');
    return IPC::Run::start(\@command, '>', \$out, '2>', \$err);
}

sub psql_in_background { return start('psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $_[0]) }

sub copying
{
    my ($code, $out) = $node->psql('postgres', q{SELECT count(*) FROM firehose_stat_progress_copy
        WHERE phase NOT IN ('done', 'skipped')});
    return $code != 0 || $out ne '0';
}

# What arrived against what is there.
sub consumers_ok
{
    my ($seed, $stream, $table, @options) = @_;
    my $base = $node->basedir . "/$stream";
    my $expected = sql("SELECT jsonb_build_object('key', jsonb_build_object('id', id), 'row', to_jsonb(t)) FROM $table t");
    append_to_file("$base.expected", "$expected\n");
    $emulator->control('POST', 'flush');
    open(my $file, '>', "$base.records") or die "$base: $!";
    print $file $_->{data} foreach grep { $_->{state} ne 'R' } $emulator->records($stream);
    close($file);
    my ($out, $err) = ('', '');
    ok(IPC::Run::run([ '/usr/bin/python3', 'test/replay/consumers.py', "$base.records",
                "$base.expected", @options ], '>', \$out, '2>', \$err),
        "seed $seed: consumers of $stream end with the table")
      or diag("$out$err");
    note($out);
    return;
}

# Entries fail at random and arrive in any order, or none fails and one request at a
# time is under way.
foreach my $seed ($first .. $first + $seeds - 1)
{
    srand($seed);
    my $table = "t$seed";
    my $name = "copy$seed";
    my $ordered = $seed % 2 == 0;
    # (an error that is no throttling, which would make it wait for the pace)
    $emulator->fault('fail_records', { probability => 0.2, code => 'InternalFailure', message => 'try again' },
        { seed => $seed }) unless $ordered;
    sql("CREATE TABLE $table (id int PRIMARY KEY, v text, big text);
        ALTER TABLE $table ALTER big SET STORAGE EXTERNAL;
        INSERT INTO $table SELECT id, 'v', repeat('a', 3000) FROM generate_series(1, $rows) id;
        CREATE PUBLICATION p$seed FOR TABLE $table; TRUNCATE stop");
    my @sessions = map { psql_in_background("CALL work('$table', " . int($rows * 1.5) . ')') } 1 .. 4;
    my $stream = new_stream($node, $name, $ordered ? (max_in_flight => 1) : ());
    new_pipeline($node, 'postgres', $name, ["p$seed"], stream => $stream);
    my ($vacuums, $removed) = (0, 0);
    my $deadline = time() + 600;
    while (copying() && time() < $deadline)
    {
        my ($code, $out, $err) = $node->psql('postgres', "VACUUM VERBOSE $table");
        $removed++ if $err =~ /tuples: [1-9]\d* removed/;
        $vacuums++;
        if (rand() < 0.05)
        {
            my @pids = decoder_pids($node);
            $node->psql('postgres', "SELECT pg_terminate_backend($pids[rand @pids])") if @pids;
        }
    }
    ok(!copying(), "seed $seed: all is copied");
    cmp_ok($removed, '>', 0, "seed $seed: dead rows were removed while the copy ran ($removed of $vacuums)");
    sleep 0.5;
    sql('INSERT INTO stop VALUES (1)');
    $_->finish foreach @sessions;
    wait_confirmed($node, 'postgres', $name);
    note(sql(q{SELECT string_agg(concat_ws(' ', pipeline, rows, chunks), ', ') FROM firehose_stat_progress_copy}));
    consumers_ok($seed, $name, $table, $ordered ? () : ('--by-id-only'));
    sql("SELECT firehose_drop_pipeline('$name')");
    $emulator->heal unless $ordered;
}

$node->stop;
done_testing();
