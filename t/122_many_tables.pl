# Tables that come and go.  A decoder keeps nothing of a table that was dropped,
# forgets what it read of the others when they are many, unless they take turns,
# and an invalidation costs the same however many tables it has seen.  A table keeps its changes' right name, and
# goes to the right stream, when its schema is renamed.
use strict;
use warnings FATAL => 'all';
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_locks_per_transaction => 512);
my $tables = is_long() ? 10_000 : 1_500;
my $dropped = is_long() ? 4_500 : 1_000;

# 8 columns each
my $columns = 'id int PRIMARY KEY, a text, b int, c bigint, d numeric, e timestamptz, f jsonb, g text';
$node->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root)');
new_pipeline($node, 'postgres', 'everything', ['everything']);

sub memory
{
    wait_confirmed($node, 'postgres', 'everything');
    return 1024 * worker_memory(decoder_pids($node));
}

# short-lived tables, each in a transaction of its own, with a change
sub come_and_go
{
    my ($n) = @_;
    $node->safe_psql('postgres', qq{
        DO \$\$ BEGIN
            FOR i IN 1..$n LOOP
                CREATE TABLE brief ($columns);
                INSERT INTO brief (id) VALUES (i);
                COMMIT;
                DROP TABLE brief;
                COMMIT;
            END LOOP;
        END \$\$});
    return;
}
come_and_go(100);
my $before = memory();
come_and_go($dropped);
my $grown = memory() - $before;
# what pgoutput keeps of a table is larger from 18 on
my $left = $node->pg_version < 18 ? 4096 : 5120;
cmp_ok($grown / $dropped, '<', $left, "a dropped table leaves less than $left bytes behind")
  or diag("$grown bytes of $dropped tables");
note(sprintf('%.0f bytes a table that was dropped', $grown / $dropped));

# CPU of the decoder for temporary tables that come and go, in us per transaction:
# the least of some rounds, since a busy machine can only add to it
sub temporary_tables
{
    my ($n) = @_;
    my @costs;
    foreach (1 .. 3)
    {
        my $begun = cpu_of(decoder_pids($node));
        $node->safe_psql('postgres', qq{
            DO \$\$ BEGIN
                FOR i IN 1..$n LOOP
                    CREATE TEMP TABLE brief (a int) ON COMMIT DROP;
                    INSERT INTO brief VALUES (1);
                    COMMIT;
                END LOOP;
            END \$\$});
        wait_confirmed($node, 'postgres', 'everything');
        push @costs, (cpu_of(decoder_pids($node)) - $begun) * 1e6 / $n;
    }
    return min(@costs);
}
my $few = temporary_tables(1000);

# tables that stay
$node->safe_psql('postgres', q{
    CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
    CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
    INSERT INTO parted VALUES (1), (11)});
$before = memory();
foreach my $chunk (1 .. $tables / 500)
{
    my ($from, $to) = (($chunk - 1) * 500 + 1, $chunk * 500);
    $node->safe_psql('postgres', qq{
        DO \$\$ BEGIN
            FOR i IN $from..$to LOOP
                EXECUTE format('CREATE TABLE kept_%s ($columns)', i);
                EXECUTE format('INSERT INTO kept_%s (id) VALUES (1)', i);
            END LOOP;
        END \$\$});
}
$grown = memory() - $before;
note(sprintf('%.0f bytes a table that is there', $grown / $tables));

# a walk over them all, at each invalidation, made it six times as much beside
# 1,000, and thirty times beside 5,000
my $many = temporary_tables(1000);
note(sprintf('%.0f us a transaction with a temporary table, %.0f us beside %d tables', $few, $many, $tables));
cmp_ok($many, '<', 3 * $few + 20, 'an invalidation costs the same beside many tables');

# How many contexts of these names a decoder has, and their bytes
sub contexts
{
    my ($wanted) = @_;
    my $offset = -s $node->logfile;
    my ($pid) = decoder_pids($node);
    $node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
    $node->wait_for_log(qr/Grand total/, $offset);
    my ($n, $size, $in) = (0, 0, 0);
    foreach my $line (split /\n/, slurp_file($node->logfile, $offset))
    {
        # the sum of those that are not listed follows the last of their like
        if ($line =~ /level: \d+; (\d+) more child contexts containing (\d+) total/)
        {
            ($n, $size) = ($n + $1, $size + $2) if $in;
        }
        elsif (my ($context, $bytes) = $line =~ /level: \d+; (.*?): (\d+) total/)
        {
            $in = $context =~ $wanted;
            ($n, $size) = ($n + 1, $size + $bytes) if $in;
        }
    }
    return ($n, $size);
}

