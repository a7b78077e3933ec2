# A session of every kind on a server that runs under valgrind, workers and all:
# puts, rollbacks, triggers, refused and dead records, durable puts, a pipeline,
# a role's credentials, a clean restart with a full queue.  Only scripts/test-debug
# runs this file; its server's log has what valgrind found.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '8MB',
    # valgrind is twenty times slower
    'firehose.queue_timeout' => '30s', 'firehose.request_timeout' => '60s');

sub sql { return $node->safe_psql('postgres', $_[0]) }

like(slurp_file("/proc/" . (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] . '/cmdline'),
    qr/valgrind/, 'under valgrind');

# puts
new_stream($node, 's');
my @committed = put_numbered($node, 's', 1, 500, per_commit => 50);
push @committed, put_numbered($node, 's', 501, 503, size => 200_000);
sql(q{BEGIN; SELECT firehose_put_record('s', 'rolled back'); SAVEPOINT a;
    SELECT firehose_put_record('s', 'rolled back'); ROLLBACK TO a; ROLLBACK});
sql(q{SELECT firehose_put_batch('s', array_agg('batch ' || n)) FROM generate_series(1, 100) n});
push @committed, map { "batch $_\n" } 1 .. 100;
wait_delivered($node);
audit_ok('put', $emulator, 's', \@committed);

# a trigger, refusals, dead letters
sql(q{CREATE TABLE t (id int PRIMARY KEY, a text, b numeric, c timestamptz, d int[], e jsonb);
    CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION firehose_trigger('t')});
new_stream($node, 't');
$emulator->fault('fail_records', { probability => 0.3 }, { stream => 't', count => 3 });
sql(q{INSERT INTO t SELECT n, 'x', n / 3.0, now(), ARRAY[n, NULL], '{"k": [1, 2]}' FROM generate_series(1, 50) n;
    UPDATE t SET a = NULL; DELETE FROM t WHERE id < 10});
wait_delivered($node);
$emulator->fault('size_limit', { record_bytes => 1000,
    message => 'Member must have length less than or equal to 1000' }, { stream => 'large' });
new_stream($node, 'large');
sql(q{SELECT firehose_put_record('large', repeat('y', 2000))});
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'large'}, 1);
$emulator->heal;
is(sql(q{SELECT firehose_retry_dead_letters('large')}), '1', 'a dead letter is retried');
wait_delivered($node);
sql("SELECT count(*) FROM $_") foreach qw(firehose_status firehose_dead_letter firehose_stat_stream
    firehose_stat_queue firehose_stat_pipeline firehose_stat_identity firehose_pipeline);

# the WAL
sql('SELECT firehose_enable_durable_puts()');
wait_state($node, 'postgres', 'durable_puts', 'streaming', 180);
sql('CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'p', ['p']);
sql(q{SET firehose.put_durability = wal; SELECT firehose_put_record('s', 'durable')});
sql(q{UPDATE t SET a = 'z', b = 'NaN'; ALTER TABLE t ADD f bytea; UPDATE t SET f = '\x00ff'; TRUNCATE t});
wait_confirmed($node, 'postgres', $_, 180) foreach qw(durable_puts p);
cmp_ok(scalar(events($emulator, 'p')), '>=', 80, 'changes arrived');

# a saved queue
my $hang = $emulator->fault('hang_before_processing', {}, { stream => 'saved' });
new_stream($node, 'saved');
my @saved = put_numbered($node, 'saved', 1, 3000, size => 500);
$node->stop('fast', timeout => 180);
$emulator->heal;
$node->start;
wait_delivered($node, 300);
audit_ok('saved', $emulator, 'saved', \@saved, duplicates => 1);
$node->stop('fast', timeout => 180);

my $log = slurp_file($node->logfile);
my @errors = $log =~ /^(==\d+== (?:Invalid|Conditional|Use of|Syscall|Source and|Mismatched|Jump|Process term).*(?:\n==\d+==.*)*)/mg;
is(scalar(@errors), 0, 'valgrind found nothing') or diag(map { "$_\n" } @errors[0 .. ($#errors > 9 ? 9 : $#errors)]);
done_testing();
