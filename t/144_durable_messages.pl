# Durable puts in the WAL.  Those of a transaction share messages: a thousand
# small ones are a few.  What savepoints take back is not sent, and what they leave
# is, whole and in order, however puts of all sizes and savepoints are nested and
# however large the transaction is.  A message of the first form, with one record,
# is read as it was written, and one that is changed is not.
use strict;
use warnings FATAL => 'all';
use Digest::SHA qw(sha256);
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $seed = $ENV{FIREHOSE_TEST_SEED} // 0.4711;
my $transactions = is_long() ? 400 : 40;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_prepared_transactions => 5);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub arrived
{
    my ($stream) = @_;
    wait_delivered($node);
    return map { $_->{data} } grep { $_->{state} ne 'R' } $emulator->records($stream);
}

new_stream($node, 's', order => 'strict');
new_stream($node, 'other', order => 'strict');
sql(q{CREATE PUBLICATION none; SELECT firehose_enable_durable_puts(); SELECT pg_create_logical_replication_slot('look', 'pgoutput')});
wait_state($node, 'postgres', 'durable_puts', 'streaming');

# How many messages of durable puts are in the WAL since the last look, and what
# they are (pgoutput: 'M', flags, LSN, prefix, NUL, length, content)
sub messages
{
    return split /\n/, sql(q{
        SELECT encode(substring(data FROM 24), 'hex')
        FROM pg_logical_slot_get_binary_changes('look', NULL, NULL, 'proto_version', '1',
            'publication_names', 'none', 'messages', 'true')
        WHERE get_byte(data, 0) = ascii('M') AND substring(data FROM 11 FOR 8) = 'firehose'});
}
messages();

# few messages
sql(q{SELECT count(firehose_put_record('s', lpad(n::text, 100, 'x'))) FROM generate_series(1, 1000) n});
my @messages = messages();
cmp_ok(scalar @messages, '<=', 10, 'a thousand puts are at most 10 messages: ' . @messages);
cmp_ok(length(join('', @messages)) / 2, '<', 1000 * 130, 'and take less than 130 bytes each of the WAL');
sql(q{SELECT firehose_put_batch('s', ARRAY(SELECT 'batch ' || n FROM generate_series(1, 100) n))});
sql(q{BEGIN; SELECT firehose_put_record('s', 'one'), firehose_put_record('other', 'two'), firehose_put_record('s', 'three'); COMMIT});
is(scalar(messages()), 2, 'a batch is one, and so are records for two streams');
my @expected = ((map { 'x' x (100 - length) . "$_\n" } 1 .. 1000), (map { "batch $_\n" } 1 .. 100), "one\n", "three\n");
is_deeply([ arrived('s') ], \@expected, 'all arrive, in order');
is_deeply([ arrived('other') ], ["two\n"], 'at their streams');
is(sql(q{SELECT count(DISTINCT id) FROM firehose_status WHERE status = 'accepted'}), @expected + 1, 'each under an id of its own');

