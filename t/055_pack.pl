# Streams that pack: many records in one Firehose record.  On a bad day nothing
# is lost, a group that is sent again is the same bytes, and each of its records
# has a status row with the group's RecordId; so it is when senders are killed, and
# what a restart saved is packed afterwards.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $each = is_long() ? 50_000 : 5_000;
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_timeout' => '300s',
    'firehose.request_timeout' => '20s', 'firehose.queue_size' => '64MB');
$node->safe_psql('postgres', 'CREATE TABLE sent (stream text, n int, id bigint)');

sub bad_day
{
    my $seed = 2;
    $emulator->fault('fail_records', { probability => 0.3 }, { seed => 1 });
    $emulator->fault($_, {}, { probability => 0.05, seed => $seed++ })
      foreach qw(service_unavailable reset_before_processing close_before_processing
      reset_after_processing close_after_processing short_reply truncated_body entry_neither);
    $emulator->fault('reset_mid_upload', { after_bytes => 1000 }, { probability => 0.05, seed => $seed++ });
    return;
}

# The status row of each record says what the response said of its group.
sub statuses_ok
{
    my ($name, $stream) = @_;
    # statistics of a moment at which the stream had no rows make a slow plan
    $node->safe_psql('postgres', 'ANALYZE sent');
    my %status = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('postgres',
        "SELECT n, record_id FROM sent JOIN firehose_status USING (id)
         WHERE sent.stream = '$stream' AND status = 'accepted'");
    $emulator->control('POST', 'flush');
    my (%said, $groups);
    foreach my $record ($emulator->records($stream))
    {
        next if $record->{state} ne 'A';
        $groups++;
        foreach my $row (unpack_record($record->{data}))
        {
            my ($n) = $row =~ /^n0*(\d+)/;
            $said{$n}{ $record->{word} } = 1;
        }
    }
    my @wrong = grep { !$said{$_}{ $status{$_} } } keys %status;
    is(scalar(keys %status), scalar(keys %said), "$name: each record has a status row");
    is(scalar @wrong, 0, "$name: with its group's RecordId");
    is($node->safe_psql('postgres', "SELECT count(DISTINCT record_id) = (SELECT firehose_records
            FROM firehose_stat_stream WHERE stream = '$stream') FROM firehose_status WHERE stream = '$stream'"),
        't', "$name: as many RecordIds as Firehose records");
    return $groups;
}

sub counters
{
    my ($stream, $columns) = @_;
    return $node->safe_psql('postgres', "SELECT $columns FROM firehose_stat_stream WHERE stream = '$stream'");
}

foreach my $compression (qw(none gzip))
{
    my $stream = new_stream($node, "bad_$compression", pack => 'true', compression => $compression,
        paused => 'true', max_batch_records => 8,
        # many groups in a request, so that some of them fail
        $compression eq 'none' ? (destination => 's3_partitioned') : ());
    bad_day();
    put_remembered($node, $stream, 1, $each);
    $node->safe_psql('postgres', "ALTER SERVER $stream OPTIONS (SET paused 'false')");
    put_remembered($node, $stream, $_ * 500 + 1, ($_ + 1) * 500) foreach $each / 500 .. 2 * $each / 500 - 1;
    wait_delivered($node, 600);
    my @committed = map { numbered($_, 99) . "\n" } 1 .. 2 * $each;
    audit_ok("bad day, $compression", $emulator, $stream, \@committed,
        duplicates => 1, packed => 1, gzip => $compression eq 'gzip');
    cmp_ok(groups_ok("bad day, $compression", $emulator, $stream), '>', 0, 'and some were');
    statuses_ok("bad day, $compression", $stream);
    is(counters($stream, 'accepted, failed, queued, in_flight'), 2 * $each . '|0|0|0', 'each record was accepted once');
    cmp_ok(counters($stream, 'resent'), '>', 0, 'many were resent');
    $emulator->heal;

    # a sender that is killed groups anew what it had under way
    $emulator->fault('delay', { seconds => 0.05 });
    put_remembered($node, $stream, 2 * $each + 1, 3 * $each);
    foreach my $kill (1 .. 3)
    {
        put_remembered($node, $stream, (2 + $kill) * $each + 1, (3 + $kill) * $each);
        $node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE backend_type = 'firehose sender'});
    }
    wait_delivered($node, 600);
    @committed = map { numbered($_, 99) . "\n" } 1 .. 6 * $each;
    audit_ok("killed senders, $compression", $emulator, $stream, \@committed,
        duplicates => 2, packed => 1, gzip => $compression eq 'gzip');
    is($node->safe_psql('postgres', "SELECT count(DISTINCT id) FROM firehose_status
            WHERE stream = '$stream' AND status = 'accepted'"), 6 * $each, 'a status row for each');
    $emulator->heal;
}

# a restart: what is in the saved queue is packed afterwards
new_stream($node, 'saved', pack => 'true', paused => 'true', compression => 'gzip');
put_remembered($node, 'saved', 1, 2000);
restart_by($node, 'fast');
$node->safe_psql('postgres', "ALTER SERVER saved OPTIONS (SET paused 'false')");
wait_delivered($node);
audit_ok('saved queue', $emulator, 'saved', [ map { numbered($_, 99) . "\n" } 1 .. 2000 ], packed => 1, gzip => 1);
is(counters('saved', 'accepted, firehose_records, billed_bytes % 5120, billed_bytes - sent_bytes < 5120, sent_bytes < bytes / 10'),
    '2000|1|0|t|t', 'in one Firehose record');

$node->stop;
done_testing();
