# Runs programs that print TAP, or are not tests at all, inside a TAP test, so
# that one prove counts everything.
package ForeignTests;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use Test::More;

our @EXPORT = qw(tap_through);

# Run a program that prints TAP and count its results as ours, each named
# "name: ...".  A program that dies, or prints another number of results than
# it planned, is one more failure.
sub tap_through
{
    my ($name, @command) = @_;
    my ($planned, $seen, $skipped, $failed) = (undef, 0, 0, 0);

    open(my $output, '-|', @command)
      or return fail("$name: cannot run @command: $!");
    while (my $line = <$output>)
    {
        chomp $line;
        if ($line =~ /^1\.\.(\d+)(?:\s*# skip\S*\s*(.*))?/i)
        {
            $planned = $1;
            $skipped = $1 == 0 && defined $2;
            _skip("$name: $2") if $skipped;
        }
        elsif ($line =~ /^(not )?ok\b\s*\d*\s*-?\s*(.*?)(?:\s*# (skip)\S*\s*(.*))?$/i)
        {
            $seen++;
            if ($3) { _skip("$name: $2: $4") }
            else { ok(!$1, "$name: $2") or $failed = 1 }
        }
        elsif ($line =~ /^Bail out!/)
        {
            fail("$name: $line");
        }
        elsif ($line ne '')
        {
            # what a program says is of interest once something has failed
            $line =~ s/^# ?//;
            $failed ? diag("$name: $line") : note("$name: $line");
        }
    }
    my $closed = close($output);
    fail("$name: exit status " . ($? >> 8) . ", signal " . ($? & 127))
      if !$closed && !($? >> 8 && $seen);
    fail("$name: planned " . ($planned // 'nothing') . ", ran $seen")
      if !defined $planned || $planned != $seen || !($seen || $skipped);
    return;
}

sub _skip
{
    my ($why) = @_;
    SKIP: { skip($why, 1); }
    return;
}

1;
