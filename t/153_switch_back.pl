# A planned switch to a standby and back, from PostgreSQL 17 on, as
# docs/operations.md has it: nothing is lost, repeated or invented, no row has two
# ids, and a slot that the old primary kept is in the way until it is dropped.
# And what waiting for a standby of synchronized_standby_slots costs.  With --long.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FailoverTest;
use FirehoseTest;
use PipelineTest;

needs_failover_slots();
plan skip_all => 'a minute of waiting for slots to be synchronized: only with --long' unless is_long();

my $emulator = Emulator->start();
my $a = new_decoding_node('a', $emulator, failover_settings());
my $node = $a;

my $tick = q{INSERT INTO t (w) VALUES ('tick')};

sub sql { return $node->safe_psql('postgres', @_) }

# Every row arrived once, under one id, and nothing else did.
sub once_ok
{
    my ($what) = @_;
    wait_confirmed($node, 'postgres', 'changes');
    my (%ids, @wrong);
    foreach my $event (events($emulator, 'changes'))
    {
        push @wrong, "row $event->{after}{id} again" if $ids{ $event->{after}{id} }++;
    }
    my %rows = map { $_ => 1 } split /\n/, sql('SELECT id FROM t');
    push @wrong, (map { "phantom $_" } grep { !$rows{$_} } keys %ids), map { "lost $_" } grep { !$ids{$_} } keys %rows;
    is(join(', ', @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ]), '', "$what: " . keys(%rows) . ' rows, each once');
    return;
}

# Drain, stop the primary, promote the standby.
sub switch_to
{
    my ($standby) = @_;
    is(sql(q{SELECT firehose_drain('60 s')}), 't', 'drained');
    wait_confirmed($node, 'postgres', 'changes');
    wait_ready($node, $standby, 1, $tick);
    wait_confirmed($node, 'postgres', 'changes');
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    $node->stop('fast');
    $standby->promote;
    $node = $standby;
    return wait_state($node, 'postgres', 'changes', 'streaming');
}

# Times from the commit to the confirmation of the record, in ms.
sub latencies
{
    my @times;
    foreach my $i (1 .. 40)
    {
        my $lsn = sql(q{INSERT INTO t (w) VALUES ('timed'); SELECT pg_current_wal_insert_lsn()});
        my $start = time();
        sql(qq{DO \$\$ BEGIN WHILE (SELECT accepted_lsn IS NULL OR accepted_lsn < '$lsn' FROM firehose_stat_pipeline WHERE pipeline = 'changes')
            LOOP PERFORM pg_sleep(0.0005); END LOOP; END \$\$; SELECT 1});
        push @times, 1000 * (time() - $start);
    }
    return median(@times);
}

sql('CREATE TABLE t (id bigserial PRIMARY KEY, w text); CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'changes', ['p'], copy_data => 'false');
my $b = new_standby($a, 'b');
sql(q{INSERT INTO t (w) SELECT 'a' FROM generate_series(1, 1000)});
my $alone = latencies();
alter_settings($a, 'synchronized_standby_slots' => 'b');
my $gated = latencies();
diag(sprintf('from commit to confirmation, psql included: %.1f ms alone, %.1f ms with a standby to wait for', $alone, $gated));
cmp_ok($gated, '<', 10 * $alone + 500, 'a standby that follows costs little');
once_ok('on a');

switch_to($b);
sql(q{INSERT INTO t (w) SELECT 'b' FROM generate_series(1, 1000)});
once_ok('on b');

# a comes back, with the slot that it kept
$a->append_conf('postgresql.auto.conf', "synchronized_standby_slots = ''");
follow($a, $b);
my $slot = $a->safe_psql('postgres', q{SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT synced});
isnt($slot, '', 'the old primary still has its slot');
wait_until('which stops the synchronization', sub {
    sql(q{INSERT INTO t (w) VALUES ('tick')});
    logged($a, qr/slot named "\Q$slot\E" already exists/) || logged($a, qr/same name slot "\Q$slot\E" already exists/) });
$a->safe_psql('postgres', "SELECT pg_drop_replication_slot('$slot')");
wait_ready($node, $a, 1, $tick);
switch_to($a);
sql(q{INSERT INTO t (w) SELECT 'a again' FROM generate_series(1, 1000)});
once_ok('on a again');

$node->stop;
done_testing();
