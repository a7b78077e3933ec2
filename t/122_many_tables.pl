# Tables that come and go.  A decoder keeps nothing of a table that was dropped,
# needs little for each that there is, and an invalidation costs the same
# however many tables it has seen.  A table keeps its changes' right name, and
# goes to the right stream, when its schema is renamed.
use strict;
use warnings FATAL => 'all';
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_locks_per_transaction => 512);
my $tables = is_long() ? 10_000 : 1_000;
my $dropped = is_long() ? 4_500 : 1_000;

# 8 columns each
my $columns = 'id int PRIMARY KEY, a text, b int, c bigint, d numeric, e timestamptz, f jsonb, g text';
$node->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
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

# CPU of the decoder for temporary tables that come and go, in us per transaction
sub temporary_tables
{
    my ($n) = @_;
    my $loop = sub {
        $node->safe_psql('postgres', qq{
            DO \$\$ BEGIN
                FOR i IN 1..$_[0] LOOP
                    CREATE TEMP TABLE brief (a int) ON COMMIT DROP;
                    INSERT INTO brief VALUES (1);
                    COMMIT;
                END LOOP;
            END \$\$});
        wait_confirmed($node, 'postgres', 'everything');
    };
    my $cpu = sub { my @stat = split ' ', slurp_file('/proc/' . (decoder_pids($node))[0] . '/stat'); return $stat[13] + $stat[14] };
    $loop->(50);
    my $begun = $cpu->();
    $loop->($n);
    return ($cpu->() - $begun) * 1_000_000 / POSIX::sysconf(POSIX::_SC_CLK_TCK()) / $n;
}
my $few = temporary_tables(1500);

# tables that stay
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
my $many = temporary_tables(1500);
note(sprintf('%.0f us a transaction with a temporary table, %.0f us beside %d tables', $few, $many, $tables));
cmp_ok($many, '<', 3 * $few + 20, 'an invalidation costs the same beside many tables');

# of these, what is ours; the rest is core's caches of relations and catalogs
my $pid = (decoder_pids($node))[0];
my $offset = -s $node->logfile;
$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
$node->wait_for_log(qr/Grand total/, $offset);
my ($ours, $in_ours) = (0, 0);
foreach my $line (split /\n/, slurp_file($node->logfile, $offset))
{
    # the sum of those that are not listed follows the last of their like
    if ($line =~ /level: \d+; \d+ more child contexts containing (\d+) total/) { $ours += $1 if $in_ours }
    elsif (my ($context, $bytes) = $line =~ /level: \d+; (.*?): (\d+) total/)
    {
        $in_ours = $context =~ /^firehose (?:tables?|relation|types|invalidations)/;
        $ours += $bytes if $in_ours;
    }
}
cmp_ok($ours / $tables, '<=', 4096, 'a table that is there takes at most 4 kB of ours')
  or diag("$ours bytes for $tables tables");
note(sprintf('%.0f of them ours', $ours / $tables));
cmp_ok($ours / $tables, '>', 100, 'which was counted');

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
