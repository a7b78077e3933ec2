# Who may do what and see what.  The matrix in docs/operations.md is made here:
# each object and command is tried by each kind of role, for a stream that the
# role has to do with ("own") and for another one ("all": for both).  An object
# of the extension without a line in the matrix is a failure.  Then what each
# could do by a detour: a trigger on another's table, an index on a table of
# ours that was given away, a row planted in one, a durable message said twice.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, extension => 0);

my @roles = (
    [ nobody => 'no grant' ], [ usage => '`USAGE` on the stream' ], [ owner => "stream's owner" ],
    [ monitor => '`pg_monitor`' ], [ reader => '`pg_read_all_data`' ], [ writer => '`pg_write_all_data`' ],
    [ dbowner => "database's owner" ], [ replicator => '`REPLICATION`, `USAGE` on the stream' ], [ superuser => 'superuser' ]);
$node->safe_psql('postgres', join('', map { "CREATE ROLE role_$_->[0] LOGIN;" } @roles) . q{
    GRANT pg_monitor TO role_monitor; GRANT pg_read_all_data TO role_reader; GRANT pg_write_all_data TO role_writer;
    ALTER ROLE role_replicator REPLICATION; ALTER ROLE role_superuser SUPERUSER;
    CREATE DATABASE db OWNER role_dbowner;});
sub sql { return $node->safe_psql('db', $_[0]) }
sql('CREATE EXTENSION firehose; GRANT CREATE ON DATABASE db TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;');
foreach my $stream (qw(own other))
{
    new_stream($node, $stream, dbname => 'db');
    sql(qq{
        CREATE TABLE table_$stream (n int);
        CREATE PUBLICATION publication_$stream FOR TABLE table_$stream;
        CREATE FOREIGN TABLE out_$stream (n int) SERVER $stream;
        GRANT INSERT ON out_$stream TO PUBLIC;
        SELECT firehose_create_pipeline('pipeline_$stream', '$stream', '{publication_$stream}');});
}
sql(q{
    GRANT USAGE ON FOREIGN SERVER own TO role_usage, role_replicator;
    ALTER SERVER own OWNER TO role_owner;
    UPDATE firehose_pipelines SET owner = 'role_owner'::regrole WHERE name = 'pipeline_own';});
sql("SET ROLE role_$_->[0]; CREATE TABLE table_$_->[0] (n int); CREATE PUBLICATION publication_$_->[0] FOR TABLE table_$_->[0]")
  foreach @roles;

# a finished record and a dead letter of each
my %id = map { $_ => sql("SELECT firehose_put_record('$_', 'x')") } qw(own other);
is(sql(q{SELECT firehose_flush()}), 't', 'records are delivered');
sql(q{INSERT INTO firehose_dead_letters (id, queued_at, failed_at, serverid, attempts, stream, data)
      SELECT oid::bigint, now(), now(), oid, 1, srvname, 'x' FROM pg_foreign_server});

