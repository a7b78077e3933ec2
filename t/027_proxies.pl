# A proxy between the server and Firehose, nginx and haproxy: kept-alive
# connections that it closes, HTTP/2 and compression that it offers, and its own
# answers, which are no answers of Firehose: 413, 429, 502, 504 and a redirect.
# No such answer costs a record; the view says what the proxy said; and when the
# proxy is in order again all arrives.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use Proxy;

my @proxies = grep { Proxy::available($_) } qw(nginx haproxy);
plan skip_all => 'neither nginx nor haproxy is installed' unless @proxies;

my $emulator = Emulator->start('tls-port' => 0);
my ($upstream) = $emulator->url =~ m{//([^/]+)};
my $tls = "$emulator->{dir}/tls";
my $node = new_node('main', $emulator, 'firehose.ca_file' => $emulator->ca_file,
    'firehose.request_timeout' => '10s', 'firehose.probe_interval' => '200ms');
# haproxy wants certificate and key in one file
append_to_file("$tls/both.pem", slurp_file("$tls/good.pem") . slurp_file("$tls/good.key"));

# What is wrong with each stream's proxy, and the words of a proxy in the view
# that help to find it.
my %words = (
    413 => qr/413.*(?:Request Entity|Payload|Content) Too Large/i,
    429 => qr/429 Too Many Requests/,
    502 => qr/502 Bad Gateway/,
    504 => qr/504 Gateway Time-?out/i,
    301 => qr{301.*https://elsewhere\.example});
my @wrong = sort keys %words;

# The configurations: %in is what is wrong (nothing when it is in order), by
# port.  "plain" closes a connection after seven requests, offers HTTP/2 and
# compresses for whoever asks; haproxy closes after each reply.
sub nginx_servers
{
    my ($ports, $broken) = @_;
    my %in = (
        429 => 'return 429;',
        301 => 'return 301 https://elsewhere.example$request_uri;',
        504 => 'proxy_read_timeout 300ms;');
    my $servers = '';
    foreach my $name (sort keys %$ports)
    {
        my $to = $name eq '502' && $broken ? '127.0.0.1:1' : $upstream;
        my $trouble = $broken ? $in{$name} // '' : '';
        my $largest = $name eq '413' && $broken ? '100' : '10m';
        $servers .= <<"SERVER";
    server {
        listen 127.0.0.1:$ports->{$name} ssl http2;
        ssl_certificate $tls/good.pem;
        ssl_certificate_key $tls/good.key;
        keepalive_requests 7;
        gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;
        location / {
            client_max_body_size $largest;
            proxy_http_version 1.1;
            proxy_set_header Host \$http_host;
            proxy_set_header Connection "";
            $trouble
            proxy_pass http://$to;
        }
    }
SERVER
    }
    return $servers;
}

sub haproxy_servers
{
    my ($ports, $broken) = @_;
    my %in = (
        413 => 'http-request deny deny_status 413 if { req.body_size gt 100 }',
        429 => 'http-request deny deny_status 429',
        301 => 'http-request redirect code 301 prefix https://elsewhere.example',
        504 => 'timeout server 300ms');
    my $servers = '';
    foreach my $name (sort keys %$ports)
    {
        # 502: a server that says no HTTP
        my $to = $name eq '502' && $broken ? "127.0.0.1:$ports->{nonsense}" : $upstream;
        my $trouble = $broken ? $in{$name} // '' : '';
        next if $name eq 'nonsense';
        $servers .= <<"SERVER";
listen $name
    bind 127.0.0.1:$ports->{$name} ssl crt $tls/both.pem alpn h2,http/1.1
    option httpclose
    # or it may close before it has read the request, and its answer is lost
    option http-buffer-request
    $trouble
    server firehose $to
SERVER
    }
    # Closes without a word of HTTP, but not before it has read something: a
    # connection that ends at once may be one that was never made, which is 503.
    $servers .= <<"SERVER";
frontend nonsense
    mode tcp
    bind 127.0.0.1:$ports->{nonsense}
    tcp-request inspect-delay 10s
    tcp-request content reject if { req.len gt 0 }
SERVER
    return $servers;
}

sub view
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres',
        "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

foreach my $kind (@proxies)
{
    my $proxy = Proxy->new($kind);
    my $servers = $kind eq 'nginx' ? \&nginx_servers : \&haproxy_servers;
    my %ports = map { $_ => PostgreSQL::Test::Cluster::get_free_port() }
      ('plain', $kind eq 'haproxy' ? 'nonsense' : (), @wrong);
    my %committed;
    my $begun = time();

    $proxy->start($servers->(\%ports, 1), values %ports);
    # stored, and answered when the proxy does not listen any more
    $emulator->fault('delay', { seconds => 1 }, { stream => "${kind}_504" });
    foreach my $name ('plain', @wrong)
    {
        my $stream = new_stream($node, "${kind}_$name",
            endpoint_url => "https://127.0.0.1:$ports{$name}", max_batch_records => 50);
        $committed{$stream} = [ put_numbered($node, $stream, 1, 2000, size => 99) ];
    }

    # what goes through
    wait_for_sql($node, "SELECT accepted FROM firehose_stat_stream WHERE stream = '${kind}_plain'", 2000);
    audit_ok("$kind, closed connections", $emulator, "${kind}_plain", $committed{"${kind}_plain"});
    is(view("${kind}_plain", 'state, resent, mismatches'), 'active|0|0',
        "$kind: nothing was sent twice, no reply was in doubt");

    # what does not
    foreach my $name (@wrong)
    {
        my $stream = "${kind}_$name";
        wait_until("$stream: the view tells what is wrong and who says it",
            sub { view($stream, 'reason') =~ $words{$name} }, 10);
        is(view($stream, "state IN ('throttled', 'retrying', 'parked'), accepted, failed"), 't|0|0',
            "$stream: none is accepted and none given up");
        is($node->safe_psql('postgres', "SELECT count(*) FROM firehose_dead_letter WHERE stream = '$stream'"), 0,
            "$stream: a proxy's answer makes no dead letter");
        # twenty times a second would be often
        cmp_ok(view($stream, 'requests'), '<', 200 + 20 * (time() - $begun), "$stream: it is not hammered");
    }

    # in order again
    $emulator->heal;
    $proxy->start($servers->(\%ports, 0), values %ports);
    wait_delivered($node, 120);
    foreach my $name (@wrong)
    {
        my $stream = "${kind}_$name";
        audit_ok("$stream, in order again", $emulator, $stream, $committed{$stream},
            duplicates => $name eq '504');
        is(view($stream, 'state, reason, accepted, failed'), 'active||2000|0',
            "$stream: is well, and nothing was given up");
    }
    if ($kind eq 'nginx')
    {
        my @seen = map { [ split / / ] } split /\n/, slurp_file($proxy->dir . '/access');
        is_deeply([ grep { $_->[2] ne 'HTTP/1.1' } @seen ], [], 'HTTP/2 was offered, and not taken');
        is_deeply([ grep { $_->[4] ne '-' } @seen ], [], 'and nothing came compressed');
        is(scalar(grep { $_->[3] ne 'identity' } @seen), 0, 'which was asked for');
    }
    $proxy->stop;
}

$node->stop;
done_testing();
