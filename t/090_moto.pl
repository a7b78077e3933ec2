# An independent server: moto, which we did not write, takes what the extension
# sends, verifies nothing of ours with our own code, and writes it to a bucket of
# its S3, from where it is read back with boto3 and compared byte for byte.  Then
# its IAM is switched on, and its STS hands out a role's keys: with every signature
# and policy checked, records arrive.  (Its metadata service has no version 2.)
# Skipped where moto cannot be had (scripts/install-moto).
use strict;
use warnings FATAL => 'all';
use Cwd ();
use HTTP::Tiny;
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $packages = Cwd::abs_path('build/moto/usr/lib/python3/dist-packages');
local $ENV{PYTHONPATH} = $packages if defined $packages && -d $packages;
plan skip_all => 'moto is not installed and could not be fetched (scripts/install-moto)'
  if system(q{python3 -c 'import moto.server, boto3' >/dev/null 2>&1}) != 0;

# it verifies no signature until told so; it wants some keys
my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $@";
my $port = $probe->sockport;
close($probe);
my $url = "http://127.0.0.1:$port";
my $pid = fork() // die "cannot fork: $!";
if ($pid == 0)
{
    open(STDOUT, '>', 'tmp_check/log/moto.log');
    open(STDERR, '>&', \*STDOUT);
    exec('python3', '-m', 'moto.server', '-H', '127.0.0.1', '-p', $port) or POSIX::_exit(127);
}
END
{
    my $status = $?;
    if ($pid) { kill 'KILL', $pid; waitpid($pid, 0) }
    $? = $status;
}
my $started = wait_until('moto answers',
    sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 1) }, 60);
BAIL_OUT('moto did not start; see tmp_check/log/moto.log') unless $started;

# Run Python with boto3's clients of moto at hand; returns what it prints.
sub python
{
    my ($code) = @_;
    my $program = <<"PYTHON" . $code;
import boto3, sys
keys = dict(region_name='us-east-1', endpoint_url='$url',
            aws_access_key_id='$Emulator::ACCESS_KEY', aws_secret_access_key='$Emulator::SECRET_KEY')
s3 = boto3.client('s3', **keys)
firehose = boto3.client('firehose', **keys)
iam = boto3.client('iam', **keys)
sts = boto3.client('sts', **keys)
PYTHON
    my ($out, $err) = ('', '');
    IPC::Run::run([ 'python3', '-' ], '<', \$program, '>', \$out, '2>', \$err)
      or do { diag($err); die "python failed" };
    return $out;
}

# a moto that cannot even make a bucket says nothing about us
my $works = eval { python(<<'PYTHON'); 1 };
s3.create_bucket(Bucket='lake')
for name in ('clicks', 'bytes', 'packed'):
    firehose.create_delivery_stream(
        DeliveryStreamName=name,
        S3DestinationConfiguration=dict(RoleARN='arn:aws:iam::123456789012:role/firehose',
                                        BucketARN='arn:aws:s3:::lake', Prefix=name + '/'))
PYTHON
unless ($works)
{
  SKIP: { skip 'this moto does not work: it could not create a bucket and a stream', 1 }
    done_testing();
    exit;
}

# What the bucket holds for a stream, in hexadecimal and in order of writing
sub stored
{
    my ($stream) = @_;
    my $hex = python(<<"PYTHON");
keys = [o['Key'] for o in s3.list_objects_v2(Bucket='lake', Prefix='$stream/').get('Contents', [])]
objects = sorted((s3.get_object(Bucket='lake', Key=k) for k in keys), key=lambda o: o['LastModified'])
sys.stdout.write(b''.join(o['Body'].read() for o in objects).hex())
PYTHON
    return pack('H*', $hex);
}

# the address is what a server in the same network would have
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.endpoint_url' => $url);

# in order, one request at a time
new_stream($node, 'clicks', max_in_flight => 1);
my @committed = put_numbered($node, 'clicks', 1, 1200, size => 99, per_commit => 100);
wait_delivered($node, 60);
is(join('', sort { $a cmp $b } map { "$_\n" } split /\n/, stored('clicks')), join('', @committed),
    'the objects in S3 hold what was committed');
$node->safe_psql('postgres', q{
    CREATE TABLE orders (id int PRIMARY KEY, note text);
    CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('clicks', 'row');
    INSERT INTO orders VALUES (1, 'Ünïcödé')});
wait_delivered($node, 60);
like(stored('clicks'), qr/\{"id":1,"note":"\xc3\x9cn\xc3\xafc\xc3\xb6d\xc3\xa9"\}\n/, 'a row by trigger, too');

# every byte there is, by PutRecord
new_stream($node, 'bytes');
$node->safe_psql('postgres', q{
    SELECT firehose_put_record('bytes', decode(string_agg(lpad(to_hex(n), 2, '0'), '' ORDER BY n), 'hex'))
    FROM generate_series(0, 255) n});
wait_delivered($node, 60);
is(stored('bytes'), join('', map { chr } 0 .. 255), 'every byte arrives as it is');

