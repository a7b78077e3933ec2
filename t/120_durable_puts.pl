# Durable puts (firehose.put_durability = wal) outlive what the WAL and their slot
# outlive: nothing committed is lost by an immediate stop, by SIGKILL of a backend
# or of the postmaster; nothing rolled back is sent; prepared transactions and
# transactions larger than the queue are sent.  A put that no pipeline would read is an
# error, and none can be forged.
use strict;
use warnings FATAL => 'all';
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;
use PostgreSQL::Test::Utils;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'wal_level' => 'logical',
    'max_prepared_transactions' => 5, 'firehose.queue_size' => '4MB',
    'restart_after_crash' => 'on', 'log_min_messages' => 'log');
my %committed;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Run SQL that fails; returns the error's text.
sub error_of
{
    my ($sql) = @_;
    my ($code, $out, $error) = $node->psql('postgres', $sql);
    isnt($code, 0, "fails: $sql");
    return $error;
}

# Put payloads durably, each in a transaction of its own.
sub put
{
    my ($stream, @payloads) = @_;
    sql(join('', map { "SELECT firehose_put_record('$stream', '$_');\n" } @payloads));
    push @{ $committed{$stream} }, map { "$_\n" } @payloads;
    return;
}

sub wait_ready
{
    return wait_for_sql($node, q{SELECT count(*) FROM pg_replication_slots
        WHERE slot_name LIKE 'firehose\_%' AND NOT temporary AND confirmed_flush_lsn IS NOT NULL}, '1');
}

sub stop_decoder
{
    sql(q{SELECT firehose_pause_pipeline('durable_puts')});
    return wait_for_sql($node, q{SELECT NOT bool_or(active) FROM pg_replication_slots});
}

# After a crash what was delivered and not noted on disk comes again: nothing is
# lost, and nothing was never committed.
sub arrived
{
    my ($name, $stream) = @_;
    my $result = audit($emulator, $stream, @{ $committed{$stream} });
    is("@{ $result->{$_} }", '', "$name: none $_ of " . @{ $committed{$stream} })
      foreach qw(lost phantom);
    return;
}

