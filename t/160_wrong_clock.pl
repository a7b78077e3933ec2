# A server that starts while its clock is wrong, as a machine does whose battery is
# empty until NTP has set it: before 2000, or centuries ahead.  Puts and pipelines
# work meanwhile and after the next start with the right time, and ids ascend
# through all of it.  A stored epoch that no server can have said is none.  A
# sender that starts after its clock was set knows which status rows are the newest.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;
use SystemFaults;

use constant YEAR => 365.25 * 86400;

my $faults = SystemFaults->new;
# before the faults: AWS's clock is right
my $emulator = Emulator->start();
local %ENV = (%ENV, $faults->environment);
my $node = new_decoding_node('main', $emulator, 'firehose.status' => 'all',
    'firehose.status_max_size' => '8MB');
my $n = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Start the server when its clock shows another time.
sub restart_at
{
    my ($unix_time, $mode) = @_;
    $node->stop($mode // 'fast');
    $faults->clock($unix_time - time());
    $node->start;
    return;
}

# A row and a put arrive, and both have ids above those before.
my ($last_put, $last_change) = (0, '');

sub works
{
    my ($when) = @_;
    $n++;
    my ($code, $put, $error) = $node->psql('postgres', qq{SELECT firehose_put_record('puts', 'put $n')});
    is($error, '', "$when: a put works");
    cmp_ok($put || 0, '>', $last_put, "$when: its id is above those before");
    cmp_ok($put || 0, '<', 2**53, "$when: and has 53 bits");
    $last_put = $put || $last_put;
    sql("INSERT INTO t VALUES ($n)");
    wait_state($node, 'postgres', 'changes', 'streaming');
    wait_confirmed($node, 'postgres', 'changes');
    my ($event) = grep { $_->{op} eq 'c' && $_->{after}{n} == $n } events($emulator, 'changes');
    my $id = $event ? $event->{id} : '';
    cmp_ok($id, 'gt', $last_change, "$when: a change has an id above those before");
    $last_change = $id if $id gt $last_change;
    wait_delivered($node);
    is(sql(qq{SELECT state FROM firehose_doctor() WHERE subject = 'ids'}), 'ok', "$when: enough ids are left");
    return;
}

# Tables of status rows are filled in turn, at these settings with some thousand each.
subtest 'status rows' => sub {
    new_stream($node, 'rows');
    my $put = 0;
    my $more = sub {
        my ($count) = @_;
        put_numbered($node, 'rows', $put + 1, $put + $count);
        wait_delivered($node);
        $put += $count;
    };
    my $begins = sub { return sql("SELECT completed_at FROM firehose_status_$_[0] LIMIT 1") };
    my $fill_up_to = sub {
        my ($table) = @_;
        for (my $i = 0; $i < 50 && $begins->($table) eq ''; $i++) { $more->(500) }
    };
    my $nothing_is_lost = sub {
        my $pid = sender_of($node, 'postgres');
        sql("SELECT pg_terminate_backend($pid)");
        wait_until('another sender starts', sub { (sender_of($node, 'postgres') || $pid) ne $pid });
        # the first rows go into the table that is taken for the current one
        $more->(1) foreach 1 .. 2;
        wait_for_sql($node, 'SELECT count(*), count(DISTINCT id) FROM firehose_status', "$put|$put");
    };

    $more->(500);
    $faults->clock(-3600);
    $fill_up_to->(1);
    cmp_ok($begins->(1), 'lt', $begins->(0), 'a clock is set back: a table begins at an earlier time than the one before');
    $nothing_is_lost->();

    $faults->clock(86400);
    $fill_up_to->(2);
    $faults->clock(0);
    $fill_up_to->($_) foreach 3, 4;
    cmp_ok($begins->(4), 'lt', $begins->(2), 'and after one that was ahead, several do');
    $nothing_is_lost->();
};

sql('CREATE TABLE t (n int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
new_stream($node, 'puts');
new_pipeline($node, 'postgres', 'changes', ['p'], copy_data => 'false');
works('with the right time');

foreach my $start ([ 1970, 30 * 86400 ], [ 'the minute before 2000', 946684800 - 60 ])
{
    my ($year, $unix_time) = @$start;
    restart_at($unix_time);
    works("a start in $year");
    restart_at(time(), 'immediate');
    works("the right time after $year");
}

# as a server has stored it that started before 2000 with an earlier build
my ($far, $epochs) = ('x00FFFC80B1D24C07', sub {
    sql(q{SELECT firehose_pause_pipeline('changes')});
    wait_until('the decoder goes', sub {
        sql(q{SELECT count(*) FROM firehose_stat_pipeline WHERE pipeline = 'changes' AND pid IS NOT NULL}) eq '0' });
    sql("UPDATE firehose_positions SET epochs = $_[0], epochs_from = $_[1]") });
foreach my $stored ([ "ARRAY['$far'::bit(64)::bigint]", 'ARRAY[confirmed_lsn]' ],
    [ "epochs || '$far'::bit(64)::bigint", 'epochs_from || confirmed_lsn' ],
    [ 'epochs || -1::bigint', 'epochs_from || confirmed_lsn' ])
{
    # what is stored is lost with it, also that an epoch was lifted above the last one's
    wait_until('the time is past the epochs so far',
        sub { time() - 946684800 > hex(substr($last_change, 0, 8)) + 1 });
    $epochs->(@$stored);
    restart_at(time());
    sql(q{SELECT firehose_resume_pipeline('changes')});
    works("with the epochs $stored->[0]");
    is(sql(q{SELECT count(*) FROM firehose_positions, unnest(epochs) e WHERE e < 1 OR e >= 1::bigint << 48}), 0,
        'the row has none that cannot be');
}

# epochs have 32 bits of seconds since 2000, ids 53 of microseconds
foreach my $year (2140, 2300)
{
    restart_at(($year - 1970) * YEAR);
    works("a start in $year");
    restart_at(time());
    works("the right time after $year");
}

$node->stop;
done_testing();
