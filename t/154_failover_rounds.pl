# Ten rounds with a primary and two standbys, from PostgreSQL 17 on: under four
# writers the primary is killed at a random moment, while the standbys of
# synchronized_standby_slots follow it or have fallen behind, and one of them is
# promoted.  Then its pipelines go on by themselves, the others return, by
# pg_rewind or a new backup, and the next round begins.  Before the first, and
# after every third one, there is a planned switch to a standby and back: with the
# slots of its own that the old primary kept, without them, and with slots that it
# has by synchronization.
#
# After each: all that the new primary has was delivered, as a change and as a
# durable put, nothing else was, an id has one content and a content one id, and
# ids ascend with the commits.  A planned switch repeats nothing.  With --long.
use strict;
use warnings FATAL => 'all';
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FailoverTest;
use FirehoseTest;
use PipelineTest;

needs_failover_slots();
plan skip_all => 'ten rounds take minutes: only with --long' unless is_long();

use constant ROUNDS => 10;
my $seed = $ENV{FIREHOSE_TEST_SEED} // time() % 1_000_000;
srand($seed);
diag('FIREHOSE_TEST_SEED=' . int($seed));

my @names = qw(changes durable_puts);
my $emulator = Emulator->start();
my $primary = new_decoding_node('a', $emulator, failover_settings(), wal_log_hints => 'on',
    max_replication_slots => 40);
my @standbys;
my $made = 0;

sub sql { return $primary->safe_psql('postgres', $_[0]) }

sub pick { return $_[ rand @_ ] }

# Each commit has a change of two tables and a durable put, with the same content.
my $write = q{WITH u AS (UPDATE counters SET n = n + 1, w = md5(random()::text) WHERE client = %s RETURNING client, n, w),
    i AS (INSERT INTO t SELECT client, n, w FROM u RETURNING client, n, w)
    SELECT firehose_put_record('puts', format('%%s %%s %%s', client, n, w)) FROM i};
my $write_once = sprintf($write, 9);

sub start_writers
{
    my $script = $primary->basedir . '/write.sql';
    open(my $file, '>', $script) or die "$script: $!";
    print $file sprintf($write, ':client_id') =~ s/\n//gr, ";\n";
    close($file);
    my ($out, $err) = ('', '');
    my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-j', '2', '-T', '120', '-f', $script,
            '-h', $primary->host, '-p', $primary->port, 'postgres' ], '>', \$out, '2>', \$err);
    my $rows = sql('SELECT count(*) FROM t');
    wait_until('writers write', sub { sql('SELECT count(*) FROM t') > $rows + 100 });
    return $writers;
}

# The processes of a server, the postmaster first.
sub processes
{
    my ($node) = @_;
    my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
    my @children;
    foreach my $status (glob('/proc/[0-9]*/status'))
    {
        # it may be gone by now
        open(my $file, '<', $status) or next;
        my $text = join('', <$file>);
        push @children, $status =~ /(\d+)/ if $text =~ /^PPid:\s+$pid$/m;
    }
    return ($pid, @children);
}

# SIGKILL of all its processes; those that it begins meanwhile are killed, too.
sub kill_all
{
    my ($node) = @_;
    my ($postmaster) = processes($node);
    kill('STOP', $postmaster);
    my (undef, @children) = processes($node);
    kill('KILL', @children);
    $node->kill9;
    wait_until('none of its processes is left', sub { !grep { kill(0, $_) } $postmaster, @children });
    return;
}

# Have a server that was the primary, or is ahead of the new one, follow it.
sub rejoin
{
    my ($node, $how) = @_;
    if ($how eq 'a new backup')
    {
        $node->stop('immediate') if -e $node->data_dir . '/postmaster.pid' && defined $node->{_pid};
        PostgreSQL::Test::Utils::system_log('rm', '-rf', $node->data_dir);
        return new_standby($primary, 's' . ++$made);
    }
    $node->stop if defined $node->{_pid};
    if ($how eq 'pg_rewind')
    {
        # which brings the other server's configuration
        my $conf = slurp_file($node->data_dir . '/postgresql.conf');
        sql('CHECKPOINT');
        $node->command_ok([ 'pg_rewind', '--no-sync', '-D', $node->data_dir, '--source-server', $primary->connstr('postgres') ], 'pg_rewind');
        open(my $file, '>', $node->data_dir . '/postgresql.conf') or die $!;
        print $file $conf;
        close($file);
    }
    follow($node, $primary);
    return $node;
}

