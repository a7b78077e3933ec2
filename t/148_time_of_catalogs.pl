# A decoder that is behind also looks at catalogs as they are now: for a copy's
# chunk, and for the rights of its pipeline.  What it decodes next is still told by
# the catalogs of its place in the WAL: names of schemas, labels of enumerated types,
# what a publication sends, also if they were altered before the decoder started, or
# by a session that has not told of it yet.  And what it looks at is not of the past.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

use CopyTest;
use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.copy_rate' => 1000, autovacuum => 'off');

sub sql { return $node->safe_psql('postgres', @_) }

# Records that mean nothing to a pipeline: it looks around after each thousand.
sub fill_wal
{
    my ($n) = @_;
    return sql("SELECT count(pg_logical_emit_message(false, 'filler', '')) FROM generate_series(1, $n)");
}

# Have the decoder find all that a sub does at once.
sub behind
{
    my ($work) = @_;
    my ($pid) = decoder_pids($node);
    kill('STOP', $pid);
    wait_until('the decoder is stopped', sub { slurp_file("/proc/$pid/stat") =~ /\) T / });
    $work->();
    return kill('CONT', $pid);
}

# ------------------------------------------------------------------------
# Rights are looked at: of publications there is a cache
# ------------------------------------------------------------------------
sql('CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t');
new_pipeline($node, 'postgres', 'published', ['p'], copy_data => 'false');
sql('INSERT INTO t VALUES (1)');
wait_confirmed($node, 'postgres', 'published');
behind(sub {
    sql('INSERT INTO t VALUES (2)');
    sql(q{ALTER PUBLICATION p SET (publish = 'delete')});
    sql('INSERT INTO t VALUES (3)');
    sql('DELETE FROM t WHERE id = 1');
});
wait_confirmed($node, 'postgres', 'published');
is(join(' ', map { "$_->{op}$_->{key}{id}" } events($emulator, 'published')), 'c1 c2 d1',
    'a publication sends what it did at the time');
sql(q{SELECT firehose_drop_pipeline('published')});

# ------------------------------------------------------------------------
# A chunk is read: schemas and types are altered without their tables
# ------------------------------------------------------------------------
sql(q{CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'happy');
    CREATE TABLE s.copied (id int PRIMARY KEY, mood s.mood); INSERT INTO s.copied SELECT id, 'happy' FROM generate_series(1, 4000) id;
    CREATE PUBLICATION copied FOR TABLE s.copied; CREATE TABLE other (n int)});
new_pipeline($node, 'postgres', 'copied', ['copied'], metadata => q{'schema'});
wait_until('the copy has begun', sub { sql('SELECT rows > 300 FROM firehose_stat_progress_copy') eq 't' });
behind(sub {
    fill_wal(5000);
    sql(q{UPDATE s.copied SET mood = 'happy' WHERE id = 1; INSERT INTO s.copied VALUES (-1, 'sad')});
    # (it takes longer than from one chunk to the next)
    sql('INSERT INTO other SELECT generate_series(1, 500000)');
    fill_wal(3000);
    sql(q{ALTER SCHEMA s RENAME TO z});
    sql(q{ALTER TYPE z.mood RENAME VALUE 'happy' TO 'glad'});
    sql(q{ALTER TYPE z.mood RENAME TO temper});
    sql(q{UPDATE z.copied SET mood = 'glad' WHERE id = 2});
});
# (the decoder looks around when settings are read again)
wait_until('the changes have arrived', sub { (grep { $_->{data} =~ /"op":"u"/ } $emulator->records('copied')) == 2 });
alter_settings($node, 'firehose.copy_rate' => 0);
wait_copied($node, 'copied');
wait_confirmed($node, 'postgres', 'copied');
my @events = events($emulator, 'copied');
my @updates = grep { $events[$_]{op} eq 'u' } 0 .. $#events;
is(join(' ', map { "$_->{schema} $_->{after}{mood}" } @events[@updates]), 's happy z glad',
    'changes have the names of their time');
ok((grep { $_->{op} eq 'r' && $_->{schema} eq 'z' } @events[ 0 .. $updates[0] ]),
    'although rows were read before them under later names');
