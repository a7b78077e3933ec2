# The promise in its simplest form: what a function, a batch or a trigger puts
# in a transaction that commits arrives at Firehose byte for byte, what is
# rolled back does not, and the outcome of every record can be looked up.
use strict;
use warnings FATAL => 'all';
use JSON::PP ();
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start('tls-port' => 0);
my $node = new_node('main', $emulator, 'firehose.ca_file' => $emulator->ca_file);

# function: every type of data, with the delimiter of its type
new_stream($node, 'types');
$node->safe_psql('postgres', q{
    SELECT firehose_put_record('types', 'plain text');
    SELECT firehose_put_record('types', E'ends in a newline\n');
    SELECT firehose_put_record('types', 'Ünïcödé 漢字 🚒');
    SELECT firehose_put_record('types', '\x00ff0a00'::bytea);
    SELECT firehose_put_record('types', E'{"a":\n 1}'::json);
    SELECT firehose_put_record('types', E'{"ends":\n"so"}\r\n'::json);
    SELECT firehose_put_record('types', '{"b": [2]}'::jsonb);
    SELECT firehose_put_record('types', '');
});
wait_delivered($node);
is_deeply([ sort map { $_->{data} } $emulator->records('types') ],
    [ sort "plain text\n", "ends in a newline\n",
        "\xc3\x9cn\xc3\xafc\xc3\xb6d\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x9a\x92\n",
        "\x00\xff\x0a\x00", qq({"a":  1}\n), qq({"ends": "so"} \n), qq({"b": [2]}\n), "\n" ],
    'text, bytea, json and jsonb arrive byte for byte');

new_stream($node, 'bare', delimiter => 'none');
$node->safe_psql('postgres', q{SELECT firehose_put_record('bare', 'text')});
new_stream($node, 'lines', delimiter => 'newline');
$node->safe_psql('postgres', q{SELECT firehose_put_record('lines', 'bytes'::bytea)});
wait_delivered($node);
is($emulator->delivered('bare'), 'text', 'delimiter none adds nothing to text');
is($emulator->delivered('lines'), "bytes\n", 'delimiter newline adds one to bytea');

# batch
new_stream($node, 'batch', max_in_flight => 1);
my $ids = $node->safe_psql('postgres',
    q{SELECT array_to_string(firehose_put_batch('batch', ARRAY['a', 'b', 'c']), ',')});
wait_delivered($node);
is($emulator->delivered('batch'), "a\nb\nc\n", 'a batch arrives in its order');
is($node->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id)
        FROM firehose_status WHERE stream = 'batch'"), $ids,
    'the ids of a batch are in its order');

# trigger
new_stream($node, 'changes', max_in_flight => 1);
$node->safe_psql('postgres', q{
    CREATE TABLE orders (id int PRIMARY KEY, total numeric, note text);
    CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON orders
        FOR EACH ROW EXECUTE FUNCTION firehose_trigger('changes');
    INSERT INTO orders VALUES (1, 10.50, 'first');
    UPDATE orders SET total = 11 WHERE id = 1;
    DELETE FROM orders;
});
wait_delivered($node);
my @events = map { JSON::PP->new->decode($_) } split /\n/, $emulator->delivered('changes');
is_deeply([ map { $_->{op} } @events ], [qw(c u d)],
    'insert, update and delete of a trigger arrive in their order');
is_deeply($events[0]{after}, { id => 1, total => '10.50', note => 'first' },
    'an insert carries the new row');
is_deeply([ map { $_->{key}{id} } @events ], [ 1, 1, 1 ], 'every event carries the key');
is($events[1]{table}, 'orders', 'and the table');

# commit and rollback
new_stream($node, 'outcomes');
$node->safe_psql('postgres', q{
    BEGIN;
    SELECT firehose_put_record('outcomes', 'rolled back');
    SELECT firehose_put_record('outcomes', 'at once', false);
    ROLLBACK;
    SELECT firehose_put_record('outcomes', 'committed');
});
wait_delivered($node);
is_deeply([ sort map { $_->{data} } $emulator->records('outcomes') ],
    [ "at once\n", "committed\n" ],
    'a rolled-back record is not sent, one that is not transactional is');

# what became of it
my $id = $node->safe_psql('postgres', q{SELECT firehose_put_record('outcomes', 'look me up')});
is($node->safe_psql('postgres', "SELECT firehose_wait($id, '60 s')"), 'accepted',
    'firehose_wait tells the outcome');
$node->poll_query_until('postgres',
    "SELECT count(*) = 1 FROM firehose_status WHERE id = $id");
my ($last) = grep { $_->{data} eq "look me up\n" } $emulator->records('outcomes');
is($node->safe_psql('postgres', "SELECT stream, status, record_id, attempts, bytes, error_code,
        completed_at >= queued_at FROM firehose_status WHERE id = $id"),
    "outcomes|accepted|$last->{word}|1|11||t", 'and firehose_status the rest');
my ($code, $out, $error) = $node->psql('postgres', q{
    BEGIN;
    SELECT firehose_wait(firehose_put_record('outcomes', 'self'), '60 s');});
isnt($code, 0, 'waiting for a record of the same transaction is an error');
is($node->safe_psql('postgres', q{SELECT state, reason, queued, in_flight, accepted, failed,
        discarded, bytes, requests >= 1, last_accepted_at IS NOT NULL, last_error_code
        FROM firehose_stat_stream WHERE stream = 'outcomes'}),
    'active||0|0|3|0|0|29|t|t|', 'firehose_stat_stream counts');

# the same over TLS
new_stream($node, 'secure', endpoint_url => $emulator->tls_url);
$node->safe_psql('postgres', q{SELECT firehose_put_record('secure', 'over TLS')});
wait_delivered($node);
is($emulator->delivered('secure'), "over TLS\n", 'a record arrives over TLS');
is_deeply($emulator->stats->{errors}, {}, 'the endpoint found nothing to complain about');

$node->stop;
done_testing();
