# Faults of the system below the server: a sender that is behind with responses,
# name resolution that fails or hangs, a clock that jumps, a disk that is full and
# status tables that are locked while records are delivered.  Other streams never
# wait for it, delivery goes on where it can, a dead letter that cannot be stored is still owed, and what is
# saved at a stop is on the disk before it counts.
use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use SystemFaults;

my $faults = SystemFaults->new;
# before the faults: AWS's clock does not jump with the server's
my $emulator = Emulator->start('tls-port' => 0);
local %ENV = (%ENV, $faults->environment);
my ($tls_port) = $emulator->tls_url =~ /:(\d+)/;
my ($port) = $emulator->url =~ /:(\d+)/;
my $node = new_node('main', $emulator, 'firehose.ca_file' => $emulator->ca_file,
    'firehose.allowed_endpoints' => join(', ', 'http://127.0.0.1:*', "https://$SystemFaults::HOST:*",
        "http://$SystemFaults::HOST:$port", "http://$SystemFaults::HOST:*"),
    'firehose.connect_timeout' => '5s', 'firehose.request_timeout' => '5s',
    'firehose.status' => 'all', 'fsync' => 'on');
new_stream($node, 'alive');
new_stream($node, 'named', endpoint_url => "https://$SystemFaults::HOST:$tls_port");

sub view
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres',
        "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

# The longest time from put to outcome on the other stream, over some seconds.
sub longest_trip
{
    my ($seconds) = @_;
    my $deadline = time() + $seconds;
    my @times;
    push @times, round_trips($node, 'alive', 20) while time() < $deadline;
    return max(@times);
}

# a sender that is behind with responses begins no more than so many, whatever the
# limits are, and says so
my $sender = sender_of($node, 'postgres');
my $hang = $emulator->fault('hang_before_processing', {}, { stream => 'many*' });
$faults->swamped($sender);
new_stream($node, "many$_", request_timeout => '10min') foreach 1 .. 40;
$node->safe_psql('postgres', q{SELECT firehose_put_record('many' || n, 'x') FROM generate_series(1, 40) n});
my $waiting = q{SELECT count(*) FROM firehose_stat_stream WHERE state = 'waiting' AND queued = 1
    AND reason = 'waits for the sender, which is busy with responses'};
wait_for_sql($node, $waiting, '8');
is($node->safe_psql('postgres', 'SELECT sum(in_flight) FROM firehose_stat_stream'), '32', 'the others are under way');
$faults->swamped;
wait_until('others begin when it is not', sub { $emulator->struck($hang) == 40 });
$emulator->heal($hang);
wait_delivered($node);
audit_ok("many$_", $emulator, "many$_", ["x\n"]) foreach 1, 40;
is(sender_of($node, 'postgres'), $sender, 'it is the same sender');

# names; one that was resolved would be remembered for a minute
my @named;
my %why = (fails => qr/resolve/i, hangs => qr/resolv|time/i);
foreach my $mode (qw(fails hangs))
{
    $faults->resolver($mode);
    push @named, put_numbered($node, 'named', @named + 1, @named + 10);
    wait_until("a name whose resolution $mode is the reason",
        sub { view('named', "state <> 'active' AND queued + in_flight = " . @named) eq 't'
              && view('named', 'reason') =~ $why{$mode} }, 20)
      or diag(view('named', 'state, reason'));
    my $longest = longest_trip(6);
    cmp_ok($longest, '<', is_long() ? 900 : 4000, "a resolver that $mode holds up no other stream ($longest ms)");
}

# more of them than may wait for a connection at once
foreach my $n (1 .. 12)
{
    new_stream($node, "crowd$n", endpoint_url => "https://$SystemFaults::HOST:$tls_port");
    put_numbered($node, "crowd$n", 1, 1);
}
cmp_ok(longest_trip(2), '<', 4000, 'nor do many that hang at once');
takes_at_most('a fast stop even then', 5.5, sub { $node->stop('fast') });
my @synced = $faults->synced;

# what the stop saved
my @saved = grep { $_->[1] =~ m{pg_firehose(/queue(\.tmp)?)?$} } @synced;
note(join(' ', @$_)) foreach @saved;
my ($renamed) = grep { $saved[$_][0] eq 'rename' } reverse 0 .. $#saved;
ok(defined $renamed, 'the queue was saved')
  and do
{
    ok((grep { $_->[0] eq 'fsync' && $_->[1] =~ /queue\.tmp$/ } @saved[ 0 .. $renamed - 1 ]),
        'its file is on the disk before it has its name');
    ok((grep { $_->[0] eq 'fsync' && $_->[1] =~ /pg_firehose$/ } @saved[ $renamed + 1 .. $#saved ]),
        'and so is the name');
};
$faults->resolver('answers');
$node->start;

# plain HTTP to a name: where the superuser wrote out that URL, not by a pattern
new_stream($node, 'plain', endpoint_url => "http://$SystemFaults::HOST:$port");
new_stream($node, 'pattern', endpoint_url => "http://$SystemFaults::HOST:$tls_port");
my @plain = put_numbered($node, 'plain', 1, 3);
put_numbered($node, 'pattern', 1, 1);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'pattern'}, 'parked');
like(view('pattern', 'reason'), qr/firehose.allowed_endpoints does not allow http:/, 'a pattern allows no HTTP to a name');
$node->safe_psql('postgres', 'DROP SERVER pattern');
wait_delivered($node);
audit_ok('HTTP to a name that is written out', $emulator, 'plain', \@plain);
audit_ok('resolver', $emulator, 'named', \@named);

