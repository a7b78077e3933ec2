# pg_upgrade of a server with a pipeline and durable puts, which has delivered all,
# or owes something.
#
# A saved queue would be left behind, so pg_upgrade is refused until it is sent or
# put elsewhere; then it can be loaded.  Up to 16 pg_upgrade leaves replication
# slots behind: each pipeline is paused in the new server, says why, and is not
# resumed as if nothing had been left out.  What it owed the old server still has,
# and sends if it is started again.  From 17 on slots are moved, pipelines go on by
# themselves, and a slot that owes something is refused.  Ids ascend in all cases,
# streams, dead letters and pipelines come along, and no worker writes while
# pg_upgrade runs.
#
# The old server is of the same version, unless OLD_PG_CONFIG is another's; see
# scripts/test-upgrade.
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
use ServerCopy;

my $old_pg_config = Cwd::abs_path($ENV{OLD_PG_CONFIG} || $ENV{PG_CONFIG});
my ($major, $old_major) = map { `$_ --version` =~ /(\d+)/ } $ENV{PG_CONFIG}, $old_pg_config;
my ($bindir, $old_bindir) = map { pg_config_value($_, 'bindir') } $ENV{PG_CONFIG}, $old_pg_config;
my $moves_slots = $old_major >= 17;
# what the old server lacks on this machine
my ($libraries) = map { "$_/libraries" } $old_bindir =~ m{^(.*)/usr/lib/postgresql/};
$ENV{LD_LIBRARY_PATH} = $libraries if defined $libraries && -d $libraries;
diag("from PostgreSQL $old_major to $major") if $old_major != $major;

my $emulator = Emulator->start();

sub sql { my ($on, $query) = @_; return $on->safe_psql('postgres', $query) }

sub new_old_server
{
    my ($name) = @_;
    my $old = new_decoding_node($name, $emulator, 'autovacuum' => 'off',
        $old_major == $major ? () : (install_path => $old_bindir =~ s{/bin$}{}r));
    sql($old, q{
        CREATE TABLE t (a int PRIMARY KEY, b text);
        CREATE PUBLICATION p FOR TABLE t;
        CREATE SERVER clicks FOREIGN DATA WRAPPER firehose});
    new_pipeline($old, 'postgres', 'changes', ['p']);
    sql($old, 'SELECT firehose_enable_durable_puts()');
    wait_state($old, 'postgres', 'durable_puts', 'streaming');
    return $old;
}

# An empty server with the settings of an old one.
sub new_server
{
    my ($name, $old) = @_;
    my $new = PostgreSQL::Test::Cluster->new($name);
    $new->init($major >= 18 && $old_major < 18 ? (extra => ['--no-data-checksums']) : ());
    # all but what init has written, and the credentials, are settings of the test
    my ($settings) = slurp_file($old->data_dir . '/postgresql.conf') =~ /^(autovacuum = .*)\z/ms;
    $new->append_conf('postgresql.conf', $settings);
    return $new;
}

# Run pg_upgrade; returns whether it ended well, and what it and its servers said.
sub upgrade
{
    my ($old, $new) = @_;
    # it writes into the directory that it is run in
    my ($here, $from, $to) = map { Cwd::abs_path($_) } '.', $old->data_dir, $new->data_dir;
    chdir($new->basedir) or die;
    my ($code, $output) = run_shell(join(' ', "$bindir/pg_upgrade", '--no-sync', '-d', $from, '-D', $to, '-b', $old_bindir, '-B', $bindir,
            '-s', $new->host, '-p', $old->port, '-P', $new->port));
    chdir($here) or die;
    $output .= "\n" . slurp_file($_) foreach glob("$to/pg_upgrade_output.d/*/*.txt $to/pg_upgrade_output.d/*/log/*_server.log");
    return ($code == 0, $output);
}

sub upgrade_ok
{
    my ($old, $new) = @_;
    my ($done, $output) = upgrade($old, $new);
    ok($done, 'pg_upgrade') or diag(join("\n", grep { !/statement:/ } split /\n/, $output));
    return;
}

