# Every value arrives as it is, or its change is a dead letter that names table,
# key and column: in every encoding, whatever client_encoding says; text that
# has no UTF-8; values far larger than a record, which must not be written to
# the end to be found too large; logical messages, transactional or not (which
# come outside of any transaction, where nothing can be looked up).  None stops
# what follows it.  Messages that no pipeline asked for cost the decoder nothing.
use strict;
use warnings FATAL => 'all';
use utf8;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_worker_processes => 20,
    client_encoding => 'LATIN1', logical_decoding_work_mem => '64kB');
my $large = is_long() ? 200_000_000 : 40_000_000;

# name => [ encoding, client_encoding of the database, bytes of a text, what arrives ]
my %databases = (
    latin_utf8 => [ 'LATIN1', 'UTF8', 'e9', 'é' ],
    utf8_latin => [ 'UTF8', 'LATIN1', 'c3a9', 'é' ],
    win => [ 'WIN1252', 'WIN1252', '80', '€' ],
    eucjp => [ 'EUC_JP', 'UTF8', 'c6fc', '日' ],
    ascii => [ 'SQL_ASCII', 'UTF8', 'c3a9', 'é' ]);

sub dead
{
    my ($db) = @_;
    return $node->safe_psql($db, q{SELECT coalesce(string_agg(concat_ws('|', error_code, error_message,
        convert_from(data, 'UTF8')::json->>'table', convert_from(data, 'UTF8')::json->>'key'), E'\n' ORDER BY id), '')
        FROM firehose_dead_letter});
}

foreach my $db (sort keys %databases)
{
    my ($encoding, $client, $bytes, $text) = @{ $databases{$db} };
    $node->safe_psql('postgres', qq{CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C';
        ALTER DATABASE $db SET client_encoding = '$client';
        ALTER DATABASE $db SET quote_all_identifiers = on});
    $node->safe_psql($db, qq{SET client_encoding = 'SQL_ASCII'; CREATE EXTENSION firehose; CREATE SERVER $db FOREIGN DATA WRAPPER firehose;
        CREATE TABLE t (id int PRIMARY KEY, v text, a text[], n int);
        ALTER TABLE t ADD r regclass DEFAULT 't'::regclass;
        CREATE PUBLICATION p FOR TABLE t});
    $node->safe_psql($db, qq{SELECT firehose_create_pipeline('p', '$db', '{p}', messages => '{m}')});
    wait_state($node, $db, 'p', 'streaming');
    $node->safe_psql($db, qq{CREATE FUNCTION raw(h text) RETURNS text LANGUAGE sql AS
        'SELECT convert_from(decode(h, ''hex''), getdatabaseencoding())'});
    $node->safe_psql($db, qq{
        SELECT pg_logical_emit_message(false, 'm', raw('$bytes'));
        INSERT INTO t VALUES (1, raw('$bytes'), ARRAY[raw('$bytes'), '"'], 1);
        SELECT pg_logical_emit_message(true, 'm', raw('$bytes') || '1');
        INSERT INTO t VALUES (2, 'after', '{}', 2)});
    wait_confirmed($node, $db, 'p');
    my @events = events($emulator, $db);
    is_deeply([ map { $_->{op} eq 'm' ? $_->{message}{content} : [ @{ $_->{after} }{qw(v a)} ] } @events ],
        [ $text, [ $text, [ $text, '"' ] ], "${text}1", [ 'after', [] ] ],
        "$encoding, client_encoding $client: text is what it was");
    is($events[-1]{after}{r}, 'public.t', "$encoding: the database's quote_all_identifiers has no say");
}

# text that has no UTF-8
$node->safe_psql('win', q{SET client_encoding = 'WIN1252';
    INSERT INTO t VALUES (3, raw('81'), '{}', 3);
    INSERT INTO t VALUES (4, 'x', ARRAY['y', raw('4181')], 3);
    SELECT pg_logical_emit_message(false, 'm', raw('81'));
    INSERT INTO t VALUES (5, 'good', '{}', 3)});
wait_confirmed($node, 'win', 'p');
is(dead('win'), join("\n",
        map { qq{invalid_text|Column "$_->[1]" has text that is not valid in encoding WIN1252 or has no equivalent in UTF-8.|t|{"id":$_->[0]}} }
          [ 3, 'v' ], [ 4, 'a' ]), 'WIN1252 81: dead letters with table, key and column');