# clocks: ours jumps by a day, forward and back, while records are put; Firehose
# refuses the signature once for each
new_stream($node, 'jumping', max_in_flight => 1);
my $session = put_in_background($node, 'jumping', 1, 600, per_commit => 1);
foreach my $offset (86400, -86400, 0, 3600, 0)
{
    $faults->clock($offset);
    my $before = view('jumping', 'accepted');
    # (another row of statistics: the record is younger than the jump)
    is($node->safe_psql('postgres', q{SELECT firehose_wait(firehose_put_record('jumping',
        'jump' || clock_timestamp(), false), '20 s')}), 'accepted',
        "a clock that is $offset s ahead does not stop delivery");
}
ok($session->finish, 'the session that puts noticed nothing');

# the clock is set while a request is uploaded: it was signed with the wrong time,
# and is refused when the time is right
wait_delivered($node);
$emulator->control(POST => 'uplink', { bytes_per_second => 4000 });
$faults->clock(7200);
my $set = $node->safe_psql('postgres',
    q{SELECT firehose_put_record('jumping', repeat('set', 3000), false)});
wait_until('a request is under way', sub { view('jumping', 'in_flight') eq '1' });
$faults->clock(0);
is($node->safe_psql('postgres', "SELECT firehose_wait($set, '20 s')"), 'accepted',
    'a clock that is set while a request is under way does not park the stream')
  or diag(view('jumping', 'state, reason'));
$emulator->control(DELETE => 'uplink');
wait_delivered($node, 20);
$emulator->control('POST', 'flush');
my @refused = grep { ($_->{error} // '') eq 'InvalidSignatureException' } $emulator->requests;
is(scalar @refused, 6, 'each jump was noticed, and cost one request');
my %jumped = map { $_->{data} => 1 } grep { $_->{state} eq 'A' } $emulator->records('jumping');
is(scalar(grep { !$jumped{ numbered($_) . "\n" } } 1 .. 600), 0, 'clocks: everything arrived');
is(view('jumping', 'state, resent <= 5 * 500'), 'active|t', 'and it is well');

# status tables that cannot be written: locked, and on a full disk
$emulator->fault('size_limit', { record_bytes => 1000, message => 'Member must have length less than or equal to 1000' }, { stream => 'too_large' });
new_stream($node, 'too_large', delimiter => 'none');
foreach my $fault ('locked', 'full')
{
    my $name = new_stream($node, "status_$fault");
    my $locker;
    my $offset = -s $node->logfile;
    if ($fault eq 'locked')
    {
        $locker = $node->background_psql('postgres');
        $locker->query_safe(q{BEGIN; LOCK TABLE } . join(', ', 'firehose_dead_letters',
            map { "firehose_status_$_" } 0 .. 7));
    }
    else
    {
        # relations cannot grow; what is committed has its WAL
        $node->safe_psql('postgres', 'CHECKPOINT');
        $faults->disk_full('/base/');
    }
    # too large for the table's last page, and not to be compressed
    $node->safe_psql('postgres', "SELECT firehose_put_record('too_large', 'too large: $fault'
            || string_agg(md5(n::text), '')) FROM generate_series(1, 500) n");
    my @committed = put_numbered($node, $name, 1, 3000, per_commit => 100);
    wait_until("status tables $fault: delivery goes on", sub { view($name, 'accepted') eq '3000' }, 60);
    audit_ok("status tables $fault", $emulator, $name, \@committed);
    wait_until("status tables $fault: the log says so",
        sub { slurp_file($node->logfile, $offset) =~ /could not write (?:status rows|dead letters)/ }, 20);
    # by now the dead letter was tried, too: it comes first
    is(view('too_large', "failed, queued + in_flight"), ($fault eq 'locked' ? 0 : 1) . '|1',
        "status tables $fault: a dead letter that is not stored is owed");
    if ($fault eq 'full')
    {
        # still, when the server is restarted
        $node->stop('fast');
        $faults->disk_full(undef);
        $node->start;
    }
    $locker->quit if $locker;
    wait_for_sql($node, "SELECT count(*), min(error_code) IS NOT NULL FROM firehose_dead_letter
        WHERE length(data) > 16000 AND substr(data, 1, 20) LIKE 'too large: $fault%'", '1|t', 30);
    wait_for_sql($node, "SELECT coalesce(sum(queued + in_flight), 0) FROM firehose_stat_stream", '0', 30);
    next if $fault eq 'full';    # a restart forgets what was not written
    wait_for_sql($node, "SELECT count(*) FROM firehose_status WHERE stream = '$name'", '3000', 30);
}

$node->stop;
done_testing();