# nested at random: the table has what stays, in the order in which it was put
sql(q{CREATE TABLE kept (n bigint GENERATED ALWAYS AS IDENTITY, stream text, payload text);
CREATE FUNCTION keep(stream text, payload text) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO kept (stream, payload) VALUES (stream, payload);
    SELECT firehose_put_record(stream, payload)
$$;
-- at the commit, before the session writes what it has collected
CREATE TABLE deferred (payload text);
CREATE FUNCTION keep_deferred() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keep('s', NEW.payload);
    -- (which fails an assertion of core's at a commit, whatever is done in it)
    IF current_setting('debug_assertions')::boolean THEN
        RETURN NULL;
    END IF;
    BEGIN
        PERFORM keep('other', 'in vain');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION keep_deferred();
CREATE FUNCTION nest(of_transaction int, depth int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    text_put text;
BEGIN
    FOR i IN 1 .. 3 LOOP
        FOR j IN 1 .. random() * 3 LOOP
            text_put := format('%s %s ', of_transaction, clock_timestamp())
                || repeat('y', (random() * CASE WHEN random() < 0.05 THEN 40000 ELSE 3000 END)::int);
            PERFORM keep(CASE WHEN of_transaction % 3 = 0 AND random() < 0.3 THEN 'other' ELSE 's' END, text_put);
            IF random() < 0.1 THEN
                INSERT INTO deferred VALUES ('deferred ' || text_put);
            END IF;
        END LOOP;
        IF depth < 5 AND random() < 0.7 THEN
            BEGIN
                PERFORM nest(of_transaction, depth + 1);
                IF random() < 0.4 THEN
                    RAISE division_by_zero;
                END IF;
            EXCEPTION WHEN division_by_zero THEN
                NULL;
            END;
        END IF;
    END LOOP;
END $$});
my $script = "SELECT setseed($seed);\n";
foreach my $n (1 .. $transactions)
{
    my $end = $n % 10 == 0 ? 'ROLLBACK' : $n % 10 == 5 ? "PREPARE TRANSACTION 't$n'; COMMIT PREPARED 't$n'" : 'COMMIT';
    $script .= "BEGIN; SELECT nest($n, 1); $end;\n";
}
# many small savepoints, of which none fills a message, and whose parent puts nothing
$script .= q{DO $$ BEGIN FOR i IN 1 .. 2000 LOOP BEGIN
    PERFORM keep('s', i || repeat('z', 90));
    IF i % 7 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;};
my $file = $node->basedir . '/nested.sql';
append_to_file($file, $script);
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('postgres'), '-f', $file ], 'puts nested at random');
my $records = @expected + 1;
foreach my $stream (qw(s other))
{
    my @kept = map { "$_\n" } split /\n/, sql("SELECT payload FROM kept WHERE stream = '$stream' ORDER BY n");
    my @got = arrived($stream);
    splice(@got, 0, $stream eq 's' ? scalar @expected : 1);
    my %got = map { $_ => 1 } @got;
    my %kept = map { $_ => 1 } @kept;
    cmp_ok(scalar @kept, '>', $stream eq 's' ? 1500 : 20, "$stream: " . scalar(@kept) . ' records stay');
    is(scalar(grep { !$got{$_} } @kept), 0, "$stream: none is lost");
    is(scalar(grep { !$kept{$_} } @got), 0, "$stream: none is sent that was taken back");
    is(scalar(@got), scalar(@kept), "$stream: nor one twice");
    is_deeply(\@got, \@kept, "$stream: they arrive in order");
    $records += @kept;
}
cmp_ok(sql(q{SELECT count(*) FROM kept WHERE payload LIKE 'deferred%'}), '>', 10, 'some of deferred triggers');
is(sql(q{SELECT count(*) || ' ' || count(DISTINCT id) FROM firehose_status WHERE status = 'accepted'}), "$records $records", 'no id comes twice');

