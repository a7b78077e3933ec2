# The endpoint as its sender last saw it, in firehose_stat_stream and by the
# doctor: a clock that differs, a port that refuses, a name that is not found, a
# certificate that is not trusted, a proxy that answers in its place.  Each passes by
# the next response.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use SystemFaults;

my $faults = SystemFaults->new;
my $emulator = Emulator->start('tls-port' => 0);
local %ENV = (%ENV, $faults->environment);
my ($port) = $emulator->url =~ /:(\d+)/;
my $named = "http://$SystemFaults::HOST:$port";
my $node = new_node('main', $emulator,
    'firehose.allowed_endpoints' => "http://127.0.0.1:*, https://127.0.0.1:*, $named");
new_stream($node, 'clicks');

# Wait until the doctor's row about the endpoint is like that.
sub finds
{
    my ($stream, $state, $found) = @_;
    my $row = '';
    wait_until("$stream, endpoint: $state, $found",
        sub {
            $row = $node->safe_psql('postgres',
                "SELECT state, found, advice FROM firehose_doctor() WHERE subject = 'stream $stream, endpoint'");
            $row =~ /^$state\|[^|]*$found/;
        })
      or diag($row);
    is($row =~ /\|$/ ? 'none' : 'some', $state eq 'ok' ? 'none' : 'some', 'with advice if there is something to do');
    return;
}

sub put { return $node->safe_psql('postgres', "SELECT firehose_put_record('$_[0]', 'x')") }

my $seen = q{SELECT last_response_at IS NOT NULL, unreachable_since IS NOT NULL, clock_offset FROM firehose_stat_stream WHERE stream = };

is($node->safe_psql('postgres', q{SELECT count(*) FROM firehose_doctor() WHERE subject ~ 'endpoint'}), '0', 'nothing is known of an endpoint before the first request');
put('clicks');
finds('clicks', 'ok', 'it last responded at .*, by a clock (?:0|-1) s ahead');
like($node->safe_psql('postgres', "${seen}'clicks'"), qr/^t\|f\|(?:0|-1)$/, 'the view has the same');

# ------------------------------------------------------------------------
# A clock that differs, ahead and behind
# ------------------------------------------------------------------------
foreach my $offset (1000, -1000)
{
    $emulator->control(POST => 'clock', { offset => $offset });
    put('clicks');
    wait_delivered($node);
    my $about = $offset > 0 ? '(?:999|1000)' : '-100[01]';
    finds('clicks', 'warning', "by a clock $about s ahead");
}
$emulator->control(POST => 'clock', { offset => 0 });
put('clicks');
wait_delivered($node);
finds('clicks', 'ok', 'by a clock (?:0|-1) s ahead');

# ------------------------------------------------------------------------
# A proxy that answers in its place, and an error of Firehose's own
# ------------------------------------------------------------------------
my $rule = $emulator->fault('http_error', { status => 502, body => '<html>Bad Gateway</html>', content_type => 'text/html', headers => { 'x-amzn-RequestId' => undef } });
put('clicks');
finds('clicks', 'error', 'not reached since .*, it last responded at');
$emulator->control(DELETE => "rules/$rule");
wait_delivered($node);
finds('clicks', 'ok', 'it last responded');
$rule = $emulator->fault('throttle');
put('clicks');
$node->poll_query_until('postgres', q{SELECT throttled > 0 FROM firehose_stat_stream WHERE stream = 'clicks'}) or die 'not throttled';
finds('clicks', 'ok', 'it last responded');
$emulator->control(DELETE => "rules/$rule");
wait_delivered($node);

# ------------------------------------------------------------------------
# A certificate that is not trusted
# ------------------------------------------------------------------------
$node->safe_psql('postgres', "CREATE SERVER untrusted FOREIGN DATA WRAPPER firehose OPTIONS (endpoint_url '" . $emulator->tls_url . "')");
put('untrusted');
finds('untrusted', 'error', 'not reached since .*, and never before');
is($node->safe_psql('postgres', "${seen}'untrusted'"), 'f|t|', 'the view has no offset of a clock that was never seen');
$node->safe_psql('postgres', "ALTER SERVER untrusted OPTIONS (SET endpoint_url '" . $emulator->url . "')");
wait_delivered($node);
finds('untrusted', 'ok', 'it last responded');

# ------------------------------------------------------------------------
# A name that is not found
# ------------------------------------------------------------------------
$faults->resolver('fails');
new_stream($node, 'named', endpoint_url => $named);
put('named');
finds('named', 'error', 'not reached since .*, and never before');
my $row = $node->safe_psql('postgres', q{SELECT state, found FROM firehose_doctor() WHERE subject = 'stream named'});
like($row, qr/^warning\|retrying, 1 pending.*: network: Connection: Could not resolve host: \Q$SystemFaults::HOST\E/, 'and the reason names the host');
$faults->resolver('answers');
wait_delivered($node);
finds('named', 'ok', 'it last responded at');

# ------------------------------------------------------------------------
# A port that refuses; statistics that are reset forget none of it
# ------------------------------------------------------------------------
$emulator->stop;
put('clicks');
finds('clicks', 'error', 'not reached since');
$node->safe_psql('postgres', 'SELECT firehose_stat_reset()');
is($node->safe_psql('postgres', "${seen}'clicks'") =~ s/-?\d+$//r, 't|t|', 'a reset of the counters leaves what was seen');
$node->safe_psql('postgres', q{ALTER SERVER clicks OPTIONS (ADD enabled 'false')});
finds('clicks', 'error', 'not reached since');
$node->stop;
done_testing();
