# A clean restart under load loses nothing and repeats nothing: decoders wait
# for the answers to what is in flight and save their slot last.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);
$node->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, session int, n int);
    CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'restart', ['p']);
my $watch = watch_positions($node, 'postgres', 'restart', $emulator);

foreach my $round (1 .. (is_long() ? 10 : 3))
{
    my @sessions = map { start_session($_) } 1 .. 4;
    my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
    wait_until('sessions are at work', sub {
        $node->safe_psql('postgres', 'SELECT count(*) FROM t') > $before + 200 });
    takes_at_most("round $round: a fast stop", 5.5, sub { $node->stop('fast') });
    $_->finish foreach @sessions;
    $node->start;
    wait_state($node, 'postgres', 'restart', 'streaming');
}
wait_confirmed($node, 'postgres', 'restart');
note($node->safe_psql('postgres', 'SELECT count(*) FROM t') . ' rows');
replay_ok('clean restarts', $node, 'postgres', $emulator, ['restart'],
    positions => stop_watching($watch), 'max-duplicates' => 0);

$node->stop;
done_testing();

# A session that inserts until the server ends it
sub start_session
{
    my ($session) = @_;
    my $script = "DO \$\$ BEGIN FOR n IN 1 .. 1000000 LOOP
        INSERT INTO t (session, n) VALUES ($session, n); COMMIT; END LOOP; END \$\$;";
    my ($out, $err) = ('', '');
    return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $script ],
        '>', \$out, '2>', \$err);
}
