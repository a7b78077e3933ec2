# The formats debezium and dms through pipelines, with copies: every operation,
# identity and publication; what consumers written in Python make of them is the
# table, through crashes in the middle of transactions; and descriptions of
# tables, whose ids are unique and sort before the changes that they are for.
# (By themselves, of every type: sql/format_tools.sql.  The sources of the forms
# are named in src/format.)
use strict;
use warnings FATAL => 'all';
use utf8;
use IPC::Run ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, max_worker_processes => 20);
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
    CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2), at timestamp(3), big text);
    ALTER TABLE orders ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE whole (id int, note text);
    ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE indexed (a int NOT NULL UNIQUE, b int PRIMARY KEY, gone int, c int GENERATED ALWAYS AS (a + b) STORED);
    ALTER TABLE indexed DROP gone, REPLICA IDENTITY USING INDEX indexed_a_key;
    CREATE TABLE parted (id int PRIMARY KEY, n int) PARTITION BY LIST (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
    INSERT INTO orders VALUES (100, 1.5, '2026-11-21 22:34:01.659', 'copied');
    CREATE PUBLICATION tools FOR TABLE orders, whole, indexed, parted WITH (publish_via_partition_root);});
my @pipelines = qw(debezium dms json);
my %options = (
    debezium => { format => q{'debezium'}, messages => q{'{app}'} },
    dms => { format => q{'dms'}, messages => q{'{app}'}, metadata => q{'schema'} },
    json => { metadata => q{'schema'} });
new_pipeline($node, 'postgres', $_, ['tools'], %{ $options{$_} }) foreach @pipelines;

# The lines of a stream that came since the last call
my %seen = map { $_ => 0 } @pipelines;
sub lines
{
    my ($stream) = @_;
    $emulator->control('POST', 'flush');
    my @lines = split /(?<=\n)/, join('', map { $_->{data} } grep { $_->{state} ne 'R' } $emulator->records($stream));
    splice(@lines, 0, $seen{$stream});
    return @lines;
}
sub sent
{
    my ($stream) = @_;
    my @lines = lines($stream);
    $seen{$stream} += @lines;
    return map { $json->decode($_) } @lines;
}
sub wait_all { wait_confirmed($node, 'postgres', $_) foreach @pipelines }

# Members of events, as text: "a.b" is the member b of a
sub brief
{
    my ($members, @events) = @_;
    my $text = sub {
        my ($value, $path) = @_;
        $value = $value->{$_} foreach split /\./, $path;
        return ref $value || !defined $value ? $json->encode($value) : $value };
    return [ map { my $event = $_; join(' ', map { $text->($event, $_) } @$members) } @events ];
}

# the copy, then each operation
wait_until('rows are copied', sub { !grep { !lines($_) } @pipelines });
sql(q{
    INSERT INTO orders VALUES (1, 10.50, '2026-11-21 22:34:01.659', repeat('x', 10000));
    UPDATE orders SET total = 11 WHERE id = 1;
    BEGIN; UPDATE orders SET id = 2 WHERE id = 1; DELETE FROM orders WHERE id = 2; COMMIT;
    INSERT INTO whole VALUES (1, 'a'); UPDATE whole SET note = 'b'; DELETE FROM whole;
    INSERT INTO indexed (a, b) VALUES (1, 2); UPDATE indexed SET b = 3; UPDATE indexed SET a = 4; DELETE FROM indexed;
    INSERT INTO parted VALUES (1, 1);
    SELECT pg_logical_emit_message(true, 'app', 'hello'); SELECT pg_logical_emit_message(false, 'app', 'at once');
    TRUNCATE orders, whole;});