# ------------------------------------------------------------------------
# The matrix
# ------------------------------------------------------------------------
# A query is true if it shows the stream, a command (do) allowed if it is not
# denied.  %s is the stream, %d the id of its record, %r the role.
my @probes = (
    [ '`firehose_put_record`, `firehose_put_batch`', do => q{SELECT firehose_put_record('%s', 'x'), firehose_put_batch('%s', ARRAY['x'])} ],
    [ '`firehose_put_text`, `firehose_put_json`, `firehose_put_bytes`', do => q{SELECT firehose_put_text('%s', 'x'), firehose_put_json('%s', '1'), firehose_put_bytes('%s', 'x')} ],
    [ '`firehose_put_texts`, `firehose_put_jsons`, `firehose_put_bytes_array`', do => q{SELECT firehose_put_texts('%s', '{x}'), firehose_put_jsons('%s', '[1]'), firehose_put_bytes_array('%s', '{x}')} ],
    [ '`firehose_send`', do => q{CALL firehose_send('%s', '1')} ],
    [ '`INSERT` into a foreign table that it may insert into', do => q{INSERT INTO out_%s VALUES (1)} ],
    [ '`firehose_row_json`', do => q{SELECT firehose_row_json(ROW(1))} ],
    [ '`firehose_trigger` on a table of its own', do => q{CREATE TRIGGER t AFTER INSERT ON table_%r FOR EACH ROW EXECUTE FUNCTION firehose_trigger('%s'); INSERT INTO table_%r VALUES (1)} ],
    [ '`firehose_attach` of a table of its own', do => q{SELECT firehose_attach('table_%r', '%s')} ],
    [ '`firehose_detach` of a table of its own', do => q{SELECT firehose_attach('table_%r', '%s'), firehose_detach('table_%r')} ],
    [ '`firehose_wait` tells the outcome', show => q{SELECT firehose_wait(%d, '0') = 'accepted'} ],
    [ '`firehose_wait_all` tells the outcomes', show => q{SELECT status = 'accepted' FROM firehose_wait_all(ARRAY[%d], '0')} ],
    [ '`firehose_pending`', do => q{SELECT * FROM firehose_pending()} ],
    [ '`firehose_flush` of a stream', do => q{SELECT firehose_flush('%s', '0')} ],
    [ '`firehose_drain`', do => q{SELECT firehose_drain('0')} ],
    [ '`firehose_load_saved_queue`', do => q{SELECT * FROM firehose_load_saved_queue('queue.no_such_file')} ],
    [ '`firehose_status`', show => q{SELECT count(*) > 0 FROM firehose_status WHERE stream = '%s'} ],
    [ '`firehose_last`', show => q{SELECT count(*) > 0 FROM firehose_last('%s')} ],
    [ '`firehose_stat_stream`', show => q{SELECT count(*) > 0 FROM firehose_stat_stream WHERE stream = '%s'} ],
    [ '`firehose_stat_queue`', do => q{SELECT * FROM firehose_stat_queue} ],
    [ '`firehose_stat_server`', do => q{SELECT * FROM firehose_stat_server} ],
    [ '`firehose_doctor`', do => q{SELECT * FROM firehose_doctor()} ],
    [ '`firehose_published_tables`', do => q{SELECT * FROM firehose_published_tables('{}')} ],
    [ '`firehose_stat_identity`', do => q{SELECT * FROM firehose_stat_identity} ],
    [ '`firehose_stat_reset` of a stream', do => q{SELECT firehose_stat_reset('%s')} ],
    [ '`firehose_stat_reset` of everything', do => q{SELECT firehose_stat_reset()} ],
    [ '`firehose_stream_options`', show => q{SELECT count(*) > 0 FROM firehose_stream_options} ],
    [ '`firehose_dead_letter`', show => q{SELECT count(*) > 0 FROM firehose_dead_letter WHERE stream = '%s'} ],
    [ '`firehose_retry_dead_letters`', show => q{SELECT firehose_retry_dead_letters('%s') > 0} ],
    [ '`firehose_purge_dead_letters`', show => q{SELECT firehose_purge_dead_letters('%s') > 0} ],
    [ '`firehose_pipeline`', show => q{SELECT count(*) > 0 FROM firehose_pipeline WHERE pipeline = 'pipeline_%s'} ],
    [ '`firehose_stat_pipeline`', show => q{SELECT count(*) > 0 FROM firehose_stat_pipeline WHERE pipeline = 'pipeline_%s'} ],
    [ '`firehose_create_pipeline` of its own publication', do => q{SELECT firehose_create_pipeline('new', '%s', '{publication_%r}')} ],
    [ '`firehose_alter_pipeline`', do => q{SELECT firehose_alter_pipeline('pipeline_%s', format => 'json')} ],
    [ '`firehose_pause_pipeline`', do => q{SELECT firehose_pause_pipeline('pipeline_%s')} ],
    [ '`firehose_resume_pipeline`', do => q{SELECT firehose_resume_pipeline('pipeline_%s')} ],
    [ '`firehose_refresh_pipeline`', do => q{SELECT firehose_refresh_pipeline('pipeline_%s')} ],
    [ '`firehose_table_ddl`', do => q{SELECT * FROM firehose_table_ddl('pipeline_%s', 'athena')} ],
    [ '`firehose_copy_table`', do => q{SELECT firehose_copy_table('pipeline_%s', 'table_%s')} ],
    [ '`firehose_cancel_copy`', do => q{SELECT firehose_cancel_copy('pipeline_%s', 'table_%s')} ],
    [ '`firehose_stat_progress_copy`', show => q{SELECT count(*) > 0 FROM firehose_stat_progress_copy WHERE pipeline = 'pipeline_%s'} ],
    [ '`firehose_drop_pipeline`', do => q{SELECT firehose_drop_pipeline('pipeline_%s')} ],
    [ '`firehose_enable_durable_puts`', do => q{SELECT firehose_enable_durable_puts(false)} ],
    [ '`firehose_disable_durable_puts`', do => q{SELECT firehose_disable_durable_puts()} ],
    [ '`CREATE SERVER`', do => q{CREATE SERVER new FOREIGN DATA WRAPPER firehose} ],
    [ '`ALTER SERVER`', do => q{ALTER SERVER %s OPTIONS (ADD linger '1')} ],
    [ '`DROP SERVER`', do => q{DROP SERVER %s CASCADE} ],
    (map {
        [ "`$_`: `SELECT`", do => "SELECT 1 FROM $_" ],
        [ "`$_`: write", do => "INSERT INTO $_ DEFAULT VALUES" ],
    } qw(firehose_status_0 firehose_dead_letters firehose_pipelines firehose_positions firehose_copies)),
    [ '`firehose_pipelines_id_seq`: `SELECT`', do => q{SELECT 1 FROM firehose_pipelines_id_seq} ],
);

