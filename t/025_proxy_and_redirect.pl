# Where requests go is decided by the stream and the administrator alone: a
# redirect is not followed whatever its status, a proxy in the environment is
# used for what lies outside but never for loopback, and an endpoint that
# firehose.allowed_endpoints does not allow is not even connected to.
use strict;
use warnings FATAL => 'all';
use IO::Select;
use IO::Socket::INET;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $elsewhere = Emulator->start();
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $@";
my $proxy = 'http://127.0.0.1:' . $listener->sockport;

# What a client first says to the proxy, undef if none comes
sub proxied
{
    my ($seconds) = @_;
    return unless IO::Select->new($listener)->can_read($seconds);
    my $client = $listener->accept;
    my $line = <$client>;
    close($client);
    return $line;
}

my $node;
{
    local @ENV{qw(http_proxy https_proxy ALL_PROXY)} = ($proxy) x 3;
    local $ENV{no_proxy} = 'intranet.example';
    $node = new_node('main', $emulator,
        'firehose.allowed_endpoints' => 'http://127.0.0.1:*, aws',
        'firehose.connect_timeout' => '2s', 'firehose.probe_interval' => '200ms');
}

# loopback
new_stream($node, 'near');
put_numbered($node, 'near', 1, 3);
wait_delivered($node);
is(proxied(0), undef, 'loopback is not reached through the proxy');

# redirects: none is followed, the records wait
foreach my $status (301, 302, 303, 307, 308)
{
    my $name = new_stream($node, "moved$status");
    $emulator->fault('redirect', { status => $status, location => $elsewhere->url . '/' },
        { stream => $name });
    put_numbered($node, $name, 1, 3);
}
foreach my $status (301, 302, 303, 307, 308)
{
    wait_for_sql($node, "SELECT state <> 'active' AND last_error_message IS NOT NULL
        AND queued + in_flight = 3 FROM firehose_stat_stream WHERE stream = 'moved$status'");
}
is_deeply([ $elsewhere->requests ], [], 'no redirect is followed');
$emulator->heal;
wait_delivered($node);
is($emulator->delivered("moved$_"), join('', map { numbered($_) . "\n" } 1 .. 3),
    "$_: all arrives where it was meant for") foreach 301, 302, 303, 307, 308;

# what is not allowed
new_stream($node, 'forbidden', endpoint_url => 'https://127.0.0.1:1');
put_numbered($node, 'forbidden', 1, 1);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'forbidden'}, 'parked');
like($node->safe_psql('postgres', q{SELECT reason FROM firehose_stat_stream WHERE stream = 'forbidden'}),
    qr{firehose.allowed_endpoints does not allow https://127.0.0.1:1}, 'and it says so');
is(proxied(0), undef, 'and asks no proxy');

# AWS itself: by the proxy, which learns the host and nothing else
new_stream($node, 'far', endpoint_url => 'https://firehose.us-east-1.amazonaws.com');
put_numbered($node, 'far', 1, 1);
is(proxied(60), "CONNECT firehose.us-east-1.amazonaws.com:443 HTTP/1.1\r\n",
    'AWS is reached through the proxy');
$node->safe_psql('postgres', 'DROP SERVER far');

$node->stop;
done_testing();
