# A copy goes on where it was delivered after a decoder or the postmaster was killed,
# or the server was stopped at once, while the table changes; and a clean restart repeats at most
# what was in flight.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $rounds = is_long() ? 30 : 3;
my $rows = 4000 * $rounds;
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, restart_after_crash => 'on');

sub sql { return $node->safe_psql('postgres', @_) }

sub copied
{
    my ($code, $out) = $node->psql('postgres', 'SELECT sum(rows) FROM firehose_stat_progress_copy');
    return $code == 0 && $out ne '' ? $out : -1;
}

sql("CREATE TABLE t (id int PRIMARY KEY, v int, filler text);
    INSERT INTO t SELECT id, 0, repeat('x', 500) FROM generate_series(1, $rows) id;
    CREATE PUBLICATION p FOR TABLE t");
$emulator->fault('delay', { seconds => 0.2 });
new_pipeline($node, 'postgres', 'crash', ['p'], stream => new_stream($node, 'crash', max_in_flight => 1));
my $seen = 0;
foreach my $round (1 .. $rounds)
{
    wait_until("round $round: more is copied", sub { copied() > $seen });
    $seen = copied();
    sql("UPDATE t SET v = $round, id = CASE WHEN id % 10 = $round % 10 THEN -id ELSE id END WHERE id % 5 = 0 OR id % 10 = $round % 10");
    if ($round % 3 == 1)
    {
        kill('KILL', (decoder_pids($node))[0]);
        wait_until("round $round: the server is back", sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 });
    }
    elsif ($round % 3 == 2)
    {
        $node->kill9;
        # (its children leave when they notice)
        my @command = ('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start');
        wait_until("round $round: the server starts",
            sub { IPC::Run::run(\@command, '>', '/dev/null', '2>', '/dev/null') }, 120);
        $node->_update_pid(1);
    }
    else
    {
        FirehoseTest::restart_by($node, 'immediate');
    }
    wait_state($node, 'postgres', 'crash', 'streaming');
    cmp_ok(copied(), '>=', $seen, "round $round: nothing that was noted is read again");
}
$emulator->heal;
wait_until('all is copied', sub { ($node->psql('postgres',
            "SELECT count(*) FROM firehose_stat_progress_copy WHERE phase = 'done'"))[1] eq '1' }, 120);
wait_confirmed($node, 'postgres', 'crash');
my $base = $node->basedir . '/crash';
append_to_file("$base.expected",
    sql("SELECT jsonb_build_object('key', jsonb_build_object('id', id), 'row', to_jsonb(t)) FROM t") . "\n");
$emulator->control('POST', 'flush');
append_to_file("$base.records", join('', map { $_->{data} } grep { $_->{state} ne 'R' } $emulator->records('crash')));
my ($out, $err) = ('', '');
ok(IPC::Run::run([ '/usr/bin/python3', 'test/replay/consumers.py', "$base.records", "$base.expected" ],
        '>', \$out, '2>', \$err), 'both consumers end with the table') or diag("$out$err");
note($out);

$node->stop;
done_testing();
