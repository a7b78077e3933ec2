# The SQL surface and every error text: pg_regress over sql/ and expected/ in a
# server of its own that preloads the library.  Its sender has nothing it could
# reach (test/regress.conf), so that results do not depend on its timing.
use strict;
use warnings FATAL => 'all';
use Test::More;

my @tests = map { m{sql/(.*)\.sql$} } sort glob('sql/*.sql');
plan skip_all => 'there are no regression tests' unless @tests;

my $pg_config = $ENV{PG_CONFIG};

# some look at formats and at the queue by functions of their own
my $module = 'test/modules/firehose_format_test';
system('make', '-s', '-C', $module,
    "PG_CONFIG=$pg_config", 'WERROR=1') == 0
  or die 'cannot build the test module';
chomp(my $bindir = `$pg_config --bindir`);
open(my $output, '-|', "$ENV{PG_REGRESS} --bindir=$bindir --inputdir=."
      . " --outputdir=tmp_check --dlpath=$module"
      . ' --temp-instance=tmp_check/regress'
      . ' --temp-config=test/regress.conf --encoding=UTF8 --no-locale'
      . " @tests 2>&1")
  or die "cannot run pg_regress: $!";

# "test name ... ok  12 ms" up to 15, "ok 1  - name  12 ms" from 16 on
my %result;
while (my $line = <$output>)
{
    if ($line =~ /^test (\S+)\s+\.\.\. (ok|FAILED)/) { $result{$1} = $2 eq 'ok' }
    elsif ($line =~ /^(not )?ok \d+\s+[-+] (\S+)/) { $result{$2} = !$1 }
    else { note($line) }
}
close($output);
ok($result{$_}, "regress: $_") foreach @tests;

if (open(my $diffs, '<', 'tmp_check/regression.diffs'))
{
    diag($_) while <$diffs>;
}
done_testing();
