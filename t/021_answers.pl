# Every class of answer that Firehose gives, and what must follow: transient
# and throttling answers are retried, a lying or damaged reply acknowledges
# nothing, a stream that cannot be written to is parked with its reason and
# resumes by itself, a batch refused for its size is bisected, and the one
# impossible record goes to the dead letters.  Each case has a stream of its
# own; they run side by side, which shows that none holds up another.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $elsewhere = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.max_streams' => 200,
    'firehose.probe_interval' => '2s',
    'firehose.request_timeout' => '5s');

# A passing fault (the first two requests): all three records arrive.  Answers
# that acknowledge nothing although the records were stored make duplicates.
# Those that garble a reply come a second time, for a service that did not store
# what the reply does not acknowledge: whoever believes it loses the records.
my @garbling = qw(short_reply chunked_short_reply gzip_reply empty_body truncated_body
  garbage_body html_body xml_body huge_body deep_body nul_body duplicate_keys_body
  wrong_type_body responses_short responses_long responses_missing entry_both
  entry_neither bad_record_id);
my @passing = (
    [ service_unavailable => 'service_unavailable' ],
    [ internal_failure => 'internal_failure' ],
    [ throttle => 'throttle' ],
    [ limit_exceeded => 'limit_exceeded' ],
    [ http_429 => 'http_error', { status => 429, body => 'busy' } ],
    [ http_408 => 'http_error', { status => 408, body => '' } ],
    [ http_500_html => 'http_error',
        { status => 500, body => '<html>', content_type => 'text/html' } ],
    [ request_timeout => 'http_error', { status => 400, code => 'RequestTimeout' } ],
    [ slow_down => 'http_error', { status => 400, code => 'SlowDown' } ],
    [ throttled_by_header => 'http_error',
        { status => 400, code => 'ThrottlingException', code_in => 'header' } ],
    [ namespaced_type => 'http_error',
        { status => 400, code => 'com.amazon#ThrottlingException:http://internal/' } ],
    [ redirect => 'redirect', { location => $elsewhere->url . '/' } ],
    [ all_records_failed => 'fail_all_records' ],
    [ unknown_record_code => 'fail_all_records', { code => 'NobodyKnows', message => '?' } ],
    (map { [ $_ => $_ ] } qw(close_before_processing reset_before_processing
        close_after_processing reset_after_processing close_mid_upload), @garbling),
    (map { [ "lost_$_" => $_, { stored => JSON::PP::false } ] } @garbling),
    [ lost_one_both => 'entry_both', { indexes => [1], stored => JSON::PP::false } ],
    [ lost_one_neither => 'entry_neither', { indexes => [2], stored => JSON::PP::false } ],
    [ hang => 'hang_after_processing' ],
    [ hang_early => 'hang_before_body' ]);

# A good answer in an odd form: accepted at the first attempt.
my @odd = (
    [ wrong_count => 'failed_put_count', { offset => 3 } ],
    [ no_count => 'failed_put_count', { missing => JSON::PP::true } ],
    map { [ $_ => $_ ] } qw(chunked_reply reply_until_close close_after_reply));

# A lasting fault: parked with its reason, resumes when the fault is over.
my @parking = (
    (map { [ $_ => $_ ] } qw(access_denied kms_fault invalid_source unknown_stream
        not_permitted_on_source missing_token incomplete_signature invalid_signature
        unrecognized_client expired_token unknown_operation serialization)),
    [ resource_not_found_404 => 'http_error',
        { status => 404, code => 'ResourceNotFoundException' } ]);

sub put_three
{
    my ($name) = @_;
    $node->safe_psql('postgres',
        "SELECT firehose_put_batch('$name', ARRAY['$name 1', '$name 2', '$name 3'])");
    return map { "$name $_\n" } 1 .. 3;
}