# packed and compressed: what S3 holds is a gzip file that gzip itself opens
new_stream($node, 'packed', destination => 's3', pack => 'true', compression => 'gzip', paused => 'true');
my @packed = put_numbered($node, 'packed', 1, 3000, size => 99, per_commit => 100);
$node->safe_psql('postgres', q{ALTER SERVER packed OPTIONS (SET paused 'false')});
push @packed, put_numbered($node, 'packed', 3001, 4000, size => 99, per_commit => 10);
wait_delivered($node, 60);
my ($object, $unpacked, $complaints) = (stored('packed'), '', '');
ok(IPC::Run::run([ 'gzip', '-dc' ], '<', \$object, '>', \$unpacked, '2>', \$complaints), 'gzip -dc opens it')
  or diag($complaints);
is(join('', sort { $a cmp $b } map { "$_\n" } split /\n/, $unpacked), join('', @packed), 'and has each row once');
is($node->safe_psql('postgres', q{SELECT accepted, firehose_records < accepted, sent_bytes, resent
        FROM firehose_stat_stream WHERE stream = 'packed'}), '4000|t|' . length($object) . '|0',
    'as many bytes as were counted');

is($node->safe_psql('postgres', q{SELECT stream, accepted, failed, resent, mismatches, state
        FROM firehose_stat_stream ORDER BY stream}),
    "bytes|1|0|0|0|active\nclicks|1201|0|0|0|active\npacked|4000|0|0|0|active", 'accepted at the first attempt');
is($node->safe_psql('postgres', q{SELECT count(*) FROM firehose_status
        WHERE status = 'accepted' AND length(record_id) > 0}), '5202', 'each with a RecordId');

# a stream that moto does not have: its words for it are understood
new_stream($node, 'nonesuch');
$node->safe_psql('postgres', q{SELECT firehose_put_record('nonesuch', 'a')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'nonesuch'}, 'parked');
like($node->safe_psql('postgres', q{SELECT last_error_code FROM firehose_stat_stream WHERE stream = 'nonesuch'}),
    qr/ResourceNotFoundException/, 'an unknown stream is parked');

$node->stop('fast');

# A user that may assume a role, and the role, that may put into one stream
my $made = python(<<'PYTHON');
import json
def policy(*statements):
    return json.dumps({'Version': '2012-10-17', 'Statement': [
        {'Effect': 'Allow', 'Action': action, 'Resource': resource} for action, resource in statements]})
iam.create_user(UserName='database')
role = iam.create_role(RoleName='putter', AssumeRolePolicyDocument=policy(('sts:AssumeRole', '*')))['Role']['Arn']
iam.put_role_policy(RoleName='putter', PolicyName='put', PolicyDocument=policy(
    (['firehose:PutRecord', 'firehose:PutRecordBatch'], '*')))
iam.put_user_policy(UserName='database', PolicyName='assume', PolicyDocument=policy(('sts:AssumeRole', '*')))
idle = iam.create_role(RoleName='idle', AssumeRolePolicyDocument=policy(('sts:AssumeRole', '*')))['Role']['Arn']
key = iam.create_access_key(UserName='database')['AccessKey']
firehose.create_delivery_stream(DeliveryStreamName='guarded', S3DestinationConfiguration=dict(
    RoleARN='arn:aws:iam::123456789012:role/firehose', BucketARN='arn:aws:s3:::lake', Prefix='guarded/'))
print(role, idle, key['AccessKeyId'], key['SecretAccessKey'])
PYTHON
my ($role, $idle, $id, $secret) = split ' ', $made;
my $enforced = HTTP::Tiny->new->post("$url/moto-api/reset-auth", { content => '0' });
is($enforced->{status}, 200, "moto's IAM is switched on");

{
    local $ENV{AWS_ENDPOINT_URL_STS} = $url;
    $node = new_node('roles', $emulator, 'firehose.endpoint_url' => $url, 'firehose.allowed_roles' => '*');
}
my $credentials = $node->safe_psql('postgres', 'SHOW firehose.credentials_file');
sub use_keys
{
    my ($new_id, $new_secret) = @_;
    open(my $out, '>', "$credentials.new") or die "$credentials: $!";
    print $out "[default]\naws_access_key_id = $new_id\naws_secret_access_key = $new_secret\n";
    close($out);
    chmod 0600, "$credentials.new";
    rename("$credentials.new", $credentials) or die "$credentials: $!";
    return;
}
sub last_error_becomes
{
    my ($stream, $pattern) = @_;
    return wait_until("$stream: $pattern", sub {
        $node->safe_psql('postgres', "SELECT firehose_put_record('$stream', 'wake up')");
        $node->safe_psql('postgres', "SELECT reason FROM firehose_stat_stream WHERE stream = '$stream'") =~ $pattern })
      || diag($node->safe_psql('postgres', "SELECT state, reason FROM firehose_stat_stream WHERE stream = '$stream'"));
}
use_keys($id, 'another+secret');
new_stream($node, 'guarded', role_arn => $role);
last_error_becomes('guarded', qr/assume role, \Q$url\E: answered 403/);
use_keys($id, $secret);
wait_delivered($node, 60);
is($node->safe_psql('postgres', q{SELECT state, source, principal FROM firehose_stat_identity WHERE role_arn IS NOT NULL}),
    'ready|assume role|arn:aws:sts::123456789012:assumed-role/putter/firehose', 'and the view tells whose they are');
is($node->safe_psql('postgres', q{SELECT accepted > 0 AND failed = 0 FROM firehose_stat_stream WHERE stream = 'guarded'}), 't',
    "keys of moto's STS sign what its IAM lets through");
new_stream($node, 'denied', role_arn => $idle);
last_error_becomes('denied', qr/AccessDenied/);

$node->stop('fast');
done_testing();
