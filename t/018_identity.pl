# Credentials are fetched from every place that AWS hands them out at, by the
# sender's own event loop: instance metadata, a container's agent, STS, IAM
# Identity Center, a program.  They are refreshed while records flow, without a
# request that fails; when the place is down for longer than they live, streams
# are parked with the reason and resume by themselves.  Streams may have roles
# of their own.  Nothing secret is in the log or in a view.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use Digest::SHA qw(sha1_hex);
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start(listener => 'identity');
my $identity_url = "http://127.0.0.1:$emulator->{ports}{listeners}{identity}";
my $home = Cwd::abs_path($emulator->dir) . '/home';
mkdir $home or die $home;
my $config = "$home/config";

sub write_file
{
    my ($path, $text) = @_;
    open(my $out, '>', "$path.new") or die "$path: $!";
    print $out $text;
    close($out);
    rename("$path.new", $path) or die "$path: $!";
    return;
}

# Change the services; returns what they were asked so far
sub identity { return $emulator->control(POST => 'identity', $_[0] // {}); }

# The environment that every start of the server below has
local $ENV{HOME} = $home;
local $ENV{AWS_CONFIG_FILE} = $config;
local $ENV{AWS_SHARED_CREDENTIALS_FILE} = "$home/credentials";
local $ENV{AWS_EC2_METADATA_SERVICE_ENDPOINT} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_STS} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_SSO} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_SSO_OIDC} = $identity_url;
delete @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE
    AWS_DEFAULT_PROFILE AWS_REGION AWS_DEFAULT_REGION AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE)};
my $node = new_node('main', $emulator,
    'firehose.credentials_file' => '', 'firehose.region' => '',
    'firehose.probe_interval' => '200ms', 'log_min_messages' => 'debug5',
    'firehose.endpoint_url' => $emulator->url);
new_stream($node, 's');

# With a proxy that does not work: loopback addresses are not reached through it
sub restart
{
    local $ENV{http_proxy} = 'http://127.0.0.1:9';
    $node->restart;
    return;
}

sub query { return $node->safe_psql('postgres', $_[0]); }

