# Installing from source, as others do it: built in a directory of its own from a
# source tree that it may not write to, installed into a copy of the server, and
# checked there by make installcheck, as a user who may run a server; by
# pg_buildext, as Debian's packages are; and with a PG_CONFIG that is none.
use strict;
use warnings FATAL => 'all';
use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;
use Test::More;

use FirehoseTest;
use ServerCopy;

my $work = abs_path(PostgreSQL::Test::Utils::tempdir_short());
my $source = "$work/source";
my @objects = qw(firehose.so firehose_sender.so);
chomp(my $jobs = `nproc`);

# What a source archive holds, and objects of another build, which no
# build elsewhere may take for its own.
sub make_source
{
    mkdir($source) or die "$source: $!";
    ok_shell("tar --exclude='*.o' --exclude='*.so' --exclude=build -cf - Makefile firehose.control"
          . " firehose--1.0.sql src sql expected test | tar -C '$source' -xf -", 'the sources are copied');
    foreach my $object (@objects)
    {
        open(my $file, '>', "$source/$object") or die "$object: $!";
        close($file) or die $!;
    }
    system("chmod -R a-w '$source'") == 0 or die 'chmod';
    return;
}

# What may not be written to cannot be removed either.
END
{
    my $status = $?;
    system("chmod -R u+w '$source'") if defined $source && -d $source;
    $? = $status;
}

# The names that an object in a directory defines for others
sub names
{
    my ($path) = @_;
    return join("\n", map { (split)[-1] } `nm -D --defined-only '$path'`);
}

# a PG_CONFIG that is none: at once, and by name
foreach my $none ('/nope', '/bin/true')
{
    my ($code, $output) = run_shell("make PG_CONFIG=$none");
    isnt($code, 0, "make PG_CONFIG=$none is an error");
    like($output, qr/PG_CONFIG=\Q$none\E is no pg_config of a server with its headers/, 'that says what is wrong');
    unlike($output, qr/\bcc\b|-shared/, 'and nothing is compiled');
}

make_source();

# a build elsewhere, the way Debian's packages are built where that is to be had
my $build = "$work/build";
mkdir($build) or die "$build: $!";
my $make = "COPT=-O0 make -j $jobs -C '$build' -f '$source/Makefile' VPATH='$source' PG_CONFIG=";
my $installed = pg_config_value($ENV{PG_CONFIG}, 'pkglibdir');
my ($major) = $installed =~ m{^/usr/lib/postgresql/(\d+)/lib$};
SKIP:
{
    my $why = !$major ? 'the server is not one of Debian\'s packages'
      : !-x '/usr/bin/pg_buildext' ? 'there is no pg_buildext' : '';
    if ($why)
    {
        ok_shell("$make$ENV{PG_CONFIG}", 'a build outside of the source tree');
        skip($why, 1);
    }
    mkdir("$work/debian") or die "debian: $!";
    foreach my $file ([ pgversions => "$major\n" ], [ control => "Depends: \${postgresql:Depends}\n" ])
    {
        open(my $out, '>', "$work/debian/$file->[0]") or die "$file->[0]: $!";
        print $out $file->[1];
        close($out) or die $!;
    }
    my $pg_buildext = "cd '$work' && PG_SUPPORTED_VERSIONS=$major MAKEFLAGS=-j$jobs CFLAGS=-O0 pg_buildext";
    ok_shell("$pg_buildext build '$source' build", 'pg_buildext build');
    ok_shell("$pg_buildext install '$source' build package", 'pg_buildext install');
    is(names("$work/debian/package/usr/lib/postgresql/$major/lib/$_"), names("$installed/$_"),
        "$_ of the package has what that of a build in place has")
      foreach @objects;
    ok(-f "$work/debian/package/usr/share/postgresql/$major/extension/$_", "$_ is in the package")
      foreach qw(firehose.control firehose--1.0.sql);
}

# its installation, and the check of what is installed
my $pg_config = copy_server("$work/server");
my $libdir = pg_config_value($pg_config, 'pkglibdir');
like($libdir, qr/^\Q$work\E/, 'the copy of the server looks for its libraries in the copy');
foreach my $object (@objects)
{
    unlink("$libdir/$object");    # the link to what the real server has
}
ok_shell("$make'$pg_config' install", 'make install');
foreach my $object (@objects)
{
    ok(-f "$libdir/$object" && !-l "$libdir/$object", "$object is installed");
    is(names("$libdir/$object"), names("$installed/$object"), 'with what that of a build in place has');
}
my @tests = map { m{sql/(.*)\.sql$} } glob('sql/*.sql');
my $output = ok_shell("$make'$pg_config' installcheck || { cat '$build/regression.diffs'; false; }",
    'make installcheck, as ' . getpwuid($<));
my %passed = map { $_ => 1 } $output =~ /^(?:test|ok \d+\s+[-+]) (\S+)(?:\s+\.\.\. ok)?\s+\d+ ms/mg;
is(join(' ', sort keys %passed), join(' ', sort @tests), 'which runs every regression test');
done_testing();
