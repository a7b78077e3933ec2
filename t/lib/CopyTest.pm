# What the tests of copies share: tables under traffic, and two kinds of consumer
# that have to end with them.
package CopyTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use FirehoseTest;

our @EXPORT = qw(
  prepare_traffic create_table start_traffic stop_traffic aim_at
  copies_left copied_rows tables_being_copied
  wait_copied read_rows consumers_ok
);

# What sessions do to the tables that `aim` names until `stop` has a row: short
# transactions that insert, update, delete, change keys and leave large values alone,
# some of which are rolled back.  A half of the keys are multiples of `step`.
sub prepare_traffic
{
    my ($node) = @_;
    $node->safe_psql('postgres', <<'END');
    CREATE TABLE stop (at int);
    CREATE TABLE aim (tab text, max int, step int);
    CREATE PROCEDURE work(seed float, pause float) LANGUAGE plpgsql AS $$
    DECLARE
        at aim; k int; m int;
    BEGIN
        PERFORM setseed(seed);
        WHILE NOT EXISTS (SELECT FROM stop) LOOP
            SELECT * INTO at FROM aim ORDER BY random() LIMIT 1;
            FOR i IN 1 .. CASE WHEN at.tab IS NULL THEN 0 ELSE 1 + (random() * 3)::int END LOOP
                k := (random() * at.max)::int;
                IF random() < 0.5 THEN k := k - k % at.step; END IF;
                m := (random() * at.max)::int;
                CASE (random() * 6)::int
                WHEN 0 THEN
                    EXECUTE format('INSERT INTO %s VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', at.tab)
                        USING k, random()::text, repeat(chr(97 + m % 26), 2100 + m % 100);
                WHEN 1 THEN EXECUTE format('DELETE FROM %s WHERE id = $1', at.tab) USING k;
                WHEN 2, 3 THEN
                    BEGIN
                        EXECUTE format('UPDATE %s SET id = $2 WHERE id = $1', at.tab) USING k, m;
                    EXCEPTION WHEN unique_violation THEN NULL;
                    END;
                WHEN 4 THEN
                    EXECUTE format('UPDATE %s SET big = $2 WHERE id = $1', at.tab)
                        USING k, repeat(chr(97 + k % 26), 2100 + m % 100);
                ELSE EXECUTE format('UPDATE %s SET v = $2 WHERE id = $1', at.tab) USING k, random()::text;
                END CASE;
            END LOOP;
            IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
            PERFORM pg_sleep(pause);
        END LOOP;
    END $$;
END
    return;
}

# A table of so many rows.  One in `step` has a large value, in the file of
# large values.
sub create_table
{
    my ($node, $table, $rows, $step) = @_;
    $node->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, v text, big text);
        ALTER TABLE $table ALTER big SET STORAGE EXTERNAL;
        INSERT INTO $table SELECT id, 'v', CASE WHEN id % $step = 0 THEN repeat(chr(97 + id % 26), 2100) END
            FROM generate_series(1, $rows) id", timeout => 1800);
    return;
}

# The tables to work on, each as its name, the greatest key, and `step`.
sub aim_at
{
    my ($node, @tables) = @_;
    my $values = join(', ', map { "('$_->[0]', $_->[1], $_->[2])" } @tables);
    return ask($node, 'BEGIN; DELETE FROM aim; ' . ($values ? "INSERT INTO aim VALUES $values; " : '') . 'COMMIT');
}

sub start_traffic
{
    my ($node, $seed, $pause) = @_;
    return map {
        my ($out, $err) = ('', '');
        my $number = ($seed * 4 + $_) % 1000 / 1000;
        IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL work($number, $pause)" ],
            '<', '/dev/null', '>', \$out, '2>', \$err)
    } 1 .. 4;
}

sub stop_traffic
{
    my ($node, @sessions) = @_;
    $node->safe_psql('postgres', 'INSERT INTO stop VALUES (1)');
    $_->finish foreach @sessions;
    $node->safe_psql('postgres', 'TRUNCATE stop');
    return;
}

# How many copies, of a pipeline or of all, are not done yet; undefined when the server
# does not answer.
sub copies_left
{
    my ($node, $pipeline) = @_;
    my $n = ask($node, q{SELECT count(*) FROM firehose_stat_progress_copy WHERE phase NOT IN ('done', 'skipped')}
          . ($pipeline ? " AND pipeline = '$pipeline'" : ''));
    return $n eq '' ? undef : $n;
}

sub copied_rows
{
    my ($node) = @_;
    my $n = ask($node, 'SELECT coalesce(sum(rows), 0) FROM firehose_stat_progress_copy');
    return $n eq '' ? undef : $n;
}

sub tables_being_copied
{
    my ($node) = @_;
    return split /\n/, ask($node, q{SELECT DISTINCT "table" FROM firehose_stat_progress_copy WHERE phase = 'reading'});
}

sub wait_copied
{
    my ($node, $name, $timeout) = @_;
    return wait_until("all of $name is copied", sub {
            ask($node, "SELECT bool_and(phase = 'done') FROM firehose_stat_progress_copy WHERE pipeline = '$name'") eq 't' },
        $timeout // 120);
}

# The keys of the rows that a pipeline has read of a table, in the order of their
# arrival, each as the JSON of its key.  (Without a parser: they are many.)
sub read_rows
{
    my ($emulator, $stream, $table) = @_;
    $emulator->control('POST', 'flush');
    return map { $_->{data} =~ /^\{"v":1,"op":"r",.*?"table":"$table".*?"key":\{(.*?)\}/ ? $1 : () }
      grep { $_->{state} ne 'R' } $emulator->records($stream);
}

# Both consumers of a stream end with these tables; with by_id_only => 1 one of them
# does.  Their key is id, or key => a column that never changes.
sub consumers_ok
{
    my ($node, $emulator, $stream, $tables, %options) = @_;
    my $file = $node->basedir . "/$stream.expected";
    my $key = $options{key} // 'id';
    my @selects = map { "SELECT jsonb_build_object('table', '$_', 'key', jsonb_build_object('$key', $key), 'row', to_jsonb(t)) FROM $_ t" } @$tables;
    unlink $file;
    IPC::Run::run([ 'psql', '-XAtq', '-v', 'FETCH_COUNT=10000', '-d', $node->connstr('postgres'), '-o', $file,
            map { ('-c', $_) } @selects ]) or die 'psql';
    $emulator->control('POST', 'flush');
    my ($out, $err) = ('', '');
    my $equal = IPC::Run::run([ '/usr/bin/python3', 'test/replay/consumers.py', $emulator->dir, $stream, $file,
            (map { ('--table', $_) } @$tables), $options{by_id_only} ? '--by-id-only' : (),
            $options{key} ? ('--key', $key) : () ], '>', \$out, '2>', \$err);
    unlink $file;
    ok($equal, ($options{by_id_only} ? 'the consumer by id' : 'both consumers') . " of $stream end with the table"
          . ($#$tables > 0 ? 's' : '')) or diag("$out$err");
    note($out);
    return $equal;
}

1;
