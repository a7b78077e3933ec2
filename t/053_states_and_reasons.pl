# What the view and the log say of a stream in trouble: its reason is the last
# cause and names the party, trouble that is over is shown no more, and a stream
# that fails and recovers without end has a line of each kind a minute.  A size
# that a proxy refuses costs no record, whatever size it takes.  And a parked
# stream is tried again when something changes that concerns it, not when others
# change.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use SystemFaults;

my $faults = SystemFaults->new;
my $emulator = Emulator->start(listener => 'identity');
my $identities = "http://127.0.0.1:$emulator->{ports}{listeners}{identity}";
local %ENV = (%ENV, $faults->environment, AWS_ENDPOINT_URL_STS => $identities);
my $node = new_node('main', $emulator, 'firehose.probe_interval' => '200ms',
    'firehose.allowed_roles' => '*', 'firehose.max_streams' => 100);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub view
{
    my ($stream, $columns) = @_;
    return sql("SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

sub says
{
    my ($stream, $pattern) = @_;
    return wait_until("$stream: the view says $pattern", sub { view($stream, 'state, reason') =~ $pattern })
      || diag(view($stream, 'state, reason'));
}

# ------------------------------------------------------------------------
# The reason is the last cause
# ------------------------------------------------------------------------
new_stream($node, 'causes');
my @causes = (
    [ 'unknown_stream', {}, qr/^parked\|AWS: ResourceNotFoundException: / ],
    [ 'access_denied', {}, qr/^parked\|AWS: AccessDeniedException: / ],
    [ 'http_error', { status => 502, content_type => 'text/html', headers => { 'x-amzn-RequestId' => undef },
            body => "<html>\n<h1>Bad <b>Gateway</b></h1></html>" }, qr/\|proxy: HTTP 502: Bad Gateway$/ ],
    [ 'http_error', { status => 301, headers => { 'x-amzn-RequestId' => undef, Location => 'https://elsewhere.example/x' }, body => '' },
        qr{^parked\|proxy: HTTP 301: it points to https://elsewhere\.example/x} ],
    [ 'close_before_processing', {}, qr/\|network: Connection: / ],
    [ 'internal_failure', {}, qr/\|AWS: InternalFailure: / ]);
my $rule;
foreach my $cause (@causes)
{
    my ($fault, $parameters, $says) = @$cause;
    my $next = $emulator->fault($fault, $parameters, { stream => 'causes' });
    $emulator->control(DELETE => "rules/$rule") if defined $rule;
    $rule = $next;
    sql(q{SELECT firehose_put_record('causes', 'x')}) if $cause == $causes[0];
    says('causes', $says);
}
$emulator->heal;
says('causes', qr/^active\|$/);

# ------------------------------------------------------------------------
# Trouble that is over is shown no more, if the service had asked for less, too
# ------------------------------------------------------------------------
foreach my $fault (qw(internal_failure access_denied))
{
    my $stream = new_stream($node, "less_and_$fault");
    $emulator->fault('fail_records', { containing => 'large', code => 'ServiceUnavailableException',
        message => 'Slow down.' }, { stream => $stream, count => 1 });
    $emulator->fault($fault, {}, { stream => $stream, skip => 1, count => 2 });
    sql("SELECT firehose_put_batch('$stream', ARRAY['small', rpad('large', 9000, 'x')])");
    wait_delivered($node);
    is(view($stream, 'throttled'), '1', "$stream: the service asked for less");
    says($stream, qr/^active\|$/);
}
$emulator->heal;

# ------------------------------------------------------------------------
# The log: a line of each kind a minute, with the number of those left out
# ------------------------------------------------------------------------
new_stream($node, 'flaps');
$emulator->fault('internal_failure', {}, { stream => 'flaps', every => 2 });
my $offset = -s $node->logfile;
sub flap
{
    my ($times) = @_;
    sql(q{SELECT firehose_put_record('flaps', 'x'); SELECT firehose_flush('flaps')}) foreach 1 .. $times;
    return slurp_file($node->logfile, $offset) =~ /stream "flaps": .*/g;
}
my @lines = flap(15);
is(scalar(grep { /request failed, retrying: AWS: InternalFailure/ } @lines), 1, 'flapping: one line of the trouble')
  or diag(join("\n", @lines));
is(scalar(grep { /delivery resumed/ } @lines), 1, 'flapping: and one of its end');
$faults->pass(61);
@lines = flap(5);
is(scalar @lines, 4, 'flapping: another of each a minute later') or diag(join("\n", @lines));
like($lines[$_], qr/ \(and [1-9]\d* more since the last such line\)$/, 'flapping: with the number of those between') foreach 2, 3;
$faults->pass(61);
@lines = flap(5);
is(scalar @lines, 4, 'flapping: lines that keep coming become rare') or diag(join("\n", @lines));
$faults->pass(61);
@lines = flap(5);
is(scalar @lines, 6, 'flapping: every other minute now') or diag(join("\n", @lines));
$emulator->heal;

# ------------------------------------------------------------------------
# A proxy refuses a size: of whatever size, no record is given up
# ------------------------------------------------------------------------
my %of_proxy = (headers => { 'x-amzn-RequestId' => undef }, content_type => 'text/html', body => '<html>Too Large</html>');
my %fits = (none => 5, one => 15, eleven => 121, hundred => 1100);
my $n = 1000;
$offset = -s $node->logfile;
foreach my $name (sort keys %fits)
{
    new_stream($node, "fits_$name");
    $emulator->fault('size_limit_413', { call_bytes => $fits{$name}, %of_proxy }, { stream => "fits_$name" });
    put_numbered($node, "fits_$name", 1, $n);
}
says('fits_none', qr/^parked\|proxy: HTTP 413: Too Large$/);
cmp_ok(view('fits_none', 'requests'), '<', 100, 'a proxy that takes nothing is asked seldom');
foreach my $name (sort keys %fits)
{
    wait_for_sql($node, "SELECT accepted FROM firehose_stat_stream WHERE stream = 'fits_$name'", $n) if $name ne 'none';
    $emulator->heal if $name eq 'none';
    is(view("fits_$name", 'failed'), '0', "fits_$name: nothing is given up");
}
wait_delivered($node);
audit_ok("fits_$_", $emulator, "fits_$_", [ map { numbered($_) . "\n" } 1 .. $n ]) foreach sort keys %fits;
is(logged($node, 'stream "fits_none": is parked', $offset), 1, 'and the log has one line about it');

# What looks like Firehose's own words, and is not, or names no limit: a number in
# a name, and a document of another service
my %words = (
    name => [ 'size_limit', { record_bytes => 20000, message => 'Firehose size-20000 refuses it: too large' } ],
    document => [ 'size_limit_413', { record_bytes => 20000, headers => { 'x-amzn-RequestId' => undef },
            body => '{"code": "RequestEntityTooLarge", "message": "at most 20000 bytes"}' } ],
    firehose => [ 'size_limit', { record_bytes => 20000, message => 'Member must have length less than or equal to 20000' } ]);
foreach my $name (sort keys %words)
{
    my ($fault, $parameters) = @{ $words{$name} };
    new_stream($node, "words_$name");
    $emulator->fault($fault, $parameters, { stream => "words_$name" });
    sql("SELECT firehose_put_record('words_$name', repeat('x', 30000))");
    wait_for_sql($node, "SELECT state = 'parked', failed FROM firehose_stat_stream WHERE stream = 'words_$name'",
        $name eq 'firehose' ? 'f|1' : 't|0');
}
$emulator->heal;
wait_delivered($node);
is(sql(q{SELECT count(*), min(stream) FROM firehose_dead_letter}), '1|words_firehose',
    'only a record that is over the limit of Firehose itself is a dead letter');

# ------------------------------------------------------------------------
# A parked stream is tried when something of its own changes
# ------------------------------------------------------------------------
# Both stand for long; what a change causes has happened when another stream,
# whose record came after it, has delivered.
alter_settings($node, 'firehose.probe_interval' => '1h');
$node->restart;
new_stream($node, $_) foreach qw(changed other alive);
$emulator->fault('unknown_stream', {}, { stream => $_ }) foreach qw(changed other);
sub requests
{
    # (two trips: a request that goes with the first has ended by the second)
    is(sql(q{SELECT firehose_wait(firehose_put_record('alive', 'x', false), '60 s')}), 'accepted', 'another stream delivers')
      foreach 1, 2;
    return view('changed', 'requests') . ' ' . view('other', 'requests');
}
foreach my $stream (qw(changed other))
{
    sql("SELECT firehose_put_record('$stream', 'x')");
    wait_for_sql($node, "SELECT state, requests FROM firehose_stat_stream WHERE stream = '$stream'", 'parked|1');
}
sql(q{ALTER SERVER changed OPTIONS (ADD linger '60')});
wait_for_sql($node, q{SELECT requests FROM firehose_stat_stream WHERE stream = 'changed'}, '2');
is(requests(), '2 1', 'a stream that is altered is tried, the other is not');
sql(q{CREATE ROLE somebody; GRANT USAGE ON FOREIGN DATA WRAPPER firehose TO somebody;
    GRANT USAGE ON FOREIGN SERVER other TO somebody; CREATE SERVER third FOREIGN DATA WRAPPER firehose; DROP SERVER third});
is(requests(), '2 1', 'nor are they when all streams are looked at anew and none is another');

# credentials of a role are fetched again and again: no matter of these
$emulator->control(POST => 'identity', { ttl => 2, sts => { roles =>
    { 'arn:aws:iam::123456789012:role/writer' => { trusts => [$Emulator::ACCESS_KEY] } } } });
new_stream($node, 'of_role', role_arn => 'arn:aws:iam::123456789012:role/writer');
wait_until('a role has other credentials for the third time', sub {
    sql(q{SELECT firehose_wait(firehose_put_record('of_role', 'x', false), '60 s')});
    $emulator->control('POST', 'flush');
    my %keys = map { $_->{access_key} => 1 } grep { ($_->{stream} // '') eq 'of_role' } $emulator->requests;
    return keys %keys >= 3 });
is(requests(), '2 1', 'the credentials of a role are no reason to try other streams');

# their own are
my $file = sql('SHOW firehose.credentials_file');
append_to_file($file, "# another size\n");
wait_for_sql($node, q{SELECT string_agg(requests::text, ' ' ORDER BY stream) FROM firehose_stat_stream
    WHERE stream IN ('changed', 'other')}, '3 2');
$emulator->heal;
append_to_file($file, "# and another\n");
wait_delivered($node);
is(view($_, 'state, reason'), 'active|', "$_: is well") foreach qw(changed other);

$node->stop;
done_testing();
