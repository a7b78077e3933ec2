# The relay (docs/relay.md): a publisher without firehose, as a managed database
# is, and a subscriber with a pipeline that publishes what it applies.  Rows that
# were there before come once, transactions and TRUNCATE as they were, nothing
# of an aborted one; DDL that the subscriber lacks stops it, and it goes on
# without a gap; a crash of the subscriber in the middle loses and doubles
# nothing; and the replay of all of it is the publisher's tables.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $relay = new_decoding_node('relay', $emulator, wal_retrieve_retry_interval => '200ms');

# as docs/relay.md has them, word for word but for the connection
my ($on_publisher, $on_relay, $subscribe) = slurp_file('docs/relay.md') =~
  /\n\n(    CREATE PUBLICATION.*?)\n\n.*?CREATE EXTENSION firehose;\n(.*?)\n\n.*?psql -c "(.*?)"\n\n/s
  or die 'docs/relay.md has no recipe';
my $connection = $publisher->connstr . ' dbname=postgres';
$subscribe =~ s/CONNECTION '[^']*'/CONNECTION '$connection'/ or die;

my $tables = q{CREATE TABLE orders (id int PRIMARY KEY, total numeric, note text);
    CREATE TABLE lines (id int PRIMARY KEY, "order" int)};
$_->safe_psql('postgres', $tables) foreach $publisher, $relay;
$publisher->safe_psql('postgres', q{INSERT INTO orders SELECT n, n, (SELECT string_agg(md5(m::text), '') FROM generate_series(n, n + 100) m) FROM generate_series(1, 50) n});
$publisher->safe_psql('postgres', $on_publisher);
$relay->safe_psql('postgres', $_) foreach $on_relay, $subscribe;
wait_state($relay, 'postgres', 'relayed', 'streaming');

sub catch_up
{
    $publisher->wait_for_catchup('relay');
    return wait_confirmed($relay, 'postgres', 'relayed');
}

wait_for_sql($relay, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
catch_up();
is(join(' ', map { "$_->{op}$_->{after}{id}" } events($emulator, 'relayed')), join(' ', map { "c$_" } 1 .. 50),
    'rows that were there before: each once');

# transactions
$publisher->safe_psql('postgres', q{
    BEGIN; INSERT INTO orders VALUES (101, 1.50, 'a'); INSERT INTO lines VALUES (1, 101), (2, 101);
    SAVEPOINT s; INSERT INTO lines VALUES (3, 101); ROLLBACK TO s; UPDATE orders SET total = 2.50 WHERE id = 101; COMMIT;
    BEGIN; INSERT INTO orders VALUES (102); ROLLBACK;
    UPDATE orders SET id = 1001 WHERE id = 1; UPDATE orders SET total = 7 WHERE id = 2; DELETE FROM orders WHERE id = 3});
catch_up();
my @events = (events($emulator, 'relayed'))[ 50 .. 58 ];
is(join(' ', map { ($_->{op} // '') . ($_->{table} // '') . ($_->{after}{id} // $_->{before}{id}) } grep { defined } @events),
    'corders101 clines1 clines2 uorders101 uorders1001 uorders2 dorders3', 'transactions as they were, without what was rolled back');
ok(!exists $events[5]{after}{note}, 'a large value that did not change is not sent');

$publisher->safe_psql('postgres', 'TRUNCATE lines');
catch_up();
is((events($emulator, 'relayed'))[-1]{op}, 't', 'a TRUNCATE is relayed');

# a column that the subscriber does not have
my $before = -s $relay->logfile;
$publisher->safe_psql('postgres', q{ALTER TABLE orders ADD extra text; INSERT INTO orders VALUES (201, 1, 'n', 'new')});
wait_until('the subscription says what is missing', sub { logged($relay, qr/missing replicated column: "extra"/, $before) });
$publisher->safe_psql('postgres', q{INSERT INTO orders VALUES (202, 1, 'n', 'new')});
$relay->safe_psql('postgres', 'ALTER TABLE orders ADD extra text');
catch_up();
is(join(' ', map { "$_->{after}{id}:$_->{after}{extra}" } (events($emulator, 'relayed'))[ -2, -1 ]), '201:new 202:new', 'and goes on without a gap');

# a new table
$_->safe_psql('postgres', 'CREATE TABLE late (id int PRIMARY KEY)') foreach $publisher, $relay;
$publisher->safe_psql('postgres', 'INSERT INTO late VALUES (1)');
$relay->safe_psql('postgres', 'ALTER SUBSCRIPTION relay REFRESH PUBLICATION');
wait_for_sql($relay, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
$publisher->safe_psql('postgres', 'INSERT INTO late VALUES (2)');
catch_up();
is(join(' ', map { $_->{after}{id} } grep { $_->{table} eq 'late' } events($emulator, 'relayed')), '1 2', 'a table that comes later');

# the subscriber crashes while it applies
my $writer = IPC::Run::start([ 'psql', '-XAtq', '-d', $publisher->connstr('postgres'), '-c',
        q{DO $$ BEGIN FOR i IN 1001 .. 1800 LOOP INSERT INTO lines VALUES (i, i); COMMIT; END LOOP; END $$} ], '<', '/dev/null');
wait_until('it applies', sub { ask($relay, 'SELECT count(*) FROM lines') > 100 });
restart_by($relay, 'immediate');
$writer->finish;
wait_state($relay, 'postgres', 'relayed', 'streaming');
catch_up();
my (%arrivals, %ids);
foreach my $event (grep { $_->{table} eq 'lines' && ($_->{after}{id} // 0) > 1000 } events($emulator, 'relayed'))
{
    $arrivals{ $event->{after}{id} }++;
    $ids{ $event->{after}{id} }{ $event->{id} } = 1;
}
is(scalar(keys %arrivals), 800, 'a crash of the relay: all rows arrive');
is(scalar(grep { keys %$_ > 1 } values %ids), 0, 'what is sent again has its id');

$relay->stop;
$publisher->stop;
done_testing();