# Processes whose parent is this one, of /proc: "pid (name) state parent ...".
sub children_of
{
    my ($parent) = @_;
    my @children;
    foreach my $file (glob('/proc/[0-9]*/stat'))
    {
        # it may be gone by now
        open(my $in, '<', $file) or next;
        my ($pid, $its_parent) = (<$in> // '') =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        push @children, $pid if $its_parent == $parent;
    }
    return @children;
}

# Its orphans go by themselves, and then the server can be started.
sub kill_postmaster
{
    my ($pid) = slurp($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
    my @children = children_of($pid);
    isnt(scalar @children, 0, 'it has processes');
    $node->kill9;
    wait_until('its orphans are gone', sub { !grep { kill(0, $_) } @children }, 20);
    return $node->start;
}

sub start_decoder { return sql(q{SELECT firehose_resume_pipeline('durable_puts')}) }

new_stream($node, $_) foreach qw(plain crash);

# before they are enabled
like(error_of(q{SET firehose.put_durability = wal; SELECT firehose_put_record('plain', 'x')}),
    qr/durable puts are not enabled.*SELECT firehose_enable_durable_puts/s,
    'not enabled: an error with a hint');

# enabling
sql('CREATE ROLE app LOGIN; GRANT USAGE ON FOREIGN SERVER plain TO app');
like(error_of('SET ROLE app; SELECT firehose_enable_durable_puts()'),
    qr/must be owner of database/, 'only the owner of the database may');
sql('SELECT firehose_enable_durable_puts()');
wait_ready();
is(sql('SHOW firehose.put_durability'), 'wal', 'wal is the default of new sessions');
is(sql('SELECT count(*) FROM pg_publication'), '0', 'without a publication');
like(($node->psql('postgres', 'SELECT firehose_enable_durable_puts()'))[2],
    qr/are enabled already/, 'enabling again is a notice');

# all ways to put, and how it shows
put('plain', 'record');
my $id = sql(q{SELECT firehose_put_record('plain', 'waited for')});
push @{ $committed{plain} }, "waited for\n";
is(sql("SELECT firehose_wait($id)"), 'accepted', 'it can be waited for');
is( sql("SELECT stream, pipeline IS NULL, status, lsn IS NOT NULL, completed_at >= queued_at, bytes
         FROM firehose_status WHERE id = $id"),
    'plain|t|accepted|t|t|11', 'its status row is that of a put, and has the lsn');
sql(q{SELECT firehose_put_batch('plain', ARRAY['b1', 'b2', 'b3']);
    SELECT firehose_put_record('plain', '\x6279746561'::bytea);
    SELECT firehose_put_record('plain', '{"a":
1}'::json)});
push @{ $committed{plain} }, "b1\n", "b2\n", "b3\n", "bytea", "{\"a\": 1}\n";
sql(q{CREATE TABLE t (a int); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION firehose_trigger('plain', 'row'); INSERT INTO t VALUES (7)});
push @{ $committed{plain} }, "{\"a\":7}\n";
is(sql(q{SELECT firehose_put_batch('plain', '{}'::text[])}), '{}', 'an empty batch is nothing');
like(error_of(q{SELECT firehose_put_record('plain', repeat('x', 1024000))}),
    qr/too large/, 'too large');

# privileges, and forgery
like(error_of(q{SET ROLE app; SELECT firehose_put_record('crash', 'x')}),
    qr/permission denied for stream "crash"/, 'USAGE is asked for');
sql(q{SET ROLE app; SELECT firehose_put_record('plain', 'of app')});
push @{ $committed{plain} }, "of app\n";
my $oid = sql(q{SELECT oid FROM pg_foreign_server WHERE srvname = 'crash'});
my $offset = -s $node->logfile;
# all right but for the tag
my $forged = unpack('H*', pack('Q< q< Q< L< C C', 4711, 0, 0, $oid, 1, 0) . "crash\0forged");
sql(q{SET ROLE app;
    SELECT pg_logical_emit_message(true, 'firehose', ''), pg_logical_emit_message(false, 'firehose', 'x')}
      . qq{; SELECT count(pg_logical_emit_message(true, 'firehose', int8send(n) || '\\x$forged'))
        FROM generate_series(1, 1000) n});
put('crash', 'after the forgery');
wait_delivered($node);
is(scalar(grep { $_->{data} =~ /forged/ } $emulator->records('crash')), 0, 'a forged put is not sent');
is(() = substr(slurp($node->logfile), $offset) =~ /which was not written by a durable put/g, 1,
    'and logged once');
is(sql('SELECT refused_messages FROM firehose_stat_pipeline'), '1002', 'and counted');

# nor can anyone write again what a put has written, and was seen by a decoder
# (pgoutput: 'M', flags, LSN, prefix, NUL, length, content)
sql(q{CREATE PUBLICATION spied; SELECT pg_create_logical_replication_slot('spy', 'pgoutput')});
sql(q{SELECT firehose_put_record('crash', 'seen');
    SELECT firehose_put_record('crash', 'seen at once', false)});
push @{ $committed{crash} }, "seen\n", "seen at once\n";
my @seen_messages = split(/\n/, sql(q{
    SELECT substring(data FROM position('\x66697265686f736500'::bytea IN data) + 13)
    FROM pg_logical_slot_get_binary_changes('spy', NULL, NULL,
        'proto_version', '1', 'publication_names', 'spied', 'messages', 'true')
    WHERE substring(data FROM 1 FOR 1) = 'M'}));
is(scalar @seen_messages, 2, 'two puts were seen');
my $refused = 1002;
foreach my $round ('at once', 'later')
{
    foreach my $message (@seen_messages)
    {
        sql("SET ROLE app; SELECT pg_logical_emit_message($_, 'firehose', '$message'::bytea)")
          foreach qw(true false);
        $refused += 2;
    }
    wait_for_sql($node, 'SELECT refused_messages FROM firehose_stat_pipeline', $refused);
    # beyond the window of what is put at once; the decoder forgets what it has seen
    sql(q{SELECT pg_logical_emit_message(false, 'other', repeat('x', 3000000))}) if $round eq 'at once';
    sql(q{SELECT pg_drop_replication_slot('spy')}) if $round eq 'later';
}
put('crash', 'after the repetition');
wait_delivered($node);
audit_ok('what was seen is sent once', $emulator, 'crash', $committed{crash});
sql('DROP PUBLICATION spied');

sub slurp
{
    my ($file) = @_;
    local $/;
    open(my $handle, '<', $file) or die "$file: $!";
    return <$handle>;
}

# transactions
sql(q{BEGIN; SELECT firehose_put_record('plain', 'rolled back'); ROLLBACK});
sql(q{BEGIN; SELECT firehose_put_record('plain', 'sp 1');
    SAVEPOINT a; SELECT firehose_put_record('plain', 'sp gone'); SAVEPOINT b;
    SELECT firehose_put_record('plain', 'sp gone, too'); RELEASE b; ROLLBACK TO a;
    SELECT firehose_put_record('plain', 'sp 2'); COMMIT});
push @{ $committed{plain} }, "sp 1\n", "sp 2\n";
sql(q{BEGIN; SELECT firehose_put_record('plain', 'at once', false); ROLLBACK});
push @{ $committed{plain} }, "at once\n";
sql(q{BEGIN READ ONLY; SELECT firehose_put_record('plain', 'read only'); COMMIT});
push @{ $committed{plain} }, "read only\n";
sql(q{SET synchronous_commit = off; SELECT firehose_put_record('plain', 'asynchronous')});
push @{ $committed{plain} }, "asynchronous\n";
like(error_of(q{BEGIN; SELECT firehose_put_record('plain', 'x') AS id \gset
        SELECT firehose_wait(:id)}),
    qr/cannot wait for record \d+, which is sent when this transaction commits/,
    'waiting for an own put is an error at once');
is(sql(q{BEGIN; SAVEPOINT s; SELECT firehose_put_record('plain', 'x') AS id \gset
        ROLLBACK TO s; SELECT firehose_wait(:id)}),
    'unknown', 'one that was rolled back is unknown');

# prepared transactions, across a restart
sql(q{BEGIN; SELECT firehose_put_record('plain', 'prepared'); PREPARE TRANSACTION 'commits'});
sql(q{BEGIN; SELECT firehose_put_record('plain', 'prepared in vain'); PREPARE TRANSACTION 'rolls back'});
wait_delivered($node);
$node->restart;
sql(q{COMMIT PREPARED 'commits'; ROLLBACK PREPARED 'rolls back'});
push @{ $committed{plain} }, "prepared\n";
like(error_of(q{SET firehose.put_durability = memory; BEGIN;
        SELECT firehose_put_record('plain', 'x'); PREPARE TRANSACTION 'memory'}),
    qr/cannot PREPARE.*put_durability = wal/s, 'memory puts cannot be prepared, and the hint tells what can');
wait_delivered($node);
audit_ok('all ways', $emulator, 'plain', $committed{plain});

# nothing is lost by a crash right after the commit
my $n = 0;
my %crash = (
    'immediate stop' => sub { $node->stop('immediate'); $node->start },
    'SIGKILL of a backend' => sub {
        my $victim = $node->background_psql('postgres');
        my $pid = $victim->query_safe('SELECT pg_backend_pid()');
        kill('KILL', $pid);
        wait_until('all have gone', sub { !grep { kill(0, $_) } $pid }, 10);
        $node->poll_query_until('postgres', 'SELECT true');
    },
    'SIGKILL of the postmaster' => \&kill_postmaster);
foreach my $how (sort keys %crash)
{
    foreach my $transactional (qw(true false))
    {
        $emulator->fault('hang_before_processing');
        my @payloads = map { "$how $_" } $n + 1 .. $n + 50;
        $n += 50;
        sql(join('', map { "SELECT firehose_put_record('crash', '$_', $transactional);\n" } @payloads));
        push @{ $committed{crash} }, map { "$_\n" } @payloads;
        $crash{$how}->();
        $emulator->heal;
        wait_delivered($node);
    }
}
arrived('crashes', 'crash');

# the same under load: what a client saw committed arrives
new_stream($node, 'load');
my @seen;
for my $round (1 .. 3)
{
    my $from = $round * 1_000_000;
    my $base = $node->basedir . "/load$round";
    append_to_file("$base.sql", join('', map {
            "SELECT firehose_put_record('load', '$_') > 0;\n\\echo seen $_\n" } $from + 1 .. $from + 50_000));
    my $session = IPC::Run::start(
        [ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$base.sql" ],
        '<', '/dev/null', '>', "$base.out", '2>', "$base.err");
    sleep(0.5 + rand());
    kill_postmaster();
    $session->finish;
    push @seen, map { "$_\n" } slurp("$base.out") =~ /^seen (\d+)$/mg;
}
wait_delivered($node);
my $result = audit($emulator, 'load', @seen);
note(scalar(@seen) . ' commits were seen, ' . @{ $result->{duplicate} } . ' arrived twice');
cmp_ok(scalar @seen, '>', 100, 'load: some commits');
is(scalar @{ $result->{lost} }, 0, 'load: none of them lost');
cmp_ok(scalar @{ $result->{phantom} }, '<=', 3, 'load: at most one unseen commit per crash');

# a clean restart repeats nothing
new_stream($node, 'clean');
put('clean', map { "clean $_" } 1 .. 200);
$node->restart;
put('clean', 'again');
sql(q{SELECT firehose_put_record('clean', 'at once', false)});
push @{ $committed{clean} }, "at once\n";
wait_delivered($node);
$node->restart;
wait_delivered($node);
audit_ok('clean restarts', $emulator, 'clean', $committed{clean});

# far beyond the queue, and on_full does not apply
new_stream($node, 'big', on_full => 'error');
$emulator->fault('delay', { seconds => 0.05 });
like(error_of(q{SET firehose.put_durability = memory;
        SELECT count(firehose_put_record('big', repeat('x', 99))) FROM generate_series(1, 200000)}),
    qr/no room|do not fit/, 'memory: too much for the queue');
my @big = put_numbered($node, 'big', 1, 200_000, size => 99);
wait_delivered($node, 300);
$emulator->heal;
audit_ok('big transaction', $emulator, 'big', \@big);

# waiting while no decoder reads
stop_decoder();
put('plain', 'while paused');
$id = sql(q{SELECT firehose_put_record('plain', 'while paused, too')});
push @{ $committed{plain} }, "while paused, too\n";
is(sql("SELECT firehose_wait($id, '1s')"), 'pending', 'not read yet: pending');
my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_flush(NULL, '1s')});
is($out, 'f', 'flush waits for what is in the WAL');
like($error, qr/durable puts are still to be read/, 'and says so');
($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_drain('1s')});
is($out, 'f', 'so does drain');
start_decoder();
is(sql("SELECT firehose_wait($id)"), 'accepted', 'read: accepted');
is(sql('SELECT firehose_drain()'), 't', 'drained');
is(sql('SELECT firehose_wait(4711)'), 'unknown', 'an unknown id is unknown');

# a stream that is dropped before its records are read
new_stream($node, 'doomed');
stop_decoder();
sql(q{SELECT firehose_put_record('doomed', 'late'); DROP SERVER doomed});
start_decoder();
wait_for_sql($node,
    q{SELECT string_agg(concat_ws('|', stream, pipeline, error_code, encode(data, 'escape'), lsn IS NOT NULL), ',')
      FROM firehose_dead_letter}, "doomed|StreamDropped|late\n|t");
put('plain', 'after the dead letter');

# what must not be done to the pipeline
like(error_of(q{SELECT firehose_drop_pipeline('durable_puts')}),
    qr/reserved for durable puts.*firehose_disable_durable_puts/s, 'it cannot be dropped like another');
like(error_of(q{SELECT firehose_alter_pipeline('durable_puts', stream => 'plain')}),
    qr/reserved for durable puts/, 'or altered');
like(error_of(q{CREATE PUBLICATION p; SELECT firehose_create_pipeline('p', 'plain', '{p}', messages => '{firehose}')}),
    qr/message prefix "firehose" is reserved/, 'its messages cannot be asked for');
sql(q{CREATE TABLE strange (a int); CREATE PUBLICATION none FOR ALL TABLES WITH (publish = 'insert');
    INSERT INTO strange VALUES (1); TRUNCATE strange; DROP PUBLICATION none});
put('plain', 'after a strange table');
wait_delivered($node);

# its slot is lost
stop_decoder();
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe(q{BEGIN});
$holder->query_safe(q{SELECT firehose_put_record('plain', 'never')});
sql(q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots});
like(error_of(q{SELECT firehose_put_record('plain', 'x')}),
    qr/replication slot "firehose_\w+" of durable puts is lost.*firehose_resume_pipeline\('durable_puts', from_now => true\)/s,
    'slot lost: the next put is an error with a hint');
like(error_of(q{SELECT firehose_put_record('plain', 'x', false)}), qr/is lost/, 'at once, too');
$holder->query(q{COMMIT});
like($holder->{stderr}, qr/is lost/, 'and so is the commit of what was put before');
$holder->quit;
sql(q{SELECT firehose_resume_pipeline('durable_puts', from_now => true)});
wait_ready();
put('plain', 'with a new slot');

# disabling
$emulator->fault('hang_before_processing');
put('plain', 'in the way');
like(error_of('SELECT firehose_disable_durable_puts()'),
    qr/not all durable puts are delivered.*bytes of WAL.*[1-9]\d* records.*force => true/s,
    'not while something is undelivered');
$emulator->heal;
$holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN});
$holder->query_safe(q{SELECT firehose_put_record('plain', 'open')});
like(error_of(q{SET lock_timeout = '1s'; SELECT firehose_disable_durable_puts()}),
    qr/lock timeout/, 'waits for transactions that have put');
