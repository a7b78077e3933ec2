# A cluster of three that Patroni keeps, under writers, configured as
# docs/operations.md has it: a switchover there and back; the leader and its Patroni
# are killed, and come back; a member made anew, and switched to.  Pipelines and
# durable puts go on by themselves, nothing that was committed is missing, and no
# id is that of two rows.  From PostgreSQL 17 on, with failover slots, nothing is
# delivered either that the new leader does not have; before, Patroni's permanent
# slots cannot promise that.  With --long.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;
use Patroni;
use PipelineTest;

my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
plan skip_all => 'minutes of waiting for failovers: only with --long' unless is_long();
plan skip_all => Patroni::missing() if Patroni::missing();

my $has_failover_slots = $major >= 17;
my @names = qw(one two three);
my @pipelines = qw(changes durable_puts);
my $emulator = Emulator->start();
my $credentials = $emulator->dir . '/credentials';
append_to_file($credentials, "[default]\naws_access_key_id = $Emulator::ACCESS_KEY\naws_secret_access_key = $Emulator::SECRET_KEY\n");
chmod 0600, $credentials or die "$credentials: $!";

# docs/operations.md has the script
sub drop_own_slots
{
    my ($node) = @_;
    my ($script) = slurp_file('docs/operations.md') =~ /^(    #!\/bin\/sh\n(?:    .*\n|\n)*)/m or die 'no script in docs/operations.md';
    my $file = $emulator->dir . '/drop_own_slots.' . $node->name;
    append_to_file($file, $script =~ s/^    //gmr =~ s{^psql }{"env PGHOST=" . $node->host . ' PGPORT=' . $node->port . " psql "}mer);
    chmod 0755, $file or die "$file: $!";
    return $file;
}

my $cluster = Patroni->start_cluster(
    names => \@names,
    dcs => {
        ttl => 30, loop_wait => 1, retry_timeout => 10, maximum_lag_on_failover => 67108864,
        $has_failover_slots ? (ignore_slots => [ { type => 'logical', plugin => 'pgoutput' } ]) : (),
        postgresql => {
            use_pg_rewind => JSON::PP::true, use_slots => JSON::PP::true,
            parameters => {
                wal_level => 'logical', max_wal_senders => 20, max_replication_slots => 20, max_worker_processes => 20,
                wal_keep_size => '256MB', hot_standby_feedback => 'on', wal_receiver_status_interval => 1,
                shared_preload_libraries => 'firehose',
                $has_failover_slots ? (sync_replication_slots => 'on') : (),
                'firehose.region' => 'us-east-1', 'firehose.endpoint_url' => $emulator->url,
                'firehose.allowed_endpoints' => 'http://127.0.0.1:*', 'firehose.credentials_file' => $credentials } } },
    parameters => sub {
        my ($name) = @_;
        return $has_failover_slots ? (synchronized_standby_slots => join(',', grep { $_ ne $name } @names)) : ();
    },
    postgresql => sub {
        my ($node) = @_;
        return () unless $has_failover_slots;
        my $script = drop_own_slots($node);
        return (callbacks => { on_start => $script, on_role_change => $script });
    });
my $leader = $cluster->leader;
my $node = $cluster->node($leader);

sub sql { return $node->safe_psql('postgres', @_) }

# Writers that follow the leader: a row, a durable put of it, and one in memory.
my $script = $emulator->dir . '/writer.sql';
append_to_file($script, <<'SQL');
BEGIN;
WITH r AS (INSERT INTO t DEFAULT VALUES RETURNING id, w)
SELECT id, firehose_put_text('durable', id || ' ' || w) AS put FROM r \gset
SET LOCAL firehose.put_durability = memory;
SELECT firehose_put_text('memory', ':id');
COMMIT;
SQL
my $writers;

sub start_writers
{
    my $to = 'dbname=postgres target_session_attrs=read-write connect_timeout=5 host='
      . join(',', map { $cluster->node($_)->host } @names) . ' port=' . join(',', map { $cluster->node($_)->port } @names);
    local $ENV{PGAPPNAME} = 'writer';
    my @command = ('pgbench', '-n', '-c', 3, '-j', 1, '-R', 60, '-T', 3600, '-f', $script, $to);
    my $rows = sql('SELECT count(*) FROM t');
    $writers = fork() // die "cannot fork: $!";
    if ($writers == 0)
    {
        open(STDOUT, '>>', $emulator->dir . '/writers.log');
        open(STDERR, '>&', \*STDOUT);
        my $child = 0;
        local $SIG{TERM} = sub { kill('TERM', $child) if $child; POSIX::_exit(0) };
        while (getppid() != 1)
        {
            $child = fork() // POSIX::_exit(1);
            exec(@command) or POSIX::_exit(127) if $child == 0;
            waitpid($child, 0);
            sleep 0.2;
        }
        POSIX::_exit(0);
    }
    return wait_until('writers write', sub { sql('SELECT count(*) FROM t') > $rows + 50 });
}

sub stop_writers
{
    return unless $writers;
    kill('TERM', $writers);
    waitpid($writers, 0);
    $writers = undef;
    return;
}

END
{
    my $status = $?;
    stop_writers();
    $? = $status;
}

# All standbys have the slots, so that any of them can lead, and where the server
# synchronizes them, it does: a slot of a member's own would be ready, too, and
# end that.
sub wait_ready
{
    my $ready = $has_failover_slots ? 'ready AND synced' : 'ready';
    return wait_until('the slots are ready on all standbys', sub {
            # each pipeline's slot moves when something of its own is delivered
            sql(q{WITH r AS (INSERT INTO t DEFAULT VALUES RETURNING id, w) SELECT firehose_put_text('durable', id || ' ' || w) FROM r}) unless $writers;
            sql('SELECT pg_log_standby_snapshot()') if $has_failover_slots;
            sleep 0.3;
            !grep { ask($cluster->node($_), "SELECT count(*) FROM firehose_stat_pipeline WHERE $ready") ne '2' } grep { $_ ne $leader } @names }, 240)
      || diag(join("\n", map { "$_: " . ask($cluster->node($_), 'SELECT json_agg(s) FROM (SELECT pipeline, state, reason, failover, synced, ready FROM firehose_stat_pipeline) s') } @names));
}

# What of a stream is wrong: lost, invented, or a row under two ids.
sub wrong_events
{
    my ($rows) = @_;
    my (%of_id, %id_of, @phantoms, @wrong);
    foreach my $event (events($emulator, 'changes'))
    {
        my $row = "$event->{after}{id} $event->{after}{w}";
        push @wrong, "id $event->{id}: $of_id{$event->{id}} and $row" if ($of_id{ $event->{id} } //= $row) ne $row;
        push @wrong, "$row: $id_of{$row} and $event->{id}" if ($id_of{$row} //= $event->{id}) ne $event->{id};
    }
    @phantoms = grep { !$rows->{$_} } keys %id_of;
    push @wrong, map { "lost: $_" } grep { !$id_of{$_} } keys %$rows;
    return (\@phantoms, @wrong);
}

sub wrong_puts
{
    my ($rows) = @_;
    my %arrived;
    $arrived{ $_->{data} =~ s/\n\z//r }++ foreach $emulator->records('durable');
    return ([ grep { !$rows->{$_} } keys %arrived ], map { "lost put: $_" } grep { $rows->{$_} && !$arrived{$_} } keys %$rows);
}

my ($audited, $memory_lost) = (0, 0);

# Writers pause, and all that is committed has arrived.
sub audit_all
{
    my ($what) = @_;
    stop_writers();
    $node = $cluster->node($leader = $cluster->wait_leader);
    wait_state($node, 'postgres', $_, 'streaming', 120) foreach @pipelines;
    wait_confirmed($node, 'postgres', $_) foreach @pipelines;
    is(sql(q{SELECT firehose_drain('60 s')}), 't', 'drained');
    my %rows = map { ("$_" => 1) } split /\n/, sql(q{SELECT id || ' ' || w FROM t});
    my @put = split /\n/, sql(q{SELECT id FROM t WHERE by = 'writer'});
    cmp_ok(scalar @put, '>', 50, 'there were writers');
    my ($phantoms, @wrong) = wrong_events(\%rows);
    my ($phantom_puts, @wrong_puts) = wrong_puts(\%rows);
    push @wrong, @wrong_puts;
    push @wrong, map { "phantom: $_" } @$phantoms, @$phantom_puts if $has_failover_slots;
    is(join(', ', @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ]), '', "$what: " . keys(%rows) . ' rows, none lost, twice or invented');
    my %memory;
    $memory{ $_->{data} =~ s/\n\z//r }++ foreach $emulator->records('memory');
    my $lost = grep { !$memory{$_} } @put;
    diag(sprintf '%s: %d rows, %d events, %d durable puts arrived, %d of memory lost, %d + %d that the leader does not have',
        $what, scalar keys %rows, scalar(() = events($emulator, 'changes')), scalar(() = $emulator->records('durable')),
        $lost - $memory_lost, scalar @$phantoms, scalar @$phantom_puts);
    (my $before, $memory_lost) = ($memory_lost, $lost);
    return $lost - $before;
}

sub switch_to
{
    my ($candidate) = @_;
    my $old = $leader;
    $cluster->ctl('switchover', 'cluster', '--leader', $old, '--candidate', $candidate, '--force');
    is($leader = $cluster->wait_leader($old), $candidate, "$candidate leads");
    $node = $cluster->node($leader);
    $cluster->wait_members();
    wait_state($node, 'postgres', $_, 'streaming', 120) foreach @pipelines;
    return wait_ready();
}

sql(q{CREATE EXTENSION firehose;
    CREATE TABLE t (id bigserial PRIMARY KEY, w text DEFAULT md5(random()::text), by text DEFAULT current_setting('application_name'));
    CREATE PUBLICATION p FOR TABLE t});
new_stream($node, $_) foreach qw(durable memory);
new_pipeline($node, 'postgres', 'changes', ['p'], copy_data => 'false');
sql('SELECT firehose_enable_durable_puts()');
wait_state($node, 'postgres', 'durable_puts', 'streaming');
if (!$has_failover_slots)
{
    my @slots = split /\n/, sql('SELECT slot_name FROM firehose_stat_pipeline');
    $cluster->patch_config({ slots => { map { $_ => { type => 'logical', database => 'postgres', plugin => 'pgoutput' } } @slots } });
}
wait_ready();
start_writers();
audit_all('at the start');

# First, because this leader has made its slots itself: those that a member had as a
# standby are synchronized ones, and in no one's way when it follows again.
my $home = $leader;
subtest 'a switchover under writers' => sub {
    start_writers();
    my ($candidate) = grep { $_ ne $leader } @names;
    switch_to($candidate);
    audit_all('after a switchover');
};

subtest 'and back, drained' => sub {
    start_writers();
    stop_writers();
    is(sql(q{SELECT firehose_drain('60 s')}), 't', 'drained');
    switch_to($home);
    is(audit_all('after a drained switchover'), 0, 'no memory put is lost');
};

subtest 'the leader dies' => sub {
    start_writers();
    my $dead = $leader;
    $cluster->crash($dead);
    $leader = $cluster->wait_leader($dead);
    $node = $cluster->node($leader);
    my $rows = sql('SELECT count(*) FROM t');
    wait_until('writers go on', sub { sql('SELECT count(*) FROM t') > $rows + 50 });
    if ($has_failover_slots)
    {
        wait_state($node, 'postgres', $_, 'waiting') foreach @pipelines;
        like(sql(q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'changes'}), qr/slot "$dead" of synchronized_standby_slots/, 'the reason names the slot of the dead');
    }
    else
    {
        wait_state($node, 'postgres', $_, 'streaming') foreach @pipelines;
    }
    $cluster->start($dead);
    $cluster->wait_members();
    wait_state($node, 'postgres', $_, 'streaming') foreach @pipelines;
    wait_ready();
    audit_all('after the death of the leader');
};

subtest 'a member is made anew' => sub {
    start_writers();
    my ($member) = grep { $_ ne $leader } @names;
    $cluster->ctl('reinit', 'cluster', $member, '--force', '--wait');
    $cluster->wait_members();
    wait_ready();
    switch_to($member);
    audit_all('after a switch to it');
};

subtest 'the leader dies once more' => sub {
    start_writers();
    my $dead = $leader;
    $cluster->crash($dead);
    $cluster->start($dead);    # at once: it may lead again
    $node = $cluster->node($leader = $cluster->wait_leader);
    $cluster->wait_members();
    wait_ready();
    audit_all('after the second death of a leader');
};

is(sql(q{SELECT count(*) FROM firehose_doctor() WHERE subject LIKE 'pipeline %' AND state NOT IN ('ok')}), '0', 'the doctor finds nothing');
$cluster->stop;
done_testing();