sql(q{
CREATE FUNCTION probe(who text, kind text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    shown boolean := true;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', who);
    IF kind = 'show' THEN
        EXECUTE command INTO shown;
    ELSE
        EXECUTE command;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = CASE WHEN shown THEN 'yes' ELSE 'no' END;
EXCEPTION
    WHEN insufficient_privilege THEN RETURN 'no';
    WHEN SQLSTATE 'ZZ000' THEN RETURN SQLERRM;
    WHEN not_null_violation OR undefined_file OR object_not_in_prerequisite_state OR feature_not_supported OR query_canceled THEN RETURN 'yes';
    WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$});
$node->safe_psql('db', 'SELECT pg_reload_conf()');

my @commands;
foreach my $probe (@probes)
{
    foreach my $role (map { $_->[0] } @roles)
    {
        foreach my $stream (qw(own other))
        {
            my %value = (s => $stream, d => $id{$stream}, r => $role);
            push @commands, "SELECT probe('role_$role', '$probe->[1]', \$c\$"
              . $probe->[2] =~ s/%([sdr])/$value{$1}/gr . "\$c\$);\n";
        }
    }
}
my @answers = split /\n/, sql("SET client_min_messages = error;\n" . join('', @commands));
my $matrix = '| | ' . join(' | ', map { $_->[1] } @roles) . " |\n|---|" . '---|' x @roles . "\n";
my @unexpected;
foreach my $probe (@probes)
{
    my $about_streams = $probe->[2] =~ /%[sd]/;
    $matrix .= "| $probe->[0] |";
    foreach my $role (@roles)
    {
        my ($own, $other) = splice(@answers, 0, 2);
        push @unexpected, "$probe->[0] by $role->[0]: $own, $other" if "$own$other" !~ /^(yes|no)(yes|no)$/;
        $matrix .= ' ' . ($other eq 'yes' ? ($about_streams ? 'all' : 'yes') : $own eq 'yes' ? 'own' : '') . ' |';
    }
    $matrix .= "\n";
}
$matrix =~ s/  \|/ |/g;
is_deeply(\@unexpected, [], 'every probe is allowed or denied');
ok(index(slurp_file('docs/operations.md'), $matrix) >= 0, 'docs/operations.md: privileges')
  or diag("it should have\n\n$matrix");

# each object has its line
foreach my $object (split /\n/, sql(q{
    SELECT coalesce((SELECT proname FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid),
                    (SELECT relname FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid))
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
    WHERE e.extname = 'firehose' AND d.deptype = 'e'
      AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass) GROUP BY 1 ORDER BY 1}))
{
    next if $object =~ /^firehose_(status_[1-7]|fdw_handler|fdw_validator|guard_table)$/;
    like($matrix, qr/`$object`/, "$object is in the matrix");
}

# who may dump
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-U', 'role_dbowner', '-f', $dump,
        '--exclude-table=public.table_*', 'db' ], "the database's owner can dump");
like(slurp_file($dump), qr/^COPY public.firehose_pipelines.*pipeline_own/ms, 'and has the pipelines');

# ------------------------------------------------------------------------
# Detours
# ------------------------------------------------------------------------
sub denied
{
    my ($role, $command, $what) = @_;
    my ($status, undef, $stderr) = $node->psql('db', "SET ROLE role_$role; $command");
    ok($status != 0 && $stderr =~ /ERROR:  (permission denied|must be)/, "$what: denied") or diag($stderr);
    return $stderr;
}

# a trigger is the work of whoever creates it: a holder of TRIGGER on another's
# table has it send where that holder may
sql(q{
    GRANT TRIGGER, INSERT ON table_owner TO PUBLIC;
    GRANT TRIGGER ON table_other TO PUBLIC;});
