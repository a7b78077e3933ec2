# What an application asks about its records: the outcomes of many under one
# timeout, also of those that only firehose_status remembers; what the open
# transaction would send; why a stream takes nothing.  And a stream that has a
# rest: puts go on, nothing is sent, nothing is lost.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub fails
{
    my ($query, $state, $what) = @_;
    my ($code, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query", on_error_stop => 1);
    ok($code != 0 && $stderr =~ /ERROR:  $state:/, "$what: $state") or diag($stderr);
    return $stderr;
}
new_stream($node, $_) foreach qw(one two);

# ------------------------------------------------------------------------
# Many outcomes
# ------------------------------------------------------------------------
my $ids = sql(q{SELECT firehose_put_batch('one', ARRAY['a', 'b', 'c'])});
my %word = (accepted => 0);
is(sql(qq{SELECT string_agg(status || (w.id = e.id), ' ' ORDER BY n) FROM firehose_wait_all('$ids') WITH ORDINALITY w (id, status, record_id, error_code, error_message, n),
        unnest('$ids'::bigint[]) WITH ORDINALITY e (id, m) WHERE n = m}),
    'acceptedtrue acceptedtrue acceptedtrue', 'a row for each, in order');
my %data = map { $_->{word} => $_->{data} } $emulator->records('one');
is_deeply([ map { $data{$_} } split /\n/, sql("SELECT record_id FROM firehose_wait_all('$ids')") ],
    [ "a\n", "b\n", "c\n" ], 'with the RecordIds that Firehose gave');
is(sql(q{SELECT count(*) FROM firehose_wait_all('{}')}) . sql(q{SELECT count(*) FROM firehose_wait_all(NULL)}), '00', 'none of none');
is(sql(qq{SELECT array_agg(status) FROM firehose_wait_all('{1}'::bigint[] || '$ids'::bigint[] || 7)}),
    '{unknown,accepted,accepted,accepted,unknown}', 'unknown ids have rows, too');
fails(q{SELECT * FROM firehose_wait_all('{1,NULL}')}, '22004', 'a null id');
fails(q{SELECT * FROM firehose_wait_all('{1}', seconds => -1)}, '22023', 'a negative timeout');
fails(q{SELECT * FROM firehose_wait_all('{1}', seconds => 'NaN')}, '22023', 'a timeout that is no number');
fails(q{BEGIN; SELECT * FROM firehose_wait_all(firehose_put_batch('one', ARRAY['own']));}, '55000', 'records of the same transaction');
is(sql(q{PREPARE w AS SELECT firehose_wait($1), firehose_wait($1, $2), firehose_wait($1, seconds => $3);
        SELECT parameter_types FROM pg_prepared_statements}),
    '{bigint,interval,"double precision"}', 'no call of firehose_wait has become ambiguous');

# ------------------------------------------------------------------------
# A stream that has a rest
# ------------------------------------------------------------------------
sub state_of { return sql(qq{SELECT state, reason, queued FROM firehose_stat_stream WHERE stream = '$_[0]'}) }
sql(q{ALTER SERVER one OPTIONS (ADD paused 'true'); CREATE TABLE t (n int);
    CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION firehose_trigger('one', 'row')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'one'}, 'paused');
my $before = $emulator->records('one');
my $waiting = sql(q{INSERT INTO t VALUES (1); SELECT firehose_put_batch('one', array_agg(n::text)) FROM generate_series(1, 200) n});
is(state_of('one'), q{paused|the stream's option paused is true|201}, 'puts and triggers go on while a stream is paused');
is(sql(qq{SELECT status, count(*) FROM firehose_wait_all('$waiting', seconds => 0.5) GROUP BY 1}), 'pending|200',
    'one timeout for all: 200 of them wait no longer than one');
is(sql(q{SELECT firehose_put_record('two', 'x') > 0; SELECT firehose_flush('two')}), "t\nt", 'other streams are sent');
my ($code, $out, $err) = $node->psql('postgres', q{SELECT firehose_flush('one', seconds => 0.2)});
is($out, 'f', 'a flush of a paused stream ends at its timeout');
like($err, qr/The stream is paused/, 'and says why');
restart_by($node, 'fast');
wait_for_sql($node, q{SELECT state, queued FROM firehose_stat_stream WHERE stream = 'one'}, 'paused|201');
is(scalar($emulator->records('one')), $before, 'nothing was sent, not at the stop either');
is(sql(q{SELECT state FROM firehose_stat_stream WHERE stream = 'one'}), 'paused', 'a restart keeps it so');

# who may put sees why nothing is taken, and no counters
sql(q{CREATE ROLE app; GRANT USAGE ON FOREIGN SERVER one TO app});
is(sql(q{SET ROLE app; SELECT stream, state, reason, queued, in_flight, accepted, requests, last_error_code, dropped FROM firehose_stat_stream}),
    q{one|paused|the stream's option paused is true|201|0||||f}, 'USAGE shows state, reason and what is pending');

sql(q{ALTER SERVER one OPTIONS (SET paused 'false')});
wait_delivered($node);
is(scalar($emulator->records('one')), $before + 201, 'all of it is sent afterwards');
is(state_of('one'), 'active||0', 'and the stream is active');

# ------------------------------------------------------------------------
# What only the table remembers
# ------------------------------------------------------------------------
restart_by($node, 'fast');
is(sql(qq{SELECT DISTINCT status FROM firehose_wait_all('$ids', seconds => 5)}), 'accepted', 'after a restart firehose_status knows');
is(sql(qq{SELECT firehose_wait(('$ids'::bigint[])[1])}), 'accepted', 'and firehose_wait with it');
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1});
my $late = sql(q{SELECT firehose_put_record('one', 'late')});
wait_delivered($node);
wait_for_sql($node, "SELECT count(*) FROM firehose_status WHERE id = $late", '1');
like($session->query_safe("SELECT firehose_wait($late), record_id IS NOT NULL FROM firehose_wait_all(ARRAY[$late])"),
    qr/accepted\|t/, 'an old snapshot does not matter');
$session->quit;
sql(q{REVOKE SELECT ON firehose_status FROM PUBLIC});
is(sql(qq{SET ROLE app; SELECT firehose_wait(('$ids'::bigint[])[1])}), 'unknown', 'who may not read the view is not told by it, without an error');
sql(q{GRANT SELECT ON firehose_status TO PUBLIC});

# ------------------------------------------------------------------------
# The open transaction
# ------------------------------------------------------------------------
is(sql(q{BEGIN;
    SELECT FROM firehose_put_json('one', '{"n": 1}');
    SELECT FROM firehose_put_batch('two', ARRAY['a', 'b']);
    SAVEPOINT s; SELECT FROM firehose_put_record('one', 'undone'); ROLLBACK TO s;
    SELECT FROM firehose_put_record('one', 'at once', false);
    SELECT FROM firehose_put_bytes('one', '\x00ff');
    SELECT string_agg(stream || ' ' || encode(data, 'escape'), ',') FROM firehose_pending();
    ROLLBACK;
    SELECT count(*) FROM firehose_pending();}) =~ s/\n/!/gr,
    q(one {"n": 1}!,one \\000\\377,two a!,two b!!0), 'a test that rolls back sees what it would have sent');
sql(q{SELECT firehose_enable_durable_puts(set_default => false)});
wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline}, 'streaming');
is(sql(q{SET firehose.put_durability = wal; BEGIN; SELECT FROM firehose_put_record('two', 'x');
    SAVEPOINT s; SELECT FROM firehose_put_record('two', 'y'); ROLLBACK TO s;
    SELECT stream, data IS NULL, id > 0 FROM firehose_pending(); ROLLBACK}), 'two|t|t', 'of durable puts it knows that there are any');
foreach my $durability (qw(memory wal))
{
    my $set = "SET firehose.put_durability = $durability; BEGIN; SAVEPOINT s; SELECT FROM firehose_put_record('one', 'mine')";
    fails("$set; SELECT firehose_flush()", '55000', "$durability: a flush does not claim the transaction's own records");
    fails("$set; SELECT firehose_flush('one')", '55000', "$durability: nor one of their stream");
    is(sql("$set; SELECT firehose_flush('two'); ROLLBACK TO s; SELECT firehose_flush(); ROLLBACK"), "t\nt",
        "$durability: others, and what is left after a rollback to a savepoint, can be waited for");
}

$node->stop;
done_testing();
