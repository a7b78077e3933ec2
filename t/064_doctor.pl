# firehose_doctor finds each fault that the README explains, and says what to
# do; a healthy server has nothing but ok.  It works where the library was not
# loaded, on a standby and for pg_monitor, it sends nothing and waits for
# no worker.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start;
my $node = new_decoding_node('main', $emulator, 'max_prepared_transactions' => 2);

# The rows that are not ok, as 'subject|state|found|advice'
sub complaints
{
    return split /\n/, $node->safe_psql('postgres',
        q{SELECT subject, state, found, advice FROM firehose_doctor() WHERE state <> 'ok'});
}

# Wait until the doctor has a row like that; each says what to do.
sub finds
{
    my ($subject, $state, $found, $advice) = @_;
    my @rows;
    wait_until("$subject: $state, $found",
        sub { @rows = complaints(); grep { /^\Q$subject\E\|$state\|[^|]*$found[^|]*\|[^|]*$advice/ } @rows })
      or diag(join("\n", @rows));
    return;
}

sub is_well
{
    my ($what) = @_;
    my @rows;
    wait_until("$what: all is well", sub { @rows = complaints(); !@rows }) or diag(join("\n", @rows));
    return;
}

# ------------------------------------------------------------------------
# A healthy server
# ------------------------------------------------------------------------
new_stream($node, 'clicks');
$node->safe_psql('postgres', 'CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE PUBLICATION orders FOR TABLE orders');
new_pipeline($node, 'postgres', 'orders', ['orders']);
$node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'x'); INSERT INTO orders VALUES (1, 'x')});
wait_delivered($node);
is_well('in use');
my @ok = split /\n/, $node->safe_psql('postgres', 'SELECT subject, state, advice IS NULL FROM firehose_doctor()');
foreach my $subject ('server', 'workers', 'queue', 'firehose.max_streams', 'ids', 'identity of the server',
    'stream clicks', 'stream orders', 'pipeline orders')
{
    ok((grep { $_ eq "$subject|ok|t" } @ok), "$subject has a row, and no advice");
}

# ------------------------------------------------------------------------
# The server
# ------------------------------------------------------------------------
alter_settings($node, 'firehose.enabled' => 'off');
finds('firehose.enabled', 'error', 'nothing is sent', 'ALTER SYSTEM SET firehose.enabled = on');
$node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'x')});
finds('stream clicks', 'error', 'stopped, 1 pending.*this server: firehose.enabled is off', 'firehose.enabled');
is($node->safe_psql('postgres', q{SELECT concat_ws(': ', state, reason) FROM firehose_stat_stream WHERE stream = 'clicks'}),
    'stopped: this server: firehose.enabled is off', 'as the view says');
$node->safe_psql('postgres', q{ALTER SERVER orders OPTIONS (ADD paused 'true')});
alter_settings($node, 'firehose.enabled' => 'on');
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'orders'}, 'paused');
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('no sender runs', sub { sender_of($node, 'postgres') eq '' });
is($node->safe_psql('postgres', q{SELECT state FROM firehose_stat_stream WHERE stream = 'orders'}), 'paused', 'a pause is one all the same');
$node->safe_psql('postgres', q{ALTER SERVER orders OPTIONS (DROP paused)});
alter_settings($node, 'firehose.enabled' => 'on');
is_well('enabled again');

$node->stop;
append_to_file($node->data_dir . '/pg_firehose/queue.refused', 'x');
append_to_file($node->data_dir . '/pg_firehose/queue.refused.1', 'x');
$node->start;
finds('saved queue', 'warning', '2 files pg_firehose/queue.refused\*', 'firehose_load_saved_queue');
unlink map { $node->data_dir . "/pg_firehose/queue.refused$_" } '', '.1';

# the second database's sender has no worker left
my $workers = $node->safe_psql('postgres', 'SHOW max_worker_processes');
$node->append_conf('postgresql.conf', "max_worker_processes = 3\nmax_logical_replication_workers = 0");
restart_by($node, 'fast');
wait_until('the sender and the decoder run', sub { sender_of($node, 'postgres') ne '' && decoder_pids($node) == 1 });
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION firehose');
new_stream($node, 'second', dbname => 'second');
$node->safe_psql('second', q{SELECT firehose_put_record('second', 'x')});
finds('workers', 'warning', 'the launcher, 1 of 2 senders', 'max_worker_processes');
finds('stream second', 'error', 'stopped in database second, 1 pending.*there is no process for a sender, see max_worker_processes', 'max_worker_processes');
$node->safe_psql('postgres', 'DROP DATABASE second');
$node->append_conf('postgresql.conf', "max_worker_processes = $workers");
restart_by($node, 'fast');
is_well('with workers again');

# ------------------------------------------------------------------------
# Streams
# ------------------------------------------------------------------------
$node->safe_psql('postgres', q{ALTER SERVER clicks OPTIONS (ADD paused 'true'); SELECT firehose_put_record('clicks', 'x')});
finds('stream clicks', 'warning', 'paused, 1 pending, the oldest since', 'ALTER SERVER clicks OPTIONS \(DROP paused\)');
$node->safe_psql('postgres', 'ALTER SERVER clicks OPTIONS (DROP paused)');
is_well('after a pause');

new_stream($node, 'missing', stream_name => 'no-such-stream');
$emulator->fault('unknown_stream', {}, { stream => 'no-such-stream' });
$node->safe_psql('postgres', q{SELECT firehose_put_record('missing', 'x')});
finds('stream missing', 'error', 'parked, 1 pending.*AWS: ResourceNotFoundException', 'begins with who says so');
$emulator->heal;
$node->safe_psql('postgres', 'DROP SERVER missing');

