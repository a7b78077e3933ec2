# TLS: a certificate for another host, an expired one, one that no authority vouches
# for, and a server that knows only TLS 1.1 are refused before a record leaves;
# the stream is not lost but waits, says why, and goes on when the endpoint is
# in order.  The authority is the file that firehose.ca_file names.  The keys of sessions
# are written nowhere, although the environment names a file for them.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start('tls-port' => 0);
my $keys = $emulator->dir . '/keys';
local $ENV{SSLKEYLOGFILE} = $keys;
my $node = new_node('main', $emulator, 'firehose.ca_file' => $emulator->ca_file,
    'firehose.endpoint_url' => $emulator->tls_url, 'firehose.connect_timeout' => '5s');

my %why = (
    'wrong-host' => qr/certificate|subject|host/i,
    'expired' => qr/certificate.*expired|expired.*certificate|certificate/i,
    'self-signed' => qr/self.signed|certificate/i,
    'tls1.1' => qr/protocol|version|TLS|SSL/i);
my %committed;

foreach my $mode (sort keys %why)
{
    my $name = 'tls_' . $mode =~ tr/a-z0-9//cdr;
    my $port = $emulator->control(POST => 'listeners', { mode => $mode })->{port};
    new_stream($node, $name, endpoint_url => "https://127.0.0.1:$port");
    $committed{$mode} = [ $name, put_numbered($node, $name, 1, 3) ];
}
foreach my $mode (sort keys %why)
{
    my $name = $committed{$mode}[0];
    wait_for_sql($node, "SELECT last_error_message IS NOT NULL AND state <> 'active'
        FROM firehose_stat_stream WHERE stream = '$name'");
    my ($accepted, $owed, $message) = split /\|/, $node->safe_psql('postgres',
        "SELECT accepted, queued + in_flight, concat_ws(': ', reason, last_error_message)
         FROM firehose_stat_stream WHERE stream = '$name'"), 3;
    is("$accepted $owed", '0 3', "$mode: nothing accepted, all kept");
    like($message, $why{$mode}, "$mode: says why");
    is($emulator->delivered($name), '', "$mode: no record left");
}
my @seen = grep { ($_->{stream} // '') =~ /^tls_/ } $emulator->requests;
is(scalar @seen, 0, 'no request came through');

# in order again
foreach my $mode (sort keys %why)
{
    my $name = $committed{$mode}[0];
    $node->safe_psql('postgres', "ALTER SERVER $name OPTIONS (DROP endpoint_url)");
}
wait_delivered($node);
audit_ok($_, $emulator, @{ $committed{$_} }[0], [ @{ $committed{$_} }[ 1 .. 3 ] ])
  foreach sort keys %why;
my ($tls) = grep { ($_->{stream} // '') eq 'tls_expired' } $emulator->requests;
ok($tls->{tls}, 'over TLS');

ok(!-e $keys, 'no keys of sessions are in the file that SSLKEYLOGFILE names');

# without our authority the same endpoint is a stranger
alter_settings($node, 'firehose.ca_file' => '');
$emulator->control(POST => 'connections', { which => 'idle' });
new_stream($node, 'stranger');
put_numbered($node, 'stranger', 1, 1);
wait_for_sql($node, q{SELECT state <> 'active' AND last_error_message IS NOT NULL AND accepted = 0
    FROM firehose_stat_stream WHERE stream = 'stranger'});
alter_settings($node, 'firehose.ca_file' => $emulator->ca_file);
wait_delivered($node);
is($emulator->delivered('stranger'), numbered(1) . "\n", 'a changed firehose.ca_file takes effect');

$node->stop;
done_testing();
