# pg_upgrade of a server with a pipeline and durable puts.  Up to 16 it leaves
# replication slots behind: each pipeline is paused in the new server, says why,
# is not resumed as if nothing had been left out, and goes on with
# from_now => true.  From 17 on it moves slots, and pipelines go on by themselves.
# Ids ascend in both cases, streams, dead letters and pipelines come along, and
# no worker writes while pg_upgrade runs.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use File::Copy ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
chomp(my $bindir = `$ENV{PG_CONFIG} --bindir`);
my $emulator = Emulator->start();
my $old = new_decoding_node('old', $emulator, 'autovacuum' => 'off');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
# all but what init has written, and the credentials, are settings of the test
my ($settings) = slurp_file($old->data_dir . '/postgresql.conf') =~ /^(autovacuum = .*)\z/ms;
$new->append_conf('postgresql.conf', $settings);

$old->safe_psql('postgres', q{
    CREATE TABLE t (a int PRIMARY KEY, b text);
    CREATE PUBLICATION p FOR TABLE t;
    CREATE SERVER clicks FOREIGN DATA WRAPPER firehose});
new_pipeline($old, 'postgres', 'changes', ['p']);
$old->safe_psql('postgres', 'SELECT firehose_enable_durable_puts()');
wait_state($old, 'postgres', 'durable_puts', 'streaming');
$old->safe_psql('postgres', q{INSERT INTO t SELECT n, 'old' FROM generate_series(1, 10) n});
$old->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'old')});
wait_confirmed($old, 'postgres', $_) foreach qw(changes durable_puts);
is($old->safe_psql('postgres', q{SELECT firehose_drain('60 s')}), 't', 'everything is delivered before');
my $delivered = $emulator->records('changes') + $emulator->records('clicks');
# what its queue still has at the end
new_stream($old, 'late', paused => 'true');
$old->safe_psql('postgres', q{SET firehose.put_durability = memory; SELECT firehose_put_record('late', 'saved')});
$old->stop;

# it writes into the directory that it is run in
my ($here, $from, $to) = map { Cwd::abs_path($_) } '.', $old->data_dir, $new->data_dir;
chdir($new->basedir) or die;
command_ok([ "$bindir/pg_upgrade", '--no-sync', '-d', $from, '-D', $to, '-b', $bindir, '-B', $bindir,
        '-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
chdir($here) or die;

$new->start;
is($new->safe_psql('postgres', 'SHOW firehose.put_durability'), 'wal', 'the default of the database is kept');
if ($major < 17)
{
    wait_state($new, 'postgres', $_, 'paused') foreach qw(changes durable_puts);
    my ($code, $out, $error) = $new->psql('postgres', q{SELECT firehose_resume_pipeline('changes')});
    like($error, qr/has left its replication slot on another server.*committed there after [0-9A-F]+\/[0-9A-F]+.*from_now => true/s, 'it is not resumed as if nothing were left out');
    ($code, $out, $error) = $new->psql('postgres', q{SELECT firehose_put_record('clicks', 'x')});
    like($error, qr/durable puts are not enabled.*firehose_enable_durable_puts\(\)/s, 'a durable put says what to do');
    $new->safe_psql('postgres', "INSERT INTO t VALUES (11, 'paused')");
    $new->safe_psql('postgres', q{SELECT firehose_resume_pipeline('changes', from_now => true);
        SELECT firehose_resume_pipeline('durable_puts', from_now => true)});
}
wait_state($new, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
is($emulator->records('changes') + $emulator->records('clicks'), $delivered, 'nothing is sent again');

$new->safe_psql('postgres', q{INSERT INTO t SELECT n, 'new' FROM generate_series(21, 30) n});
$new->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'new')});
wait_confirmed($new, 'postgres', $_) foreach qw(changes durable_puts);
is($new->safe_psql('postgres', 'SELECT count(*) FROM firehose_dead_letter'), '0', 'no dead letters');
my @events = events($emulator, 'changes');
is(join(' ', map { $_->{after}{a} } @events), join(' ', 1 .. 10, 21 .. 30), 'what is committed then arrives');
is_deeply([ map { $_->{id} } @events ], [ sort map { $_->{id} } @events ], 'ids ascend');
is(join(' ', map { $_->{data} } $emulator->records('clicks')), "old\n new\n", 'durable puts, too');

# the queue of the old one, as docs/operations.md has it
File::Copy::copy($old->data_dir . '/pg_firehose/queue', $new->data_dir . '/pg_firehose/queue.old') or die $!;
my ($code, $out, $error) = $new->psql('postgres', q{SELECT * FROM firehose_load_saved_queue('queue.old')});
like($error, qr/was written by another cluster.*from_database => OID/s, 'a saved queue of the old server is not loaded as if it were of this one');
is($new->safe_psql('postgres', q{SELECT stream, records, loaded FROM firehose_load_saved_queue('queue.old',
    from_database => (SELECT oid FROM pg_database WHERE datname = current_database()))}), 'late|1|1', 'but on command');
$new->safe_psql('postgres', q{ALTER SERVER late OPTIONS (DROP paused)});
wait_until('it arrives', sub { join('', map { $_->{data} } $emulator->records('late')) eq "saved\n" });

$new->stop;
done_testing();
