# A standby never sends: it has no launcher and no sender until it is promoted,
# and then both.  What it saved when it was a primary it neither sends nor loses.  The
# ids of its records are above those of its primary, although that started later.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use Test::More;

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $primary = new_node('primary', $emulator, wal_level => 'replica', max_wal_senders => 3,
    hot_standby => 'on', wal_retrieve_retry_interval => '100ms');
wait_until('the primary has a sender', sub { sender_pids($primary) == 1 });

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->safe_psql('postgres', 'CREATE DATABASE app');
$primary->safe_psql('app', 'CREATE EXTENSION firehose');
wait_until('the primary has two', sub { sender_pids($primary) == 2 });
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'firehose%'};
is($standby->safe_psql('postgres', $workers), '0', 'the standby has neither launcher nor sender');

# (a start takes ids from the clock on)
$primary->restart;
new_stream($primary, 'saved');
$emulator->fault('hang_before_processing');
put_numbered($primary, 'saved', 1, 10);
my $put = q{SELECT firehose_put_record('saved', 'x', false)};
my $last = $primary->safe_psql('postgres', $put);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$primary->stop;
$standby->promote;
wait_until('after promotion it has two senders', sub { sender_pids($standby) == 2 }, 30);
cmp_ok($standby->safe_psql('postgres', $put), '>', $last, 'its ids are above those of its primary');

$standby->stop;

my $saved = $primary->data_dir . '/pg_firehose/queue';
ok(-s $saved, 'the primary has saved its queue');
my $size = -s $saved;
$primary->set_standby_mode;
$primary->start;
$primary->promote;
wait_until('as a standby that is promoted it has senders', sub { sender_pids($primary) == 2 }, 30);
is(-s "$saved.refused", $size, 'what it had saved is set aside');
ok(!-e $saved, 'and only there');
$primary->stop;
done_testing();
