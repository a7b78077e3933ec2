# A stream that is dropped, renamed or altered while records wait or are in
# flight.  What a dropped one still had goes to the dead letters with that
# reason and its payload, and from there to a stream of the same name; an
# altered or renamed one goes on under its new options.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.request_timeout' => '60s',
    'firehose.probe_interval' => '200ms', max_prepared_transactions => 2);

sub in_flight
{
    my ($stream) = @_;
    return wait_for_sql($node,
        "SELECT in_flight > 0 FROM firehose_stat_stream WHERE stream = '$stream'");
}

sub letters
{
    my ($stream) = @_;
    return split /\n/, $node->safe_psql('postgres',
        "SELECT rtrim(convert_from(data, 'UTF8'), E'\\n') FROM firehose_dead_letter
         WHERE stream = '$stream' ORDER BY id");
}

# dropped while parked: everything it had becomes a dead letter
new_stream($node, 'parked');
$emulator->fault('unknown_stream', {}, { stream => 'parked' });
my @parked = put_numbered($node, 'parked', 1, 1200, per_commit => 100);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'parked'}, 'parked');
my $id = $node->safe_psql('postgres', q{SELECT firehose_put_record('parked', 'the last')});
$node->safe_psql('postgres', 'DROP SERVER parked');
is($node->safe_psql('postgres', "SELECT firehose_wait($id, '60 s')"), 'failed',
    'a record of a dropped stream has failed');
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'parked'}, 1201);
is_deeply([ letters('parked') ], [ map { s/\n//r } @parked, 'the last' ],
    'all are dead letters, with their payload');
is($node->safe_psql('postgres', q{SELECT DISTINCT error_code, error_message
        FROM firehose_dead_letter}),
    'StreamDropped|The stream was dropped before the record was sent.', 'and their reason');
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'parked'}, 0);
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(status = 'failed')
        FROM firehose_status WHERE stream = 'parked'}), '1201|t', 'status rows say so, too');

# another stream of that name takes them
new_stream($node, 'parked', max_in_flight => 1);
$emulator->heal;

# unless that is rolled back: then the record has failed as before
is($node->safe_psql('postgres', qq{
    BEGIN;
    SELECT firehose_retry_dead_letters('parked', ARRAY[$id]);
    ROLLBACK;
    SELECT firehose_wait($id, '0');
    BEGIN;
    SAVEPOINT a;
    SELECT firehose_retry_dead_letters('parked', ARRAY[$id]);
    SAVEPOINT b;
    RELEASE b;
    ROLLBACK TO a;
    COMMIT;
    SELECT firehose_wait($id, '0')}), "1\nfailed\n1\nfailed", 'a retry that is rolled back forgets no outcome');
is($node->safe_psql('postgres', q{SELECT firehose_retry_dead_letters('parked', max_records => NULL)}),
    '1201', 'retried');
wait_delivered($node);
audit_ok('retried', $emulator, 'parked', [ @parked, "the last\n" ]);
is($node->safe_psql('postgres', "SELECT firehose_wait($id, '0')"), 'accepted',
    'a retried record has a new outcome under its old id');
is_deeply([ letters('parked') ], [], 'no letters are left');

# dropped while in flight: what is answered is accepted, the rest a dead letter
new_stream($node, 'flying', max_in_flight => 1, max_batch_records => 10);
my $hang = $emulator->fault('hang_before_processing', {}, { stream => 'flying' });
my @flying = put_numbered($node, 'flying', 1, 100);
in_flight('flying');
$node->safe_psql('postgres', 'DROP SERVER flying');
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'flying'}, 90);
is($node->safe_psql('postgres', q{SELECT dropped, in_flight FROM firehose_stat_stream
        WHERE stream = 'flying'}), 't|10', 'the statistics say that it was dropped');
$emulator->heal($hang);
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'flying'}, 0);
my %arrived = map { $_->{data} => 1 } grep { $_->{state} ne 'R' } $emulator->records('flying');
is_deeply([ grep { !$arrived{$_} } @flying ], [ map { "$_\n" } letters('flying') ],
    'every record has arrived or is a dead letter');

# dropped and created again in one transaction: these are two streams
new_stream($node, 'twice');
$hang = $emulator->fault('hang_before_processing', {}, { stream => 'twice', count => 1 });
put_numbered($node, 'twice', 1, 1);
in_flight('twice');
put_numbered($node, 'twice', 2, 5);
$node->safe_psql('postgres', q{
    BEGIN;
    DROP SERVER twice;
    CREATE SERVER twice FOREIGN DATA WRAPPER firehose OPTIONS (stream_name 'second');
    SELECT firehose_put_record('twice', 'new');
    COMMIT});
is($node->safe_psql('postgres', q{SELECT firehose_flush('twice', '60 s')}), 't',
    'the new stream does not wait for the old one');
is($emulator->delivered('second'), "new\n", 'and has only its own records');
$emulator->heal($hang);