my $trigger = q{CREATE TRIGGER detour AFTER INSERT ON table_owner FOR EACH ROW EXECUTE FUNCTION firehose_trigger('own')};
denied('nobody', $trigger, "a trigger on another's table");
denied('nobody', $trigger =~ s/'own'/'not_there_yet'/r, "one for a stream to come");
denied('nobody', $trigger =~ s/TRIGGER/CONSTRAINT TRIGGER/r, 'a constraint trigger');
denied('usage', $trigger =~ s/'own'/'other'/r, 'one for a stream without USAGE');
sql("SET ROLE role_usage; $trigger; INSERT INTO table_owner VALUES (1);");
sql('DROP TRIGGER detour ON table_owner');
sql("SET ROLE role_owner; $trigger; DROP TRIGGER detour ON table_owner");
sql(q{SET ROLE role_owner; CREATE TRIGGER early AFTER INSERT ON table_owner FOR EACH ROW EXECUTE FUNCTION firehose_trigger('not_there_yet'); DROP TRIGGER early ON table_owner});

# a flush of everything names no stream of others, nor waits for one
sql(q{ALTER SERVER other OPTIONS (ADD enabled 'false')});
sql(q{ALTER SERVER other OPTIONS (SET enabled 'true', ADD endpoint_url 'http://127.0.0.1:9')});
is(sql(q{BEGIN; SELECT firehose_retry_dead_letters(); ROLLBACK}), 2, 'dead letters of both are taken back');
sql(q{ALTER SERVER other OPTIONS (SET enabled 'false')});
is(sql(q{BEGIN; SELECT firehose_retry_dead_letters(); ROLLBACK}), 1, 'those of a disabled stream stay, and stop no others');
sql(q{ALTER SERVER other OPTIONS (SET enabled 'true')});
sql(q{SELECT firehose_put_record('other', 'secret')});
my ($status, $stdout, $stderr) = $node->psql('db', q{SET ROLE role_usage; SELECT firehose_flush(NULL, '60 s')});
is("$status $stdout $stderr", '0 t ', "a flush is of the caller's streams");
($status, $stdout, $stderr) = $node->psql('db', q{SET ROLE role_superuser; SELECT firehose_flush(NULL, '1 s')});
is($stdout, 'f', "a superuser's is of all");
like($stderr, qr/stream "other" still has records/, 'and names what it waits for');
sql(q{ALTER SERVER other OPTIONS (DROP endpoint_url)});
wait_until('delivered after all', sub { sql(q{SELECT firehose_flush()}) eq 't' });

# a row planted by a role that may write to every table is not even written
foreach my $table (qw(firehose_pipelines firehose_positions firehose_copies firehose_dead_letters firehose_status_0))
{
    denied('writer', "DELETE FROM $table WHERE false", "DELETE FROM $table");
    denied('writer', "SET session_replication_role = replica; DELETE FROM $table", "the same as a replica");
}
sql(q{DELETE FROM firehose_dead_letters WHERE false});