my @moods = map { $_->{after}{mood} } grep { $_->{op} eq 'r' && $_->{after}{id} > 0 } @events;
is(join(' ', map { $_ == 0 || $moods[$_] ne $moods[ $_ - 1 ] ? $moods[$_] : () } 0 .. $#moods), 'happy glad',
    'and rows that are read after them have those of now');
sql(q{SELECT firehose_drop_pipeline('copied')});

# ------------------------------------------------------------------------
# A chunk is read that sees what was committed, and is not told of it yet
# ------------------------------------------------------------------------
my $module = Cwd::abs_path('test/modules/firehose_commit_test');
system('make', '-s', '-C', $module, "PG_CONFIG=$ENV{PG_CONFIG}", 'WERROR=1') == 0 or die 'cannot build the test module';
sql("CREATE FUNCTION stay_in_commit(file text) RETURNS void LANGUAGE c STRICT AS '$module/firehose_commit_test'");
alter_settings($node, 'firehose.copy_rate' => 100);
sql(q{CREATE TYPE hue AS ENUM ('red', 'blue'); CREATE TABLE hued (id int PRIMARY KEY, hue hue);
    INSERT INTO hued SELECT id, CASE WHEN id <= 2000 THEN 'red' ELSE 'blue' END::hue FROM generate_series(1, 4000) id;
    CREATE PUBLICATION hued FOR TABLE hued});
new_pipeline($node, 'postgres', 'hued', ['hued']);
wait_until('the copy has begun', sub { sql('SELECT rows > 30 FROM firehose_stat_progress_copy') eq 't' });
my $file = Cwd::abs_path($node->basedir) . '/stay';
append_to_file($file, '');
my $committing;
behind(sub {
    fill_wal(50_000);
    sql(q{UPDATE hued SET hue = 'blue' WHERE id = 1});
    fill_wal(1000);
    $committing = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
            "BEGIN; ALTER TYPE hue RENAME VALUE 'blue' TO 'azure'; SELECT stay_in_commit('$file'); COMMIT" ], '<', '/dev/null', '>', '/dev/null');
    wait_for_sql($node, q{SELECT EXISTS (SELECT FROM pg_enum WHERE enumlabel = 'azure')});
    alter_settings($node, 'firehose.copy_rate' => 0);
});
wait_copied($node, 'hued');
unlink $file;
$committing->finish;
wait_confirmed($node, 'postgres', 'hued');
@events = events($emulator, 'hued');
ok((grep { $_->{op} eq 'r' && $_->{after}{hue} eq 'azure' } @events), 'rows have the label of now');
is(join(' ', map { $_->{after}{hue} } grep { $_->{op} eq 'u' } @events), 'blue', 'a change has that of its time');
sql(q{SELECT firehose_drop_pipeline('hued')});

# ------------------------------------------------------------------------
# Rights are looked at, of a table that was renamed before the decoder started
# ------------------------------------------------------------------------
sql(q{CREATE ROLE owner LOGIN REPLICATION; CREATE SERVER started FOREIGN DATA WRAPPER firehose;
    GRANT USAGE ON FOREIGN SERVER started TO owner; CREATE PUBLICATION started FOR ALL TABLES; GRANT SELECT ON ALL TABLES IN SCHEMA public, z TO owner;
    CREATE TABLE before (id int PRIMARY KEY); GRANT SELECT ON before TO owner; ALTER ROLE owner SUPERUSER; ALTER PUBLICATION started OWNER TO owner; ALTER ROLE owner NOSUPERUSER;
    SET ROLE owner; SELECT firehose_create_pipeline('started', 'started', '{started}', copy_data => false)});
wait_state($node, 'postgres', 'started', 'streaming');
# no change of a catalog is decoded again
my $made = sql('SELECT pg_current_wal_insert_lsn()');
wait_until('the slot begins after all of this', sub {
    fill_wal(30_000);
    sql('CHECKPOINT');
    return sql("SELECT restart_lsn > '$made' FROM pg_replication_slots") eq 't' });
# (and no command tells the next decoder of a change)
alter_settings($node, 'firehose.enabled' => 'off');
wait_until('no decoder runs', sub { !decoder_pids($node) });
fill_wal(200_000);
sql('INSERT INTO before VALUES (1)');
sql('ALTER TABLE before RENAME TO after');
# roles are altered all the while
sql(q{CREATE ROLE other; CREATE TABLE enough (n int); GRANT SELECT ON enough TO owner; CREATE PROCEDURE alter_roles() LANGUAGE plpgsql AS $$
    BEGIN
        WHILE NOT EXISTS (SELECT FROM enough) LOOP
            ALTER ROLE other CONNECTION LIMIT 7;
            COMMIT;
            PERFORM pg_sleep(0.01);
        END LOOP;
    END $$});
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL alter_roles()' ], '<', '/dev/null');
alter_settings($node, 'firehose.enabled' => 'on');
wait_until('the change has arrived', sub { scalar events($emulator, 'started') });
sql('INSERT INTO enough VALUES (1)');
$session->finish;
is(join(' ', map { "$_->{op} $_->{table}" } (events($emulator, 'started'))[0]), 'c before',
    'a change has the name that its table had');

$node->stop;
done_testing();
