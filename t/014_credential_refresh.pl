# Keys of every provider (instance metadata: 018) are refreshed before they expire,
# while records flow and without a request that fails, also when the provider takes
# its time.  When it is down for longer than the keys live, streams are parked with
# the reason; they resume by themselves, and everything arrived once.  No secret of
# any of them is in the log, in a view, a process title, an error or a core.
#
# One server for each provider, all at the same time; three of them with --long alone.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use Digest::SHA qw(sha1_hex);
use IPC::Run ();
use JSON::PP ();
use List::Util qw(min uniq);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start(listener => 'identity');
my $url = "http://127.0.0.1:$emulator->{ports}{listeners}{identity}";
my $home = Cwd::abs_path($emulator->dir) . '/home';
my $role = 'arn:aws:iam::123456789012:role';
mkdir $_ foreach $home, "$home/.aws", "$home/.aws/sso", "$home/.aws/sso/cache";

sub write_file
{
    my ($path, $text, $mode) = @_;
    open(my $out, '>', "$path.new") or die "$path: $!";
    print $out $text;
    close($out);
    chmod $mode // 0600, "$path.new";
    rename("$path.new", $path) or die "$path: $!";
    return $path;
}
sub identity { return $emulator->control(POST => 'identity', $_[0] // {}) }
sub zulu { return POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + $_[0])) }

my $keys = "aws_access_key_id = $Emulator::ACCESS_KEY\naws_secret_access_key = $Emulator::SECRET_KEY\n";
write_file("$home/agent-token", 'agent');
write_file("$home/web-token", 'good-token');
write_file("$home/.aws/sso/cache/" . sha1_hex('corp') . '.json', JSON::PP::encode_json({
    startUrl => 'https://corp/start', region => 'us-east-1', accessToken => 'sso-access', expiresAt => zulu(8 * 3600) }));
write_file("$home/program", <<"PROGRAM", 0755);
#!/usr/bin/python3
import json, urllib.request
request = urllib.request.Request("$url/v1/credentials", headers={"Authorization": "agent"})
reply = json.load(urllib.request.urlopen(request))
print(json.dumps({"Version": 1, "AccessKeyId": reply["AccessKeyId"], "SecretAccessKey": reply["SecretAccessKey"],
                  "SessionToken": reply["Token"], "Expiration": reply["Expiration"]}))
PROGRAM
identity({ ttl => 4, container => { authorization => 'agent' }, sts => { roles => {
    "$role/first" => { trusts => [$Emulator::ACCESS_KEY] }, "$role/second" => { trusts => ["$role/first"] },
    "$role/web" => { web_identity => JSON::PP::true }, "$role/of-instance" => { trusts => ['database'] },
    "$role/of-stream" => { trusts => [$Emulator::ACCESS_KEY], external_id => 'shop' } } } });