wait_all();
my $big = '"big":"' . 'x' x 10000 . '"';
my $gone = '"big":"__debezium_unavailable_value"';
my $at = '"at":1795300441659';
my @debezium = sent('debezium');
is_deeply(brief([qw(op source.table before after source.snapshot)], grep { $_->{op} ne 'm' } @debezium), [
    qq(r orders null {$at,"big":"copied","id":100,"total":"1.50"} incremental),
    qq(c orders null {$at,$big,"id":1,"total":"10.50"} false),
    qq(u orders null {$at,$gone,"id":1,"total":"11.00"} false),
    'd orders {"id":1} null false', qq(c orders null {$at,$gone,"id":2,"total":"11.00"} false), 'd orders {"id":2} null false',
    'c whole null {"id":1,"note":"a"} false', 'u whole {"id":1,"note":"a"} {"id":1,"note":"b"} false', 'd whole {"id":1,"note":"b"} null false',
    'c indexed null {"a":1,"b":2} false', 'u indexed null {"a":1,"b":3} false',
    'd indexed {"a":1} null false', 'c indexed null {"a":4,"b":3} false', 'd indexed {"a":4} null false',
    'c parted null {"id":1,"n":1} false',
    't orders null null false', 't whole null null false' ], 'debezium: operations, identities, the root of partitions');
is_deeply(brief([qw(message source.schema source.table)], grep { $_->{op} eq 'm' } @debezium),
    [ '{"content":"aGVsbG8=","prefix":"app"}  ', '{"content":"YXQgb25jZQ==","prefix":"app"}  ' ], 'debezium: messages, in base64');
my ($delete, $insert, $second) = @debezium[ 3 .. 5 ];
is_deeply([ map { $_->{transaction}{total_order} } $delete, $insert, $second ], [ 1, 2, 3 ], 'debezium: both halves of a changed key have a place');
is($delete->{transaction}{id}, "$delete->{source}{txId}:" . $json->decode($delete->{source}{sequence})->[0], 'debezium: the transaction');
ok($second->{source}{lsn} > $delete->{source}{lsn}, 'debezium: each change has its own position');
my @numbers = grep { defined } map { $_->{source}{ts_ns} / 1000 - $_->{source}{ts_us} } grep { $_->{source}{ts_us} } @debezium;
is(scalar(grep { $_ } @numbers), 0, 'debezium: times agree');

my @dms = sent('dms');
$at = '"at":"2026-11-21T22:34:01.659"';
is_deeply(brief([qw(metadata.operation metadata.table-name data before-image)], grep { $_->{metadata}{'record-type'} eq 'data' } @dms), [
    qq(load orders {$at,"big":"copied","id":100,"total":1.5} null),
    qq(insert orders {$at,$big,"id":1,"total":10.5} null),
    qq(update orders {$at,"id":1,"total":11} {}), qq(update orders {$at,"id":2,"total":11} {"id":1}),
    'delete orders {"at":null,"big":null,"id":2,"total":null} null',
    'insert whole {"id":1,"note":"a"} null', 'update whole {"id":1,"note":"b"} {"id":1,"note":"a"}', 'delete whole {"id":1,"note":"b"} null',
    'insert indexed {"a":1,"b":2} null', 'update indexed {"a":1,"b":3} {}', 'update indexed {"a":4,"b":3} {"a":1}', 'delete indexed {"a":4,"b":null} null',
    'insert parted {"id":1,"n":1} null' ], 'dms: operations, identities, the root of partitions');
is_deeply(brief([qw(metadata.operation metadata.table-name)], grep { $_->{metadata}{'record-type'} eq 'control' } @dms),
    [ map({ "create-table $_" } qw(orders whole indexed parted)), 'truncate-table orders', 'truncate-table whole' ], 'dms: control records');
