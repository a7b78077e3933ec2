# Who mends a stream sees at once that it works: a changed definition and a flush
# end the pause of a stream whose requests failed, however long that pause is by
# then, and the parking of one that AWS refused.  Pauses are random, up to 20 s
# after nine failures, so there are many streams: without the early attempt one of
# them would still be waiting.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.probe_interval' => '1h');
sub sql { return $node->safe_psql('postgres', $_[0]) }

my %streams = (altered => [ map { "altered_$_" } 1 .. 12 ], flushed => [ map { "flushed_$_" } 1 .. 12 ]);
my @all = map { @$_ } @streams{qw(altered flushed)};
new_stream($node, $_) foreach @all, qw(parked_altered parked_flushed);

$emulator->fault('internal_failure', {}, { stream => $_ }) foreach qw(altered_* flushed_*);
$emulator->fault('unknown_stream', {}, { stream => 'parked_*' });
sql("SELECT firehose_put_record(stream, 'x') FROM unnest('{" . join(',', @all, qw(parked_altered parked_flushed)) . "}'::text[]) stream");
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE state = 'parked'}, '2');
wait_for_sql($node, q{SELECT count(*) FROM firehose_stat_stream WHERE state = 'retrying' AND requests >= 9}, '24', 180);
$emulator->heal;

# ------------------------------------------------------------------------
# The service is well again
# ------------------------------------------------------------------------
is(sql(q{SELECT count(*) FROM firehose_stat_stream WHERE state = 'parked'}), '2', 'parked streams are not tried before their time');
is(sql(q{SELECT firehose_flush('parked_flushed', '60 s')}), 't', 'a flush tries a parked stream');
is(sql(q{SELECT state, accepted FROM firehose_stat_stream WHERE stream = 'parked_flushed'}), 'active|1', 'and it is active');
is(sql(q{SELECT state FROM firehose_stat_stream WHERE stream = 'parked_altered'}), 'parked', 'another one stays parked');

my $accepted = q{SELECT count(*) FROM firehose_stat_stream WHERE accepted = 1 AND stream LIKE '%s\_%%'};
cmp_ok(sql(sprintf($accepted, 'altered')), '<', 12, 'streams are still waiting');
takes_at_most('a changed definition ends the pauses', 2, sub {
    sql('BEGIN; ' . join('', map { "ALTER SERVER $_ OPTIONS (ADD linger '20');" } @{ $streams{altered} }, 'parked_altered') . 'COMMIT');
    wait_for_sql($node, sprintf($accepted, 'altered'), '12');
    wait_for_sql($node, q{SELECT state, accepted FROM firehose_stat_stream WHERE stream = 'parked_altered'}, 'active|1') });
takes_at_most('a flush ends the pauses', 2, sub {
    is(join(' ', map { sql("SELECT firehose_flush('$_', '60 s')") } @{ $streams{flushed} }), join(' ', ('t') x 12), 'flushed') });
is(sql(sprintf($accepted, 'flushed')), '12', 'all of it is accepted');

# ------------------------------------------------------------------------
# An endpoint that is wrong
# ------------------------------------------------------------------------
sql(q{CREATE SERVER wrong FOREIGN DATA WRAPPER firehose OPTIONS (endpoint_url 'http://127.0.0.1:1')});
my $id = sql(q{SELECT firehose_put_record('wrong', 'z')});
wait_for_sql($node, q{SELECT state FROM firehose_stat_stream WHERE stream = 'wrong'}, 'retrying');
takes_at_most('the right endpoint is used at once', 2, sub {
    sql(q{ALTER SERVER wrong OPTIONS (SET endpoint_url '} . $emulator->url . q{')});
    is(sql("SELECT firehose_wait($id, '60 s')"), 'accepted', 'accepted there') });

$node->stop;
done_testing();
