# Nothing that lies where the saved queue should lie keeps the server from
# starting: a file cut short, damaged, of another cluster or version, with the
# right checksum over wrong counts, one that is larger than the queue, a
# directory, a pipe.  It is set aside with the reason in the log, nothing of it
# is in the queue, and the server takes puts.  A good file is loaded whole, with
# records of every size, into as many pieces as it takes.
use strict;
use warnings FATAL => 'all';
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use SavedQueue;

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '16MB');
my $file = $node->data_dir . '/pg_firehose/queue';
my $queued = 'SELECT coalesce(sum(queued), 0) FROM firehose_stat_stream';

sub write_queue { return write_bytes($file, @_) }

# nothing is sent for the time being
alter_settings($node, 'firehose.enabled' => 'off');
new_stream($node, $_) foreach qw(first second);
my @small = put_numbered($node, 'first', 1, 10);
push @small, put_numbered($node, 'second', 11, 12, size => 300);
$node->stop('fast');
my $good = slurp_file($file);

my @cases = (
    ['an empty file', sub { write_queue('') }, 'it is cut short'],
    ['another magic', sub { write_queue(changed_queue($good, 0, 'FHQ1')) }, 'it is not a saved queue'],
    ['another version', sub { write_queue(changed_queue($good, 4, pack('L', 9))) },
        'it was written by another version of firehose'],
    ['another cluster', sub { write_queue(changed_queue($good, 8, pack('Q', 1))) },
        'it was written by another cluster'],
    ['another timeline', sub { write_queue(changed_queue($good, 16, pack('L', 77))) },
        'it was written on another timeline'],
    ['a byte that has changed', sub { my $bad = $good; substr($bad, 150, 1) ^= "\1"; write_queue($bad) },
        'its checksum is wrong'],
    ['a file cut short', sub { write_queue(substr($good, 0, -40)) }, 'it is cut short'],
    ['a file that goes on', sub { write_queue($good . 'x') }, 'it is longer than it says'],
    ['too many streams', sub { write_queue(changed_queue($good, 20, pack('L', 3))) }, 'it is cut short'],
    ['more records than bytes', sub { write_queue(changed_queue($good, 40, pack('Q', 12))) },
        'its counts and lengths contradict each other'],
    ['a huge number of records',
        sub { write_queue(changed_queue(changed_queue($good, 24, pack('Q', 2**53)), 40, pack('Q', 2**52))) },
        'its counts and lengths contradict each other'],
    ['a huge number of bytes', sub { write_queue(changed_queue($good, 48, pack('Q', 2**62))) },
        'its counts and lengths contradict each other'],
    ['a huge record', sub { write_queue(changed_queue($good, 124, pack('L', 0xfffffff0))) },
        'its counts and lengths contradict each other'],
    ['another kind of record', sub { write_queue(changed_queue($good, 120, "\1")) },
        'its counts and lengths contradict each other'],
    ['a sparse file of 100 GB', sub { write_queue($good); truncate($file, 100 * 2**30) or die $! },
        'it is larger than firehose.queue_size'],
    ['a directory', sub { mkdir $file or die $! }, 'it is not a regular file'],
    ['a pipe', sub { POSIX::mkfifo($file, 0600) or die $! }, 'it is not a regular file'],
    ['a link', sub { symlink('/dev/zero', $file) or die $! }, 'it cannot be read'],
);
unlink $file;
my $refused = 0;
foreach my $case (@cases)
{
    my ($name, $make, $reason) = @$case;
    my $offset = -s $node->logfile;
    $make->();
    ok($node->start(fail_ok => 1), "$name: the server starts") or last;
    like(slurp_file($node->logfile, $offset),
        qr/saved queue file was not loaded: \Q$reason\E\n/, "$name: $reason");
    is($node->safe_psql('postgres', $queued), '0', "$name: nothing of it is queued");
    my $aside = "$file.refused" . ($refused++ ? '.' . ($refused - 1) : '');
    ok(-e $aside || -l $aside, "$name: it is kept");
    $node->stop('fast');
}

# the good one, given another chance
write_queue($good);
$node->start;
is($node->safe_psql('postgres', $queued), '12', 'a good file is loaded');
my @large = map { put_numbered($node, 'second', $_, $_, size => 1_023_999) } 101 .. 108;
push @small, put_numbered($node, 'first', 201, 5200, size => 200);
$node->restart;
is($node->safe_psql('postgres', $queued), '5020', 'and a larger one');
alter_settings($node, 'firehose.enabled' => 'on');
wait_delivered($node, 120);
audit_ok('first', $emulator, 'first', [ grep { /^n\d+\n|x{100}/ && !/x{250}/ } @small ]);
audit_ok('second', $emulator, 'second', [ (grep { /x{250}/ } @small), @large ]);

# where the record ids' file cannot be written, puts say what is to be done
$node->stop('fast');
unlink $node->data_dir . '/pg_firehose/ids';
mkdir $node->data_dir . '/pg_firehose/ids.tmp' or die $!;
$node->start;
my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_put_record('first', 'x')});
like($error, qr/could not write file "pg_firehose\/ids.tmp": .*\nHINT: .*pg_firehose/, 'the ids file cannot be written: a hint');
rmdir $node->data_dir . '/pg_firehose/ids.tmp' or die $!;
is($node->psql('postgres', q{SELECT firehose_put_record('first', 'y')}), 0, 'and then it can');

$node->stop;
done_testing();