my %position = map { $_->{metadata}{'stream-position'} // '' => 1 } grep { $_->{metadata}{'record-type'} eq 'data' } @dms;
is(scalar keys %position, 13, 'dms: each with a position of its own');

# descriptions: before the first change, after one of the table, not after others
my @described = sent('json');
is_deeply(brief([qw(op table)], grep { $_->{op} eq 's' } @described), [ map { "s $_" } qw(orders whole indexed parted) ],
    'json: each table is described once');
is_deeply([ (grep { $_->{op} eq 's' } @described)[2]{columns} ], [ [
    { name => 'a', type => 'integer', typmod => -1, nullable => JSON::PP::false, key => JSON::PP::true, primary => JSON::PP::false },
    { name => 'b', type => 'integer', typmod => -1, nullable => JSON::PP::false, key => JSON::PP::false, primary => JSON::PP::true } ] ],
    'json: the primary key beside the identity');
sql(q{ANALYZE orders; VACUUM orders; INSERT INTO orders VALUES (3);
    BEGIN; INSERT INTO orders VALUES (4); ALTER TABLE orders ADD added varchar(7); INSERT INTO orders VALUES (5);
    ALTER TABLE orders ALTER added TYPE varchar(9); INSERT INTO orders VALUES (6), (7); COMMIT;
    ALTER TABLE whole RENAME TO renamed; INSERT INTO renamed VALUES (1);});
wait_all();
my @altered = sent('json');
is_deeply([ map { $_->{op} . ' ' . ($_->{columns} ? ($_->{columns}[-1]{type} // '') : $json->encode($_->{after}{id})) } @altered ],
    [ 'c 3', 'c 4', 's character varying(7)', 'c 5', 's character varying(9)', 'c 6', 'c 7', 's text', 'c 1' ], 'json: described again when they have changed');
push @described, @altered;

# one that was only told of with rows that were discarded is told of again
sql(q{CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late SELECT generate_series(1, 300); ALTER PUBLICATION tools ADD TABLE late;});
sql(qq{SELECT firehose_refresh_pipeline('$_', false)}) foreach @pipelines;
sql(q{SELECT firehose_copy_table('json', 'late', '1 / (id - 250) IS NOT NULL')});
wait_until('the copy has failed in the middle of a chunk', sub {
    sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE "table" = 'late' AND phase = 'failed'}) eq 'failed' });
sql('INSERT INTO late VALUES (301)');
wait_all();
my @late = sent('json');
is_deeply(brief([qw(op table)], @late), [ 's late', 'c late' ], 'json: described, though a copy that described it came to nothing');
push @described, @late;

# every consumer ends with the table, whatever crashes
my %consumers = (debezium => <<'PYTHON', dms => <<'PYTHON');
import json, sys
rows, seen = {}, set()
for line in sys.stdin:
    event = json.loads(line)
    if event["source"]["table"] != "ledger" or event["op"] == "m":
        continue
    place = (event["source"]["name"], event["transaction"]["id"], event["transaction"]["total_order"])
    if place in seen:
        continue
    seen.add(place)
    if event["op"] == "t":
        rows.clear()
    elif event["op"] == "d":
        del rows[event["before"]["id"]]
    else:
        old = rows.get(event["after"]["id"], {})
        rows[event["after"]["id"]] = {k: old[k] if v == "__debezium_unavailable_value" else v for k, v in event["after"].items()}
print(json.dumps([rows[k] for k in sorted(rows)]))
PYTHON
import json, sys
rows, seen = {}, set()
for line in sys.stdin:
    event = json.loads(line)
    about = event["metadata"]
    if about["table-name"] != "ledger" or about["operation"] == "create-table" or about["stream-position"] in seen:
        continue
    seen.add(about["stream-position"])
    if about["operation"] == "truncate-table":
        rows.clear()
    elif about["operation"] == "delete":
        del rows[event["data"]["id"]]
    else:
        old = rows.pop(event.get("before-image", {}).get("id", event["data"]["id"]), {})
        rows[event["data"]["id"]] = {**old, **event["data"]}
print(json.dumps([rows[k] for k in sorted(rows)]))
PYTHON
sql(q{CREATE TABLE ledger (id int PRIMARY KEY, n int, big text); ALTER TABLE ledger ALTER big SET STORAGE EXTERNAL;
    ALTER PUBLICATION tools ADD TABLE ledger;});
sql(qq{SELECT firehose_refresh_pipeline('$_', false)}) foreach @pipelines;
srand($ENV{FIREHOSE_TEST_SEED} // 42);
for my $round (1 .. 2)
{
    my @script = map { my ($id, $other) = (int(rand 30), 100 + int(rand 30));
        (   "INSERT INTO ledger VALUES ($id, $_, repeat('v$_', 2000)) ON CONFLICT (id) DO UPDATE SET n = $_",
            "UPDATE ledger SET id = id + 1000 * $_ WHERE id = $other",
            "UPDATE ledger SET n = n + 1 WHERE id % 3 = $id % 3",
            "DELETE FROM ledger WHERE id = $id",
            "BEGIN; INSERT INTO ledger VALUES ($other, 0, 'b') ON CONFLICT DO NOTHING; UPDATE ledger SET n = 7 WHERE id = $other; COMMIT")[ $_ % 5 ] } 1 .. 80;
    sql(join(";\n", ($round == 2 ? ('TRUNCATE ledger') : ()), @script));
    $node->stop('immediate');
    $node->start;
    wait_all();
}
my $table = $json->decode(sql(q{SELECT json_agg(l ORDER BY id) FROM ledger l}));
cmp_ok(scalar @$table, '>', 10, 'a table that has changed');
foreach my $format (sort keys %consumers)
{
    my $input = join('', map { $_->{data} } grep { $_->{state} ne 'R' } $emulator->records($format));
    my ($output, $error);
    ok(IPC::Run::run([ 'python3', '-c', $consumers{$format} ], '<', \$input, '>', \$output, '2>', \$error), "$format: a consumer in Python");
    diag($error) if $error;
    is_deeply($json->decode($output || 'null'), $table, "$format: it ends with the table");
}

# ids of descriptions, with those that came again after the crashes
push @described, sent('json');
my %by_id;
$by_id{ $_->{id} }{ $json->encode($_) } = 1 foreach @described;
is(scalar(grep { keys %{ $by_id{$_} } > 1 } keys %by_id), 0, 'json: what has the same id is the same');
my @ids = map { $_->{id} } grep { $_->{op} ne 'r' } @described;
my $wrong = grep { my $i = $_; $described[$i]{op} eq 's' && !($described[$i]{id} lt $described[ $i + 1 ]{id}) } 0 .. $#described - 1;
is($wrong, 0, 'json: a description sorts before the change behind it');
cmp_ok(scalar(grep { $_->{op} eq 's' && $_->{table} eq 'ledger' } @described), '>=', 2, 'json: described again after a crash');
my %distinct = map { $_ => 1 } @ids;
my @order;
$distinct{$_} && delete $distinct{$_} && push @order, $_ foreach @ids;
is_deeply([ sort @order ], \@order, 'json: ids ascend');

# A copy that has to wait for a lock takes nothing back.
sql('CREATE TABLE locked (id int PRIMARY KEY); ALTER PUBLICATION tools ADD TABLE locked');
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE locked');
sql(q{SELECT firehose_copy_table('json', 'locked')});
wait_until('the copy has begun', sub { sql(q{SELECT phase FROM firehose_stat_progress_copy WHERE relid = 'locked'::regclass}) eq 'reading' });
sql(q{INSERT INTO ledger VALUES (-5, 5, 'b')});
wait_confirmed($node, 'postgres', 'json');
sent('json');
for my $n (1 .. 4)
{
    sql("INSERT INTO ledger VALUES (-$n, $n, 'b')");
    wait_confirmed($node, 'postgres', 'json');
    sleep 0.6;    # it tries again each second
}
is(scalar(grep { $_->{op} eq 's' && $_->{table} eq 'ledger' } sent('json')), 0, 'no table is described again meanwhile');
$lock->query_safe('COMMIT');
$lock->quit;
is(sql('SELECT count(*) FROM firehose_dead_letter'), 0, 'no dead letters');

$node->stop;
done_testing();
