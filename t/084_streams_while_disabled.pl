# While firehose.enabled is off no sender runs, and still no place of the queue's
# table is lost: those of streams that were dropped, whose CREATE SERVER was
# rolled back, or whose extension was dropped go to others when these need them.
# What was committed waits, and is delivered, or becomes dead letters, once
# senders run again.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.max_streams' => 6, max_prepared_transactions => 5);

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

new_stream($node, 'stays');
new_stream($node, 'options');
sql('CREATE DATABASE other');
alter_settings($node, 'firehose.enabled' => 'off');
wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'firehose %'
    AND backend_type <> 'firehose launcher'}, '0');
sql(q{SELECT firehose_put_record('stays', 'waits')});

# more of each than there are places
foreach my $n (1 .. 8)
{
    sql("CREATE SERVER dropped$n FOREIGN DATA WRAPPER firehose;
        BEGIN; SELECT firehose_put_record('dropped$n', 'x'); ROLLBACK; DROP SERVER dropped$n");
    sql("BEGIN; CREATE SERVER undone$n FOREIGN DATA WRAPPER firehose;
        SELECT firehose_put_record('undone$n', 'x'); ROLLBACK");
    sql('CREATE EXTENSION firehose; CREATE SERVER s FOREIGN DATA WRAPPER firehose;', 'other');
    my $session = $node->background_psql('other');
    $session->query_safe('BEGIN');
    $session->query_safe(q{SELECT firehose_put_record('s', 'x')});
    sql('DROP EXTENSION firehose CASCADE', 'other');
    $session->query_safe($n < 8 ? 'ROLLBACK' : 'COMMIT');
    $session->quit;
}
is(sql('SELECT firehose_put_record(server::text, server::text) IS NOT NULL FROM (VALUES ($$stays$$), ($$options$$)) s (server)'),
    "t\nt", 'streams have places');

# records of a stream that is no more, and of one that another session alters
sql(q{CREATE SERVER gone FOREIGN DATA WRAPPER firehose; SELECT firehose_put_record('gone', 'dead'); DROP SERVER gone});
sql(q{BEGIN; ALTER SERVER options OPTIONS (ADD stream_name 'altered'); PREPARE TRANSACTION 'p'});
sql(q{COMMIT PREPARED 'p'});

alter_settings($node, 'firehose.enabled' => 'on');
is(sql(q{SELECT firehose_drain('60 s')}), 't', 'everything clears when senders run again');
wait_delivered($node);
audit_ok('a stream that stays', $emulator, 'stays', [ "waits\n", "stays\n" ]);
audit_ok('a stream that was altered', $emulator, 'altered', ["options\n"]);
wait_for_sql($node, q{SELECT string_agg(rtrim(convert_from(data, 'UTF8'), E'\n'), ' ') FROM firehose_dead_letter}, 'dead');
wait_for_sql($node, q{SELECT string_agg(stream, ' ' ORDER BY stream) FROM firehose_stat_stream}, 'options stays');

$node->stop;
done_testing();
