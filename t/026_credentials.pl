# Credentials come from the file that firehose.credentials_file names, or from
# the server's environment.  A file that appears or changes is noticed; keys
# that are missing or wrong park the streams with the reason, and they resume
# by themselves.  (Clocks that differ: 021.)
use strict;
use warnings FATAL => 'all';
use Cwd ();
use JSON::PP ();
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.probe_interval' => '200ms');
my $file = $node->safe_psql('postgres', 'SHOW firehose.credentials_file');
new_stream($node, 's');

sub write_credentials
{
    my ($text) = @_;
    open(my $out, '>', "$file.new") or die "$file.new: $!";
    print $out $text;
    close($out);
    rename("$file.new", $file) or die "$file: $!";
    return;
}

sub keys_text
{
    my ($profile, $access, $secret, $token) = @_;
    return "[$profile]\naws_access_key_id = $access\naws_secret_access_key = $secret\n"
      . (defined $token ? "aws_session_token = $token\n" : '');
}

# Put a record, and see it parked with a reason
sub parked_because
{
    my ($name, $reason) = @_;
    $node->safe_psql('postgres', "SELECT firehose_put_record('s', '$name')");
    wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 's'}, 'parked');
    wait_until("$name: says why", sub {
        $node->safe_psql('postgres',
            q{SELECT reason FROM firehose_stat_stream WHERE stream = 's'}) =~ $reason }, 10)
      or diag($node->safe_psql('postgres', q{SELECT reason FROM firehose_stat_stream}));
    return;
}

# All that was put arrives, under this key
sub resumes
{
    my ($name, $access_key) = @_;
    wait_delivered($node, 60);
    # the journal has a request a moment after its reply has left
    $emulator->control('POST', 'flush');
    is((grep { $_->{stream} } $emulator->requests)[-1]{access_key}, $access_key // $Emulator::ACCESS_KEY,
        "$name: resumes by itself");
    is($node->safe_psql('postgres', q{SELECT state, reason FROM firehose_stat_stream WHERE stream = 's'}),
        'active|', "$name: and shows no reason any more");
    return;
}

$node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'first')});
wait_delivered($node);

# rotated: new keys in the file, the old ones are refused
$emulator->control(POST => 'credentials', { access_key => 'AKIDROTATED', secret_key => 'rotated/secret' });
parked_because('refused', qr/UnrecognizedClient|InvalidSignature|security token|signature/i);
write_credentials(keys_text('default', 'AKIDROTATED', 'rotated/secret'));
resumes('rotated', 'AKIDROTATED');

# with a session token
$emulator->control(POST => 'credentials',
    { access_key => 'ASIATEMPORARY', secret_key => 's', session_token => 'to+ken/==' });
write_credentials(keys_text('default', 'ASIATEMPORARY', 's', 'to+ken/=='));
$node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'token')});
resumes('session token', 'ASIATEMPORARY');

# a wrong secret, a denied one, one that has expired
$emulator->control(POST => 'credentials', { access_key => $Emulator::ACCESS_KEY, secret_key => $Emulator::SECRET_KEY });
write_credentials(keys_text('default', $Emulator::ACCESS_KEY, 'wrong'));
parked_because('wrong secret', qr/signature/i);
write_credentials(keys_text('default', $Emulator::ACCESS_KEY, $Emulator::SECRET_KEY));
resumes('wrong secret');
foreach my $what ([ denied => JSON::PP::true(), qr/AccessDenied/ ], [ expires => time() - 60, qr/ExpiredToken/ ])
{
    my %key = (access_key => $Emulator::ACCESS_KEY, secret_key => $Emulator::SECRET_KEY);
    $emulator->control(POST => 'credentials', { %key, $what->[0] => $what->[1] });
    parked_because($what->[0], $what->[2]);
    $emulator->control(POST => 'credentials', \%key);
    resumes($what->[0]);
}

# a server that finds none at its start: the file comes later, at first damaged
rename($file, "$file.away") or die;
$node->restart;
parked_because('missing', qr/no credentials: .*does not exist/);
write_credentials("[default]\naws_access_key_id = $Emulator::ACCESS_KEY\n");
parked_because('half', qr/no credentials: .*aws_secret_access_key/);
write_credentials(keys_text('other', $Emulator::ACCESS_KEY, $Emulator::SECRET_KEY));
parked_because('other profile', qr/no credentials: .*default/);
alter_settings($node, 'firehose.profile' => 'other');
resumes('named profile');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET firehose.profile');

# a new mode is noticed, and one that others can read is warned of
chmod 0644, $file or die;
$node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'mode')});
resumes('mode');
ok($node->log_contains('other users of this machine can read the file with the AWS credentials'),
    'a file that others can read is warned of');

