# PostgreSQL's own regression tests run in a database all of whose tables a
# pipeline sends: they give what they give without one, nothing sticks, nothing
# crashes, and what was delivered rebuilds every table: from its changes alone or,
# where it was altered when it had rows, from a copy that is made afterwards.  Only
# with --long, and where apt can fetch the server's source package.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Emulator;
use FirehoseTest;
use PipelineTest;
use SchemaLog;

my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
my $suite = "build/server-tests/$major";
plan skip_all => "PostgreSQL's own regression suite runs with --long" unless is_long();
plan skip_all => "the server's source cannot be fetched" unless -e "$suite/parallel_schedule";

my $library = build_library();
my (%expected, %seen);

# Its C functions, and beside them what they want of contrib/spi.
sub build_library
{
    my $directory = Cwd::abs_path('tmp_check') . '/suite';
    mkdir $directory;
    chomp(my $include = `$ENV{PG_CONFIG} --includedir-server`);
    chomp(my $installed = `$ENV{PG_CONFIG} --pkglibdir`);
    system("cc -O1 -w -fPIC -shared -I$include -o $directory/regress.so $suite/regress.c") == 0
      or die 'cannot build regress.so';
    symlink("$installed/$_.so", "$directory/$_.so") foreach qw(refint autoinc);
    return $directory;
}

sub new_database
{
    my ($node) = @_;
    $node->safe_psql('postgres', q{CREATE DATABASE regression TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'});
    $node->safe_psql('postgres', "ALTER DATABASE regression SET $_ TO 'C'")
      foreach qw(lc_messages lc_monetary lc_numeric lc_time);
    $node->safe_psql('postgres', q{
        ALTER DATABASE regression SET bytea_output TO 'hex';
        ALTER DATABASE regression SET timezone_abbreviations TO 'Default'});
    $node->safe_psql('regression', 'CREATE EXTENSION firehose; CREATE PUBLICATION firehose_all FOR ALL TABLES');
    new_stream($node, 'suite', dbname => 'regression');
    install_schema_log($node, 'regression');
    return;
}

# Run the suite, and return a hash of what each of its tests printed.
sub run_suite
{
    my ($node, $name) = @_;
    # the same for both, since some tests print it
    my $output = Cwd::abs_path('tmp_check') . '/suite/output';
    system('rm', '-rf', $output);
    mkdir $output;
    my $started = time();
    local $ENV{PGHOST} = $node->host;
    my $log = Cwd::abs_path('tmp_check') . "/suite/$name.log";
    my $expected = $major >= 16 ? "--expecteddir=$suite" : '';
    my $code = system("timeout 3000 $ENV{PG_REGRESS} --use-existing --dbname=regression --inputdir=$suite"
          . " --outputdir=$output $expected --dlpath=$library --bindir= --host=" . $node->host
          . ' --port=' . $node->port . " --max-concurrent-tests=20 --schedule=$suite/parallel_schedule >$log 2>&1");
    note(sprintf('%s: exit status %d, %.0f s', $name, $code >> 8, time() - $started));
    isnt($code >> 8, 124, "$name: the suite ends");
    isnt($code >> 8, 2, "$name: it runs") or diag(slurp_file($log));
    # sorted lines: some queries have no order
    return map { m{([^/]+)\.out$} => join("\n", sort split /\n/, slurp_file($_)) } glob("$output/results/*.out");
}

sub show_difference
{
    my ($test) = @_;
    my $directory = Cwd::abs_path('tmp_check') . '/suite';
    append_to_file("$directory/$test.without", $expected{$test});
    append_to_file("$directory/$test.with", $seen{$test} // '');
    diag(scalar `diff $directory/$test.without $directory/$test.with | cut -c 1-200 | head -n 20`);
    return;
}

# some tests print how many parallel workers they got
my %settings = (max_connections => 50, max_prepared_transactions => 10, max_worker_processes => 20);
my $emulator = Emulator->start();
my $plain = new_decoding_node('plain', $emulator, %settings);
new_database($plain);
%expected = run_suite($plain, 'without');
$plain->stop;
cmp_ok(scalar keys %expected, '>', 200, 'the suite ran');

my $node = new_decoding_node('main', $emulator, %settings);
new_database($node);
new_pipeline($node, 'regression', 'suite', ['firehose_all'], 
    stream => 'suite', messages => q{'{schema}'});
%seen = run_suite($node, 'with');

my @differ = grep { ($seen{$_} // '') ne $expected{$_} } sort keys %expected;
is("@differ", '', 'every test prints what it prints without a pipeline');
show_difference($_) foreach @differ;

is(logged($node, 'server process .* was terminated by signal|PANIC|TRAP'), 0, 'nothing crashed');
is(logged($node, 'ERROR: .*pipeline "suite"'), 0, 'the decoder met no error');
is(pipeline_state($node, 'regression', 'suite'), 'streaming', 'the pipeline streams');
wait_confirmed($node, 'regression', 'suite', 600);

# Rows that cannot be sent are dead letters: too large for any record, or text that
# is not valid in the database's encoding, which the suite makes by functions in C.
my @dead = split /\n/, $node->safe_psql('regression', q{
    SELECT DISTINCT error_code || ' ' || (data->>'schema') || '.' || (data->>'table') FROM (
        SELECT error_code, convert_from(data, 'UTF8')::jsonb AS data FROM firehose_dead_letter) d});
my @strange = grep { !/^RecordTooLarge |^invalid_text public\.(regress_encoding|toast_[34]b_utf8)$/ } @dead;
is("@strange", '', 'no dead letters but of rows that no record can hold');
my @not_whole = map { s/^\S+ //r } @dead;
note("tables with rows that are dead letters: @not_whole");

# what ALTER TABLE made of the rows that there were is in no change
my $names = join(', ', map { "'$_'" } @not_whole);
$node->safe_psql('regression', qq{
    SELECT firehose_copy_table('suite', c.oid::regclass) FROM schema_log.altered JOIN pg_class c USING (oid)
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE nspname || '.' || relname NOT IN ($names)
        -- what can be copied has columns
        AND EXISTS (SELECT FROM pg_publication_tables p WHERE (p.schemaname, p.tablename) = (nspname, relname))
        AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)});
wait_until('the tables that were altered are copied', sub {
    ask($node, q{SELECT count(*) FROM firehose_stat_progress_copy WHERE phase <> 'done'}, 'regression') eq '0' }, 300);
wait_confirmed($node, 'regression', 'suite', 300);

remove_schema_log($node, 'regression');
replay_ok('the regression suite', $node, 'regression', $emulator, ['suite'], 'schema-messages' => 'schema',
    leave => \@not_whole);
$node->stop;
done_testing();