# provider; what the server's environment has; what is in its config file; what the
# view calls the source; whose keys sign; what it says when the service is down
my @providers = (
    { name => 'ecs', source => 'container', signs => "$role/task", down => qr/container, \Q$url\E: answered 503/,
        environment => { AWS_CONTAINER_CREDENTIALS_FULL_URI => "$url/v2/credentials/x", AWS_CONTAINER_AUTHORIZATION_TOKEN => 'agent' } },
    { name => 'pod_identity', source => 'container', signs => "$role/task", down => qr/container, \Q$url\E: answered 503/,
        environment => { AWS_CONTAINER_CREDENTIALS_FULL_URI => "$url/v1/credentials",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$home/agent-token" } },
    { name => 'web_identity', source => 'web identity', signs => "$role/web", down => qr/web identity, \Q$url\E: answered 503/,
        environment => { AWS_ROLE_ARN => "$role/web", AWS_WEB_IDENTITY_TOKEN_FILE => "$home/web-token" } },
    { name => 'chain', source => 'assume role', signs => "$role/second", down => qr/assume role, \Q$url\E: answered 503/,
        config => "role_arn = $role/second\nsource_profile = first\n[profile first]\nrole_arn = $role/first\nsource_profile = keys\n"
          . "[profile keys]\n$keys" },
    { name => 'of_instance', source => 'assume role', signs => "$role/of-instance", down => qr/\Q$url\E: answered 503/,
        environment => { AWS_EC2_METADATA_DISABLED => 'false' },
        config => "role_arn = $role/of-instance\ncredential_source = Ec2InstanceMetadata\n" },
    { name => 'of_stream', source => 'assume role', signs => "$role/of-stream", down => qr/assume role, \Q$url\E: answered 503/,
        config => $keys, options => { role_arn => "$role/of-stream", external_id => 'shop' } },
    { name => 'sso', source => 'IAM Identity Center', signs => 'reader', down => qr/IAM Identity Center, \Q$url\E: answered 503/,
        config => "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n"
          . "[sso-session corp]\nsso_start_url = https://corp/start\nsso_region = us-east-1\n" },
    { name => 'process', source => 'shared files', signs => "$role/task", down => qr/credential process: /,
        config => "credential_process = '$home/program'\n" });

# (each is a server and half a minute of a busy machine)
@providers = grep { is_long() || $_->{name} !~ /^(?:ecs|of_instance|of_stream)$/ } @providers;

# ------------------------------------------------------------------------
# A server for each
# ------------------------------------------------------------------------
foreach my $p (@providers)
{
    local @ENV{qw(HOME AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_EC2_METADATA_SERVICE_ENDPOINT
        AWS_EC2_METADATA_DISABLED AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL_SSO AWS_ENDPOINT_URL_SSO_OIDC)} =
      ($home, "$home/$p->{name}", "$home/credentials", $url, 'true', ($url) x 3);
    local %ENV = (%ENV, %{ $p->{environment} // {} });
    write_file("$home/$p->{name}", "[default]\nregion = us-east-1\n" . ($p->{config} // ''));
    $p->{node} = new_node($p->{name}, $emulator, 'firehose.credentials_file' => '', 'firehose.probe_interval' => '200ms',
        'firehose.queue_size' => '8MB', 'shared_buffers' => '8MB', 'firehose.allowed_roles' => '*',
        'log_min_messages' => 'debug5');
    new_stream($p->{node}, $p->{name}, %{ $p->{options} // {} });
}
sub identity_of
{
    my ($p) = @_;
    my $which = $p->{options} ? 'IS NOT NULL' : 'IS NULL';
    return $p->{node}->safe_psql('postgres', "SELECT concat_ws('|', state, source) FROM firehose_stat_identity WHERE role_arn $which");
}
sub stream_row
{
    my ($p) = @_;
    return $p->{node}->safe_psql('postgres', "SELECT state || ' ' || reason FROM firehose_stat_stream WHERE stream = '$p->{name}'");
}
# The requests for a stream, as [status, access key].  (The journal is long: it is
# not parsed as JSON.)
sub requests_of
{
    my ($p) = @_;
    my @requests;
    $emulator->control('POST', 'flush');
    open(my $journal, '<', $emulator->dir . '/journal.ndjson') or die "journal: $!";
    while (my $line = <$journal>)
    {
        next if index($line, qq("stream": "$p->{name}")) < 0;
        my ($seq, $status, $key) = $line =~ /"seq": (\d+), .*"status": (\d+|null), .*"access_key": "?(\w+)/ or die $line;
        push @requests, [ $seq, $status, $key ];
    }
    return map { [ @$_[ 1, 2 ] ] } sort { $a->[0] <=> $b->[0] } @requests;
}

# ------------------------------------------------------------------------
# Refreshed and rotated under load
# ------------------------------------------------------------------------
# Put a number every 50 ms, until table `ended` is there
sub start_load
{
    my ($p) = @_;
    $p->{node}->safe_psql('postgres', 'CREATE TABLE ended (); CREATE SEQUENCE puts');
    return IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $p->{node}->connstr('postgres'), '-c', <<"END" ], '<', \undef, '>', \my $out, '2>', \$p->{trouble});
DO \$\$ BEGIN
    WHILE to_regclass('ended') IS NOT NULL LOOP
        PERFORM firehose_put_record('$p->{name}', nextval('puts')::text); COMMIT; PERFORM pg_sleep(0.05);
    END LOOP;
END \$\$
END
}
my @services = qw(metadata container sts sso);
identity({ map { $_ => { delay => 0.5 } } @services });
$_->{load} = start_load($_) foreach @providers;
foreach my $p (@providers)
{
    wait_until("$p->{name}: four keys are used, one after the other", sub {
        return (uniq map { $_->[1] } requests_of($p)) >= 4 })
      or diag(identity_of($p), ' ', stream_row($p));
    is(identity_of($p), "ready|$p->{source}", "$p->{name}: the view tells the source");
}
identity({ map { $_ => { delay => 0 } } @services });
foreach my $p (@providers)
{
    my @requests = requests_of($p);
    my ($principals, $calls) = @{ identity() }{qw(principals calls)};
    is_deeply([ grep { $_->[0] ne 200 } @requests ], [], "$p->{name}: no request failed");
    is_deeply([ uniq map { $principals->{ $_->[1] } // $_->[1] } @requests ], [ $p->{signs} ],
        "$p->{name}: all were signed by its keys");
    # (the role of a task is of several servers)
    my @asked = map { $_->{time} } grep { ($_->{principal} // '') eq $p->{signs} } @$calls;
    cmp_ok(min(map { $asked[$_] - $asked[ $_ - 1 ] } 1 .. $#asked), '>', 0.5, "$p->{name}: one refresh at a time")
      if $p->{signs} !~ /task$/;
    # a key that was followed by another is not used again
    my @order = map { $_->[1] } @requests;
    my @changes = grep { $_ == 0 || $order[$_] ne $order[ $_ - 1 ] } 0 .. $#order;
    is(scalar @changes, scalar uniq(@order), "$p->{name}: keys follow one another");
}

# ------------------------------------------------------------------------
# Down for longer than keys live, and up again
# ------------------------------------------------------------------------
identity({ map { $_ => { status => 503 } } @services });
foreach my $p (@providers)
{
    wait_until("$p->{name} down: parked, with the reason", sub { stream_row($p) =~ /^parked .*no credentials: .*$p->{down}/ })
      or diag(stream_row($p));
    like(identity_of($p), qr/^failed/, "$p->{name} down: the view tells");
}
$_->{node}->safe_psql('postgres', 'DROP TABLE ended') foreach @providers;
foreach my $p (@providers)
{
    $p->{load}->finish;
    is($p->{trouble}, '', "$p->{name}: no put was an error");
}
identity({ map { $_ => { status => undef } } @services });
foreach my $p (@providers)
{
    is($p->{node}->safe_psql('postgres', "SELECT firehose_flush('$p->{name}', '120 s')"), 't', "$p->{name} up: resumes by itself")
      or diag(stream_row($p));
    like(identity_of($p), qr/^ready/, "$p->{name} up: the view tells");
    is_deeply([ grep { $_->[0] ne 200 } requests_of($p) ], [], "$p->{name}: no request was signed by keys that had expired");
    my $puts = $p->{node}->safe_psql('postgres', 'SELECT last_value FROM puts');
    is(join(' ', sort { $a <=> $b } split /\n/, $emulator->delivered($p->{name})), join(' ', 1 .. $puts),
        "$p->{name}: all $puts records arrived, once");
}

# ------------------------------------------------------------------------
# A token that was replaced in its file is used
# ------------------------------------------------------------------------
identity({ container => { authorization => 'next' }, sts => { web_identity_token => 'next-token' } });
my @by_file = grep { $_->{name} =~ /pod_identity|web_identity/ } @providers;
foreach my $p (@by_file)
{
    wait_until("$p->{name}: the old token is refused", sub { identity_of($p) =~ /^failed/ });
}
write_file("$home/agent-token", "next\n");
write_file("$home/web-token", "next-token\n");
foreach my $p (@by_file)
{
    is($p->{node}->safe_psql('postgres', "SELECT firehose_wait(firehose_put_record('$p->{name}', 'rotated', false), '60 s')"),
        'accepted', "$p->{name}: the new token is read from its file");
}

# ------------------------------------------------------------------------
# Nothing of it is told
# ------------------------------------------------------------------------
# What opens something by itself; a session token does only with its key
my $key = qr/SECRET[0-9a-f]{34}|\Q$Emulator::SECRET_KEY\E|good-token|next-token|sso-access/;
my $secret = qr/$key|TOKEN[\w-]{100}/;
my @views = qw(firehose_status firehose_stat_stream firehose_stat_identity firehose_stat_queue firehose_stat_server
  firehose_stat_pipeline firehose_dead_letter firehose_stream_options pg_stat_activity pg_settings pg_foreign_server);
chomp(my $pattern = slurp_file('/proc/sys/kernel/core_pattern'));
# (what is under way is in memory: keys that live long, and no fetch;
# those that were not told the new token have none)
identity({ ttl => 3600 });
foreach my $p (@providers)
{
    my $node = $p->{node};
    wait_until("$p->{name}: keys live long", sub {
        $node->safe_psql('postgres', "SELECT firehose_put_record('$p->{name}', 'last')");
        return $node->safe_psql('postgres', q{
            SELECT bool_and(state = 'failed' OR state = 'ready' AND expires_at > now() + '10 min') FROM firehose_stat_identity}) eq 't' })
      or diag(identity_of($p));
    my $told = join("\n", map { $node->safe_psql('postgres', "SELECT * FROM $_") } @views);
    $told .= join("\n", map { eval { slurp_file("/proc/$_/cmdline") } // '' }
          split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity'));
    $told .= ($node->psql('postgres', $_))[2] // '' foreach "SELECT firehose_put_json('$p->{name}', 'no JSON')",
      "SELECT firehose_put_text('nonesuch', 'x')", "ALTER SERVER $p->{name} OPTIONS (ADD access_key 'x')";
    unlike($told, $secret, "$p->{name}: no view, process title or error tells a secret");

    # the postmaster writes its environment to the log before it has loaded us
    my @lines = grep { !/^(?:.*DEBUG:  )?\tAWS_/ } split /\n/, slurp_file($node->logfile);
    is_deeply([ grep { /$secret/ } @lines ], [], "$p->{name}: nor does the log at debug5");
  SKIP:
    {
        skip("core dumps do not become files here (core_pattern is $pattern)", 2) if $pattern !~ /^[\w.%-]+$/;
        my $pid = sender_of($node, 'postgres');
        skip('the limit of core dumps cannot be raised here', 2) if system('prlimit', '--pid', $pid, '--core=unlimited') != 0;
        kill 'ABRT', $pid;
        my $core;
        wait_until("$p->{name}: a core of the sender", sub { ($core) = glob($node->data_dir . '/*core*'); $core && !-e "/proc/$pid" });
        my $dump = slurp_file($core);
        my %found;
        $found{$1}++ while $dump =~ /($key)/g;
        is_deeply(\%found, {}, "$p->{name}: no secret is in a core of the sender");
        unlink glob($node->data_dir . '/*core*');
    }
    $node->stop('immediate', fail_ok => 1);
}
done_testing();
