# The index of the status tables knows ranges of pages by the least and the greatest
# values in them: every row is found by it, wherever in a range it lies, whether or not
# the range is summarized, and after the table was emptied or its index made anew.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator);
new_stream($node, 's');
$node->safe_psql('postgres', 'CREATE TABLE sent (stream text, n int, id bigint)');

# Put some, in batches of several sizes, and look for every tenth by the index alone.
sub all_found
{
    my ($name, @sizes) = @_;
    $node->safe_psql('postgres', 'TRUNCATE sent');
    foreach my $size (@sizes)
    {
        put_remembered($node, 's', 1, $size);
        wait_delivered($node);
    }
    is($node->safe_psql('postgres', q{
        SET enable_seqscan = off;
        SELECT count(*) FROM sent WHERE id % 10 = 0 AND NOT EXISTS (
            SELECT FROM firehose_status_0 s WHERE s.id = sent.id)}), '0', "$name: each row is found by its id");
    is($node->safe_psql('postgres', q{
        SET enable_seqscan = off;
        SELECT count(*) = (SELECT count(*) FROM sent) FROM firehose_status_0 s
        WHERE s.completed_at >= (SELECT min(completed_at) FROM firehose_status_0 JOIN sent USING (id))}), 't',
        "$name: and by its time");
    return;
}

all_found('several ranges', 1, 300, 3000, 1, 2000);
like($node->safe_psql('postgres', q{SET enable_seqscan = off; EXPLAIN SELECT FROM firehose_status_0 WHERE id = 1}),
    qr/firehose_status_0_brin/, 'the index is used');
$node->safe_psql('postgres', 'TRUNCATE firehose_status_0');
all_found('an emptied table', 500, 2000);
$node->safe_psql('postgres', 'REINDEX INDEX firehose_status_0_brin');
all_found('an index made anew', 200, 2000);

# while a process holds the lock that summarizing takes
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE firehose_status_0 IN SHARE UPDATE EXCLUSIVE MODE');
all_found('without summaries', 3000);
$holder->query_safe('COMMIT');
$holder->quit;
all_found('and with them again', 100, 2000);

# an index of another kind beside it
$node->safe_psql('postgres', 'CREATE INDEX ON firehose_status_0 (id)');
all_found('another index', 300);
$node->stop;
done_testing();