sub wait_streaming
{
    my ($since) = @_;
    wait_state($primary, 'postgres', $_, 'streaming') foreach @names;
    diag(sprintf('    streaming %.1f s after the promotion', time() - $since));
    return;
}

# Compare what the primary has with what arrived; returns how often something
# came again.
sub all_ok
{
    my ($what) = @_;
    sql($write_once);
    wait_confirmed($primary, 'postgres', $_) foreach @names;
    $emulator->control('POST', 'flush');
    my %rows = map { $_ => 1 } split /\n/, sql(q{SELECT client || ' ' || n || ' ' || w FROM t});
    my (%content, %id, %puts, %of_client, @wrong);
    my $again = 0;
    foreach my $record (grep { $_->{state} ne 'R' } $emulator->records('changes'))
    {
        # (decoding all of it as JSON takes minutes)
        my ($table, $id) = $record->{data} =~ /"table":"(\w+)","id":"([^"]+)"/ or die "cannot read $record->{data}";
        my ($client, $n, $w) = $record->{data} =~ /"after":\{"client":(\d+),"n":(\d+),"w":"(\w*)"\}/ or die "cannot read $record->{data}";
        my $row = "$client $n $w";
        next if $n == 0;
        push @wrong, "phantom $table $row" unless $rows{$row};
        push @wrong, "$id is $content{$id} and $table $row" if ($content{$id} //= "$table $row") ne "$table $row";
        push @wrong, "$table $row is $id{$table}{$row} and $id" if ($id{$table}{$row} //= $id) ne $id;
        $again++ if $of_client{"$table $client"}{$id};
        $of_client{"$table $client"}{$id} = $n;
    }
    foreach my $of (sort keys %of_client)
    {
        my $last = 0;
        foreach my $id (sort keys %{ $of_client{$of} })
        {
            push @wrong, "$of: $of_client{$of}{$id} after $last by $id" if $of_client{$of}{$id} <= $last;
            $last = $of_client{$of}{$id};
        }
    }
    foreach my $record (grep { $_->{state} ne 'R' } $emulator->records('puts'))
    {
        my $row = $record->{data} =~ s/\n//r;
        push @wrong, "phantom put $row" unless $rows{$row};
        $again++ if $puts{$row}++;
    }
    foreach my $row (keys %rows)
    {
        push @wrong, "lost $_ $row" foreach grep { !$id{$_}{$row} } qw(t counters);
        push @wrong, "lost put $row" unless $puts{$row};
    }
    is(join("\n", @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ]), '', "$what: " . keys(%rows) . " commits, none lost, none invented, ids as promised; $again came again");
    return $again;
}