# put and dropped in one transaction: either, as the sender notices
new_stream($node, 'brief');
$node->safe_psql('postgres', q{
    BEGIN;
    SELECT firehose_put_record('brief', 'mine');
    DROP SERVER brief;
    COMMIT});
wait_until('a record put before DROP SERVER in one transaction arrives or is a dead letter',
    sub { join('', letters('brief')) eq 'mine' || $emulator->delivered('brief') eq "mine\n" });

# altered by a transaction that another session commits, or undone by one that
# it rolls back: the sender hears of either
new_stream($node, 'prepared', enabled => 'false');
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'flying'}, 0);
$node->safe_psql('postgres', q{
    ALTER SERVER prepared OPTIONS (SET enabled 'true');
    SELECT firehose_put_record('prepared', 'before');
    SELECT firehose_flush('prepared', '60 s');
    ALTER SERVER prepared OPTIONS (SET enabled 'false')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'prepared'}, 'disabled');
$node->safe_psql('postgres', q{
    BEGIN; ALTER SERVER prepared OPTIONS (SET enabled 'true'); PREPARE TRANSACTION 'altered'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'altered'});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'prepared'}, 'active', 20);
foreach my $end (q{PREPARE TRANSACTION 'undone'; ROLLBACK PREPARED 'undone'}, 'ROLLBACK')
{
    $node->safe_psql('postgres', qq{
        BEGIN;
        CREATE SERVER undone FOREIGN DATA WRAPPER firehose;
        SELECT firehose_put_record('undone', 'early', transactional => false);
        SELECT pg_sleep(0.3);
        $end});
    wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE stream = 'undone'}, 0, 20);
}
wait_for_sql($node, q{SELECT count(*) FROM firehose_dead_letter WHERE stream = 'undone'}, 2);

# altered while in flight: the request ends as it began, what follows is new
new_stream($node, 'altered', max_in_flight => 1, max_batch_records => 10, stream_name => 'before');
$hang = $emulator->fault('hang_before_processing', {}, { stream => 'before', count => 1 });
my @altered = put_numbered($node, 'altered', 1, 100);
in_flight('altered');
$node->safe_psql('postgres', q{ALTER SERVER altered OPTIONS (SET stream_name 'after', SET max_batch_records '45')});
$emulator->heal($hang);
wait_delivered($node);
audit_ok('altered', $emulator, 'after', \@altered);
is_deeply([ map { $_->{records} } grep { ($_->{stream} // '') eq 'after' } $emulator->requests ],
    [ 45, 45, 10 ], 'under its new options');

# disabled: what is queued waits
$node->safe_psql('postgres', q{ALTER SERVER altered OPTIONS (SET stream_name 'gate')});
$emulator->fault('unknown_stream', {}, { stream => 'gate' });
put_numbered($node, 'altered', 1, 3);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'altered'}, 'parked');
$node->safe_psql('postgres', q{ALTER SERVER altered OPTIONS (ADD enabled 'false')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'altered'}, 'disabled');
$emulator->heal;
my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_flush('altered', '1 s')});
like($error, qr/The stream is disabled/, 'a flush says why it cannot end');
is($emulator->delivered('gate'), '', 'nothing of a disabled stream is sent');
$node->safe_psql('postgres', q{ALTER SERVER altered OPTIONS (DROP enabled)});
wait_delivered($node);
is($emulator->delivered('gate'), join('', map { numbered($_) . "\n" } 1 .. 3), 'enabled again, it goes on');

# renamed: the default of stream_name follows, and so do the views
new_stream($node, 'oldname');
$emulator->fault('unknown_stream', {}, { stream => 'oldname' });
my @renamed = put_numbered($node, 'oldname', 1, 10);
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'oldname'}, 'parked');
$node->safe_psql('postgres', 'ALTER SERVER oldname RENAME TO newname');
wait_delivered($node);
audit_ok('renamed', $emulator, 'newname', \@renamed);
is($node->safe_psql('postgres', q{SELECT stream, accepted FROM firehose_stat_stream
        WHERE stream LIKE '%name'}), 'newname|10', 'the statistics go on under the new name');

# a name that Firehose would not take needs stream_name
$node->safe_psql('postgres', q{
    CREATE SERVER "Order ""items"" €" FOREIGN DATA WRAPPER firehose;
    SELECT firehose_put_record('Order "items" €', 'odd');});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream LIKE 'Order%'}, 'parked');
my $reason = $node->safe_psql('postgres',
    q{SELECT reason FROM firehose_stat_stream WHERE stream LIKE 'Order%'});
like($reason, qr/stream_name/, 'a name that Firehose does not take parks the stream, which says why');
$node->safe_psql('postgres', q{ALTER SERVER "Order ""items"" €" OPTIONS (ADD stream_name 'order-items')});
wait_delivered($node);
is($emulator->delivered('order-items'), "odd\n", 'and a name that it takes heals it');

$node->stop;
done_testing();
