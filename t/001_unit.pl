# The unit tests of the parts in C that know no server: each is a program of
# test/unit/build that prints TAP, run one after the other.
use strict;
use warnings FATAL => 'all';
use Test::More;

use ForeignTests;

plan skip_all => 'there are no unit tests' unless -e 'test/unit/Makefile';

is(system('make -s -C test/unit all >&2'), 0, 'unit tests build');
my @programs = grep { -f && -x } glob('test/unit/build/{test,fuzz}_*');
isnt(scalar @programs, 0, 'there are some');
foreach my $program (@programs)
{
    my ($name) = $program =~ m{([^/]+)$};
    tap_through($name, "./$program");
}
done_testing();
