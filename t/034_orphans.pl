# What the queue holds for a database without the extension is of no use to
# any session: it goes with DROP DATABASE and DROP EXTENSION, and the log says how
# much it was.  It never goes too far: a transaction that creates the extension,
# a stream and a record at once is not robbed of the record by a sender that
# has just found no extension.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator);

# The streams in use, over all databases
sub streams
{
    return $node->safe_psql('postgres', 'SELECT streams FROM firehose_stat_queue');
}

$emulator->fault('hang_before_processing');
foreach my $database ('one', 'two')
{
    $node->safe_psql('postgres', "CREATE DATABASE $database");
    $node->safe_psql($database, 'CREATE EXTENSION firehose');
    new_stream($node, "${database}_stream", dbname => $database);
    $node->safe_psql($database,
        "SELECT firehose_put_record('${database}_stream', 'x') FROM generate_series(1, 3)");
}
is(streams(), '2', 'two streams owe records');

$node->safe_psql('postgres', 'DROP DATABASE one');
is(streams(), '1', 'DROP DATABASE discards the queue');
wait_until('and the log says so', sub { logged($node, qr/discarded 3 records of the dropped database/) });

my (undef, undef, $notices) = $node->psql('two', 'BEGIN; DROP EXTENSION firehose CASCADE; ROLLBACK');
like($notices, qr/NOTICE:  3 queued records are dropped with extension "firehose"/, 'DROP EXTENSION tells how many records go with it');
is(streams(), '1', 'unless it is rolled back');
(undef, undef, $notices) = $node->psql('two', 'DROP EXTENSION firehose CASCADE');
like($notices, qr/NOTICE:  3 queued records are dropped/, 'and tells it again');
unlike($notices, qr/pipeline/, 'without a word of pipelines, of which there are none');
wait_until('DROP EXTENSION discards the queue', sub { streams() eq '0' });
wait_until('and the log says so',
    sub { logged($node, qr/discarded 3 records, because the extension was dropped from database "two"/) });
$emulator->heal;

# an open transaction that counts on a stream which goes with the extension:
# what it leaves behind is cleared when it ends, either way
foreach my $end ('COMMIT', 'ROLLBACK')
{
    $node->safe_psql('two', 'CREATE EXTENSION firehose');
    new_stream($node, 'gone', dbname => 'two');
    my $session = $node->background_psql('two');
    $session->query_safe(q{BEGIN; SELECT firehose_put_record('gone', 'too late')});
    $node->safe_psql('two', 'DROP EXTENSION firehose CASCADE');
    wait_until('no sender is left', sub { sender_of($node, 'two') eq '' });
    is(streams(), '1', 'its open transaction keeps a stream');
    $session->query_safe($end);
    $session->quit;
    wait_until("$end: the stream goes", sub { streams() eq '0' }, 20);
    is($node->safe_psql('postgres', q{SELECT firehose_drain('5 s')}), 't', 'and nothing is pending');
}

# all in one transaction, while senders come to look
my @committed;
foreach my $n (1 .. 20)
{
    # lets a sender look at the moment of the commit
    $node->safe_psql('two', 'BEGIN; CREATE EXTENSION firehose; DROP EXTENSION firehose; COMMIT');
    $node->safe_psql('two', <<"SCRIPT");
BEGIN;
CREATE EXTENSION firehose;
CREATE SERVER fresh FOREIGN DATA WRAPPER firehose;
SELECT firehose_put_record('fresh', 'record $n');
COMMIT;
SELECT firehose_flush(NULL, '60 s');
DROP EXTENSION firehose CASCADE;
SCRIPT
    push @committed, "record $n\n";
}
audit_ok('created with its record', $emulator, 'fresh', \@committed);
wait_until('nothing is left', sub { streams() eq '0' });

$node->stop;
done_testing();
