# Random histories of a server.  While sessions commit, roll back and put durably,
# and entries fail and replies get lost: postmasters are killed, servers stopped
# and their data directories put back to an earlier copy, standbys promoted,
# replication slots dropped and made again, definitions altered, commits that
# cannot be decoded left out, tables and publications dropped and created.
#
# Afterwards, over all of these histories: nothing is lost but what a command gave
# up, nothing arrived that was never committed, and an id has one content, to the
# byte, and a change one id.  Only with --long: FIREHOSE_TEST_SEED chooses a run,
# FIREHOSE_TEST_ROUNDS its length.
use strict;
use warnings FATAL => 'all';
use Digest::MD5 qw(md5);
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use PipelineTest;

plan skip_all => 'random histories run with --long' unless is_long();

my $seed = $ENV{FIREHOSE_TEST_SEED} // 4711;
my $rounds = $ENV{FIREHOSE_TEST_ROUNDS} // 18;
srand($seed);
note("seed $seed");

my @pipelines = qw(first second durable_puts);
my %stream = (first => 'first', second => 'second', durable_puts => 'puts');
my %settings = ('firehose.request_timeout' => '2s', 'firehose.queue_size' => '16MB',
    restart_after_crash => 'on', hot_standby => 'on', wal_keep_size => '1GB', wal_retrieve_retry_interval => '100ms');
my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, %settings);

$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', q{
    CREATE EXTENSION firehose;
    CREATE TABLE log (u uuid PRIMARY KEY DEFAULT gen_random_uuid(), round int, put bool, poison bool DEFAULT false,
        filler text);
    CREATE TABLE balance (id int PRIMARY KEY, amount numeric NOT NULL);
    INSERT INTO balance SELECT id, 0 FROM generate_series(1, 100) id;
    CREATE TABLE poison (id int PRIMARY KEY, v int);
    CREATE TABLE publications (name text PRIMARY KEY, created pg_lsn);
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE PUBLICATION q1 FOR TABLE log, balance, poison WHERE (10 / v > 1);
    CREATE PUBLICATION q2 FOR TABLE log, poison WHERE (10 / v > 1), publications;
    INSERT INTO publications VALUES ('q1', '0/0'), ('q2', '0/0');
    CREATE SERVER puts FOREIGN DATA WRAPPER firehose;
    SELECT firehose_enable_durable_puts();
    CREATE PROCEDURE work(of_round int) LANGUAGE plpgsql AS $$
    BEGIN
        FOR n IN 1 .. 10 LOOP
            INSERT INTO log (round, put, filler) SELECT of_round, false, repeat('x', (random() * 200)::int)
            FROM generate_series(1, CASE WHEN random() < 0.003 THEN 2000 ELSE 1 + (random() * 3)::int END);
            UPDATE balance SET amount = amount + n WHERE id = 1 + (random() * 99)::int;
            PERFORM put_some(of_round);
            -- what a savepoint takes back, among what stays
            BEGIN
                PERFORM put_some(of_round);
                IF random() < 0.5 THEN RAISE division_by_zero; END IF;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
            PERFORM put_some(of_round);
            IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
            PERFORM pg_sleep(0.005);
        END LOOP;
    END $$;
    CREATE FUNCTION put_some(of_round int) RETURNS void LANGUAGE sql AS $$
        WITH new AS (INSERT INTO log (round, put, filler)
            SELECT of_round, true, repeat('x', CASE WHEN random() < 0.01 THEN 20000 ELSE 100 END)
            FROM generate_series(1, CASE WHEN random() < 0.003 THEN 500 ELSE (random() * 2)::int END)
            RETURNING u, filler)
        SELECT count(firehose_put_record('puts', u || filler)) FROM new $$});
new_pipeline($node, 'app', 'first', ['everything'], copy_data => 'false');
new_pipeline($node, 'app', 'second', ['q1'], copy_data => 'false');
wait_state($node, 'app', 'durable_puts', 'streaming');

sub begin_faults
{
    $emulator->fault('fail_records', { probability => 0.1 });
    $emulator->fault($_, {}, { probability => 0.03, seed => length $_ })
      foreach qw(close_after_processing reset_before_processing);
    $emulator->fault('delay', { seconds => 0.02 }, { probability => 0.3 });
    return;
}
begin_faults();

my $round = 0;
my @sessions;
my %committed;     # id of a row => number of its round, of all histories
my %given_up;      # pipeline => round => true: a command left changes out
my %done;          # how often each kind of event has been
my $skipped = 0;
my $saved;         # an earlier copy of a data directory

sub in_app { return ask($node, $_[0], 'app') }

# Sessions ------------------------------------------------------------------

