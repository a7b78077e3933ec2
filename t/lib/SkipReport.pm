# prove's harness, with one thing more: what was skipped, and why, just above
# the summary.  A skipped test is green, and green is not to hide anything.
package SkipReport;

use strict;
use warnings FATAL => 'all';
use parent 'TAP::Harness';

# Listen to every file's results.
sub make_parser
{
    my ($self, $job) = @_;
    my ($parser, $session) = $self->SUPER::make_parser($job);
    my $file = $job->description;
    $parser->callback(test => sub
        {
            my ($result) = @_;
            $self->_note_skip($file, $result->explanation) if $result->has_skip;
        });
    $parser->callback(plan => sub
        {
            my ($plan) = @_;
            $self->_note_skip($file, $plan->explanation) if $plan->has_skip;
        });
    return ($parser, $session);
}

# Remember a reason; the same one may hold for many results of a file.
sub _note_skip
{
    my ($self, $file, $why) = @_;
    my $line = "$file: $why";
    push @{ $self->{skipped_lines} }, $line unless $self->{skip_count}{$line}++;
    return;
}

sub summary
{
    my ($self, @arguments) = @_;
    my @lines = @{ $self->{skipped_lines} // [] };
    my $note = $ENV{FIREHOSE_TEST_NOTE};
    print "Note: $note.\n" if $note;
    print @lines ? "Skipped:\n" : "Nothing was skipped.\n";
    foreach my $line (@lines)
    {
        my $count = $self->{skip_count}{$line};
        print "    $line", $count > 1 ? " ($count tests)" : '', "\n";
    }
    return $self->SUPER::summary(@arguments);
}

1;
