# Failover from PostgreSQL 17 on: the slots of pipelines and of durable puts are
# failover slots, nothing is delivered that a standby of
# synchronized_standby_slots does not have, the waiting costs no wake-ups and
# holds no stop up, and after the primary was killed under writers, with its
# standby behind, the promoted standby's pipelines go on: nothing is lost, and
# nothing was delivered that does not exist there.
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

my $emulator = Emulator->start();
my $primary = new_decoding_node('primary', $emulator, failover_settings());
my $node = $primary;

my $insert = 'INSERT INTO t DEFAULT VALUES';

sub sql { return $node->safe_psql('postgres', @_) }

sub reason { return reason_of($node, $_[0]) }

# Everything that exists was delivered, and nothing else; an id is one record's.
sub whole_ok
{
    my ($what) = @_;
    my %rows = map { /^(\d+)\|(.*)/ ? ($1 => $2) : () } split /\n/, sql('SELECT id, w FROM t');
    my (%delivered, %by_id, @wrong);
    foreach my $event (events($emulator, 'changes'))
    {
        my $row = $event->{after};
        next if $event->{op} eq 'r' && $delivered{ $row->{id} };    # copied again
        push @wrong, "phantom $row->{id}" unless defined $rows{ $row->{id} } && $rows{ $row->{id} } eq $row->{w};
        push @wrong, "id $event->{id}" if ($by_id{ $event->{id} } //= $row->{id}) != $row->{id};
        push @wrong, "row $row->{id} under two ids" if ($delivered{ $row->{id} } //= $event->{id}) ne $event->{id};
    }
    push @wrong, map { "lost $_" } grep { !$delivered{$_} } keys %rows;
    is(join(', ', @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]), '', "$what: " . keys(%rows) . ' rows, none lost, none invented');
    return;
}

sql(q{CREATE TABLE t (id bigserial PRIMARY KEY, w text DEFAULT md5(random()::text)); CREATE PUBLICATION p FOR TABLE t});
new_stream($node, 'clicks');
new_pipeline($node, 'postgres', 'changes', ['p']);
sql('SELECT firehose_enable_durable_puts()');
wait_state($node, 'postgres', 'durable_puts', 'streaming');
is(sql('SELECT count(*) FROM pg_replication_slots WHERE failover'), '2', 'failover slots are the default');
is(sql('SELECT count(*) FROM firehose_stat_pipeline WHERE failover AND NOT synced AND ready IS NULL'), '2', 'the view says so');
sql(qq{SELECT firehose_alter_pipeline('$_', failover => false)}) foreach qw(changes durable_puts);
wait_until('they are none by command', sub { sql('SELECT count(*) FROM pg_replication_slots WHERE failover') == 0 });
sql(qq{SELECT firehose_alter_pipeline('$_', failover => true)}) foreach qw(changes durable_puts);
wait_until('and are again', sub { sql('SELECT count(*) FROM pg_replication_slots WHERE failover') == 2 });
wait_state($node, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);

my $one = new_standby($node, 'one');
my $two = new_standby($node, 'two');
alter_settings($node, 'synchronized_standby_slots' => 'one');
wait_ready($node, $one, 2, $insert);
is($one->safe_psql('postgres', q{SELECT DISTINCT state || ': ' || reason FROM firehose_stat_pipeline}),
    'standby: the server is in recovery; the pipeline goes on after its promotion', 'the standby says that it is ready');
whole_ok('with standbys') if wait_confirmed($node, 'postgres', 'changes');

# a standby that is away
$one->stop;
my $before = () = events($emulator, 'changes');
sql('INSERT INTO t DEFAULT VALUES');
my $put = sql(q{SELECT firehose_put_record('clicks', 'durable')});
wait_state($node, 'postgres', $_, 'waiting') foreach qw(changes durable_puts);
is(reason('changes'), 'waiting: slot "one" of synchronized_standby_slots is not in use: its standby is not connected', 'the reason names the slot');
my ($pid) = sql(q{SELECT pid FROM firehose_stat_pipeline WHERE pipeline = 'changes'});
my $switches = switches($pid);
my $until = time() + 2;
my $commits = 0;
while (time() < $until) { sql('INSERT INTO t DEFAULT VALUES'); $commits++ }
cmp_ok(switches($pid) - $switches, '<=', 5, "$commits commits wake no decoder that waits for a standby");
is(scalar(() = events($emulator, 'changes')), $before, 'nothing is delivered meanwhile');
is(sql("SELECT firehose_wait($put, '1s')"), 'pending', 'nor a durable put') if $put;
sql(q{SELECT firehose_copy_table('changes', 't', 'id < 3')});
takes_at_most('a stop does not wait for the standby', 5, sub { restart_by($node, 'fast') });
wait_until('still waiting', sub { reason('changes') =~ /^waiting: slot "one"/ });
is(scalar(() = events($emulator, 'changes')), $before, 'nor is anything delivered after a restart');
$one->start;
wait_confirmed($node, 'postgres', $_) foreach qw(changes durable_puts);
wait_state($node, 'postgres', 'changes', 'streaming');
wait_until('and copies', sub { sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE pipeline = 'changes'}) eq 'done' });
whole_ok('with the standby back');
is(scalar(grep { $_->{data} eq "durable\n" } $emulator->records('clicks')), 1, 'the durable put arrived, too');

