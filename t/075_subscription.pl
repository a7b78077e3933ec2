# A table on a subscriber that sends what the subscription applies: triggers that
# fire always do, others do not, and of statement triggers only those for
# TRUNCATE.  Rows of the first copy are inserts.  A put that fails stops the
# subscription, loses nothing and sends nothing twice; prepared transactions
# need durable puts.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$publisher->start;
my $subscriber = new_decoding_node('subscriber', $emulator, max_prepared_transactions => 5,
    max_logical_replication_workers => 8, wal_retrieve_retry_interval => '200ms');

my $tables = q{
    CREATE TABLE always (id int PRIMARY KEY, note text);
    CREATE TABLE by_hand (id int PRIMARY KEY, note text);
    CREATE TABLE ordinary (id int PRIMARY KEY, note text);
    CREATE TABLE statements (id int PRIMARY KEY, note text);
    CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parted DEFAULT;};
$_->safe_psql('postgres', $tables) foreach $publisher, $subscriber;
my @all = qw(always by_hand ordinary statements parted);
new_stream($subscriber, $_) foreach @all;
$subscriber->safe_psql('postgres', q{
    SELECT firehose_attach('always', 'always', always => true);
    SELECT firehose_attach('parted', 'parted', always => true, names => 'root');
    SELECT firehose_attach('ordinary', 'ordinary');
    SELECT firehose_attach('statements', 'statements', level => 'statement');
    ALTER TABLE statements ENABLE ALWAYS TRIGGER firehose_statements_insert;
    ALTER TABLE statements ENABLE ALWAYS TRIGGER firehose_statements_truncate;
    CREATE TRIGGER to_firehose AFTER INSERT OR DELETE ON by_hand
        FOR EACH ROW EXECUTE FUNCTION firehose_trigger('by_hand');
    ALTER TABLE by_hand ENABLE ALWAYS TRIGGER to_firehose;});
$publisher->safe_psql('postgres', join(';', map { "INSERT INTO $_ VALUES (1, 'copied')" } @all));

sub subscribe
{
    my ($name, $tables, $more) = @_;
    $publisher->safe_psql('postgres', "CREATE PUBLICATION $name FOR TABLE $tables WITH (publish_via_partition_root)");
    my $connection = $publisher->connstr . ' dbname=postgres';
    $subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION $name CONNECTION '$connection' PUBLICATION $name
        WITH (slot_name = $name$more)");
    return wait_for_sql($subscriber, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
}

# what a stream got since the last time, once the subscriber has all of it
my %seen;
sub sent
{
    my ($stream) = @_;
    my @changes = changes($emulator, $stream);
    splice(@changes, 0, $seen{$stream} // 0);
    $seen{$stream} += @changes;
    return \@changes;
}
sub apply
{
    my ($subscription, $sql) = @_;
    $publisher->safe_psql('postgres', $sql);
    $publisher->wait_for_catchup($subscription);
    return wait_delivered($subscriber);
}

subscribe('plain', join(', ', @all), '');
wait_delivered($subscriber);
is_deeply(sent($_), ["c $_ after={\"id\":1,\"note\":\"copied\"}"], "the first copy: $_")
  foreach qw(always by_hand parted statements);
is_deeply(sent('ordinary'), [], 'the first copy: an ordinary trigger sends nothing');

apply('plain', join(';', map { "BEGIN; INSERT INTO $_ VALUES (2, 'b'), (3, 'c'); UPDATE $_ SET note = 'd' WHERE id = 2;
    DELETE FROM $_ WHERE id = 3; COMMIT; BEGIN; INSERT INTO $_ VALUES (4, 'rolled back'); ROLLBACK; TRUNCATE $_" } @all));
my @rows = ('c %s after={"id":2,"note":"b"}', 'c %s after={"id":3,"note":"c"}',
    'u %s after={"id":2,"note":"d"} before={"id":2,"note":"b"}', 'd %s before={"id":3,"note":"c"}', 't %s');
foreach my $table (qw(always parted))
{
    is_deeply(sent($table), [ map { sprintf($_, $table) } @rows ], "applied, always: $table");
}
is_deeply(sent('by_hand'), [ map { sprintf($_, 'by_hand') } @rows[ 0, 1, 3 ] ], 'applied, a trigger by hand that fires always');
is_deeply(sent('ordinary'), [], 'applied, an ordinary trigger: nothing');
is_deeply(sent('statements'), ['t statements'], 'applied, statement triggers that fire always: the truncate alone');

# the stream is disabled: no record and no row without the other
$subscriber->safe_psql('postgres', q{ALTER SERVER always OPTIONS (ADD enabled 'false')});
my $before = -s $subscriber->logfile;
$publisher->safe_psql('postgres', "INSERT INTO always SELECT g, 'n' FROM generate_series(10 * $_, 10 * $_ + 9) g") foreach 1 .. 50;
wait_until('the put stops the subscription', sub { logged($subscriber, qr/ERROR:  stream "always" is disabled/, $before) });
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM always'), 0, 'and nothing is applied');
$subscriber->safe_psql('postgres', q{ALTER SERVER always OPTIONS (SET enabled 'true')});
apply('plain', '');
is_deeply([ map { /"id":(\d+)/ } @{ sent('always') } ], [ 10 .. 509 ], 'enabled again: each row once, in order');
is($subscriber->safe_psql('postgres', 'SELECT count(*), max(id) FROM always'), '500|509', 'and all are applied');

# prepared transactions
$_->safe_psql('postgres', 'CREATE TABLE prepared (id int PRIMARY KEY)') foreach $publisher, $subscriber;
new_stream($subscriber, 'prepared');
$subscriber->safe_psql('postgres', q{SELECT firehose_attach('prepared', 'prepared', content => 'row', always => true)});
subscribe('two', 'prepared', ', two_phase = true');
wait_for_sql($subscriber, q{SELECT subtwophasestate = 'e' FROM pg_subscription WHERE subname = 'two'});
$before = -s $subscriber->logfile;
$publisher->safe_psql('postgres', q{BEGIN; INSERT INTO prepared VALUES (1); PREPARE TRANSACTION 'one'});
wait_until('a put in memory cannot be prepared', sub { logged($subscriber, qr/ERROR:  cannot PREPARE a transaction that has put/, $before) });
$subscriber->safe_psql('postgres', 'SELECT firehose_enable_durable_puts()');
wait_for_sql($subscriber, q{SELECT count(*) = 1 FROM pg_prepared_xacts});
$emulator->control('POST', 'flush');
is($emulator->delivered('prepared'), '', 'a durable one can, and is not sent yet');
$publisher->safe_psql('postgres', q{COMMIT PREPARED 'one'});
$publisher->wait_for_catchup('two');
wait_until('it is sent once it is committed', sub { $emulator->control('POST', 'flush'); $emulator->delivered('prepared') eq "{\"id\":1}\n" });

$subscriber->stop;
$publisher->stop;
done_testing();
