# A column of every type that PostgreSQL has, and of an array of each, with
# random values (special ones among them): inserted, updated, deleted, given
# other keys, truncated, with large values that an update leaves alone, under
# each replica identity.  What is delivered makes an equal database.
use strict;
use warnings FATAL => 'all';
use utf8;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;
use RandomValues;

my $seed = $ENV{FIREHOSE_TEST_SEED} // 42;
my $rounds = is_long() ? 40 : 6;
srand($seed);
note("seed $seed");

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
$node->safe_psql('postgres', "CREATE DATABASE types TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
$node->safe_psql('types', 'CREATE EXTENSION firehose');

# none is forgotten
my %without = map { $_ => 1 } @RandomValues::WITHOUT_VALUES;
my %made = map { $_ => 1 } split /\n/, $node->safe_psql('types', join(' UNION ',
        map { "SELECT typname FROM pg_type WHERE oid = '$_'::regtype" } random_types()));
my @forgotten = grep { !$made{$_} && !$without{$_} } split /\n/, $node->safe_psql('types',
    q{SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
        AND typtype IN ('b', 'r', 'm') AND typrelid = 0
        AND typsubscript <> 'array_subscript_handler'::regproc
      UNION SELECT unnest(ARRAY['int2vector', 'oidvector'])});
is("@forgotten", '', 'every type of PostgreSQL has random values');

my $n = 0;
my @columns;
foreach my $type (random_types())
{
    foreach my $is_array (0, 1)
    {
        push @columns, { name => sprintf('c%03d', ++$n), type => $type, is_array => $is_array };
    }
}
# types of the user's own
$node->safe_psql('types', q{
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "happy"');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE TYPE pair AS (a integer, "b ""q""" text, c bytea, d timestamptz[]);
    CREATE DOMAIN pairs AS pair[];});
my %own = (
    mood => [ "'ok'", "'very \"happy\"'" ],
    positive => [ 1, 77 ],
    pair => [ q{ROW(1, E'x,"\\\\\n', '\x00ff', '{infinity,NULL}')::pair}, 'ROW(NULL, NULL, NULL, NULL)::pair' ],
    pairs => [ q{ARRAY[ROW(1, '', '\x', '{}')::pair, NULL]}, "'{}'" ]);
push @columns, { name => "own_$_", type => $_, is_array => 0, values => $own{$_} } foreach sort keys %own;

sub value
{
    my ($column) = @_;
    return any_of('NULL', @{ $column->{values} }) if $column->{values};
    return random_value($column->{type}, $column->{is_array});
}

# One table for each way to tell a row; id is unique in all of them.
my %identity = (
    by_default => 'PRIMARY KEY (id)',
    by_index => 'UNIQUE (tag, id)',
    by_full => 'CHECK (id > 0)',
    by_full_with_key => 'PRIMARY KEY (id)',
    by_nothing => 'PRIMARY KEY (id)');
my @tables = sort keys %identity;
my $columns = join(",\n", map { "$_->{name} $_->{type}" . ($_->{is_array} ? '[]' : '') } @columns);
foreach my $table (@tables)
{
    $node->safe_psql('types', "CREATE TABLE $table (id int NOT NULL, tag varchar(10) NOT NULL,
        big text, big_bytes bytea, $columns, $identity{$table});
        ALTER TABLE $table ALTER big SET STORAGE EXTERNAL, ALTER big_bytes SET STORAGE EXTERNAL");
}
$node->safe_psql('types', q{
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_tag_id_key;
    ALTER TABLE by_full REPLICA IDENTITY FULL;
    ALTER TABLE by_full_with_key REPLICA IDENTITY FULL;
    ALTER TABLE by_nothing REPLICA IDENTITY NOTHING;
    CREATE PUBLICATION most FOR TABLE by_default, by_index, by_full, by_full_with_key;
    CREATE PUBLICATION inserts FOR TABLE by_nothing WITH (publish = 'insert, truncate');});
new_pipeline($node, 'types', 'types', [ 'most', 'inserts' ], copy_data => 'false');

# Random statements in transactions, some of them rolled back
my %ids = map { $_ => [] } @tables;
my $next_id = 1;
my @script = ('SET client_encoding = UTF8;', 'SET xmloption = content;');

sub insert
{
    my ($table) = @_;
    my $id = $next_id++;
    push @script, "INSERT INTO $table VALUES ($id, 't" . ($id % 7) . "', "
      . any_of('NULL', "repeat('b$id', 4000)") . ', '
      . any_of('NULL', "decode(repeat('00ff', 4000), 'hex')") . ', '
      . join(', ', map { value($_) } @columns) . ');';
    push @{ $ids{$table} }, $id;
    return;
}

sub update
{
    my ($table, $id) = @_;
    # a few columns, so that large values stay as they are
    my %set = map { $columns[ rand @columns ]->{name} => 1 } 1 .. 5;
    my @set = map { my $c = $_; "$c->{name} = " . value($c) } grep { $set{ $_->{name} } } @columns;
    push @set, "big = repeat('u', " . int(rand 10000) . ')' if rand() < 0.2;
    push @set, 'big_bytes = NULL' if rand() < 0.1;
    push @script, "UPDATE $table SET " . join(', ', @set) . " WHERE id = $id;";
    return;
}

sub change_one
{
    my ($table) = @_;
    my $known = $ids{$table};
    if (!@$known || rand() < 0.4) { insert($table); return }
    return if $table eq 'by_nothing';
    my $i = int rand @$known;
    if (rand() < 0.2)
    {
        push @script, "DELETE FROM $table WHERE id = $known->[$i];";
        splice(@$known, $i, 1);
    }
    elsif (rand() < 0.3)
    {
        my $id = $next_id++;
        push @script, "UPDATE $table SET id = $id"
          . any_of('', ", tag = 'k$id'", ', c001 = NULL') . " WHERE id = $known->[$i];";
        $known->[$i] = $id;
    }
    else { update($table, $known->[$i]) }
    return;
}

foreach my $round (1 .. $rounds)
{
    my %before = map { $_ => [ @{ $ids{$_} } ] } @tables;
    push @script, 'BEGIN;';
    change_one(any_of(@tables)) for 1 .. 5 + rand 20;
    if (rand() < 0.3)
    {
        push @script, 'SAVEPOINT s;';
        my %saved = map { $_ => [ @{ $ids{$_} } ] } @tables;
        change_one(any_of(@tables)) for 1 .. 5;
        push @script, any_of('ROLLBACK TO s;', 'RELEASE s;');
        %ids = %saved if $script[-1] =~ /ROLLBACK/;
    }
    if ($round % 5 == 3)
    {
        my @emptied = grep { rand() < 0.5 } @tables;
        push @emptied, 'by_index' unless @emptied;
        push @script, 'TRUNCATE ' . join(', ', @emptied) . ';';
        $ids{$_} = [] foreach @emptied;
        insert($_) foreach @emptied;
    }
    if ($round % 5 != 3 && rand() < 0.15)
    {
        push @script, 'ROLLBACK;';
        %ids = %before;
    }
    else { push @script, 'COMMIT;' }
}
# at the end there is something in all of them, of every kind
foreach my $table (@tables)
{
    insert($table) for 1 .. 8;
    next if $table eq 'by_nothing';
    push @script, "UPDATE $table SET c001 = NULL WHERE id % 2 = 0;",
      "UPDATE $table SET id = id + 100000 WHERE id % 3 = 0;";
}
my $script = join("\n", @script, '');
utf8::encode($script);
$node->safe_psql('types', $script);
wait_confirmed($node, 'types', 'types');

is($node->safe_psql('types', 'SELECT count(*) FROM firehose_dead_letter'), 0, 'no dead letters');
note($node->safe_psql('types', 'SELECT inserts, updates, deletes, truncates FROM firehose_stat_pipeline'));
my @events = events($emulator, 'types');
isnt(scalar(grep { $_->{unchanged} && @{ $_->{unchanged} } } @events), 0,
    'some updates left a large value out of the WAL');
isnt(scalar(grep { $_->{op} eq 'u' && $_->{before} && $_->{table} eq 'by_default' } @events), 0,
    'some changed a key');
isnt(scalar(grep { $_->{op} eq 't' } @events), 0, 'some tables were truncated');
replay_ok('types', $node, 'types', $emulator, ['types']);

$node->stop;
done_testing();