$holder->query_safe(q{COMMIT});
$holder->quit;
push @{ $committed{plain} }, "open\n";
like(error_of(q{BEGIN; SELECT firehose_put_record('plain', 'x'); SELECT firehose_disable_durable_puts()}),
    qr/in a transaction that has put records/, 'not in one of them');
# what is rolled back needs no reader, whoever disables them
my $undone = $node->background_psql('postgres');
$undone->query_safe("BEGIN; SAVEPOINT a; SELECT firehose_put_record('plain', 'undone'); SAVEPOINT b; SELECT firehose_put_record('plain', 'undone'); RELEASE b; ROLLBACK TO a");
sql(q{BEGIN; SAVEPOINT a; SELECT firehose_put_record('plain', 'undone'); ROLLBACK TO a; SELECT firehose_disable_durable_puts(); COMMIT});
is($undone->query_safe('CREATE TABLE kept (); COMMIT; SELECT count(*) FROM kept'), '0', 'a transaction without a durable put left commits');
$undone->quit;
wait_for_sql($node, 'SELECT count(*) FROM pg_replication_slots', '0');
is(sql('SHOW firehose.put_durability'), 'memory', 'memory is the default again');
like(error_of(q{SET firehose.put_durability = wal; SELECT firehose_put_record('plain', 'x')}),
    qr/durable puts are not enabled/, 'and durable puts are errors again');