sub crash_round
{
    my ($candidate, $other) = shuffle(@standbys);
    my $named = pick('both', 'one');
    my $behind = pick('none', 'the promoted', 'the other', 'both');
    my $how = pick('killed', 'stopped at once');
    my $return = pick('pg_rewind', 'a new backup');
    my $next = pick('', $other->name);
    diag('    ' . $primary->name . " is $how, " . $candidate->name . " promoted; standbys named: $named, behind: $behind; returns by $return; then named: '$next'");

    set_conf($primary, synchronized_standby_slots => join(', ', map { $_->name } $candidate, $named eq 'both' ? $other : ()));
    wait_ready($primary, $_, 2, $write_once) foreach @standbys;
    my @stopped = map { $_->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver') }
      $behind eq 'both' ? ($candidate, $other) : $behind eq 'the promoted' ? $candidate : $behind eq 'the other' ? $other : ();
    my $writers = start_writers();
    sleep rand 1.5;
    kill('STOP', @stopped) if @stopped;
    sleep rand 0.7 if @stopped;
    my $rows = sql('SELECT count(*) FROM t');
    $how eq 'killed' ? kill_all($primary) : $primary->stop('immediate');
    kill('CONT', @stopped) if @stopped;
    $writers->finish;

    # what is on its way is received, and the standbys see that no more comes
    wait_until('the standbys are alone', sub { !grep { ask($_, 'SELECT count(*) FROM pg_stat_wal_receiver') ne '0' } @standbys });
    set_conf($candidate, synchronized_standby_slots => $next);
    create_slot($candidate, $other->name);
    my %received = map { $_->name => $_->safe_psql('postgres', q{SELECT pg_last_wal_receive_lsn() - '0/0'}) } @standbys;
    my $old = $primary;
    $primary = $candidate;
    $primary->promote;
    my $since = time();
    wait_streaming($since) if $next eq '';
    diag('    ' . ($rows - sql('SELECT count(*) FROM t')) . ' commits and more went with it');
    @standbys = rejoin($other, $received{ $other->name } > $received{ $candidate->name } ? 'pg_rewind' : 'as it is');
    wait_streaming($since) if $next ne '';
    push @standbys, rejoin($old, $return);
    return;
}

# A planned switch, as docs/operations.md has it; `ready`: slots are synchronized.
sub switch_to
{
    my ($to, $ready) = @_;
    my $old = $primary;
    my ($third) = grep { $_ != $to } @standbys;
    is(sql(q{SELECT firehose_drain('60 s')}), 't', 'drained');
    wait_ready($primary, $to, 2, $write_once) if $ready;
    wait_confirmed($primary, 'postgres', $_) foreach @names;
    wait_until('lag is 0', sub { sql('SELECT coalesce(sum(lag_bytes), 0) FROM firehose_stat_pipeline') == 0 });
    $primary->wait_for_catchup($_, 'replay', $primary->lsn('insert')) foreach @standbys;
    $primary->stop('fast');
    set_conf($to, synchronized_standby_slots => '');
    $to->promote;
    my $since = time();
    $primary = $to;
    wait_streaming($since);
    @standbys = (rejoin($third, 'as it is'), rejoin($old, 'as it is'));
    set_conf($primary, synchronized_standby_slots => join(', ', map { $_->name } @standbys));
    sql($write_once) foreach 1 .. 50;
    return;
}

sub there_and_back
{
    my ($slots) = @_;
    my $home = $primary;
    my $before = all_ok('before a planned switch');
    diag("    planned switch, slots of the old primary: $slots");
    switch_to(pick(@standbys), 1);
    # those that it has by synchronization are in no one's way
    my @own = split /\n/, $home->safe_psql('postgres', q{SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT synced});
    is(scalar(@own), $slots eq 'synchronized' ? 0 : 2, 'the old primary still has its slots');
    wait_until('which stop the synchronization', sub { sql($write_once); logged($home, qr/\Q$own[0]\E" already exists|\Q$own[1]\E" already exists/) }) if @own;
    if ($slots eq 'dropped')
    {
        $home->safe_psql('postgres', "SELECT pg_drop_replication_slot('$_')") foreach @own;
    }
    is(all_ok('there'), $before, 'nothing came again');
    switch_to($home, $slots ne 'kept');
    is(all_ok('and back'), $before, 'nor did it on the way back');
    return;
}

sql(q{CREATE TABLE t (client int, n bigint, w text, PRIMARY KEY (client, n));
    CREATE TABLE counters (client int PRIMARY KEY, n bigint, w text);
    INSERT INTO counters SELECT c, 0, '' FROM generate_series(0, 9) c; CREATE PUBLICATION p FOR TABLE t, counters});
new_stream($primary, 'puts');
new_pipeline($primary, 'postgres', 'changes', ['p'], copy_data => 'false');
sql('SELECT firehose_enable_durable_puts()');
wait_state($primary, 'postgres', 'durable_puts', 'streaming');
$emulator->fault('fail_records', { probability => 0.05 }, { seed => int($seed) });
@standbys = map { new_standby($primary, $_) } qw(b c);

there_and_back($_) foreach qw(kept dropped);
foreach my $round (1 .. ROUNDS)
{
    diag("round $round");
    crash_round();
    all_ok("round $round");
    there_and_back('synchronized') if $round % 3 == 0;
}

$_->stop('immediate') foreach @standbys;
$primary->stop('immediate');
done_testing();