new_stream($node, 'elsewhere', endpoint_url => 'https://192.0.2.1:1');
$node->safe_psql('postgres', q{SELECT firehose_put_record('elsewhere', 'x')});
finds('stream elsewhere', 'error', 'firehose.allowed_endpoints does not allow', 'this server');
$node->safe_psql('postgres', 'DROP SERVER elsewhere');

$emulator->fault('service_unavailable', {}, { stream => 'clicks' });
$node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'x')});
finds('stream clicks', 'warning', '(retrying|throttled), 1 pending', '.');
$emulator->heal;

# dead letters: of the dropped streams
finds('stream missing', 'warning', '1 dead letters', 'firehose_retry_dead_letters\(\'missing\'\)');
$node->safe_psql('postgres', 'SELECT firehose_purge_dead_letters(stream => s) FROM (VALUES (\'missing\'), (\'elsewhere\')) v(s)');
is_well('without dead letters');

$node->safe_psql('postgres', q{CREATE TRIGGER gone AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION firehose_trigger('größe')});
finds('trigger gone on orders', 'error', 'names the stream größe', 'CREATE SERVER "größe"');
$node->safe_psql('postgres', 'DROP TRIGGER gone ON orders');

# a full queue, and what was discarded
new_stream($node, 'discarding', on_full => 'discard', paused => 'true');
$node->safe_psql('postgres', q{SELECT sum(firehose_put_record('discarding', repeat('x', 1000000))) FROM generate_series(1, 20)})
  foreach 1 .. 5;
finds('stream discarding', 'warning', 'records were discarded', 'firehose.queue_size');
$node->safe_psql('postgres', 'DROP SERVER discarding');
wait_until('its records are dead letters', sub { $node->safe_psql('postgres', q{SELECT firehose_flush()}) eq 't' });
$node->safe_psql('postgres', q{SELECT firehose_purge_dead_letters(stream => 'discarding'), firehose_stat_reset()});

# ------------------------------------------------------------------------
# Pipelines
# ------------------------------------------------------------------------
$node->safe_psql('postgres', q{SELECT firehose_pause_pipeline('orders')});
finds('pipeline orders', 'warning', 'paused', 'firehose_resume_pipeline\(\'orders\'\)');
my ($drained, $is_empty, $warning) = $node->psql('postgres', q{SELECT firehose_drain()});
is($is_empty, 't', 'the queue is empty all the same');
like($warning, qr/WARNING:  pipeline "orders" is not streaming.*still to be sent/s, 'and a drain says that the pipeline owes');
$node->safe_psql('postgres', q{SELECT firehose_resume_pipeline('orders')});
is_well('resumed');
unlike(($node->psql('postgres', q{SELECT firehose_drain()}))[2], qr/WARNING/, 'nothing is owed then');

$node->safe_psql('postgres', 'ALTER TABLE orders REPLICA IDENTITY NOTHING');
finds('pipeline orders', 'warning', 'no replica identity.*orders', 'PRIMARY KEY');
$node->safe_psql('postgres', 'ALTER TABLE orders REPLICA IDENTITY DEFAULT');
is_well('with an identity');

$node->safe_psql('postgres', q{SELECT firehose_alter_pipeline('orders', format => 'flat')});
finds('pipeline orders', 'warning', 'in format flat.*1 tables.*orders', 'unchanged => \'omit\'');
$node->safe_psql('postgres', q{SELECT firehose_alter_pipeline('orders', unchanged => 'omit')});
is_well('with unchanged => omit');

$node->safe_psql('postgres', 'DROP PUBLICATION orders CASCADE');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (2, 'x')});
finds('pipeline orders', 'error', 'failed.*publication', '.');
$node->safe_psql('postgres', q{SELECT firehose_drop_pipeline('orders')});
is_well('without the pipeline');

is($node->safe_psql('postgres', q{SET firehose.put_durability = wal; SELECT state, advice ~ 'firehose_enable_durable_puts'
    FROM firehose_doctor() WHERE subject = 'firehose.put_durability'}), 'error|t', 'durable puts without a pipeline');

# ------------------------------------------------------------------------
# Who may ask, and where
# ------------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE watcher; GRANT pg_monitor TO watcher; CREATE ROLE nobody');
is($node->safe_psql('postgres', q{SET ROLE watcher; SELECT count(*) > 5 FROM firehose_doctor()}), 't', 'pg_monitor may ask');
my ($code, $out, $err) = $node->psql('postgres', q{SET ROLE nobody; SELECT firehose_doctor()});
like($err, qr/permission denied for function firehose_doctor/, 'others may not');

# it does not wait for a table that is being rewritten
$node->safe_psql('postgres', 'CREATE PUBLICATION orders FOR TABLE orders');
new_pipeline($node, 'postgres', 'locked', ['orders'], copy_data => 'false');
my $locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE});
is($node->safe_psql('postgres', q{SET lock_timeout = '1s'; SELECT count(*) > 5 FROM firehose_doctor()}), 't',
    'a locked table of a pipeline does not hold it up');
$locker->query_safe('ROLLBACK');
$locker->quit;

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
restart_by($node, 'fast');
is($node->safe_psql('postgres', 'SELECT subject, state, found, advice FROM firehose_doctor()'),
    'server|error|firehose was not loaded when the server started|Add firehose to shared_preload_libraries and restart the server.',
    'where the library was not loaded, it says so and no more');
$node->stop;

done_testing();