# What outer levels have put is not written again by each inner one that aborts
sql(q{CREATE FUNCTION dig(depth int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM firehose_put_record('other', repeat('o', 15000));
    IF depth > 1 THEN
        BEGIN
            PERFORM dig(depth - 1);
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    ELSE
        FOR i IN 1 .. 20 LOOP
            BEGIN
                PERFORM firehose_put_record('other', repeat('i', 17000));
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
        END LOOP;
    END IF;
END $$});
my $written = sql(q{SELECT pg_current_wal_insert_lsn() AS begun \gset
    SELECT dig(10) \g /dev/null
    SELECT pg_current_wal_insert_lsn() - :'begun'});
cmp_ok($written, '>', 150_000, 'what is put is written');
cmp_ok($written, '<', 600_000, "and little more: $written bytes");
is(scalar(grep { /^o/ } arrived('other')), 10, 'and arrives');
is(scalar(grep { /^i/ } arrived('other')), 0, 'without what was taken back');

# records that wait for no commit are written one by one, and flushed together
my $writes = sub { return $node->pg_version < 18 ? sql('SELECT wal_write FROM pg_stat_wal') : 0 };
my $begun = $writes->();
sql(q{SELECT cardinality(firehose_put_batch('other', ARRAY(SELECT 'at once ' || n FROM generate_series(1, 1000) n), false))});
SKIP:
{
    skip 'pg_stat_wal does not count writes from PostgreSQL 18 on', 1 if $node->pg_version >= 18;
    cmp_ok($writes->() - $begun, '<', 200, 'a thousand records that are put at once are not flushed one by one');
}
is(scalar(grep { /^at once/ } arrived('other')), 1000, 'and arrive');

# A message of the first form: tag, id, time, place, stream's OID, version,
# transactional; the stream's name, NUL, the record.
sub plus { use integer; return $_[0] + $_[1] }
sub rotate { return ($_[0] << $_[1]) | ($_[0] >> (64 - $_[1])) }

sub siphash
{
    no warnings 'portable';
    my ($key, $data) = @_;
    my ($k0, $k1) = unpack('Q<2', $key);
    my ($v0, $v1, $v2, $v3) = ($k0 ^ 0x736f6d6570736575, $k1 ^ 0x646f72616e646f6d, $k0 ^ 0x6c7967656e657261, $k1 ^ 0x7465646279746573);
    my $round = sub {
        $v0 = plus($v0, $v1); $v1 = rotate($v1, 13) ^ $v0; $v0 = rotate($v0, 32);
        $v2 = plus($v2, $v3); $v3 = rotate($v3, 16) ^ $v2;
        $v0 = plus($v0, $v3); $v3 = rotate($v3, 21) ^ $v0;
        $v2 = plus($v2, $v1); $v1 = rotate($v1, 17) ^ $v2; $v2 = rotate($v2, 32);
    };
    my $padded = $data . "\0" x (7 - length($data) % 8) . chr(length($data) % 256);
    foreach my $word (unpack('Q<*', $padded))
    {
        $v3 ^= $word;
        $round->() for 1 .. 2;
        $v0 ^= $word;
    }
    $v2 ^= 0xff;
    $round->() for 1 .. 4;
    return $v0 ^ $v1 ^ $v2 ^ $v3;
}
is(sprintf('%x', siphash(pack('C*', 0 .. 15), pack('C*', 0 .. 14))), 'a129ca6149be45e5', 'the published example of the hash');

# The secret of initdb lies before the checksum, which ends what is in use.
sub nonce
{
    my $control = slurp_file($node->data_dir . '/global/pg_control');
    my $crc = 0xffffffff;
    foreach my $at (0 .. 1023)
    {
        # (18 put a byte before it, and so three to align what follows)
        return substr($control, $at - ($node->pg_version < 18 ? 32 : 35), 32)
          if $at > 256 && $at % 4 == 0 && unpack('L', substr($control, $at, 4)) == ($crc ^ 0xffffffff);
        $crc ^= ord substr($control, $at, 1);
        $crc = ($crc >> 1) ^ ($crc & 1 ? 0x82F63B78 : 0) for 1 .. 8;
    }
    die 'no checksum in pg_control';
}

my $session = $node->background_psql('postgres');
my ($database, $server) = split /\|/, sql(q{SELECT d.oid, s.oid FROM pg_database d, pg_foreign_server s
    WHERE datname = 'postgres' AND srvname = 's'});
my $key = substr(sha256("firehose durable put 1\0" . pack('L', $database) . nonce()), 0, 16);
$session->query_safe('BEGIN');
my $xid = $session->query_safe('SELECT pg_current_xact_id()');
my $id = $session->query_safe(q{SELECT firehose_put_record('s', 'of now')});
foreach my $text ('of a former build', '')
{
    my $content = pack('Q< q< Q< L< C C', --$id, 0, $xid, $server, 1, 1) . "s\0$text";
    my $message = unpack('H*', pack('Q<', siphash($key, $content)) . $content);
    $session->query_safe("SELECT pg_logical_emit_message(true, 'firehose', '\\x$message'::bytea)");
}
$session->query_safe('COMMIT');
$session->quit;
is(join('|', (arrived('s'))[ -3 .. -1 ]), "of a former build||of now\n", 'messages of the first form are read');

# every byte of a message counts
sql(q{SELECT firehose_put_record('s', 'genuine')});
my $genuine = (messages())[-1];
my $before = sql('SELECT refused_messages FROM firehose_stat_pipeline');
my $length = length($genuine) / 2;
sql("SELECT count(pg_logical_emit_message(true, 'firehose', set_byte('\\x$genuine', n, get_byte('\\x$genuine', n) # 1)))
    FROM generate_series(0, $length - 1) n");
is((arrived('s'))[-1], "genuine\n", 'a changed message is not read');
is(sql('SELECT refused_messages FROM firehose_stat_pipeline'), $before + $length, 'whichever byte it is');

$node->stop;
done_testing();