sub stream_row
{
    my ($stream) = @_;
    return query("SELECT state || ' ' || reason FROM firehose_stat_stream WHERE stream = '" . ($stream // 's') . "'");
}

# Put a record and have it delivered; returns whose keys signed the request
sub delivered_by
{
    my ($name, $stream) = @_;
    $stream //= 's';
    query("SELECT firehose_put_record('$stream', '$name')");
    is(query("SELECT firehose_flush('$stream', '60 s')"), 't', "$name: delivered") or diag(stream_row($stream));
    $emulator->control('POST', 'flush');
    my $key = (grep { ($_->{stream} // '') eq $stream } $emulator->requests)[-1]{access_key};
    return identity()->{principals}{$key} // $key;
}

sub parked_because
{
    my ($name, $reason, $stream) = @_;
    $stream //= 's';
    query("SELECT firehose_put_record('$stream', '$name')");
    wait_until("$name: parked with the reason", sub { stream_row($stream) =~ /^parked .*$reason/ }, 30)
      or diag(stream_row($stream));
    return;
}

sub source_of
{
    return query(q{SELECT concat_ws('|', state, source, principal) FROM firehose_stat_identity WHERE role_arn IS NULL});
}

# Wait until the identity is this one.  An idle sender looks at nothing: a
# record wakes it.
sub source_becomes
{
    my ($name, $pattern) = @_;
    return wait_until("$name: found", sub {
        query("SELECT firehose_put_record('s', 'wake up')"); source_of() =~ $pattern }, 20) || diag(source_of());
}

sub last_error_becomes
{
    my ($name, $pattern) = @_;
    return wait_until("$name: says why", sub {
        query("SELECT firehose_put_record('s', 'wake up')");
        query(q{SELECT last_error FROM firehose_stat_identity WHERE role_arn IS NULL}) =~ $pattern }, 20)
      || diag(query(q{SELECT last_error FROM firehose_stat_identity}));
}

# Have the server look for its credentials anew, with this profile
sub use_config
{
    my ($text) = @_;
    write_file($config, $text);
    return;
}

# Instance metadata: the region as well, since nothing else tells it
is(delivered_by('metadata'), 'database', 'metadata: signed by the role of the instance');
is(source_of(), 'ready|instance metadata|database', 'metadata: the view tells');
is(query(q{SELECT expires_at > now() FROM firehose_stat_identity}), 't', 'metadata: and when they expire');
is_deeply([ map { $_->{call} } grep { $_->{call} =~ /token|region/ } @{ identity()->{calls} } ],
    [ ('PUT /latest/api/token') x 2, 'GET /latest/meta-data/placement/region' ], 'metadata: by version 2, the region too');

# Refreshed while records flow: keys of 4 seconds, for 10 seconds
identity({ ttl => 4 });
restart();
my $before = query(q{SELECT coalesce(sum(requests), 0) FROM firehose_stat_stream});
my $puts = put_in_background($node, 's', 1, 1);
$puts->finish;
my $end = time() + 10;
my $sent = 1;
while (time() < $end)
{
    query("SELECT firehose_put_record('s', 'load $sent')");
    $sent++;
    sleep 0.01;
}
wait_delivered($node);
$emulator->control('POST', 'flush');
my %keys;
my @loaded = grep { ($_->{stream} // '') eq 's' } $emulator->requests;
$keys{ $_->{access_key} }++ foreach @loaded;
cmp_ok(scalar keys %keys, '>=', 4, 'refresh: several keys were used');
is_deeply([ grep { $_->{status} != 200 } @loaded ], [], 'refresh: and no request failed');
# half of their life before they expire, or five minutes if that is less
my @asked = (map { $_->{time} } grep { ($_->{principal} // '') eq 'database' } @{ identity()->{calls} })[ -4 .. -1 ];
cmp_ok(median(map { $asked[$_] - $asked[ $_ - 1 ] } 1 .. 3), '<', 2.8, 'refresh: long before they expired');

# Down for longer than the keys live
identity({ metadata => { status => 503 } });
wait_until('down: the keys expire', sub { source_of() =~ /^failed/ }, 20);
parked_because('down', qr/no credentials: instance metadata, \Q$identity_url\E: answered 503/);
like(query(q{SELECT last_error FROM firehose_stat_identity}),
    qr/answered 503; passed over: environment: AWS_ACCESS_KEY_ID is not set; .*container/, 'down: which providers were passed over');
identity({ ttl => 3600, metadata => { status => undef } });
is(delivered_by('up again'), 'database', 'down: resumes by itself');

# What else the metadata service can say
foreach my $case (
    [ 'no role', { role => '' }, qr/the instance has no role/ ],
    [ 'not trusted', { code => 'AssumeRoleUnauthorizedAccess' }, qr/AssumeRoleUnauthorizedAccess: the role cannot be assumed/ ],
    [ 'switched off', { status => 403 }, qr/the metadata service is switched off/ ],
    [ 'hop limit', { delay => 5 }, qr/hop limit/ ])
{
    my ($name, $change, $reason) = @$case;
    identity({ metadata => $change });
    restart();
    parked_because($name, $reason);
    identity({ metadata => { role => 'database', code => 'Success', status => undef, delay => 0 } });
    is(delivered_by("$name mended"), 'database', "$name: resumes by itself");
}
identity({ metadata => { refuse_tokens => 1 } });
{
    # nothing else asks the service then
    local $ENV{AWS_REGION} = 'us-east-1';
    restart();
    is(delivered_by('401'), 'database', 'a token that is good no more is renewed');
    is(query('SELECT failures FROM firehose_stat_identity'), '0', 'at once, without a failure');
}

# Slow, but not too slow: the stream waits and is not parked
identity({ metadata => { delay => 0.7 } });
restart();
query(q{SELECT firehose_put_record('s', 'slow')});
wait_until('slow: authenticating', sub { stream_row() =~ /^authenticating credentials are being fetched from instance metadata/ }, 5);
wait_delivered($node, 30);
is(query(q{SELECT count(*) FROM firehose_stat_stream WHERE last_error_message LIKE '%credentials%'}), '0', 'slow: which is no error');
identity({ metadata => { delay => 0 } });

# Roles of a profile, one after the other; the second wants an external id
my $role = 'arn:aws:iam::123456789012:role';
identity({ sts => { roles => {
    "$role/first" => { trusts => [$Emulator::ACCESS_KEY] },
    "$role/second" => { trusts => ["$role/first"], external_id => 'ex/1' },
    "$role/of-instance" => { trusts => ['database'] },
    "$role/web" => { web_identity => JSON::PP::true },
    "$role/one" => { trusts => [$Emulator::ACCESS_KEY], external_id => 'shop' },
    "$role/two" => { trusts => [$Emulator::ACCESS_KEY] } } } });
my $keys = "aws_access_key_id = $Emulator::ACCESS_KEY\naws_secret_access_key = $Emulator::SECRET_KEY\n";
use_config(<<"CONFIG");
[default]
role_arn = $role/second
source_profile = first
external_id = ex/1
region = us-east-1
[profile first]
role_arn = $role/first
source_profile = keys
[profile keys]
$keys
CONFIG
source_becomes('roles', qr/^ready\|assume role\|.*second/);
is(delivered_by('roles'), "$role/second", 'roles: signed by the second role');
is(query(q{SELECT principal FROM firehose_stat_identity}), 'arn:aws:sts::123456789012:assumed-role/second/firehose', 'roles: the view tells which');

use_config("[default]\nregion = us-east-1\nrole_arn = $role/of-instance\ncredential_source = Ec2InstanceMetadata\n");
source_becomes('credential_source', qr/of-instance/);
is(delivered_by('source'), "$role/of-instance", 'credential_source: signed by the role');

# one that does not trust us: the old keys are used meanwhile
use_config("[default]\nregion = us-east-1\nrole_arn = $role/second\ncredential_source = Ec2InstanceMetadata\n");
last_error_becomes('not trusted: says so', qr/assume role, \Q$identity_url\E: answered 403 AccessDenied: User: database is not authorized/);
is(delivered_by('old keys'), "$role/of-instance", 'not trusted: the old keys are used');

# Web identity; the token file is read again each time
write_file("$home/token", 'bad-token');
use_config("[default]\nregion = us-east-1\nrole_arn = $role/web\nweb_identity_token_file = $home/token\n");
last_error_becomes('web identity: a wrong token', qr/web identity, .*InvalidIdentityToken: Incorrect token audience/);
write_file("$home/token", "good-token\n");
source_becomes('web identity', qr/^ready\|web identity/);
is(delivered_by('web'), "$role/web", 'web identity: signed by the role');

# A program (t/017_credential_process.pl has what can go wrong with one)
my $program = "$home/my program";
write_file($program, <<"PROGRAM");
#!/bin/sh
[ "\$1" = 'a \$HOME b' ] || exit 3
echo "secret words on stderr" >&2
echo '{"Version": 1, "AccessKeyId": "$Emulator::ACCESS_KEY", "SecretAccessKey": "$Emulator::SECRET_KEY"}'
PROGRAM
chmod 0755, $program;
use_config("[default]\nregion = us-east-1\ncredential_process = '$program' 'a \$HOME b'\n");
source_becomes('process', qr/^ready\|shared files/);
is(delivered_by('process'), $Emulator::ACCESS_KEY, 'process: signed by its keys');

# IAM Identity Center: a cached token that has to be refreshed
mkdir $_ foreach "$home/.aws", "$home/.aws/sso", "$home/.aws/sso/cache";
my $cache = "$home/.aws/sso/cache/" . sha1_hex('corp') . '.json';
my $soon = POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 60));
my $later = POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 86400));
write_file($cache, JSON::PP::encode_json({
    startUrl => 'https://corp/start', region => 'us-east-1', accessToken => 'sso-old', expiresAt => $soon,
    clientId => 'client', clientSecret => 'client-secret', registrationExpiresAt => $later, refreshToken => 'sso-refresh' }));
use_config("[default]\nregion = us-east-1\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n"
      . "[sso-session corp]\nsso_start_url = https://corp/start\nsso_region = us-east-1\n");
source_becomes('sso', qr/^ready\|IAM Identity Center\|reader/);
is(delivered_by('sso'), 'reader', 'sso: signed by the role');
my $sso = identity()->{settings}{sso};
like(do { local (@ARGV, $/) = $cache; <> }, qr/"accessToken": "\Q$sso->{access_token}\E".*"refreshToken": "\Q$sso->{refresh_token}\E"/,
    'sso: the refreshed token is kept');
is((stat $cache)[2] & 0777, 0600, 'sso: for its owner alone');
# one that has expired and cannot be refreshed is not tried
write_file($cache, JSON::PP::encode_json({
    startUrl => 'https://corp/start', region => 'us-east-1', accessToken => 'sso-old', expiresAt => '2020-01-01T00:00:00Z' }));
use_config("[default]\nregion = us-east-1\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = writer\n"
      . "[sso-session corp]\nsso_start_url = https://corp/start\nsso_region = us-east-1\n");
last_error_becomes('sso: a token that has expired', qr/the cached token has expired; run "aws sso login" as the server's user/);
is(delivered_by('sso old keys'), 'reader', 'sso: the old keys are used');

# A role per stream
use_config("[default]\nregion = us-east-1\n$keys");
source_becomes('keys of a file', qr/^ready\|shared files/);
new_stream($node, 'one', role_arn => "$role/one", external_id => 'shop');
new_stream($node, 'two', role_arn => "$role/two");
foreach my $bad ('role/x', 'arn:aws:s3:::bucket/*', 'arn:aws:iam::12345:role/x', "$role/*, arn:aws:iam::1234567890123*", '* x')
{
    my (undef, undef, $said) = $node->psql('postgres', "ALTER SYSTEM SET firehose.allowed_roles = '$bad'");
    like($said, qr/invalid value for parameter "firehose.allowed_roles".*can match no ARN of a role.*HINT:/s,
        "a pattern that allows nothing is refused: $bad");
}
foreach my $good ('*', 'arn:aws*', 'arn:aws-cn:iam::*:role/x', 'arn:aws:iam::1234*', "$role/x, ,$role/a/*/b")
{
    is(query("ALTER SYSTEM SET firehose.allowed_roles = '$good'; ALTER SYSTEM RESET firehose.allowed_roles; SELECT 1"), '1', "taken: $good");
}
parked_because('not allowed', qr/firehose\.allowed_roles does not allow/, 'one');
is((grep { ($_->{principal} // '') eq "$role/one" } @{ identity()->{calls} }), 0, 'and the role was not even asked for');
alter_settings($node, 'firehose.allowed_roles' => "arn:aws:iam::999999999999:role/x, $role/*");
is(delivered_by('of one', 'one'), "$role/one", 'stream one: signed by its role');
is(delivered_by('of two', 'two'), "$role/two", 'stream two: signed by its own');
is(delivered_by('of none', 's'), $Emulator::ACCESS_KEY, 'a stream without one: by the server');
is(query(q{SELECT string_agg(concat_ws(' ', state, source, role_arn), ', ' ORDER BY role_arn) FROM firehose_stat_identity WHERE role_arn IS NOT NULL}),
    "ready assume role $role/one, ready assume role $role/two", 'the view has both');
identity({ denied => ["$role/one"] });
parked_because('denied', qr/AccessDenied/, 'one');
is(delivered_by('two still', 'two'), "$role/two", 'a denied role parks its stream alone');
identity({ denied => [] });
is(delivered_by('one again', 'one'), "$role/one", 'and it resumes by itself');
query('DROP SERVER two');
wait_until('a role that no stream names is forgotten', sub {
    query(q{SELECT count(*) FROM firehose_stat_identity WHERE role_arn LIKE '%two'}) eq '0' }, 20);

# Who may see what
query(q{CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor});
is($node->safe_psql('postgres', q{SELECT count(*), count(last_error) FROM firehose_stat_identity}, extra_params => [ '-U', 'monitor' ]),
    query(q{SELECT count(*) || '|0' FROM firehose_stat_identity}), 'a monitor sees identities, but no paths');

# An agent of containers, by the environment; its token file is read each time
write_file("$home/agent-token", 'agent-1');
identity({ container => { authorization => 'agent-1' } });
use_config("[default]\nregion = us-east-1\n");
{
    local $ENV{AWS_CONTAINER_CREDENTIALS_FULL_URI} = "$identity_url/v1/credentials?secret-path";
    local $ENV{AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE} = "$home/agent-token";
    restart();
    is(delivered_by('container'), 'arn:aws:iam::123456789012:role/task', 'container: signed by the role of the task');
    is(source_of(), 'ready|container|arn:aws:iam::123456789012:role/task', 'container: the view tells');
    identity({ container => { authorization => 'agent-2' } });
    restart();
    parked_because('agent', qr/container, \Q$identity_url\E: answered 401 InvalidAuthorization: not authorized/);
    write_file("$home/agent-token", "agent-2\n");
    is(delivered_by('agent again'), 'arn:aws:iam::123456789012:role/task', 'container: the token file is read again');
}

# Nothing secret was told
$node->stop;
open(my $log, '<', $node->logfile) or die;
# (the postmaster writes its environment there before it has loaded us; from 18 on
# in one message of many lines)
my @told = grep { !/^(?:.*DEBUG:  )?\tAWS_/ } grep { /SECRET[0-9a-f]{34}|TOKEN[\w-]{100}|\Q$Emulator::SECRET_KEY\E|sso-(access|refresh)-|client-secret|good-token|agent-[12]|secret-path|secret words/ } <$log>;
is_deeply(\@told, [], 'no secret is in the log at debug5');

done_testing();