my %committed;
foreach my $case (@passing, @odd, @parking)
{
    my ($name, $fault, $parameters) = @$case;
    my $passes = !grep { $_ == $case } @parking;
    new_stream($node, $name);
    $emulator->fault($fault, $parameters,
        { stream => $name, $passes ? (count => 2) : () });
    $committed{$name} = [ put_three($name) ];
}

# parking
foreach my $name (map { $_->[0] } @parking)
{
    wait_for_sql($node, "SELECT state FROM firehose_stat_stream WHERE stream = '$name'",
        'parked');
    my $report = $node->safe_psql('postgres', "SELECT queued + in_flight, length(reason) > 0,
            length(last_error_code) > 0, last_error_at IS NOT NULL
        FROM firehose_stat_stream WHERE stream = '$name'");
    is($report, '3|t|t|t', "$name: keeps its records and says why");
}
$emulator->heal;

# everything arrives
wait_delivered($node, 60);
foreach my $case (@passing, @odd, @parking)
{
    my ($name) = @$case;
    audit_ok($name, $emulator, $name, $committed{$name}, duplicates => 1);
    is($node->safe_psql('postgres', "SELECT state, reason, accepted, failed
            FROM firehose_stat_stream WHERE stream = '$name'"),
        'active||3|0', "$name: all accepted in the end");
}
foreach my $name (map { $_->[0] } @odd)
{
    is(scalar(() = $emulator->records($name)), 3, "$name: accepted at the first attempt");
}
is_deeply([ $elsewhere->requests ], [], 'a redirect was not followed');

# clocks that differ: corrected from the reply's Date, at the cost of one request
foreach my $offset (600, -86400)
{
    my $name = new_stream($node, 'clock' . abs($offset));
    $emulator->control(POST => 'clock', { offset => $offset });
    my @committed = put_three($name);
    wait_delivered($node, 60);
    audit_ok($name, $emulator, $name, \@committed);
    my $refused = grep { $_->{stream} && $_->{stream} eq $name && $_->{status} != 200 }
      $emulator->requests;
    cmp_ok($refused, '<=', 1, "$name: corrected within one retry");
}
$emulator->control(POST => 'clock', { offset => 0 });
$node->safe_psql('postgres', q{SELECT firehose_put_record('clock600', 'back')});
wait_delivered($node, 60);

# sizes: bisected down to what fits, and to the one that never will.  That dies
# only if it is over the limit that Firehose names; otherwise whoever refuses it
# may change its mind.
foreach my $fault (qw(size_limit size_limit_413))
{
    my $name = new_stream($node, $fault);
    $emulator->fault($fault, { call_bytes => 10_000, record_bytes => 5_000,
            $fault eq 'size_limit' ? (message => "Member must have length less than or equal to 5000") : () },
        { stream => $name });
    my @committed = put_numbered($node, $name, 1, 100, size => 999);
    $node->safe_psql('postgres', "SELECT firehose_put_record('$name', repeat('y', 6000))");
    if ($fault eq 'size_limit_413')
    {
        wait_for_sql($node, "SELECT state, failed FROM firehose_stat_stream WHERE stream = '$name'",
            'parked|0');
        $emulator->heal;
        wait_delivered($node, 60);
        is(scalar(() = $emulator->delivered($name) =~ /\n/g), 101, "$name: nothing is given up");
        next;
    }
    wait_delivered($node, 60);
    my $result = audit($emulator, $name, @committed);
    is(scalar @{ $result->{lost} }, 0, "$name: all that fit arrive");
    is($node->safe_psql('postgres', "SELECT count(*), min(length(data)),
            bool_and(error_code IS NOT NULL AND error_message IS NOT NULL)
            FROM firehose_dead_letter WHERE stream = '$name'"),
        '1|6001|t', "$name: the impossible record is a dead letter");
    is($node->safe_psql('postgres', "SELECT accepted, failed FROM firehose_stat_stream
            WHERE stream = '$name'"), '100|1', "$name: and counted");
}

$node->stop;
done_testing();