my @last = (events($emulator, 'win'))[ -2, -1 ];
is_deeply([ $last[0]{message}{encoding}, $last[0]{message}{content}, $last[1]{after}{v} ], [ 'base64', 'gQ==', 'good' ],
    'a message like that is base64, and what follows arrives');
$node->safe_psql('ascii', q{INSERT INTO t VALUES (3, chr(233), '{}', 3);
    INSERT INTO t VALUES (4, 'good', '{}', 3)});
wait_confirmed($node, 'ascii', 'p');
like(dead('ascii'), qr/^invalid_text\|Column "v" has text .* encoding SQL_ASCII .*\|t\|\{"id":3\}$/, 'SQL_ASCII: likewise');
is((events($emulator, 'ascii'))[-1]{after}{v}, 'good', 'and what follows arrives');

# (a database in UTF-8 checks what comes in, but not what a cast makes)
$node->safe_psql('utf8_latin', q{CREATE CAST (bytea AS text) WITHOUT FUNCTION;
    INSERT INTO t VALUES (3, '\x61e9'::bytea::text, '{}', 3);
    INSERT INTO t VALUES (4, 'x', ARRAY['y', '\xc3'::bytea::text], 3);
    INSERT INTO t VALUES (5, 'good', '{}', 3);
    DROP CAST (bytea AS text)});
wait_confirmed($node, 'utf8_latin', 'p');
my @invalid = map { qq{invalid_text|Column "$_->[1]" has text that is not valid in encoding UTF8 or has no equivalent in UTF-8.|t|{"id":$_->[0]}} }
  [ 3, 'v' ], [ 4, 'a' ];
is(dead('utf8_latin'), join("\n", @invalid), 'UTF8: likewise');
is((events($emulator, 'utf8_latin'))[-1]{after}{v}, 'good', 'and what follows arrives');

# values that are far too large
my ($pid) = split /\n/, $node->safe_psql('utf8_latin', q{SELECT pid FROM firehose_stat_pipeline});
my $at_first = worker_memory($pid);
sub memory_left { return worker_memory($pid) - $at_first }
$node->safe_psql('utf8_latin', qq{
    INSERT INTO t VALUES (10, repeat(chr(1), $large), '{}', 1);
    INSERT INTO t VALUES (11, 'x', ARRAY(SELECT repeat('"', 500) FROM generate_series(1, $large / 2000)), 1);
    SELECT pg_logical_emit_message(false, 'm', repeat('x', $large));
    INSERT INTO t VALUES (12, 'small', '{}', 1)});
wait_confirmed($node, 'utf8_latin', 'p', 180);
is(dead('utf8_latin'), join("\n", @invalid,
        'RecordTooLarge|Column "v" makes a record of more than 1,024,000 bytes.|t|{"id":10}',
        'RecordTooLarge|Column "a" makes a record of more than 1,024,000 bytes.|t|{"id":11}',
        'RecordTooLarge|The logical message makes a record of more than 1,024,000 bytes.'),
    'values that are too large: dead letters with table, key and column');
is((events($emulator, 'utf8_latin'))[-1]{after}{v}, 'small', 'and what follows arrives');
cmp_ok(memory_left(), '<', 20_000, 'their memory is given back: ' . memory_left() . ' kB are left');

# a key that is too large to be told: the dead letter is whole without it
$node->safe_psql('utf8_latin', q{CREATE TABLE k (v text); ALTER TABLE k REPLICA IDENTITY FULL; ALTER PUBLICATION p ADD TABLE k;
    DELETE FROM firehose_dead_letter;
    INSERT INTO k VALUES (repeat('k', 2000000)); DELETE FROM k});
wait_confirmed($node, 'utf8_latin', 'p', 180);
is(dead('utf8_latin'), join("\n", ('RecordTooLarge|Column "v" makes a record of more than 1,024,000 bytes.|k') x 2),
    'a key that is too large: dead letters with the table');

# messages that no pipeline asked for
$node->safe_psql('utf8_latin', qq{SELECT pg_logical_emit_message(true, 'zzz', repeat('a', $large)),
    pg_logical_emit_message(false, 'zzz', repeat('a', $large))});
wait_confirmed($node, 'utf8_latin', 'p', 180);
cmp_ok(memory_left(), '<', 20_000, 'messages of other prefixes leave no memory behind: ' . memory_left() . ' kB are left');
is($node->safe_psql('utf8_latin', 'SELECT pid FROM firehose_stat_pipeline'), $pid, 'one decoder did it all');

$node->stop;
done_testing();