# The pipelines of a new server whose old one left its slots behind.
sub paused_ok
{
    my ($new) = @_;
    wait_state($new, 'postgres', $_, 'paused') foreach qw(changes durable_puts);
    foreach my $name (qw(changes durable_puts))
    {
        my ($code, $out, $error) = $new->psql('postgres', qq{SELECT firehose_resume_pipeline('$name')});
        like($error, qr/has left its replication slot on another server.*committed there after [0-9A-F]+\/[0-9A-F]+.*from_now => true/s, "$name is not resumed as if nothing were left out");
    }
    my ($code, $out, $error) = $new->psql('postgres', q{SELECT firehose_put_record('clicks', 'x')});
    like($error, qr/durable puts are not enabled.*firehose_enable_durable_puts\(\)/s, 'a durable put says what to do');
    is(sql($new, q{SELECT count(*) FROM firehose_doctor() WHERE subject LIKE 'pipeline %' AND state <> 'ok'}), '2', 'the doctor finds both');
    return;
}

sub resume_from_now
{
    my ($new) = @_;
    sql($new, qq{SELECT firehose_resume_pipeline('$_', from_now => true)}) foreach qw(changes durable_puts);
    return;
}

# What arrived of the table, once each and with ascending ids.
sub events_ok
{
    my ($what, @expected) = @_;
    my @events = events($emulator, 'changes');
    is(join(' ', map { $_->{after}{a} } @events), join(' ', @expected), $what);
    return is_deeply([ map { $_->{id} } @events ], [ sort map { $_->{id} } @events ], 'ids ascend');
}