# each endpoint has a clock of its own: one that is two hours ahead disturbs no other
{
    my $ahead = Emulator->start();
    $ahead->control(POST => 'clock', { offset => 7200 });
    new_stream($node, 'ahead', endpoint_url => $ahead->url);
    foreach my $n (1 .. 5)
    {
        $node->safe_psql('postgres', qq{SELECT firehose_put_record('ahead', 'a$n')});
        wait_delivered($node, 30);
        $node->safe_psql('postgres', qq{SELECT firehose_put_record('s', 'clock $n')});
        wait_delivered($node, 30);
    }
    $_->control('POST', 'flush') foreach $ahead, $emulator;
    is_deeply([ map { $_->{status} } $ahead->requests ], [ 400, (200) x 5 ],
        'clocks: corrected once');
    is_deeply([ grep { $_->{status} != 200 } (grep { ($_->{stream} // '') eq 's' } $emulator->requests)[-5 .. -1] ], [],
        'clocks: the other endpoint is signed by its own');
}

# a sender that waits for the next trial of a parked stream sees the file at once
alter_settings($node, 'firehose.credentials_grace_period' => '0', 'firehose.probe_interval' => '1h');
unlink $file;
my @waiting;
wait_until('waiting: parked', sub {
    push @waiting, 'waiting ' . @waiting;
    $node->safe_psql('postgres', "SELECT firehose_put_record('s', '$waiting[-1]')");
    return $node->safe_psql('postgres', q{SELECT state FROM firehose_stat_stream WHERE stream = 's'}) eq 'parked';
}, 30);
write_credentials(keys_text('default', $Emulator::ACCESS_KEY, $Emulator::SECRET_KEY));
resumes('waiting');
$node->safe_psql('postgres', "ALTER SYSTEM RESET $_") foreach qw(firehose.credentials_grace_period firehose.probe_interval);
$node->reload;

# a file that goes away does not hurt: the keys may still be good
my $failures = $node->safe_psql('postgres', 'SELECT failures FROM firehose_stat_identity');
unlink $file;
my (@gone, %outcomes);
wait_until('the sender notices that the file is gone', sub {
    # at no time does that hurt
    push @gone, 'unlinked ' . @gone;
    $outcomes{ $node->safe_psql('postgres',
        "SELECT firehose_wait(firehose_put_record('s', '$gone[-1]', false), '60 s')") }++;
    return $node->safe_psql('postgres', 'SELECT failures FROM firehose_stat_identity') > $failures });
push @gone, 'noticed';
$outcomes{ $node->safe_psql('postgres', q{SELECT firehose_wait(firehose_put_record('s', 'noticed', false), '60 s')}) }++;
is_deeply([ keys %outcomes ], ['accepted'], 'a record that is put when the file is gone is accepted');
resumes('file gone');

# but not for ever, and only superusers read which file it was
alter_settings($node, 'firehose.credentials_grace_period' => '300ms');
wait_for_sql($node, q{SELECT state FROM firehose_stat_identity}, 'failed', 20);
parked_because('gone for good', qr/no credentials: file .* does not exist/);
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher');
is($node->safe_psql('postgres', q{SELECT reason FROM firehose_stat_stream WHERE stream = 's'}, extra_params => [ '-U', 'watcher' ]),
    'this server: Configuration: no credentials', 'a monitor reads no path');
write_credentials(keys_text('other', $Emulator::ACCESS_KEY, $Emulator::SECRET_KEY));
alter_settings($node, 'firehose.profile' => 'other');
resumes('gone for good');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET firehose.profile');

# the server's environment, when no file is named
$node->safe_psql('postgres', 'ALTER SYSTEM RESET firehose.credentials_file');
$node->append_conf('postgresql.conf', "firehose.credentials_file = ''");
{
    local @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION)} =
      ($Emulator::ACCESS_KEY, $Emulator::SECRET_KEY, 'us-east-1');
    $node->append_conf('postgresql.conf', "firehose.region = ''");
    $node->restart;
}
$node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'environment')});
resumes('environment');

# the shared file and profile of every AWS tool
my $shared = $node->data_dir . '/shared';
open(my $out, '>', $shared) or die;
print $out keys_text('team', $Emulator::ACCESS_KEY, $Emulator::SECRET_KEY), "region = us-east-1\n";
close($out);
{
    local @ENV{qw(AWS_SHARED_CREDENTIALS_FILE AWS_PROFILE)} = (Cwd::abs_path($shared), 'team');
    $node->restart;
}
$node->safe_psql('postgres', q{SELECT firehose_put_record('s', 'shared')});
resumes('shared file and profile');

# all of it arrived once
is($node->safe_psql('postgres', 'SELECT count(*) FROM firehose_dead_letter'), '0', 'no dead letters');
my @stored = split /\n/, $emulator->delivered('s');
my %stored = map { $_ => 1 } @stored;
is_deeply([ sort keys %stored ], [ sort 'first', 'refused', 'token', 'wrong secret', 'denied', 'expires',
    'mode', @waiting, (map { "clock $_" } 1 .. 5), 'gone for good', 'missing', 'half', 'other profile', @gone, 'environment', 'shared' ], 'everything arrived');
is(scalar @stored, scalar keys %stored, 'once');

$node->stop;
done_testing();
