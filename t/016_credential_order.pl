# Of every two places that credentials can come from the one wins that the AWS CLI
# asks first: each pair is configured at a server that starts, and the keys that
# sign its next request tell.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use Digest::SHA qw(sha1_hex);
use JSON::PP ();
use POSIX ();
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start(listener => 'identity');
my $identity_url = "http://127.0.0.1:$emulator->{ports}{listeners}{identity}";
my $home = Cwd::abs_path($emulator->dir) . '/home';
my $role = 'arn:aws:iam::123456789012:role';
mkdir $home or die $home;

# Keys of each place that names keys; all are accepted
my @with_keys = qw(settings environment base shared process config);
my %keys = map { $_ => { access_key => 'AKID' . uc $_, secret_key => "secret/$_" } } @with_keys;
$emulator->control('POST', 'credentials', [ @keys{@with_keys} ]);
$emulator->control('POST', 'identity', { sts => { roles => {
    "$role/profile" => { trusts => ['AKIDBASE'] },
    "$role/web" => { web_identity => JSON::PP::true } } } });

sub key_lines
{
    my ($name) = @_;
    return "aws_access_key_id = $keys{$name}{access_key}\naws_secret_access_key = $keys{$name}{secret_key}\n";
}

# The places in the order in which they are asked.  Each adds to the environment,
# to the profile in a file, or to the settings; signed is whose keys are used then.
my @places = (
    { name => 'settings', signed => 'AKIDSETTINGS', source => 'settings', settings => { 'firehose.profile' => 'mine' } },
    { name => 'environment', signed => 'AKIDENVIRONMENT', source => 'environment',
        environment => { AWS_ACCESS_KEY_ID => 'AKIDENVIRONMENT', AWS_SECRET_ACCESS_KEY => 'secret/environment' } },
    { name => 'assume role', signed => "$role/profile", source => 'assume role',
        config => "role_arn = $role/profile\nsource_profile = base\n" },
    { name => 'web identity', signed => "$role/web", source => 'web identity',
        environment => { AWS_WEB_IDENTITY_TOKEN_FILE => "$home/token", AWS_ROLE_ARN => "$role/web" } },
    { name => 'IAM Identity Center', signed => 'reader', source => 'IAM Identity Center',
        config => "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n" },
    { name => 'credentials file', signed => 'AKIDSHARED', source => 'shared files', credentials => key_lines('shared') },
    { name => 'credential_process', signed => 'AKIDPROCESS', source => 'shared files',
        config => "credential_process = /bin/cat $home/process\n" },
    { name => 'config file', signed => 'AKIDCONFIG', source => 'shared files', config => key_lines('config') },
    { name => 'container', signed => "$role/task", source => 'container',
        environment => { AWS_CONTAINER_CREDENTIALS_FULL_URI => "$identity_url/v1/credentials" } },
    { name => 'instance metadata', signed => 'database', source => 'instance metadata',
        environment => { AWS_EC2_METADATA_DISABLED => 'false' } });

sub write_file
{
    my ($path, $text) = @_;
    open(my $out, '>', $path) or die "$path: $!";
    print $out $text;
    close($out);
    chmod 0600, $path;
    return;
}

my $later = POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 86400));
mkdir $_ foreach "$home/.aws", "$home/.aws/sso", "$home/.aws/sso/cache";
write_file("$home/token", 'good-token');
write_file("$home/process", JSON::PP::encode_json({
    Version => 1, AccessKeyId => 'AKIDPROCESS', SecretAccessKey => 'secret/process' }));
write_file("$home/.aws/sso/cache/" . sha1_hex('corp') . '.json', JSON::PP::encode_json({
    startUrl => 'https://corp/start', region => 'us-east-1', accessToken => 'sso-access', expiresAt => $later }));

delete @ENV{ grep { /^AWS_/ } keys %ENV };
local $ENV{HOME} = $home;
local $ENV{AWS_EC2_METADATA_DISABLED} = 'true';
local $ENV{AWS_EC2_METADATA_SERVICE_ENDPOINT} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_STS} = $identity_url;
local $ENV{AWS_ENDPOINT_URL_SSO} = $identity_url;
my $node = new_node('main', $emulator, 'firehose.credentials_file' => '',
    'firehose.endpoint_url' => $emulator->url);
new_stream($node, 's');

# Start the server with both places configured; returns whose keys sign a request,
# and the source that the view shows
sub signed_with
{
    my (@both) = @_;
    my %settings = ('firehose.profile' => '');
    local %ENV = %ENV;
    my ($credentials, $config) = ('', '');
    foreach my $place (@both)
    {
        %ENV = (%ENV, %{ $place->{environment} // {} });
        %settings = (%settings, %{ $place->{settings} // {} });
        $credentials .= $place->{credentials} // '';
        $config .= $place->{config} // '';
    }
    write_file("$home/.aws/credentials", "[mine]\n" . key_lines('settings') . "[default]\n$credentials");
    write_file("$home/.aws/config", "[profile base]\n" . key_lines('base')
          . "[sso-session corp]\nsso_start_url = https://corp/start\nsso_region = us-east-1\n[default]\n$config");
    alter_settings($node, %settings);
    $node->restart;
    $node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'x')});
    return 'nobody' if $node->safe_psql('postgres', q{SELECT firehose_flush('s', '60 s')}) ne 't';
    $emulator->control('POST', 'flush');
    my $key = ($emulator->requests)[-1]{access_key};
    return ($emulator->control('POST', 'identity', {})->{principals}{$key} // $key) . ', '
      . $node->safe_psql('postgres', 'SELECT source FROM firehose_stat_identity');
}

foreach my $i (0 .. $#places)
{
    foreach my $j ($i + 1 .. $#places)
    {
        is(signed_with(@places[$i, $j]), "$places[$i]{signed}, $places[$i]{source}",
            "$places[$i]{name} goes before $places[$j]{name}");
    }
}
# the last is asked, too
is(signed_with($places[-1]), "$places[-1]{signed}, $places[-1]{source}", "$places[-1]{name} alone");

$node->stop;
done_testing();