sub clicks_ok
{
    my ($what, @expected) = @_;
    return is(join(' ', map { $_->{data} =~ s/\n//r } $emulator->records('clicks')), join(' ', @expected), $what);
}

subtest 'a server that has delivered all but its queue' => sub {
    my $old = new_old_server('old');
    my $new = new_server('new', $old);
    sql($old, q{INSERT INTO t SELECT n, 'old' FROM generate_series(1, 10) n});
    sql($old, q{SELECT firehose_put_record('clicks', 'old')});
    wait_confirmed($old, 'postgres', $_) foreach qw(changes durable_puts);
    is(sql($old, q{SELECT firehose_drain('60 s')}), 't', 'everything is delivered before');
    my $delivered = $emulator->records('changes') + $emulator->records('clicks');
    # what its queue still has at the end
    new_stream($old, 'late', paused => 'true');
    sql($old, q{SET firehose.put_durability = memory; SELECT firehose_put_record('late', 'saved')});
    $old->stop;

    my $queue = $old->data_dir . '/pg_firehose/queue';
    my ($done, $said) = upgrade($old, $new);
    ok(!$done, 'pg_upgrade is refused');
    like($said, qr/FATAL:  firehose: pg_upgrade would leave the saved queue behind\n.*HINT: .*firehose_drain\(\).*move the file/s, 'the log of its server says why, and what to do');
    ok(-e $queue, 'the queue is still there');
    File::Copy::move($queue, $old->basedir . '/queue') or die $!;

    upgrade_ok($old, $new);
    $new->start;
    is(sql($new, 'SHOW firehose.put_durability'), 'wal', 'the default of the database is kept');
    if (!$moves_slots)
    {
        paused_ok($new);
        sql($new, "INSERT INTO t VALUES (11, 'paused')");
        resume_from_now($new);
    }
    wait_state($new, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    is($emulator->records('changes') + $emulator->records('clicks'), $delivered, 'nothing is sent again');
    sql($new, q{INSERT INTO t SELECT n, 'new' FROM generate_series(21, 30) n});
    sql($new, q{SELECT firehose_put_record('clicks', 'new')});
    wait_confirmed($new, 'postgres', $_) foreach qw(changes durable_puts);
    is(sql($new, 'SELECT count(*) FROM firehose_dead_letter'), '0', 'no dead letters');
    events_ok('what is committed then arrives', 1 .. 10, 21 .. 30);
    clicks_ok('durable puts, too', 'old', 'new');

    # the queue of the old one, as docs/operations.md has it
    File::Copy::copy($old->basedir . '/queue', $new->data_dir . '/pg_firehose/queue.old') or die $!;
    my ($code, $out, $error) = $new->psql('postgres', q{SELECT * FROM firehose_load_saved_queue('queue.old')});
    like($error, qr/was written by another cluster.*from_database => OID/s, 'a saved queue of the old server is not loaded as if it were of this one');
    is(sql($new, q{SELECT stream, records, loaded FROM firehose_load_saved_queue('queue.old',
        from_database => (SELECT oid FROM pg_database WHERE datname = current_database()))}), 'late|1|1', 'but on command');
    sql($new, q{ALTER SERVER late OPTIONS (DROP paused)});
    wait_until('it arrives', sub { join('', map { $_->{data} } $emulator->records('late')) eq "saved\n" });
    $new->stop;
};

subtest 'a server that owes changes, durable puts and memory puts' => sub {
    $emulator->reset;
    my $old = new_old_server('owing');
    my $new = new_server('heir', $old);
    sql($old, q{INSERT INTO t SELECT n, 'old' FROM generate_series(1, 5) n});
    wait_confirmed($old, 'postgres', $_) foreach qw(changes durable_puts);
    alter_settings($old, 'firehose.enabled' => 'off');
    sql($old, q{INSERT INTO t SELECT n, 'owed' FROM generate_series(6, 10) n});
    sql($old, q{SELECT firehose_put_record('clicks', 'durable')});
    sql($old, q{SET firehose.put_durability = memory; SELECT firehose_put_record('clicks', 'memory')});
    $old->stop;

    my ($done, $said) = upgrade($old, $new);
    ok(!$done, 'pg_upgrade is refused, whatever else is owed');
    like($said, qr/pg_upgrade would leave the saved queue behind/, 'for the queue');
    File::Copy::move($old->data_dir . '/pg_firehose/queue', $old->basedir . '/queue') or die $!;

    if ($moves_slots)
    {
        ($done, $said) = upgrade($old, $new);
        ok(!$done, 'pg_upgrade is refused again');
        like($said, qr/slot "$_" has not consumed the WAL yet/, 'for a slot that owes something')
          foreach split /\n/, _slots($old);
    }
    else
    {
        upgrade_ok($old, $new);
        $new->start;
        paused_ok($new);
    }
    # the old server still has what it owes
    File::Copy::move($old->basedir . '/queue', $old->data_dir . '/pg_firehose/queue') or die $!;
    append_to_file($old->data_dir . '/postgresql.auto.conf', "firehose.enabled = on\n");
    $new->stop if -e $new->data_dir . '/postmaster.pid';
    $old->start;
    wait_confirmed($old, 'postgres', $_) foreach qw(changes durable_puts);
    is(sql($old, q{SELECT firehose_drain('60 s')}), 't', 'started again, it sends all');
    $old->stop;
    events_ok('changes', 1 .. 10);
    is(join(' ', sort map { $_->{data} =~ s/\n//r } $emulator->records('clicks')), 'durable memory', 'and puts');

    upgrade_ok($old, $new) if $moves_slots;
    $new->start;
    alter_settings($new, 'firehose.enabled' => 'on');
    resume_from_now($new) unless $moves_slots;
    wait_state($new, 'postgres', $_, 'streaming') foreach qw(changes durable_puts);
    sql($new, q{INSERT INTO t SELECT n, 'new' FROM generate_series(11, 15) n});
    sql($new, q{SELECT firehose_put_record('clicks', 'new')});
    wait_confirmed($new, 'postgres', $_) foreach qw(changes durable_puts);
    events_ok('nothing is lost or sent again', 1 .. 15);
    is(join(' ', sort map { $_->{data} =~ s/\n//r } $emulator->records('clicks')), 'durable memory new', 'nor a put');
    $new->stop;
};

# The names of a stopped server's slots.
sub _slots
{
    my ($on) = @_;
    return join("\n", map { s{.*/}{}r } glob($on->data_dir . '/pg_replslot/*'));
}

done_testing();
