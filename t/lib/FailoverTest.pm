# What the tests of failover share: standbys that synchronize slots, their way
# from one primary to another, and the waiting until they are ready.
package FailoverTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use FirehoseTest;

our @EXPORT = qw(
  needs_failover_slots failover_settings
  new_standby follow set_conf create_slot
  wait_ready switches reason_of
);

# Skip the whole file where slots cannot be synchronized.
sub needs_failover_slots
{
    my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
    plan(skip_all => 'failover slots need PostgreSQL 17') if $major < 17;
    return;
}

# Settings with which a server may be any of primary and standby.
sub failover_settings
{
    return (max_wal_senders => 10, wal_keep_size => '256MB', 'firehose.source' => 'cluster',
        hot_standby_feedback => 'on', sync_replication_slots => 'on', wal_receiver_status_interval => 1,
        wal_retrieve_retry_interval => '100ms');
}

# Write settings into a server's file, where the last ones count, and have it
# read the file if it runs.
sub set_conf
{
    my ($node, %settings) = @_;
    $node->append_conf('postgresql.conf', join('', map { "$_ = '$settings{$_}'\n" } sort keys %settings));
    $node->reload if -e $node->data_dir . '/postmaster.pid';
    return;
}

# Make a physical slot, unless there is one of this name.
sub create_slot
{
    my ($node, $name) = @_;
    $node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('$name', true)
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$name')");
    return;
}

# Start a server as the standby of another one, by a slot of its name.
sub follow
{
    my ($standby, $primary) = @_;
    my $name = $standby->name;
    set_conf($standby, primary_slot_name => $name,
        primary_conninfo => 'host=' . $primary->host . ' port=' . $primary->port . " dbname=postgres application_name=$name");
    $standby->set_standby_mode;
    create_slot($primary, $name);
    $standby->start;
    return;
}

# Make a standby of a server.
sub new_standby
{
    my ($primary, $name) = @_;
    my $standby = PostgreSQL::Test::Cluster->new($name);
    $primary->backup($name);
    $standby->init_from_backup($primary, $name);
    follow($standby, $primary);
    return $standby;
}

# Slots are synchronized once they have moved, so this SQL writes something.
sub wait_ready
{
    my ($primary, $standby, $n, $write) = @_;
    return wait_until("$n slots are ready on " . $standby->name, sub {
        $primary->safe_psql('postgres', "$write; SELECT pg_log_standby_snapshot()");
        sleep 0.2;
        ask($standby, 'SELECT count(*) FROM firehose_stat_pipeline WHERE failover AND synced AND ready') eq $n });
}

# How often a process has slept so far.
sub switches
{
    my ($pid) = @_;
    return slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die;
}

sub reason_of
{
    my ($node, $name) = @_;
    return $node->safe_psql('postgres', "SELECT state || ': ' || coalesce(reason, '') FROM firehose_stat_pipeline WHERE pipeline = '$name'");
}

1;