# a table of ours that was given away is not used, so that nothing the new
# owner puts on it runs with the sender's powers; nor when it was taken back
sql(q{
    CREATE FUNCTION evil(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RAISE WARNING 'evil is run by %', current_user;
        RETURN $1;
    END $$;});
my $given = sql(q{SELECT 'firehose_status_' || i FROM generate_series(0, 7) i ORDER BY
    pg_relation_size('firehose_status_' || i) DESC LIMIT 1});
sub log_says
{
    my ($what, $pattern) = @_;
    return wait_until($what, sub { slurp_file($node->logfile) =~ /$pattern/ });
}
sql("ALTER TABLE $given OWNER TO role_nobody");
sql(qq{SET ROLE role_nobody; CREATE INDEX evil ON $given (evil(stream)) WHERE stream = 'own'});
my $before = sql("SELECT count(*) FROM $given");
sql(q{SELECT firehose_put_record('own', 'x') FROM generate_series(1, 10)});
is(sql(q{SELECT firehose_flush()}), 't', 'delivery goes on');
log_says('the log says why status rows are not written', qr/table "$given" .*owner/);
like(sql(q{SELECT table_error FROM firehose_stat_stream WHERE stream = 'own'}),
    qr/could not write status rows: table "$given" .*owner/, 'and so does the view');
sql("ALTER TABLE $given OWNER TO CURRENT_USER");
sql(q{SELECT firehose_put_record('own', 'x') FROM generate_series(1, 10)});
is(sql(q{SELECT firehose_flush()}), 't', 'delivery goes on');
unlike(slurp_file($node->logfile), qr/evil is run by postgres/, "a stranger's function did not run");
is(sql("SELECT count(*) FROM $given"), $before, 'nothing was written');
sql('DROP INDEX evil');
my $count = sql(q{SELECT count(*) FROM firehose_status});
wait_until('without them they are written again', sub {
    sql(q{SELECT firehose_put_record('own', 'x')});
    return sql(q{SELECT firehose_flush(); SELECT count(*) FROM firehose_status}) =~ /(\d+)$/ && $1 > $count;
});
is(sql(q{SELECT coalesce(table_error, 'none') FROM firehose_stat_stream WHERE stream = 'own'}), 'none',
    'and the view has no trouble');

# the same for rules, triggers, policies, and for the other tables
sub unusable
{
    my ($table, $ddl, $undo, $command, $pattern) = @_;
    sql($ddl);
    my ($status, undef, $stderr) = $node->psql('db', $command);
    sql($undo);
    ok($status != 0 && $stderr =~ $pattern, "$table with $ddl is refused") or diag($stderr);
    return;
}
my $pause = q{SELECT firehose_pause_pipeline('pipeline_other')};
my $purge = q{SELECT firehose_purge_dead_letters('other')};
foreach my $case ([ 'firehose_pipelines', $pause ], [ 'firehose_dead_letters', $purge ])
{
    my ($table, $command) = @$case;
    unusable($table, "ALTER TABLE $table OWNER TO role_nobody", "ALTER TABLE $table OWNER TO CURRENT_USER",
        $command, qr/owner/);
    unusable($table, "CREATE INDEX evil ON $table (evil(stream))", 'DROP INDEX evil', $command, qr/index "evil"/);
    unusable($table, "CREATE INDEX evil ON $table (stream) WHERE evil(stream) = ''", 'DROP INDEX evil', $command, qr/index "evil"/);
    unusable($table, "CREATE RULE evil AS ON INSERT TO $table DO NOTHING", "DROP RULE evil ON $table", $command, qr/rule/);
    unusable($table, "ALTER TABLE $table ENABLE ROW LEVEL SECURITY", "ALTER TABLE $table DISABLE ROW LEVEL SECURITY", $command, qr/policies/);
    unusable($table, "CREATE TRIGGER evil BEFORE INSERT ON $table EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TRIGGER evil ON $table", $command, qr/trigger "evil"/);
}
# a lock on a status table's index, as well as on the table, stops no session
my $current = sql(q{SELECT 'firehose_status_' || i FROM generate_series(0, 7) i ORDER BY
    pg_relation_size('firehose_status_' || i) DESC LIMIT 1});
my $holder = $node->background_psql('db');
$holder->query_safe("BEGIN; ALTER INDEX ${current}_brin SET (autosummarize = off)");
sql(q{SELECT firehose_put_record('own', 'x') FROM generate_series(1, 10)});
ok(wait_until('delivery goes on under a lock on an index', sub {
    sql(q{SELECT queued + in_flight FROM firehose_stat_stream WHERE stream = 'own'}) == 0 }));
sql(q{SELECT firehose_put_record('own', 'y')});
wait_until('and on', sub {
    sql(q{SELECT queued + in_flight FROM firehose_stat_stream WHERE stream = 'own'}) == 0 });
$holder->query_safe('ROLLBACK');
$holder->quit;

# the last record of a stream, among many rows, is found without reading them
sql(q{INSERT INTO firehose_status_5 (id, queued_at, completed_at, serverid, attempts, bytes, accepted, encrypted, stream)
    SELECT n, 'epoch', '2001-01-01'::timestamptz + n * interval '1 s', 1, 1, 1, true, true, 'old' FROM generate_series(1, 100000) n;
    ANALYZE firehose_status_5; SELECT brin_summarize_new_values('firehose_status_5_brin')});
foreach my $by (q{id = 5000}, q{completed_at > now() - interval '1 minute'}, q{queued_at BETWEEN '2000-01-01' AND '2000-01-02'})
{
    like(sql("EXPLAIN SELECT * FROM firehose_status WHERE $by"), qr/Bitmap Index Scan on firehose_status_5_brin/, "found by index: $by");
}
is(sql(q{SELECT bytes FROM firehose_last('own')}), 2, 'firehose_last');
is(sql(q{SELECT id FROM firehose_last('old')}), 100000, 'of long ago');
is(sql(q{SELECT id FROM firehose_last('none')}), '', 'of a stream without any');

$node->stop;
$emulator->stop;
done_testing();
