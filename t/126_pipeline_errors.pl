# What becomes of a pipeline that meets errors.  One that passes (no space for
# what decoding spills, here) never takes anything away: it is tried again until
# it passes, and all rows arrive.  Only a commit can be left out, after it was
# reported, several close together one by one, and nothing but these; what was
# committed before one that cannot be decoded arrives although it is still
# there.  Errors about values show no values; those about settings say what
# they are about.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, logical_decoding_work_mem => '64kB');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub of
{
    my ($column, $pipeline) = @_;
    return sql("SELECT $column FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
}

# The command of a reason that leaves a commit out.
sub skip_command
{
    my ($pipeline) = @_;
    my ($command) = of('reason', $pipeline) =~ m{(firehose_resume_pipeline\('$pipeline', skip_lsn => '[0-9A-F]+/[0-9A-F]+'\))};
    return $command;
}

# Each once: a decoder that fails before it has noted what is delivered repeats it,
# under the same ids.
sub values_of { return join(' ', map { $_->{after}{v} } events_once($emulator, $_[0])) }

# transactions that cannot be decoded, close together
sql(q{CREATE TABLE t (id serial PRIMARY KEY, v int); CREATE PUBLICATION p FOR TABLE t WHERE (10 / v > 1)});
new_pipeline($node, 'postgres', 'poison', ['p']);
sql(q{SELECT firehose_pause_pipeline('poison')});
wait_until('paused', sub { decoder_pids($node) == 0 });
sql("INSERT INTO t (v) VALUES ($_)") foreach 1, 2, 0, 3, 0, 4;
sql(q{INSERT INTO t (v) VALUES (1), (0), (2)});
sql("INSERT INTO t (v) VALUES (2)");
sql(q{SELECT firehose_resume_pipeline('poison')});
my @skipped;
foreach my $round (1 .. 3)
{
    wait_state($node, 'postgres', 'poison', 'failed', 60);
    is(of('reason', 'poison') =~ s/at \S+ cannot.*//sr, 'the transaction that commits ', "poison $round is a transaction");
    like(of('reason', 'poison'), qr/cannot be decoded: division by zero \(table "t", OID \d+\)/, 'which tells the table');
    if ($round == 1)
    {
        wait_until('what was committed before it arrives', sub { values_of('poison') eq '1 2' });
        my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_resume_pipeline('poison', skip_lsn => '0/1000')});
        like($error, qr/has not reported a transaction that commits at 0\/1000/, 'another cannot be left out');
        $node->restart;
        wait_state($node, 'postgres', 'poison', 'failed', 60);
    }
    push @skipped, skip_command('poison');
    sql("SELECT $skipped[-1]");
}
wait_state($node, 'postgres', 'poison', 'streaming', 60);
wait_confirmed($node, 'postgres', 'poison');
is(values_of('poison'), '1 2 3 4 2', 'three were left out, whole and alone');
is(scalar(keys %{ { map { $_ => 1 } @skipped } }), 3, 'they were three');
restart_by($node, 'immediate');
wait_confirmed($node, 'postgres', 'poison');
like(values_of('poison'), qr/^1 2 3 4 2( |$)[1-4 ]*$/, 'they do not come back after a crash');
sql('INSERT INTO t (v) VALUES (0)');
wait_state($node, 'postgres', 'poison', 'failed', 60);
sql('SELECT ' . skip_command('poison'));
wait_confirmed($node, 'postgres', 'poison');
is(sql(q{SELECT cardinality(skip_lsns) FROM firehose_pipeline WHERE pipeline = 'poison'}), '1',
    'what is confirmed is not in the list any more');

# an error that passes: there is no space for what decoding spills
sql(q{CREATE TABLE big (n int); CREATE PUBLICATION all_of_it FOR TABLE big});
new_pipeline($node, 'postgres', 'spill', ['all_of_it']);
my $directory = $node->data_dir . '/pg_replslot/' . sql(q{SELECT slot_name FROM firehose_pipeline WHERE pipeline = 'spill'});
# a directory without permission is as good as a full disk
chmod(0500, $directory) or die "$directory: $!";
my $log = -s $node->logfile;
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe(q{INSERT INTO big SELECT generate_series(1, 60000)});
$holder->query_safe('COMMIT');
$holder->quit;
wait_until('the error is shown', sub { of('reason', 'spill') =~ /restarting after an error: could not open file/ }, 30);
wait_until('more often than a poison is', sub {
    my $text = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log);
    (() = $text =~ /ERROR:  could not open file "pg_replslot[^"]*spill"/g) >= 4 }, 60);
is(of('state', 'spill'), 'starting', 'and it has not failed');
chmod(0700, $directory);
wait_confirmed($node, 'postgres', 'spill', 180);
my %seen = map { $_->{after}{n} => 1 } events($emulator, 'spill');
is(scalar(keys %seen), 60000, 'all 60,000 rows arrive');
is(of('reason', 'spill'), '', 'and nothing is said any more');

# one about settings, here of a definition that this version does not know, has
# the SQLSTATE of one about values and tells what is wrong
sub set_format
{
    my ($format) = @_;
    sql(qq{BEGIN; ALTER TABLE firehose_pipelines DISABLE TRIGGER firehose_guard;
        UPDATE firehose_pipelines SET format = '$format' WHERE name = 'spill';
        ALTER TABLE firehose_pipelines ENABLE ALWAYS TRIGGER firehose_guard; COMMIT});
    return;
}
set_format('newer');
$log = -s $node->logfile;
kill('TERM', $_) foreach decoder_pids($node);
wait_until('a setting that cannot be is told', sub {
    of('reason', 'spill') eq 'restarting after an error: format "newer" of pipeline "spill" does not exist; this goes on by itself once it is mended' })
  or diag(of('reason', 'spill'));
like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $log), qr/ERROR:  .*format "newer" of pipeline "spill" does not exist/,
    'in the log as well');
set_format('json');
wait_state($node, 'postgres', 'spill', 'streaming', 60);

$node->stop;
done_testing();
