# A copy of the server that a test may install into.
package ServerCopy;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use File::Basename qw(dirname);
use File::Path qw(make_path);
use Test::More;

our @EXPORT = qw(copy_server pg_config_value);

# What a pg_config says, for example of 'bindir'
sub pg_config_value
{
    my ($program, $what) = @_;
    chomp(my $value = `$program --$what`);
    return $value;
}

# Copy the server of PG_CONFIG below a directory; returns the copy's pg_config.
# Its programs look for all else relative to where they are, so they are copied,
# and the rest is linked.
sub copy_server
{
    my ($root) = @_;
    my %dir = map { $_ => pg_config_value($ENV{PG_CONFIG}, $_) } qw(bindir pkglibdir sharedir includedir-server);
    foreach my $what (sort keys %dir)
    {
        my $parent = $root . dirname($dir{$what});
        make_path($parent);
        # sharedir may hold pkglibdir or be in it, according to the installation
        my $how = $what eq 'bindir' ? '-a' : '-as';
        next if -e "$root$dir{$what}";
        is(system("cp $how '$dir{$what}' '$parent/'"), 0, "$what is copied");
    }
    return "$root$dir{bindir}/pg_config";
}

1;
