# What the tests of pipelines share: servers that decode, pipelines, waiting
# for what was committed, and the replay of what was delivered.
package PipelineTest;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use Exporter 'import';
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use FirehoseTest;

our @EXPORT = qw(
  new_decoding_node new_pipeline
  pipeline_state wait_state wait_confirmed
  decoder_pids worker_memory
  events events_once changes
  watch_positions stop_watching
  replay_ok new_copy
  start_postmaster promote_with_slots
);

my $json = JSON::PP->new->utf8->canonical;
my %watching;    # processes of watch_positions, and who started them

# Start a server whose postmaster was killed, once the last of its processes has
# gone; they go by themselves.  `timeout` is in seconds.
sub start_postmaster
{
    my ($node, $timeout) = @_;
    my @command = ('pg_ctl', '-w', '-t', 300, '-D', $node->data_dir,
        '-l', $node->logfile, '-o', '--cluster-name=' . $node->name, 'start');
    wait_until('the server starts again', sub {
        IPC::Run::run(\@command, '>', '/dev/null', '2>', '/dev/null') }, $timeout)
      or die 'the server does not start again';
    $node->_update_pid(1);
    return;
}

# Crash a server and promote its standby, which has all that is committed and goes
# on with the primary's slots.
sub promote_with_slots
{
    my ($node, $standby) = @_;
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    $node->stop('immediate');
    $standby->stop;
    my ($from, $to) = map { $_->data_dir . '/pg_replslot' } $node, $standby;
    PostgreSQL::Test::Utils::system_log('rm', '-rf', $to);
    PostgreSQL::Test::Utils::system_log('cp', '-a', $from, $to);
    $standby->start;
    $standby->promote;
    return;
}

# A server as new_node makes it, on which pipelines can run.
sub new_decoding_node
{
    my ($name, $emulator, %settings) = @_;
    return new_node($name, $emulator, wal_level => 'logical',
        max_replication_slots => 10, max_wal_senders => 5, %settings);
}

# Create a pipeline, with a stream of its name unless stream => tells another,
# and wait until it streams.  `publications` is a list of names; further options
# are SQL expressions of arguments of firehose_create_pipeline.
sub new_pipeline
{
    my ($node, $dbname, $name, $publications, %options) = @_;
    my $stream = delete $options{stream} // new_stream($node, $name, dbname => $dbname);
    my $list = join('', map { ", $_ => $options{$_}" } sort keys %options);
    my $array = join(',', @$publications);
    $node->safe_psql($dbname,
        "SELECT firehose_create_pipeline('$name', '$stream', '{$array}'$list)");
    wait_state($node, $dbname, $name, 'streaming');
    return $name;
}

sub pipeline_state
{
    my ($node, $dbname, $name) = @_;
    return $node->safe_psql($dbname,
        "SELECT state FROM firehose_stat_pipeline WHERE pipeline = '$name'");
}

sub wait_state
{
    my ($node, $dbname, $name, $state, $timeout) = @_;
    my $seen = '';
    my $held = wait_until("pipeline $name is $state",
        sub { ($seen = pipeline_state($node, $dbname, $name)) eq $state }, $timeout);
    diag("it is '$seen': " . $node->safe_psql($dbname,
            "SELECT concat_ws(' ', reason, last_error) FROM firehose_stat_pipeline WHERE pipeline = '$name'"))
      unless $held;
    return $held;
}