sub start_sessions
{
    my $file = $node->basedir . "/round$round.sql";
    append_to_file($file, "CALL work($round);\n" x 5_000);
    # an error of one is of no interest, and a backend whose postmaster is gone
    # notices between two statements
    push @sessions, map {
        IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('app'), '-f', $file ],
            '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(180))
    } 1 .. 4;
    return;
}

sub finish_sessions
{
    $_->finish foreach @sessions;
    @sessions = ();
    return;
}

sub stop_sessions
{
    $_->signal('TERM') foreach @sessions;
    finish_sessions();
    # their backends notice between two statements
    wait_until("round $round: no session is left", sub {
        in_app(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = 'app' AND backend_type = 'client backend' AND pid <> pg_backend_pid()}) eq '0' });
    return;
}

# A round of its own for what comes now, with sessions.
sub next_round
{
    $round++;
    start_sessions();
    sleep 0.2 + rand 0.4;
    return;
}

# What was committed until now in this history.
sub remember_committed
{
    my $rows = $node->safe_psql('app', 'SELECT u, round FROM log');
    $committed{ (split /\|/)[0] } = (split /\|/)[1] foreach split /\n/, $rows;
    return;
}

# Waiting ---------------------------------------------------------------------

# Leave out the commit that the second pipeline has failed at.  It may also have
# been paused, or have seen too many crashes at one place.
sub help_second
{
    my $state = in_app(q{SELECT state || ' ' || reason FROM firehose_stat_pipeline WHERE pipeline = 'second'});
    return unless $state =~ /^(failed|paused) /;
    die "the second pipeline needs help: $state"
      if $state =~ /^failed / && $state !~ /division by zero|crashed repeatedly/;
    my ($lsn) = $state =~ m{division by zero.*skip_lsn => '([0-9A-F]+/[0-9A-F]+)'};
    my $skip = defined $lsn ? ", skip_lsn => '$lsn'" : '';
    $skipped++ if in_app("SELECT 1 FROM (SELECT firehose_resume_pipeline('second'$skip)) r") eq '1' && $skip;
    return;
}