# a name without a slot
alter_settings($node, 'synchronized_standby_slots' => 'one, nowhere');
sql('INSERT INTO t DEFAULT VALUES');
wait_state($node, 'postgres', 'changes', 'waiting');
like(reason('changes'), qr/slot "nowhere" of synchronized_standby_slots does not exist/, 'a missing slot is named');
alter_settings($node, 'synchronized_standby_slots' => 'one');
wait_confirmed($node, 'postgres', 'changes');

# writers, a standby that falls behind, and the end of the primary
wait_ready($node, $one, 2, $insert);
my $script = $node->basedir . '/insert.sql';
append_to_file($script, "INSERT INTO t DEFAULT VALUES;\n");
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-j', '2', '-T', '60', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
    '>', \my $out, '2>', \my $err);
my $rows = sql('SELECT count(*) FROM t');
wait_until('writers write', sub { sql('SELECT count(*) FROM t') > $rows + 500 });
my $receiver = $one->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
kill('STOP', $receiver);
$rows = sql('SELECT count(*) FROM t');
wait_until('the standby is behind', sub { sql('SELECT count(*) FROM t') > $rows + 300 });
$rows = sql('SELECT count(*) FROM t');
$node->stop('immediate');
kill('CONT', $receiver);
$writers->finish;
$node = $one;
$node->promote;
cmp_ok(sql('SELECT count(*) FROM t'), '<', $rows, 'rows were lost with the primary');
sql('INSERT INTO t DEFAULT VALUES');
wait_state($node, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
wait_confirmed($node, 'postgres', 'changes');
whole_ok('after the promotion');
is(sql('SELECT count(*) FROM firehose_stat_pipeline WHERE failover AND synced'), '2', 'the slots stay failover slots');
sql(q{SELECT firehose_put_record('clicks', 'after')});
wait_confirmed($node, 'postgres', 'durable_puts');
is(scalar(grep { $_->{data} eq "after\n" } $emulator->records('clicks')), 1, 'durable puts go on');

# the new primary names a standby that it has not
alter_settings($node, 'synchronized_standby_slots' => 'one');
sql('INSERT INTO t DEFAULT VALUES');
wait_state($node, 'postgres', 'changes', 'waiting');
like(reason('changes'), qr/slot "one" of synchronized_standby_slots does not exist: create it/, 'it says so');
alter_settings($node, 'synchronized_standby_slots' => '');
wait_confirmed($node, 'postgres', 'changes');
whole_ok('at the end');

$two->stop('immediate');
$node->stop;
done_testing();
