# What is altered beside and amid changes.  Columns are added, dropped, renamed and
# given other types, tables and schemas renamed, moved, dropped and created anew,
# the pipeline's owner is renamed, partitions are attached and detached: each
# change has the names and columns of its place in the WAL, whether it is a
# transaction of its own or all are in one.  So it is with as many columns as a
# table can have, and with text in every encoding that a database can have.
use strict;
use warnings FATAL => 'all';
use utf8;
use Encode qw(encode);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
my $json = JSON::PP->new->canonical;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# op, schema, table and row of what has arrived at a stream
sub arrived
{
    my ($stream) = @_;
    wait_confirmed($node, 'postgres', $stream);
    return map { my $event = $_;
        join(' ', $event->{op}, "$event->{schema}.$event->{table}", map { $json->encode($_) } grep { defined } @$event{qw(key after)})
    } events($emulator, $stream);
}

sql(q{CREATE ROLE owner LOGIN SUPERUSER; CREATE PUBLICATION everything FOR ALL TABLES; ALTER PUBLICATION everything OWNER TO owner});

# Statements, and what the changes among them are to be
my @story = (
    'CREATE SCHEMA s', 'CREATE TABLE s.t (id int PRIMARY KEY, b text)',
    [ q{INSERT INTO s.t VALUES (1, 'one')}, 'c s.t {"id":1} {"b":"one","id":1}' ],
    'ALTER TABLE s.t ADD COLUMN c int DEFAULT 7',
    [ q{INSERT INTO s.t (id) VALUES (2)}, 'c s.t {"id":2} {"b":null,"c":7,"id":2}' ],
    [ q{UPDATE s.t SET b = 'first' WHERE id = 1}, 'u s.t {"id":1} {"b":"first","c":7,"id":1}' ],
    'ALTER TABLE s.t DROP COLUMN b',
    [ q{INSERT INTO s.t VALUES (3, 30)}, 'c s.t {"id":3} {"c":30,"id":3}' ],
    'ALTER TABLE s.t RENAME COLUMN c TO d',
    [ q{INSERT INTO s.t VALUES (4, 40)}, 'c s.t {"id":4} {"d":40,"id":4}' ],
    q{ALTER TABLE s.t ALTER d TYPE text USING d || '!'},
    [ q{INSERT INTO s.t VALUES (5, 'five')}, 'c s.t {"id":5} {"d":"five","id":5}' ],
    [ q{UPDATE s.t SET id = 44 WHERE id = 4}, 'u s.t {"id":44} {"d":"40!","id":44}' ],
    'ALTER TABLE s.t ALTER id TYPE bigint, ADD COLUMN b text',
    [ q{INSERT INTO s.t VALUES (6, 'six', 'again')}, 'c s.t {"id":6} {"b":"again","d":"six","id":6}' ],
    'ALTER ROLE owner RENAME TO chief',
    [ q{DELETE FROM s.t WHERE id = 6}, 'd s.t {"id":6}' ],
    'ALTER TABLE s.t RENAME TO u',
    [ q{INSERT INTO s.u VALUES (7)}, 'c s.u {"id":7} {"b":null,"d":"7","id":7}' ],
    'ALTER SCHEMA s RENAME TO z',
    [ q{INSERT INTO z.u VALUES (8)}, 'c z.u {"id":8} {"b":null,"d":"7","id":8}' ],
    'CREATE SCHEMA s; ALTER TABLE z.u SET SCHEMA s',
    [ q{INSERT INTO s.u VALUES (9)}, 'c s.u {"id":9} {"b":null,"d":"7","id":9}' ],
    'ALTER TABLE s.u DROP CONSTRAINT t_pkey, REPLICA IDENTITY NOTHING',
    [ q{INSERT INTO s.u VALUES (10)}, 'c s.u {"b":null,"d":"7","id":10}' ],
    'ALTER TABLE s.u REPLICA IDENTITY FULL',
    [ q{DELETE FROM s.u WHERE id = 10}, 'd s.u {"b":null,"d":"7","id":10}' ],
    'CREATE UNIQUE INDEX by_id ON s.u (id); ALTER TABLE s.u ALTER id SET NOT NULL; ALTER TABLE s.u REPLICA IDENTITY USING INDEX by_id',
    [ q{UPDATE s.u SET b = 'x' WHERE id = 9}, 'u s.u {"id":9} {"b":"x","d":"7","id":9}' ],
    'DROP TABLE s.u; CREATE TABLE s.u (other text PRIMARY KEY)',
    [ q{INSERT INTO s.u VALUES ('new')}, 'c s.u {"other":"new"} {"other":"new"}' ],
    'DROP SCHEMA s CASCADE; DROP SCHEMA z; CREATE SCHEMA s; CREATE TABLE s.u (id int PRIMARY KEY)',
    [ q{INSERT INTO s.u VALUES (11)}, 'c s.u {"id":11} {"id":11}' ],
    'DROP SCHEMA s CASCADE', 'ALTER ROLE chief RENAME TO owner');