# Wait until a pipeline has confirmed everything committed until now: then all
# of it is acknowledged.
sub wait_confirmed
{
    my ($node, $dbname, $name, $timeout) = @_;
    my $lsn = $node->safe_psql($dbname, q{SELECT pg_logical_emit_message(true, 'marker', '')});
    my $held = wait_until("pipeline $name has confirmed $lsn", sub {
        my ($code, $out) = $node->psql($dbname, "SELECT confirmed_lsn >= '$lsn' AND outstanding = 0
            FROM firehose_stat_pipeline WHERE pipeline = '$name'");
        return $code == 0 && $out eq 't' }, $timeout // 120);
    diag($node->safe_psql($dbname,
            "SELECT to_jsonb(p) FROM firehose_stat_pipeline p WHERE pipeline = '$name'"))
      unless $held;
    return $held;
}

# Process ids of the decoders.
sub decoder_pids
{
    my ($node) = @_;
    my ($code, $out) = $node->psql('postgres',
        q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose decoder' ORDER BY pid});
    return $code == 0 ? split(/\n/, $out) : ();
}

# Private memory of a process in kB, shared memory not counted.
sub worker_memory
{
    my ($pid) = @_;
    open(my $file, '<', "/proc/$pid/status") or return 0;
    my ($kb) = join('', <$file>) =~ /^RssAnon:\s+(\d+) kB/m;
    return $kb // 0;
}

# The events that were stored for a stream, decoded, in order of arrival.
sub events
{
    my ($emulator, $stream) = @_;
    $emulator->control('POST', 'flush');
    return map { $json->decode($_->{data}) }
      grep { $_->{state} ne 'R' } $emulator->records($stream);
}

# The same, each once: what may have been sent again has the id that it had.
sub events_once
{
    my %seen;
    return grep { !$seen{ $_->{id} }++ } events(@_);
}

# The events as short texts: op, table, key or values.  What tests compare with.
sub changes
{
    my ($emulator, $stream, @members) = @_;
    @members = qw(op table after before unchanged) unless @members;
    return map {
        my $event = $_;
        join(' ', map { !defined $event->{$_} ? () : !ref $event->{$_} ? $event->{$_}
                : "$_=" . $json->encode($event->{$_}) } @members)
    } events($emulator, $stream);
}

# Note, again and again, the confirmed position and, a moment later, how much
# the emulator had stored; in a process of its own, until stop_watching.  The
# server may come and go meanwhile.
sub watch_positions
{
    my ($node, $dbname, $name, $emulator) = @_;
    my $file = $emulator->dir . '/positions';
    my $records = Cwd::abs_path($emulator->dir) . '/records.tsv';
    my $script = $emulator->dir . '/watch.sql';
    # both, for the view is what people see and the slot is what counts
    append_to_file($script, <<"SCRIPT");
SELECT greatest(p.confirmed_lsn, s.confirmed_flush_lsn), (pg_stat_file('$records')).size
FROM firehose_stat_pipeline p LEFT JOIN pg_replication_slots s USING (slot_name)
WHERE pipeline = '$name' AND p.confirmed_lsn IS NOT NULL
\\watch 0.01
SCRIPT
    my @command = ('psql', '-XAtq', '-F', ' ', '-d', $node->connstr($dbname), '-f', $script);
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        open(STDOUT, '>>', $file);
        open(STDERR, '>', '/dev/null');
        my $child = 0;
        local $SIG{TERM} = sub { kill('TERM', $child) if $child; POSIX::_exit(0) };
        while (1)
        {
            $child = fork() // POSIX::_exit(1);
            exec(@command) if $child == 0;
            waitpid($child, 0);
            sleep 0.1;
        }
    }
    $watching{$pid} = $$;
    return { pid => $pid, file => $file };
}

# Returns the file, for replay_ok.
sub stop_watching
{
    my ($watch) = @_;
    _end_watch($watch->{pid});
    return $watch->{file};
}

sub _end_watch
{
    my ($pid) = @_;
    return unless delete $watching{$pid};
    kill('TERM', $pid);
    waitpid($pid, 0);
    return;
}

# Keep the exit status of the test that is ending.
END
{
    my $status = $?;
    _end_watch($_) foreach grep { $watching{$_} == $$ } keys %watching;
    $? = $status;
}

# An empty copy of a database's schema without what belongs to the extension, and
# without what rows may break that were there before it: checks that are NOT VALID.
sub new_copy
{
    my ($node, $source, $copy) = @_;
    my $dump = $node->basedir . "/$copy.sql";
    $node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0 "
          . "ENCODING '" . $node->safe_psql($source, 'SHOW server_encoding') . "' LOCALE 'C'");
    $node->command_ok([ 'pg_dump', '--schema-only', '--no-publications',
            '-f', $dump, '-d', $node->connstr($source) ], 'dump the schema');
    my $text = slurp_file($dump);
    # foreign servers are the extension's
    $text =~ s/^(?:CREATE|ALTER|COMMENT ON) SERVER [^;]*;$//mg;
    $text =~ s/^(?:CREATE|COMMENT ON) EXTENSION (?:IF NOT EXISTS )?firehose [^;]*;$//mg;
    # such columns cannot be updated
    $text =~ s/ADD GENERATED \KALWAYS(?= AS IDENTITY)/BY DEFAULT/g;
    open(my $file, '>', $dump) or die "$dump: $!";
    print $file $text;
    close($file);
    $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($copy),
            '-f', $dump ], 'load it into the copy');
    # that of a parent takes those of its children along
    $node->safe_psql($copy, q{
        DO $$
        DECLARE
            c record;
        BEGIN
            LOOP
                SELECT conname, conrelid, contypid INTO c FROM pg_constraint
                WHERE contype = 'c' AND coninhcount = 0 AND connamespace NOT IN ('pg_catalog'::regnamespace,
                    'information_schema'::regnamespace) LIMIT 1;
                EXIT WHEN NOT FOUND;
                IF c.conrelid <> 0 THEN
                    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname);
                ELSE
                    EXECUTE format('ALTER DOMAIN %s DROP CONSTRAINT %I', c.contypid::regtype, c.conname);
                END IF;
            END LOOP;
        END $$});
    return $copy;
}

# Replay what was delivered into an empty copy of a database and assert that
# both are equal; options are those of test/replay/firehose-replay, with a list for
# one that is given several times.
sub replay_ok
{
    my ($name, $node, $dbname, $emulator, $streams, %options) = @_;
    $emulator->control('POST', 'flush');
    my @command = ('/usr/bin/python3', 'test/replay/firehose-replay',
        '--emulator', $emulator->dir, map { ('--stream', $_) } @$streams);
    if ($options{compare} // 1)
    {
        my $copy = new_copy($node, $dbname, "${dbname}_copy");
        push @command, '--source', $node->connstr($dbname), '--copy', $node->connstr($copy);
    }
    delete $options{compare};
    foreach my $option (sort keys %options)
    {
        my $value = $options{$option};
        push @command, map { ("--$option", defined ? $_ : ()) } ref $value ? @$value : $value;
    }
    local $ENV{PGHOST} = $node->host;
    local $ENV{PGPORT} = $node->port;
    my ($out, $err) = ('', '');
    my $equal = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
    ok($equal, "$name: what was delivered is whole, and makes an equal database");
    $equal ? note($out) : diag($out . $err);
    return $out;
}

1;
