# A core dump of the sender, which holds keys in memory, has none of them: not the
# keys that it used, nor what it got them with.  That of a session
# has what it put, and no secret either.  Skipped where a process that is aborted
# leaves no file behind.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use Digest::SHA qw(sha1_hex);
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $pattern = slurp_file('/proc/sys/kernel/core_pattern');
chomp $pattern;
plan skip_all => "core dumps do not become files here (core_pattern is $pattern)" if $pattern !~ /^[\w.%-]+$/;

my $emulator = Emulator->start(listener => [ 'identity', 'identity-https' ]);
my $identity_url = "http://127.0.0.1:$emulator->{ports}{listeners}{identity}";
my $home = Cwd::abs_path($emulator->dir) . '/home';
my $role = 'arn:aws:iam::123456789012:role';
mkdir $_ foreach $home, "$home/.aws", "$home/.aws/sso", "$home/.aws/sso/cache";
my $config = "$home/config";

sub write_file
{
    my ($path, $text) = @_;
    open(my $out, '>', "$path.new") or die "$path: $!";
    print $out $text;
    close($out);
    chmod 0600, "$path.new";
    rename("$path.new", $path) or die "$path: $!";
    return;
}

sub zulu { return POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + $_[0])); }

delete @ENV{ grep { /^AWS_/ } keys %ENV };
local $ENV{HOME} = $home;
local $ENV{AWS_EC2_METADATA_SERVICE_ENDPOINT} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_STS} = $identity_url;
# by TLS, whose library has buffers of its own
local @ENV{qw(AWS_ENDPOINT_URL_SSO AWS_ENDPOINT_URL_SSO_OIDC)} = ("https://127.0.0.1:$emulator->{ports}{listeners}{'identity-https'}") x 2;
my $node = new_node('main', $emulator, 'firehose.credentials_file' => '', 'firehose.config_file' => $config,
    'firehose.ca_file' => $emulator->ca_file,
    'firehose.allowed_roles' => '*', 'firehose.endpoint_url' => $emulator->url);
$emulator->control('POST', 'identity', { sts => { web_identity_token => 'good-token-of-web-identity', roles => {
    "$role/web" => { web_identity => JSON::PP::true }, "$role/stream" => {} } } });
new_stream($node, 'own');

# Use each way to credentials once
my @ways = (
    [ 'instance metadata' => '' ],
    [ 'web identity' => "role_arn = $role/web\nweb_identity_token_file = $home/token\n" ],
    [ 'IAM Identity Center' => "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n"
          . "[sso-session corp]\nsso_start_url = https://corp/start\nsso_region = us-east-1\n" ],
    [ 'shared files' => "credential_process = /bin/cat $home/process\n" ],
    [ 'shared files' => "aws_access_key_id = $Emulator::ACCESS_KEY\naws_secret_access_key = $Emulator::SECRET_KEY\n" ]);
write_file("$home/token", 'good-token-of-web-identity');
write_file("$home/process", JSON::PP::encode_json({ Version => 1,
    AccessKeyId => $Emulator::ACCESS_KEY, SecretAccessKey => $Emulator::SECRET_KEY, Expiration => zulu(3600) }));
write_file("$home/.aws/sso/cache/" . sha1_hex('corp') . '.json', JSON::PP::encode_json({
    startUrl => 'https://corp/start', region => 'us-east-1', accessToken => 'sso-access', expiresAt => zulu(60),
    clientId => 'client', clientSecret => 'client-secret', registrationExpiresAt => zulu(86400),
    refreshToken => 'sso-refresh' }));
foreach my $way (@ways)
{
    my ($source, $text) = @$way;
    write_file($config, "[default]\nregion = us-east-1\n$text");
    wait_until("$source: in use", sub {
        $node->safe_psql('postgres', q{SELECT firehose_put_record('own', 'wake up')});
        $node->safe_psql('postgres', q{SELECT state || ' ' || source FROM firehose_stat_identity}) eq "ready $source" });
    wait_delivered($node);
}
new_stream($node, 'of_role', role_arn => "$role/stream");
$node->safe_psql('postgres', q{SELECT firehose_put_record('of_role', 'x')});
wait_delivered($node);
is($node->safe_psql('postgres', q{SELECT count(*) FROM firehose_stat_identity WHERE state = 'ready'}), '2', 'two identities are in use');

# Abort a process; returns its dump.
sub dump_of
{
    my ($pid) = @_;
    my $core;
    system('prlimit', '--pid', $pid, '--core=unlimited') == 0 or die "prlimit: $?";
    kill 'ABRT', $pid;
    wait_until('a core was dumped', sub { ($core) = glob($node->data_dir . '/*core*'); $core && !-e "/proc/$pid" });
    my $dump = slurp_file($core);
    unlink glob($node->data_dir . '/*core*');
    cmp_ok(length $dump, '>', 1_000_000, 'it is one');
    # the server has ended with the process
    $node->stop('immediate', fail_ok => 1);
    return $dump;
}

my $secret = qr/SECRET[0-9a-f]{34}|\Q$Emulator::SECRET_KEY\E|client-secret|sso-(?:access|refresh)-[0-9a-f]{16}
    |good-token-of-web-identity|TOKEN[\w-]{100}/x;
sub has_no_secret
{
    my ($whose, $dump, $allowed) = @_;
    my %found;
    while ($dump =~ /($secret)/g) { $found{$1}++ unless $allowed && $1 =~ $allowed }
    return is_deeply(\%found, {}, "$whose: no key is in it, and no token");
}

if (system('prlimit', '--pid', $$, '--core=unlimited') != 0)
{
  SKIP: { skip 'the limit of core dumps cannot be raised here', 1 }
    $node->stop;
    done_testing();
    exit;
}
my $dump = dump_of(sender_of($node, 'postgres'));
like($dump, qr/\Q$role\E\/stream/, 'what is not secret is in it');
# libcurl 8 keeps the last request in a buffer, and with it a session token, which is
# of no use without its key
has_no_secret('sender', $dump, `curl-config --version` =~ /libcurl ([89]|\d\d)\./ ? qr/^TOKEN/ : undef);

# A session that puts, looks at all there is to see, and changes a stream
$node->start;
my $session = $node->background_psql('postgres');
$session->query_safe($_) foreach q{SELECT firehose_put_record('of_role', 'payload of a session')},
  q{SELECT firehose_flush()}, (map { "SELECT * FROM $_" } qw(firehose_stat_identity firehose_stat_stream firehose_doctor())),
  q{ALTER SERVER of_role OPTIONS (ADD max_in_flight '2')};
$dump = dump_of($session->query_safe('SELECT pg_backend_pid()'));
$session->quit;
like($dump, qr/payload of a session/, 'what it put is in it');
has_no_secret('session', $dump);

done_testing();