my @expected = map { ref $_ ? $_->[1] : () } @story;
my @statements = map { ref $_ ? $_->[0] : $_ } @story;
# by the owner; a pipeline's role is looked at when the catalog changes
new_pipeline($node, 'postgres', 'beside', ['everything'], copy_data => 'false');
sql($_) foreach @statements;
is_deeply([ arrived('beside') ], \@expected, 'altered between transactions');
sql(q{SELECT firehose_drop_pipeline('beside')});

new_pipeline($node, 'postgres', 'amid', ['everything'], copy_data => 'false');
sql(join(";\n", 'BEGIN', @statements, 'COMMIT'));
is_deeply([ arrived('amid') ], \@expected, 'altered amid one');

# the same again, but that a savepoint takes back each second change of the schema
my @taken_back = ('ALTER TABLE s.t ADD COLUMN more int; INSERT INTO s.t (id) VALUES (-1)', 'DROP TABLE s.t');
sql(join(";\n", 'BEGIN', @statements[ 0 .. 2 ],
        (map { ('SAVEPOINT a', $_, 'ROLLBACK TO a') } @taken_back), @statements[ 3 .. $#statements ], 'COMMIT'));
is_deeply([ arrived('amid') ], [ @expected, @expected ], 'and what a savepoint takes back is as if it had not been');
sql(q{SELECT firehose_drop_pipeline('amid')});

# The owner of a pipeline that is no superuser is renamed, and one that reads by
# membership in a role.
sql(q{CREATE ROLE readers; CREATE ROLE reader LOGIN REPLICATION IN ROLE readers;
    CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t; ALTER PUBLICATION p OWNER TO reader;
    GRANT SELECT ON t TO readers; CREATE SERVER roles FOREIGN DATA WRAPPER firehose; GRANT USAGE ON FOREIGN SERVER roles TO readers;
    SET ROLE reader; SELECT firehose_create_pipeline('roles', 'roles', '{p}', copy_data => false)});
wait_state($node, 'postgres', 'roles', 'streaming');
sql(q{INSERT INTO t VALUES (1); ALTER ROLE reader RENAME TO watcher; INSERT INTO t VALUES (2);
    BEGIN; INSERT INTO t VALUES (3); ALTER ROLE readers RENAME TO watchers; INSERT INTO t VALUES (4); COMMIT; INSERT INTO t VALUES (5)});
is_deeply([ arrived('roles') ], [ map { qq{c public.t {"id":$_} {"id":$_}} } 1 .. 5 ], 'roles that are renamed');
is(sql(q{SELECT owner FROM firehose_pipeline WHERE pipeline = 'roles'}), 'watcher', 'the owner has its new name');
sql(q{SELECT firehose_drop_pipeline('roles')});

# Partitions: the publication has the parent, and whatever is attached to it.
sub partitions
{
    my ($name, $root) = @_;
    my @parts = (
        'CREATE TABLE parent (id int PRIMARY KEY, b text) PARTITION BY RANGE (id)',
        'CREATE TABLE first PARTITION OF parent FOR VALUES FROM (0) TO (100)',
        # its columns stand in another order, and one was dropped
        'CREATE TABLE second (gone int, b text, id int NOT NULL); ALTER TABLE second DROP COLUMN gone',
        "CREATE PUBLICATION $name FOR TABLE parent" . ($root ? ' WITH (publish_via_partition_root)' : ''));
    my @changes = (
        [ q{INSERT INTO parent VALUES (1, 'x')}, ['first', 1] ],
        [ q{INSERT INTO second (id, b) VALUES (101, 'x')} ],
        'ALTER TABLE parent ATTACH PARTITION second FOR VALUES FROM (100) TO (200)',
        [ q{INSERT INTO second (id, b) VALUES (102, 'x')}, ['second', 102] ],
        [ q{INSERT INTO parent VALUES (103, 'x'), (2, 'x')}, ['second', 103], ['first', 2] ],
        'ALTER TABLE parent DETACH PARTITION second',
        [ q{INSERT INTO second (id, b) VALUES (104, 'x')} ],
        [ q{INSERT INTO parent VALUES (3, 'x')}, ['first', 3] ],
        'DROP TABLE second; CREATE TABLE second PARTITION OF parent FOR VALUES FROM (100) TO (200)',
        [ q{INSERT INTO parent VALUES (105, 'x')}, ['second', 105] ]);
    my @wanted = map { my $change = $_; ref $change ? map { sprintf('c public.%s {"id":%d} {"b":"x","id":%d}', $root ? 'parent' : $_->[0], $_->[1], $_->[1]) }
        @$change[ 1 .. $#$change ] : () } @changes;
    my @todo = map { ref $_ ? $_->[0] : $_ } @changes;
    foreach my $where ('between transactions', 'amid one')
    {
        sql($_) foreach @parts;
        my $pipeline = $name . ($where =~ /amid/ ? '_amid' : '');
        new_pipeline($node, 'postgres', $pipeline, [$name], copy_data => 'false');
        $where =~ /amid/ ? sql(join(";\n", 'BEGIN', @todo, 'COMMIT')) : map { sql($_) } @todo;
        is_deeply([ arrived($pipeline) ], \@wanted, "$name: attached and detached $where");
        sql("SELECT firehose_drop_pipeline('$pipeline'); DROP PUBLICATION $name; DROP TABLE parent");
    }
    return;
}
partitions('leaves', 0);
partitions('roots', 1);

# as many columns as there can be
sql(q{CREATE PUBLICATION wide FOR ALL TABLES});
new_pipeline($node, 'postgres', 'wide', ['wide'], copy_data => 'false');
sql(q{DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('c%s int', n), ', ') || ', PRIMARY KEY (c1600))'
        FROM generate_series(1, 1600) n);
    EXECUTE 'INSERT INTO wide SELECT ' || (SELECT string_agg(n::text, ', ') FROM generate_series(1, 1600) n); END $$;
    UPDATE wide SET c1 = 0, c1600 = 0; DELETE FROM wide});
wait_confirmed($node, 'postgres', 'wide');
my @wide = events($emulator, 'wide');
is(join(' ', map { $_->{op} } @wide), 'c u d', 'changes of a table of 1,600 columns');
is_deeply($wide[0]{after}, { map { ("c$_" => $_) } 1 .. 1600 }, 'all of them are there');
is_deeply($wide[1]{after}, { (map { ("c$_" => $_) } 2 .. 1599), c1 => 0, c1600 => 0 }, 'and altered');
is_deeply([ $wide[1]{before}, $wide[2]{key} ], [ { c1600 => 1600 }, { c1600 => 0 } ], 'under their key');
sql(q{SELECT firehose_drop_pipeline('wide')});

# Text that an encoding has, in letters of many scripts
my @letters = ('é', 'š', 'ő', 'ı', 'ж', 'є', 'α', 'א', 'س', 'ก', '中', 'あ', '한', 'ế', '€', '𝄞');
my @encodings = split /\n/, sql(q{SELECT e FROM (SELECT pg_encoding_to_char(n) AS e, n FROM generate_series(0, 34) n) e
    WHERE e <> '' ORDER BY n});
cmp_ok(scalar @encodings, '>=', 35, scalar(@encodings) . ' encodings');
@encodings = grep { is_long() || /^(EUC_JP|KOI8R|LATIN2|WIN1258|MULE_INTERNAL)$/ } @encodings;
foreach my $encoding (@encodings)
{
    sql("CREATE DATABASE enc TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
    my $letters = join('', grep { has($encoding, $_) } @letters);
    my $none = $encoding =~ /^(SQL_ASCII|MULE_INTERNAL)$/;
    # without, it is the database's
    local $ENV{PGCLIENTENCODING} = 'UTF8';
    delete $ENV{PGCLIENTENCODING} if $none;
    my $name = lc $encoding;
    $node->safe_psql('enc', qq{CREATE EXTENSION firehose; CREATE TABLE t (id int PRIMARY KEY, v text);
        CREATE PUBLICATION p FOR TABLE t; CREATE SERVER "enc_$name" FOREIGN DATA WRAPPER firehose;
        SELECT firehose_create_pipeline('enc_$name', 'enc_$name', '{p}', messages => '{m}', copy_data => false)});
    wait_state($node, 'enc', "enc_$name", 'streaming');
    my $text = encode('UTF-8', $none ? 'plain' : "plain $letters");
    $node->safe_psql('enc', qq{INSERT INTO t VALUES (1, '$text'); SELECT pg_logical_emit_message(true, 'm', '$text'), pg_logical_emit_message(false, 'm', '$text')});
    wait_confirmed($node, 'enc', "enc_$name");
    my @events = events($emulator, "enc_$name");
    my @contents = map { encode('UTF-8', $_->{op} eq 'm' ? $_->{message}{content} : $_->{after}{v}) } @events;
    is_deeply([ sort @contents ], [ ($text) x 3 ], "$encoding: " . encode('UTF-8', $none ? 'ASCII' : $letters));
    cmp_ok(length($letters), '>=', 1, "$encoding has letters of its own") unless $none;
    $node->safe_psql('enc', "SELECT firehose_drop_pipeline('enc_$name')");
    wait_for_sql($node, q{SELECT count(*) FROM pg_replication_slots WHERE database = 'enc'}, '0');
    sql('DROP DATABASE enc WITH (FORCE)');
}

# Has an encoding a letter?
sub has
{
    my ($encoding, $letter) = @_;
    my ($code) = $node->psql('postgres', "SELECT convert_to('" . encode('UTF-8', $letter) . "', '$encoding')");
    return $code == 0;
}

$node->stop;
done_testing();
