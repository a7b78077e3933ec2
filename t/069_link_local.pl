# The addresses at which AWS hands out credentials by plain http, of Amazon ECS, EKS
# Pod Identity and instance metadata, by IPv4 and IPv6: they are asked, and never
# through a proxy.  The test has them to itself, in a network namespace.
use strict;
use warnings FATAL => 'all';
use Test::More;

BEGIN
{
    my @addresses = qw(169.254.170.2/32 169.254.170.23/32 fd00:ec2::23/128 169.254.169.254/32 fd00:ec2::254/128);
    my @namespace = ('unshare', '-cn', '--keep-caps', 'sh', '-c',
        'ip link set lo up' . join('', map { " && ip addr add $_ dev lo" } @addresses) . ' && exec "$@"', 'sh');
    if (!$ENV{FIREHOSE_TEST_NAMESPACE})
    {
        local $ENV{FIREHOSE_TEST_NAMESPACE} = 1;
        plan skip_all => 'no network namespace with these addresses can be made here'
          if system("@namespace[0 .. 4] '$namespace[5]' sh true >/dev/null 2>&1") != 0;
        exec(@namespace, $^X, (map { "-I$_" } @INC), $0) or die "exec: $!";
    }
}

use Cwd ();
use IO::Select;
use IO::Socket::INET;
use IPC::Run ();

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start(listener => 'identity');
my $port = $emulator->{ports}{listeners}{identity};
my $home = Cwd::abs_path($emulator->dir);

# The addresses lead to the emulator
my $forward = "$home/forward.py";
PostgreSQL::Test::Utils::append_to_file($forward, <<"END");
import socket, socketserver, threading
class Forward(socketserver.BaseRequestHandler):
    def handle(self):
        to = socket.create_connection(("127.0.0.1", $port))
        def pump(a, b):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        threading.Thread(target=pump, args=(to, self.request), daemon=True).start()
        pump(self.request, to)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
class Server6(Server):
    address_family = socket.AF_INET6
for address in "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "169.254.169.254", "fd00:ec2::254":
    server = (Server6 if ":" in address else Server)((address, 80), Forward)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
input()
END
my ($in, $out) = ('', '');
my $forwarding = IPC::Run::start([ 'python3', $forward ], '<', \$in, '>', \$out);
wait_until('the addresses are listened at', sub { $forwarding->pump_nb; $out =~ /ready/ });

my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') or die "listen: $@";
my $proxy = 'http://127.0.0.1:' . $listener->sockport;
PostgreSQL::Test::Utils::append_to_file("$home/token", 'agent');
$emulator->control(POST => 'identity', { container => { authorization => 'agent' } });
PostgreSQL::Test::Utils::append_to_file("$home/config", "[default]\nregion = us-east-1\n");

delete @ENV{ grep { /^AWS_|_proxy$/i } keys %ENV };
local @ENV{qw(HOME http_proxy https_proxy ALL_PROXY)} = ($home, ($proxy) x 3);
local $ENV{no_proxy} = 'intranet.example';
my $node = new_node('main', $emulator, 'firehose.credentials_file' => '', 'firehose.config_file' => "$home/config",
    'firehose.probe_interval' => '200ms');
new_stream($node, 's');
my $token = "$home/token";
foreach my $case (
    [ 'ECS', 'container', { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI => '/v2/credentials/x', AWS_CONTAINER_AUTHORIZATION_TOKEN => 'agent' } ],
    [ 'Pod Identity', 'container', { AWS_CONTAINER_CREDENTIALS_FULL_URI => 'http://169.254.170.23/v1/credentials',
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => $token } ],
    [ 'Pod Identity by IPv6', 'container', { AWS_CONTAINER_CREDENTIALS_FULL_URI => 'http://[fd00:ec2::23]/v1/credentials',
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => $token } ],
    [ 'metadata', 'instance metadata', {} ],
    [ 'metadata by IPv6', 'instance metadata', { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE => 'IPv6' } ])
{
    my ($name, $source, $environment) = @$case;
    local %ENV = (%ENV, %$environment);
    $node->restart;
    is($node->safe_psql('postgres', q{SELECT firehose_wait(firehose_put_record('s', 'x', false), '60 s')}), 'accepted', "$name: delivered")
      or diag($node->safe_psql('postgres', 'SELECT state, reason FROM firehose_stat_stream'));
    is($node->safe_psql('postgres', 'SELECT state, source FROM firehose_stat_identity'), "ready|$source", "$name: its keys are used");
    ok(!IO::Select->new($listener)->can_read(0), "$name: not through the proxy");
}

$node->stop;
$in = "\n";
$forwarding->finish;
done_testing();