put('plain', 'in memory');
wait_delivered($node);
arrived('in the end', 'plain');

# again, and by force
sql('SELECT firehose_enable_durable_puts(set_default => false)');
wait_ready();
is(sql('SHOW firehose.put_durability'), 'memory', 'set_default => false leaves the default');
stop_decoder();
sql(q{SET firehose.put_durability = wal; SELECT firehose_put_record('plain', 'lost by force')});
sql('SELECT firehose_disable_durable_puts(force => true)');
wait_for_sql($node, 'SELECT count(*) FROM pg_replication_slots', '0');

# the owner of a database, no superuser, enables and disables them there
sql('CREATE DATABASE apps OWNER app; ALTER ROLE app REPLICATION');
$node->safe_psql('apps', 'CREATE EXTENSION firehose; CREATE SERVER s FOREIGN DATA WRAPPER firehose;
    GRANT USAGE ON FOREIGN SERVER s TO app');
$node->safe_psql('apps', 'SET ROLE app; SELECT firehose_enable_durable_puts()');
wait_ready();
my $owned = $node->safe_psql('apps', q{SET ROLE app; SELECT firehose_put_record('s', 'owned')});
is($node->safe_psql('apps', "SET ROLE app; SELECT firehose_wait($owned)"), 'accepted',
    'the owner of a database has durable puts there');
is($node->safe_psql('apps', 'SELECT pipeline, state, stream FROM firehose_stat_pipeline'),
    'durable_puts|streaming|', 'their pipeline shows');
$node->safe_psql('apps', 'SET ROLE app; SELECT firehose_disable_durable_puts()');
wait_for_sql($node, 'SELECT count(*) FROM pg_replication_slots', '0');

# the extension goes with everything
$node->safe_psql('apps', 'SELECT firehose_enable_durable_puts()');
wait_ready();
$node->safe_psql('apps', 'DROP EXTENSION firehose CASCADE');
wait_for_sql($node, 'SELECT count(*) FROM pg_replication_slots', '0');
my $defaults = q{SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = 'apps'};
is(sql($defaults), '', 'the default of new sessions, too');

# but not what an administrator has set
sql(q{ALTER DATABASE apps SET work_mem = '5MB'; ALTER DATABASE apps SET firehose.put_durability = memory});
$node->safe_psql('apps', 'CREATE EXTENSION firehose; DROP EXTENSION firehose');
is(sql($defaults), '{work_mem=5MB,firehose.put_durability=memory}', 'a default that works without it stays');

$node->stop;
done_testing();
