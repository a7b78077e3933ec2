# A release: its version is the same wherever it stands, and META.json is complete
# by PGXN's specification.  With --long the archive of make dist is made and
# installed by PGXN's client into a copy of the server, where CREATE EXTENSION
# works; and rpmbuild makes the RPMs from it, as far as Debian's goes: what they
# are built with is not asked for, and they are not installed.
use strict;
use warnings FATAL => 'all';
use Cwd qw(abs_path);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use FirehoseTest;
use ServerCopy;

my $meta = decode_json(slurp_file('META.json'));
my ($version) = slurp_file('firehose.control') =~ /^default_version = '(.*)'$/m;
my $release = $meta->{version};

# ------------------------------------------------------------------------
# One version
# ------------------------------------------------------------------------
like($version, qr/^\d+\.\d+$/, 'firehose.control has the version');
like($release, qr/^\Q$version\E\.\d+$/, 'META.json has it, with a number for repairs that change no SQL');
my %said = (
    'META.json, provides' => $meta->{provides}{firehose}{version},
    'debian/changelog' => slurp_file('debian/changelog') =~ /^pg-firehose \((.*?)\)/ ? $1 : undef,
    'packaging/rpm/firehose.spec' => slurp_file('packaging/rpm/firehose.spec') =~ /^Version: +(\S+)$/m ? $1 : undef,
    'packaging/rpm/firehose.spec, its changelog' => slurp_file('packaging/rpm/firehose.spec') =~ /^\* .* - (\S+)-1$/m ? $1 : undef,
    'packaging/rpm/firehose.spec, how it is built' => slurp_file('packaging/rpm/firehose.spec') =~ /firehose-(\S+)\.zip ~/ ? $1 : undef);
