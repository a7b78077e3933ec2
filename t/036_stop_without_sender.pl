# A server whose sender cannot be loaded stops as fast as any other, whether
# sending is on, off, or switched off or on at that moment; what was put is in
# the saved queue, and arrives when the library is whole again.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $installed = `$ENV{PG_CONFIG} --pkglibdir`;
chomp $installed;

# a library that misses a symbol, before the one that is installed
my $library = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
open(my $source, '>', "$library/broken.c") or die $!;
print $source "extern int firehose_missing(void);\nint firehose_sender_main(void) { return firehose_missing(); }\n";
close($source) or die $!;
is(system("cc -shared -fPIC -o '$library/firehose_sender.so' '$library/broken.c'"), 0, 'a broken library');

my $node = new_node('main', $emulator, dynamic_library_path => "$library:\$libdir");
new_stream($node, 'clicks');
wait_for_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'firehose launcher'}, 1);

my @committed;
my ($slowest, $rounds) = (0, is_long() ? 30 : 6);
foreach my $round (1 .. $rounds)
{
    push @committed, put_numbered($node, 'clicks', $round * 10, $round * 10 + 9);
    wait_for_sql($node, q{SELECT state FROM firehose_stat_stream}, 'stopped', 30) if $round == 1;
    # a start may be due, under way, or just over
    alter_settings($node, 'firehose.enabled' => $round % 3 == 0 ? 'on' : 'off') if $round > 1;
    sleep(0.2 * ($round % 4));
    my $took = seconds(sub { $node->stop('fast') });
    $slowest = $took if $took > $slowest;
    $node->start;
}
cmp_ok($slowest, '<', 10, sprintf('a fast stop took at most %.1f s', $slowest));

unlink "$library/firehose_sender.so";
alter_settings($node, 'firehose.enabled' => 'on');
wait_delivered($node);
audit_ok('delivered by a whole library', $emulator, 'clicks', \@committed);

$node->stop;
done_testing();