# Change some of these tables
sub change_tables
{
    my ($from, $to) = @_;
    for (; $from <= $to; $from += 100)
    {
        $node->safe_psql('postgres', qq{
            DO \$\$ BEGIN
                FOR i IN $from..$from + 99 LOOP
                    EXECUTE format('UPDATE kept_%s SET b = coalesce(b, 0) + 1', i);
                END LOOP;
            END \$\$});
    }
    wait_confirmed($node, 'postgres', 'everything');
    return;
}

# Of each table that it knows now a decoder has plans of its own, and core at
# least one index.
change_tables(1, $tables);
my ($known) = contexts(qr/^firehose relation/);
my ($indexes) = contexts(qr/^index info/);
cmp_ok($known, '<', 800, 'of many tables that had a change, few are remembered');
cmp_ok($indexes, '<', 1000, 'by core, too');
my (undef, $ours) = contexts(qr/^firehose (?:tables?|relation|types|invalidations)/);
cmp_ok($ours / $tables, '<=', 1024, 'a table that is there takes at most 1 kB of ours')
  or diag("$ours bytes for $tables tables");
cmp_ok($ours, '>', 10_000, 'which was counted');
note(sprintf('%d of %d are remembered, with %d indexes, %.0f bytes of ours each', $known, $tables, $indexes, $ours / $tables));

# those that take turns come to be remembered
my $passes = 0;
wait_until('tables whose changes take turns are', sub {
    change_tables(1, 600);
    $passes++;
    return (contexts(qr/^firehose relation/))[0] >= 600;
});
cmp_ok($passes, '<=', 20, "after $passes turns");
cmp_ok($passes, '>', 2, 'but not by two changes each, as when tables are made and filled');

# and each record is right, whenever its table was forgotten
my %last;
foreach my $event (grep { $_->{table} =~ /^kept_/ } events_once($emulator, 'everything'))
{
    my $before = $last{ $event->{table} };
    fail("$event->{table}: $event->{op} after " . ($before // 'nothing'))
      if ($before // -1) + 1 != ($event->{after}{b} // 0);
    $last{ $event->{table} } = $event->{after}{b} // 0;
}
is((grep { $last{"kept_$_"} == $passes + 1 } 1 .. 600), 600, 'each change of these arrived in order');
is((grep { $last{"kept_$_"} == 1 } 601 .. $tables), $tables - 600, 'and that of each other one');

# A partition's changes have the name of its root, whose description pgoutput
# sends with that of a partition
my @parted = grep { ($_->{table} // '') =~ /^part/ } events_once($emulator, 'everything');
is(join(' ', map { "$_->{table} $_->{after}{id}" } @parted), 'parted 1 parted 11', 'of partitions, too');
$node->safe_psql('postgres', 'INSERT INTO parted VALUES (2), (12)');
wait_confirmed($node, 'postgres', 'everything');
@parted = grep { ($_->{table} // '') =~ /^part/ } events_once($emulator, 'everything');
is(join(' ', map { "$_->{table} $_->{after}{id}" } @parted), 'parted 1 parted 11 parted 2 parted 12',
    'and when they were forgotten in between');

# of a renamed schema
$node->safe_psql('postgres', q{
    CREATE SCHEMA old_name;
    CREATE TABLE old_name.t (id int PRIMARY KEY);
    INSERT INTO old_name.t VALUES (1);
    ALTER SCHEMA old_name RENAME TO new_name;
    INSERT INTO new_name.t VALUES (2);});
wait_confirmed($node, 'postgres', 'everything');
is_deeply([ map { "$_->{schema}.$_->{table} $_->{after}{id}" }
          grep { $_->{table} eq 't' } events($emulator, 'everything') ],
    [ 'old_name.t 1', 'new_name.t 2' ], 'a change has the name that its table had then');
$node->stop;
done_testing();