is($said{$_}, $release, "$_ says $release") foreach sort keys %said;
like(slurp_file('debian/firehose-emulator.1'), qr/\A\.TH .* "firehose \Q$version\E"$/m, 'the manual page names it');
like(slurp_file('CHANGELOG.md'), qr/\A## \Q$version\E\b/, 'CHANGELOG.md begins with it');
is($meta->{provides}{firehose}{file}, "firehose--$version.sql", 'META.json names its script');
ok(-f $meta->{provides}{firehose}{$_}, "$_ is there") foreach qw(file docfile);

# ------------------------------------------------------------------------
# META.json by PGXN's specification, 1.0.0
# ------------------------------------------------------------------------
my @required = qw(name version abstract maintainer license provides meta-spec);
my %known = map { $_ => 1 } @required, qw(description prereqs release_status resources no_index generated_by tags);
is_deeply([ grep { !$meta->{$_} } @required ], [], 'no field that has to be there is missing');
is_deeply([ grep { !$known{$_} } sort keys %$meta ], [], 'and none is unknown');
like($meta->{release_status}, qr/^(?:stable|testing|unstable)$/, 'release_status');
like($meta->{$_}, qr/^\d+\.\d+\.\d+$/, "$_ is a semantic version") foreach 'version';
is($meta->{'meta-spec'}{version}, '1.0.0', 'of this specification');
ok($meta->{resources}{$_}, "resources: $_") foreach qw(homepage bugtracker repository);
is_deeply([ sort keys %{ $meta->{resources}{repository} } ], [qw(type url web)], 'of the repository all that there is');
foreach my $phase (sort keys %{ $meta->{prereqs} })
{
    like($phase, qr/^(?:configure|build|test|runtime|develop)$/, "prereqs: $phase is a phase");
    is($meta->{prereqs}{$phase}{requires}{PostgreSQL}, '15.0.0', 'which needs PostgreSQL 15');
}
is_deeply([ grep { length > 255 || m{[/\\[:cntrl:]]} } @{ $meta->{tags} } ], [], 'tags');
is_deeply([ grep { !-d } @{ $meta->{no_index}{directory} } ], [], 'no_index names folders that there are');

# ------------------------------------------------------------------------
# The archive, PGXN's client, and rpmbuild
# ------------------------------------------------------------------------
SKIP:
{
    skip 'the archive is installed with --long only', 1 unless is_long();
    my @missing = grep { !-x "/usr/bin/$_" } qw(git pgxn unzip);
    skip "not installed: @missing (scripts/install-release-tools)", 1 if @missing;

    my $work = abs_path(PostgreSQL::Test::Utils::tempdir_short());
    mkdir("$work/tree") or die $!;
    # make dist takes what is committed; of this copy that is all
    my $git = "git -C '$work/tree' -c user.name=t -c user.email=t -c init.defaultBranch=main";
    ok_shell("tar --exclude=./tmp_check --exclude=./build --exclude='*.o' --exclude='*.so' -cf - . | tar -C '$work/tree' -xf -"
          . " && cp /dev/null '$work/tree/stray.o' && $git init -q && $git add -A && $git commit -qm tree", 'a repository is made');
    ok_shell("make -C '$work/tree' PG_CONFIG=$ENV{PG_CONFIG} dist", 'make dist');
    my $archive = "$work/tree/firehose-$release.zip";
    ok(-s $archive, 'makes the archive');
    my @files = grep { !m{/$} } split /\n/, `unzip -Z1 '$archive'`;
    is_deeply([ grep { !m{^firehose-\Q$release\E/} } @files ], [], 'of one folder');
    my %in = map { s{^.*?/}{}r => 1 } @files;
    ok($in{$_}, "$_ is in it") foreach qw(META.json Makefile firehose.control LICENSE src/firehose.c test/emulator/firehose_emulator/page/page.js);
    is_deeply([ grep { m{^\.(?:git|ci)|\.o$} } sort keys %in ], [], 'and nothing that is not to be');

    my $pg_config = copy_server("$work/server");
    my %dir = map { $_ => pg_config_value($pg_config, $_) } qw(bindir pkglibdir sharedir);
    unlink("$dir{pkglibdir}/$_") foreach qw(firehose.so firehose_sender.so);
    unlink(glob("$dir{sharedir}/extension/firehose*"));
    chomp(my $jobs = `nproc`);
    # the client asks whether it may write here
    File::Path::make_path(pg_config_value($pg_config, 'libdir'));
    ok_shell("cd '$work' && HOME='$work' COPT=-O0 MAKEFLAGS=-j$jobs pgxn install --yes --nosudo --pg_config '$pg_config' '$archive'",
        'pgxn install');
    ok(-f "$dir{pkglibdir}/$_" && !-l "$dir{pkglibdir}/$_", "$_ is installed") foreach qw(firehose.so firehose_sender.so);
    my $node = PostgreSQL::Test::Cluster->new('pgxn', install_path => $dir{bindir} =~ s{/bin$}{}r);
    $node->init;
    $node->append_conf('postgresql.conf', "shared_preload_libraries = 'firehose'");
    $node->start;
    $node->safe_psql('postgres', 'CREATE EXTENSION firehose');
    is($node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'firehose'}), $version, 'and works');
    $node->stop;

    skip 'not installed: rpmbuild (scripts/install-release-tools)', 1 unless -x '/usr/bin/rpmbuild';
    my ($major) = `$ENV{PG_CONFIG} --version` =~ /(\d+)/;
    ok_shell("mkdir -p '$work/rpm/SOURCES' && cp '$archive' '$work/rpm/SOURCES/' && HOME='$work' MAKEFLAGS=-j$jobs rpmbuild -bb --nodeps"
          . " --define '_topdir $work/rpm' --define '_tmppath $work' --define 'pgmajorversion $major' --define 'pg_config $ENV{PG_CONFIG}'"
          . ' packaging/rpm/firehose.spec', 'rpmbuild, without asking for what it is built with');
    my %packed = map { $_ => 1 } split /\n/, `HOME='$work' rpm -qpl '$work'/rpm/RPMS/*/*.rpm 2>/dev/null`;
    my %real = map { $_ => pg_config_value($ENV{PG_CONFIG}, $_) } qw(pkglibdir sharedir);
    ok($packed{$_}, "$_ is in a package")
      foreach "$real{pkglibdir}/firehose.so", "$real{pkglibdir}/firehose_sender.so", "$real{sharedir}/extension/firehose.control",
      "$real{sharedir}/extension/firehose--$version.sql", '/usr/bin/firehose-emulator',
      '/usr/share/firehose-emulator/firehose_emulator/page/page.js', '/usr/share/firehose-emulator/README.md';
    is_deeply([ map { /^(\S+)\|(\S+)$/ ? "$1|$2" : $_ } sort split /\n/,
            `HOME='$work' rpm -qp --qf '%{name}|%{version}\\n' '$work'/rpm/RPMS/*/*.rpm 2>/dev/null` ],
        [ "firehose-emulator|$release", "firehose_$major|$release" ], 'one of the extension, and one of the emulator');
}
done_testing();