# All that was committed is delivered, without faults meanwhile: a stream that sees
# many slows down.
sub quiesce
{
    $emulator->heal;
    my $marker = $node->safe_psql('app', q{SELECT pg_logical_emit_message(true, 'marker', '')});
    wait_until("round $round: all is delivered", sub {
        help_second();
        in_app("SELECT count(*) FROM firehose_stat_pipeline
            WHERE confirmed_lsn >= '$marker' AND outstanding = 0 AND state = 'streaming'") eq '3' }, 120)
      || diag(in_app('SELECT to_jsonb(p) FROM firehose_stat_pipeline p'));
    begin_faults();
    return;
}

# A pipeline goes on from now, and what was committed in this round is given up.
sub go_on_from_now
{
    my ($pipeline) = @_;
    $given_up{$pipeline}{$round} = 1;
    wait_until("round $round: $pipeline goes on by command", sub {
        my $state = in_app("SELECT state FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
        in_app("SELECT firehose_resume_pipeline('$pipeline', from_now => true)") if $state =~ /failed|paused/;
        $state eq 'streaming' });
    return;
}

# Small events, at any moment -----------------------------------------------

my $nchanges = 0;
my @small;
my %small = (
    columns => sub { "ALTER TABLE log ADD COLUMN added_$_[0] int" },
    create_table => sub { "CREATE TABLE made_$_[0] (u uuid PRIMARY KEY);
        INSERT INTO made_$_[0] SELECT gen_random_uuid() FROM generate_series(1, 50)" },
    drop_table => sub { q{DO $$ DECLARE t regclass; BEGIN
            SELECT oid INTO t FROM pg_class WHERE relname LIKE 'made%' AND relkind = 'r' ORDER BY random() LIMIT 1;
            IF t IS NOT NULL THEN EXECUTE 'DROP TABLE ' || t; END IF; END $$} },
    short_lived_table => sub { "CREATE TABLE gone_$_[0] (a int PRIMARY KEY);
        INSERT INTO gone_$_[0] SELECT generate_series(1, 50); DROP TABLE gone_$_[0]" },
    poison => sub { "BEGIN; INSERT INTO log (round, put, poison) VALUES ($round, false, true);
        INSERT INTO poison VALUES ($_[0], 0); COMMIT" },
    good_poison => sub { "INSERT INTO poison VALUES ($_[0], 1)" },
    pause => sub { q{SELECT firehose_pause_pipeline('second')} },
    resume => sub { q{SELECT firehose_resume_pipeline('second')} },
    messages => sub { "SELECT firehose_alter_pipeline('second', messages => '{m$_[0]}')" },
    publication => \&change_publication,
    terminate => sub { my $type = rand() < 0.5 ? 'sender' : 'decoder';
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'firehose $type'" });

# Let the second pipeline have the other publication, and drop the one it had and
# create it again.  It must not read WAL of before its publication was there.
sub change_publication
{
    my $other = in_app(q{SELECT n FROM unnest('{q1,q2}'::text[]) n, firehose_pipeline p, publications l
        WHERE p.pipeline = 'second' AND n <> ALL (p.publications::text[]) AND l.name = n AND l.created <=
            (SELECT confirmed_lsn FROM firehose_stat_pipeline WHERE pipeline = 'second')});
    return 'SELECT 1' if $other eq '';
    in_app("SELECT firehose_alter_pipeline('second', publications => '{$other}')");
    my $dropped = $other eq 'q1' ? 'q2' : 'q1';
    in_app("BEGIN; DROP PUBLICATION $dropped;
        CREATE PUBLICATION $dropped FOR TABLE log, poison WHERE (10 / v > 1)" . ($dropped eq 'q1' ? ', balance' : ', publications')
          . "; UPDATE publications SET created = 'FFFFFFFF/0' WHERE name = '$dropped'; COMMIT");
    return "UPDATE publications SET created = pg_current_wal_insert_lsn() WHERE name = '$dropped' AND created = 'FFFFFFFF/0'";
}

sub small_event
{
    @small = shuffle(sort keys %small) unless @small;
    my $kind = shift @small;
    in_app($small{$kind}->(++$nchanges));
    $done{$kind}++;
    return;
}

# Large ones, one in a round --------------------------------------------------

sub copy_tree
{
    my ($from, $to) = @_;
    PostgreSQL::Test::RecursiveCopy::copypath($from, $to);
    chmod(0700, $to) or die "$to: $!";
    return;
}

sub save_storage
{
    my $to = $node->basedir . '/../saved' . $round;
    copy_tree($node->data_dir, $to);
    system_log('rm', '-rf', $saved) if defined $saved;
    $saved = $to;
    return;
}

sub kill_server { $node->kill9; finish_sessions(); sleep 0.3; start_postmaster($node, 30); return }
sub stop_server { $node->stop('immediate'); finish_sessions(); start_postmaster($node, 30); return }

sub save_and_restart
{
    $node->stop('fast');
    finish_sessions();
    save_storage();
    start_postmaster($node, 30);
    return;
}

sub put_storage_back
{
    stop_sessions();
    remember_committed();
    $node->stop(rand() < 0.5 ? 'immediate' : 'fast');
    system_log('rm', '-rf', $node->data_dir);
    copy_tree($saved, $node->data_dir);
    $node->append_conf('postgresql.conf', 'port = ' . $node->port);
    start_postmaster($node, 30);
    return;
}

# Its slot is dropped and made again by others, under a pipeline that has owed
# changes.
sub make_slot_again
{
    my $pipeline = rand() < 0.5 ? 'first' : 'second';
    stop_sessions();
    quiesce();
    next_round();
    $given_up{$pipeline}{$round} = 1;
    in_app("SELECT firehose_pause_pipeline('$pipeline')");
    my $slot = $node->safe_psql('app', "SELECT slot_name FROM firehose_stat_pipeline WHERE pipeline = '$pipeline'");
    wait_until("round $round: the decoder of $pipeline goes", sub {
        in_app("SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'f' });
    $node->safe_psql('app', "SELECT pg_drop_replication_slot('$slot')");
    sleep rand 0.3;
    # it waits for transactions that run
    $node->safe_psql('app', "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
    $node->safe_psql('app', "SELECT firehose_resume_pipeline('$pipeline')");
    wait_state($node, 'app', $pipeline, 'failed');
    go_on_from_now($pipeline);
    return;
}

# A standby that lacks the last commits, and all slots, takes over.
sub promote
{
    stop_sessions();
    quiesce();
    next_round();
    $node->backup("round$round");
    my $standby = PostgreSQL::Test::Cluster->new("standby$round");
    $standby->init_from_backup($node, "round$round", has_streaming => 1);
    $standby->start;
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    $standby->stop;
    sleep rand 0.5;
    stop_sessions();
    remember_committed();
    $node->stop(rand() < 0.5 ? 'immediate' : 'fast');
    system_log('rm', '-rf', $node->backup_dir);
    $standby->start;
    $standby->promote;
    $node = $standby;
    go_on_from_now($_) foreach @pipelines;
    return;
}

my %large = (kill => \&kill_server, stop => \&stop_server, save => \&save_and_restart, slot => \&make_slot_again,
    promotion => \&promote, put_back => \&put_storage_back);

$node->stop;
save_storage();
$node->start;
my @large;
foreach (1 .. $rounds)
{
    @large = shuffle(sort keys %large) unless @large;
    my $kind = shift @large;
    next_round();
    for (1 .. 4)
    {
        sleep 0.1 + rand 0.4;
        small_event();
        help_second();
    }
    note("round $round: $kind");
    $large{$kind}->();
    $done{$kind}++;
    # the next round may well begin while it is not over
    quiesce() if rand() < 0.3;
}
stop_sessions();

# In the end nothing is owed, and a commit was left out whatever the random ones
# were.
in_app(q{SELECT firehose_resume_pipeline('second')});
quiesce();
in_app(qq{BEGIN; INSERT INTO log (round, put, poison) VALUES ($round, false, true);
    INSERT INTO poison VALUES (0, 0); COMMIT});
quiesce();
remember_committed();
note(join(', ', map { "$done{$_} $_" } sort keys %done) . "; $skipped commits left out");
is(join(' ', grep { !$done{$_} } sort(keys %small, $rounds < keys %large ? () : keys %large)), '', 'each kind of event has been');
cmp_ok($skipped, '>', 0, 'commits were left out');
is($node->safe_psql('app', 'SELECT count(*) FROM firehose_dead_letter'), 0, 'no dead letters');

# Every id has one content, and the insert of a row one place; returns these rows.
sub arrived_rows
{
    my ($stream) = @_;
    my (%content, %place, %epochs, @wrong);
    my ($n, $again) = (0, 0);
    $emulator->each_record($stream, sub {
        my ($record) = @_;
        return if $record->{state} eq 'R';
        $n++;
        my ($id) = $record->{data} =~ /"id":"([0-9A-Fa-f-]+)"/ or die "no id in $record->{data}";
        my $content = md5($record->{data});
        $again++ if exists $content{$id};
        push @wrong, "$id has two contents, one is $record->{data}" if ($content{$id} //= $content) ne $content;
        my ($u) = $record->{data} =~ /"op":"c".*"table":"log".*"after":\{"u":"([0-9a-f-]+)"/ or return;
        my ($epoch, $place) = $id =~ /^([0-9A-F]+)-(.*)$/;
        push @wrong, "row $u has the places $place{$u} and $place" if ($place{$u} //= $place) ne $place;
        $epochs{$u}{$epoch} = 1;
    });
    my @several = grep { keys %{ $epochs{$_} } > 1 } keys %epochs;
    is(scalar @several, 0, "$stream: a change has one epoch");
    diag($_) foreach @wrong[ 0 .. ($#wrong < 5 ? $#wrong : 5) ];
    is(scalar @wrong, 0, "$stream: an id has one content, and a change one place");
    note("$stream: $n records arrived, $again of them again, " . keys(%content) . ' changes');
    return map { $_ => 1 } keys %place;
}

# The rows that were put durably: a session's id of a record is not in the record.
sub arrived_puts
{
    my %seen;
    my ($n, $differ) = (0, 0);
    $emulator->each_record('puts', sub {
        my ($record) = @_;
        return if $record->{state} eq 'R';
        my ($u) = $record->{data} =~ /^([0-9a-f-]{36})x*\n$/ or die "no put is $record->{data}";
        my $content = md5($record->{data});
        $n++;
        $differ++ if ($seen{$u} //= $content) ne $content;
    });
    is($differ, 0, 'puts: a record that comes again is the same');
    note("puts: $n records arrived, " . keys(%seen) . ' of them different');
    return map { $_ => 1 } keys %seen;
}

foreach my $pipeline (@pipelines)
{
    my %arrived = $pipeline eq 'durable_puts' ? arrived_puts() : arrived_rows($stream{$pipeline});
    my @phantom = grep { !exists $committed{$_} } sort keys %arrived;
    is("@phantom[ 0 .. ($#phantom < 5 ? $#phantom : 5) ]", '', "$pipeline: nothing arrived that was not committed");
    my $condition = $pipeline eq 'durable_puts' ? 'put' : $pipeline eq 'second' ? 'NOT poison' : 'true';
    my %owed = map { split /\|/ } split /\n/, $node->safe_psql('app', "SELECT u, round FROM log WHERE $condition");
    delete @owed{ grep { $given_up{$pipeline}{ $owed{$_} } } keys %owed };
    my @lost = grep { !$arrived{$_} } sort keys %owed;
    is("@lost[ 0 .. ($#lost < 5 ? $#lost : 5) ]", '', "$pipeline: nothing is lost of " . keys(%owed) . ' rows');
    diag(scalar(@lost) . ' rows are lost, of rounds ' . join(' ', map { $committed{$_} } @lost[ 0 .. ($#lost < 9 ? $#lost : 9) ])) if @lost;
    cmp_ok(scalar keys %owed, '>', 100, "$pipeline: of many");
}
$node->stop;
done_testing();
