# Whatever comes out of the queue is packed: what was put, by triggers, durably or
# into a foreign table, and the changes and the copies of pipelines.  Each arrives
# once, and its commits are confirmed.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $rows = is_long() ? 100_000 : 5_000;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
$node->safe_psql('postgres', 'CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE noted (id int)');

# The lines that a stream's Firehose records have, and how many records they are
sub lines
{
    my ($stream) = @_;
    $emulator->control('POST', 'flush');
    my @records = grep { $_->{state} eq 'A' } $emulator->records($stream);
    return (scalar @records, map { unpack_record($_->{data}) } @records);
}

foreach my $compression (qw(none gzip))
{
    my @options = (pack => 'true', compression => $compression);
    my ($changes, $puts) = map { new_stream($node, "${_}_$compression", @options) } qw(changes puts);
    my $pipeline = "p_$compression";
    $node->safe_psql('postgres', qq{
        TRUNCATE orders;
        INSERT INTO orders SELECT n, 'before ' || n FROM generate_series(1, $rows) n;
        CREATE PUBLICATION $pipeline FOR TABLE orders;
        SELECT firehose_create_pipeline('$pipeline', '$changes', '{$pipeline}')});
    wait_state($node, 'postgres', $pipeline, 'streaming');
    wait_for_sql($node, qq{SELECT phase, rows FROM firehose_stat_progress_copy WHERE pipeline = '$pipeline'}, "done|$rows");
    $node->safe_psql('postgres', qq{
        INSERT INTO orders SELECT n, 'change ' || n FROM generate_series($rows + 1, 2 * $rows) n;
        UPDATE orders SET note = 'updated ' || id WHERE id <= 100;
        DELETE FROM orders WHERE id > $rows AND id <= $rows + 50});
    wait_confirmed($node, 'postgres', $pipeline);
    wait_delivered($node);
    my ($records, @lines) = lines($changes);
    my %ops;
    $ops{ /"op":"(.)"/ ? $1 : $_ }++ foreach @lines;
    is_deeply(\%ops, { r => $rows, c => $rows, u => 100, d => 50 }, "$compression: each row and each change once");
    cmp_ok($records, '<', $rows / 10, "$compression: in $records Firehose records");
    is($node->safe_psql('postgres', "SELECT accepted, failed, firehose_records FROM firehose_stat_stream WHERE stream = '$changes'"),
        2 * $rows + 150 . "|0|$records", "$compression: all accepted");
    $node->safe_psql('postgres', "SELECT firehose_drop_pipeline('$pipeline'); DROP PUBLICATION $pipeline");

    # puts of all kinds
    $node->safe_psql('postgres', 'SELECT firehose_enable_durable_puts()') if $compression eq 'none';
    wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline WHERE pipeline = 'durable_puts'}, 'streaming');
    $node->safe_psql('postgres', qq{
        CREATE TRIGGER t AFTER INSERT ON noted FOR EACH ROW EXECUTE FUNCTION firehose_trigger('$puts', 'row');
        CREATE FOREIGN TABLE into_$puts (id int) SERVER $puts;
        ALTER SERVER $puts OPTIONS (ADD paused 'true');
        INSERT INTO noted SELECT generate_series(1, 1000);
        INSERT INTO into_$puts SELECT generate_series(1001, 2000);
        SELECT count(firehose_put_record('$puts', json_build_object('id', n)::jsonb)) FROM generate_series(2001, 3000) n;
        SELECT firehose_put_record('$puts', convert_to('{"id": 3001}', 'UTF8'));
        SET firehose.put_durability = wal;
        SELECT count(firehose_put_record('$puts', json_build_object('id', n)::jsonb)) FROM generate_series(3002, 4000) n;
        DROP TRIGGER t ON noted});
    wait_for_sql($node, qq{SELECT queued FROM firehose_stat_stream WHERE stream = '$puts'}, '4000');
    $node->safe_psql('postgres', "ALTER SERVER $puts OPTIONS (SET paused 'false')");
    wait_delivered($node);
    ($records, @lines) = lines($puts);
    is(join(' ', sort { $a <=> $b } map { /(\d+)/ } @lines), join(' ', 1 .. 4000), "$compression: every put once");
    is($records, 1, "$compression: in one Firehose record");
}
$node->stop;
done_testing();
