# No secret and no row payload in what an administrator, a monitoring system or
# another user reads: the server's log, the views, process titles, error texts;
# and files that hold either are no other user's to read.  After a bad day: errors
# of all kinds, keys that are refused, dead letters, a stop with a full queue.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
# statements are logged by PostgreSQL itself, when told so: not here
my $node = new_node('main', $emulator, 'log_statement' => 'none', 'log_min_messages' => 'debug1',
    'firehose.request_timeout' => '1s', 'firehose.probe_interval' => '200ms',
    'log_min_error_statement' => 'panic');

# put together in SQL, so that no statement contains it
my $payload = 'secret-of-row-4711';
my $base64 = 'c2VjcmV0LW9mLXJvdy00NzEx';
my $data = q{'secret' || '-of-row-' || '4711'};
my $token = 'to+ken/of/the/session==';

my @secrets = ($payload, $base64, $Emulator::SECRET_KEY, 'another/secret/key', $token,
    'space/secret', 'AWS4-HMAC-SHA256');

sub has_none
{
    my ($what, $text) = @_;
    ok(length $text, "$what: there is something to look at");
    foreach my $secret (@secrets)
    {
        my $at = index($text, $secret);
        ok($at < 0, "$what does not tell $secret")
          or diag(substr($text, $at < 200 ? 0 : $at - 200, 400));
    }
    return;
}

sub put
{
    my ($stream, %options) = @_;
    new_stream($node, $stream, %options);
    $node->safe_psql('postgres', "SELECT firehose_put_record('$stream', $data)");
    return;
}

# answers of all kinds
my @faults = qw(service_unavailable throttle access_denied kms_fault unknown_stream
  invalid_signature expired_token serialization garbage_body truncated_body html_body
  deep_body entry_both entry_neither responses_missing hang_after_processing
  close_before_processing fail_all_records redirect);
foreach my $fault (@faults)
{
    $emulator->fault($fault, {}, { stream => $fault, count => 3 });
    put($fault);
}
# records that cannot be sent
$emulator->fault('size_limit', { record_bytes => 1000, message => 'Member must have length less than or equal to 1000' }, { stream => 'toolarge' });
new_stream($node, 'toolarge');
$node->safe_psql('postgres', "SELECT firehose_put_record('toolarge', repeat($data, 100))");
my ($code, $out, $error) = $node->psql('postgres',
    "SELECT firehose_put_record('toolarge', repeat($data, 60000))");
unlike($error, qr/\Q$payload/, 'the error of a record that is too large does not quote it');
# configuration that cannot work
put('badhost', endpoint_url => 'https://127.0.0.1:1');
put('closed', endpoint_url => 'http://127.0.0.1:1');
# values that cannot be written as JSON, in a trigger
$node->safe_psql('postgres', q{
    CREATE TABLE t (a text);
    CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION firehose_trigger('throttle');});
($code, $out, $error) = $node->psql('postgres', "INSERT INTO t VALUES (repeat($data, 60000))");
isnt($code, 0, 'a row that is too large is an error');
unlike($error, qr/\Q$payload/, 'that does not quote it');

# keys that are refused, with a token
my $file = $node->safe_psql('postgres', 'SHOW firehose.credentials_file');
append_to_file($file, "[temporary]\naws_access_key_id = ASIATEMPORARY\n"
      . "aws_secret_access_key = another/secret/key\naws_session_token = $token\n");
alter_settings($node, 'firehose.profile' => 'temporary');
new_stream($node, 'refused');
# the sender looks for other keys once a second
wait_until('the other keys are refused', sub {
    $node->safe_psql('postgres', "SELECT firehose_put_record('refused', $data)");
    $node->safe_psql('postgres', q{SELECT state FROM firehose_stat_stream WHERE stream = 'refused'}) eq 'parked' });
# at the start of a sender that has no others a profile that makes no sense is
# the reason that the view shows
append_to_file($file, "[damaged]\naws_access_key_id = ASIADAMAGED\naws_secret_access_key = white space/secret\n");
alter_settings($node, 'firehose.profile' => 'damaged');
$node->restart;
wait_until('the damaged keys are noticed', sub { $node->safe_psql('postgres',
    q{SELECT reason FROM firehose_stat_stream WHERE stream = 'refused'}) =~ /no credentials/ });
has_none('reason of damaged keys', $node->safe_psql('postgres', 'SELECT reason FROM firehose_stat_stream'));
alter_settings($node, 'firehose.profile' => 'default');
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'toolarge'}, 1);
wait_for_sql($node, q{SELECT accepted > 0 AND queued + in_flight = 0 FROM firehose_stat_stream WHERE stream = 'refused'});

# what is to be seen
foreach my $view (qw(firehose_status firehose_stat_stream firehose_stat_queue firehose_stream_options))
{
    has_none($view, $node->safe_psql('postgres', "SELECT * FROM $view"));
}
has_none('firehose_dead_letter without data', $node->safe_psql('postgres', q{
    SELECT id, stream, error_code, error_message, attempts FROM firehose_dead_letter}));
has_none('pg_stat_activity', $node->safe_psql('postgres',
    q{SELECT * FROM pg_stat_activity WHERE backend_type LIKE 'firehose%'}));
has_none('pg_settings', $node->safe_psql('postgres', q{SELECT * FROM pg_settings WHERE name LIKE 'firehose%'}));
my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');
has_none('process titles', join("\n", map { -r "/proc/$_/cmdline" ? slurp_file("/proc/$_/cmdline") : '' } @pids));

# a stop with something in the queue
$emulator->fault('unknown_stream', {}, { stream => 'kept' });
put('kept');
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'kept'}, 'parked');
$node->stop;
has_none("the server's log", slurp_file($node->logfile));
my $queue = $node->data_dir . '/pg_firehose/queue';
ok(-s $queue, 'the queue was saved');
is((stat $queue)[2] & 077, 0, 'for no other user to read');
is((stat $node->data_dir . '/pg_firehose')[2] & 077, 0, 'nor its directory');

done_testing();
