# ALTER EXTENSION firehose UPDATE: a later version, whose functions, views and
# library differ, is put into an installation of the test's own.  Whichever of
# the two comes first, objects or library, everything that can go on does, and
# what cannot says what to do; after the update the catalog is that of a new
# CREATE EXTENSION.  The same for every version that has a script.
use strict;
use warnings FATAL => 'all';
use File::Copy qw(copy);
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

# A copy of the server's installation: PostgreSQL finds its files beside its
# programs, wherever these are.
my $root = PostgreSQL::Test::Utils::tempdir();
my %installed = map { chomp(my $path = `$ENV{PG_CONFIG} --$_`); ($_ => $path) } qw(bindir pkglibdir sharedir);
foreach my $path (values %installed)
{
    make_path("$root$path");
    system("cp -RL '$path/.' '$root$path'") == 0 or die "cannot copy $path";
}
(my $installation = "$root$installed{bindir}") =~ s{/bin$}{};

# The sources of the later version.
my $tree = PostgreSQL::Test::Utils::tempdir();
system("cp -R Makefile firehose.control firehose--1.0.sql src '$tree'") == 0 or die 'cannot copy the sources';

sub edit
{
    my ($file, $change) = @_;
    local $_ = slurp_file("$tree/$file");
    $change->();
    open(my $out, '>', "$tree/$file") or die "$file: $!";
    print $out $_;
    close($out) or die $!;
    return;
}

my ($version) = slurp_file('firehose.control') =~ /^default_version = '(.*)'/m or die 'which version?';
my $later = "$version.1";
edit('firehose.control', sub { s/^default_version = .*/default_version = '$later'/m });
edit('src/stream/stream_options_sql.c', sub {
    s/(\t\t\tdef->description,\n)(\t\t\};)/$1\t\t\t"yes",\n$2/ or die 'where is firehose_stream_options?';
    s/(PG_FUNCTION_INFO_V1\(firehose_stream_options\);\n)/$1PG_FUNCTION_INFO_V1(firehose_added);\n/ or die;
    $_ .= "\nDatum\nfirehose_added(PG_FUNCTION_ARGS)\n{\n\tPG_RETURN_INT32(43);\n}\n" });
my $added = "CREATE FUNCTION firehose_added() RETURNS integer AS 'MODULE_PATHNAME' LANGUAGE C STRICT;\n"
  . "COMMENT ON FUNCTION firehose_added() IS 'what is new';\n";
my $script = slurp_file("firehose--$version.sql");
$script =~ s/(OUT description text)(\)\nRETURNS SETOF record\nAS 'MODULE_PATHNAME', 'firehose_stream_options')/$1, OUT added text$2/ or die;
$script =~ s/(description)(\n\tFROM firehose_stream_options\(\))/$1, added$2/ or die;
my @changed = grep { /^(?:CREATE (?:FUNCTION|VIEW)|COMMENT ON \w+|GRANT \w+ ON) firehose_stream_options\b/ }
  $script =~ /^((?:CREATE|COMMENT|GRANT)\b.*?;\n)/msg;
append_to_file("$tree/firehose--$version--$later.sql",
    "DROP VIEW firehose_stream_options;\nDROP FUNCTION firehose_stream_options();\n" . join("", @changed) . "GRANT SELECT ON firehose_stream_options TO PUBLIC;\n" . $added);
append_to_file("$tree/firehose--$later.sql", $script . $added);
my @libraries = qw(firehose.so firehose_sender.so);
is(system("make -s -j2 -C '$tree' PG_CONFIG='$ENV{PG_CONFIG}' COPT=-O0 @libraries >&2"), 0, 'a later version builds');

# Put files into the installation, as a package would.
sub install
{
    my ($from, @files) = @_;
    foreach my $file (@files)
    {
        my $target = "$root" . ($file =~ /\.so$/ ? $installed{pkglibdir} : "$installed{sharedir}/extension");
        copy("$from/$file", "$target/$file.new") or die "$file: $!";
        chmod 0755, "$target/$file.new";
        rename("$target/$file.new", "$target/$file") or die "$file: $!";
    }
    return;
}

# Everything that the extension has in a database, as text.
sub objects_of
{
    my ($node, $dbname) = @_;
    return $node->safe_psql($dbname, q{
        SELECT i.type, i.identity, obj_description(d.objid, d.classid::regclass::name),
            CASE d.classid WHEN 'pg_proc'::regclass THEN
                (SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc WHERE oid = d.objid)
            WHEN 'pg_class'::regclass THEN
                (SELECT concat_ws(' ', relkind, relpersistence, reloptions, relacl, relreplident,
                    CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END) FROM pg_class WHERE oid = d.objid)
            END,
            (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attacl,
                    pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)), ', ' ORDER BY attnum)
             FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE attrelid = d.objid AND d.classid = 'pg_class'::regclass AND attnum > 0 AND NOT attisdropped),
            (SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY indexrelid::regclass::text)
             FROM pg_index WHERE indrelid = d.objid AND d.classid = 'pg_class'::regclass)
        FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) i
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
            AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'firehose')
        ORDER BY 1, 2});
}

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, install_path => $installation);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
    my ($query, $dbname) = @_;
    my ($code, $out, $error) = $node->psql($dbname // 'postgres', $query);
    return $error;
}

new_stream($node, 'clicks');
my @committed = put_numbered($node, 'clicks', 1, 10);
wait_delivered($node);

# the package is there, and the server still runs the old library
install($tree, 'firehose.control', "firehose--$later.sql", "firehose--$version--$later.sql", @libraries);
sql('CREATE DATABASE fresh');
my $restart = qr/extension "firehose" of version \Q$later\E needs its library of that version.*HINT:  Restart the server to finish/s;
like(error_of('ALTER EXTENSION firehose UPDATE'), $restart, 'objects ahead of the library: refused');
like(error_of('CREATE EXTENSION firehose', 'fresh'), $restart, 'also in another database');
push @committed, put_numbered($node, 'clicks', 11, 20);
wait_delivered($node);

# the new library, and old objects
my $offset = -s $node->logfile;
$node->restart;
push @committed, put_numbered($node, 'clicks', 21, 30);
wait_delivered($node);
is(sql('SELECT count(*) > 10 FROM firehose_stream_options'), 't', 'what was there before works with the later library');
like(slurp_file($node->logfile, $offset), qr/"firehose" of database "postgres" is of version \Q$version\E, its library of version \Q$later\E\n.*HINT:  .*ALTER EXTENSION firehose UPDATE;/, 'the log says what is left to do');

# the update, and a database that is new
sql('ALTER EXTENSION firehose UPDATE');
$node->safe_psql('fresh', 'CREATE EXTENSION firehose');
is(sql('SELECT DISTINCT added FROM firehose_stream_options'), 'yes', 'a new column');
is(sql('SELECT firehose_added()'), '43', 'a new function');
push @committed, put_numbered($node, 'clicks', 31, 40);
wait_delivered($node);

# every version that there is, up to the last
foreach my $start (split /\n/, sql(q{SELECT version FROM pg_available_extension_versions v
    JOIN pg_available_extensions e USING (name) WHERE name = 'firehose' AND version <> default_version}))
{
    sql('CREATE DATABASE updated');
    $node->safe_psql('updated', "CREATE EXTENSION firehose VERSION '$start'; ALTER EXTENSION firehose UPDATE");
    is(objects_of($node, 'updated'), objects_of($node, 'fresh'), "from version $start to what a new one is");
    sql('DROP DATABASE updated');
}

# back to the old library: the new objects say so, puts go on
install($installed{pkglibdir}, @libraries);
$offset = -s $node->logfile;
$node->restart;
push @committed, put_numbered($node, 'clicks', 41, 50);
wait_delivered($node);
like(error_of('SELECT * FROM firehose_stream_options'),
    qr/the result has \d+ columns, of which the library of firehose knows \d+\n.*HINT: .* of version \Q$later\E, and the library is of \Q$version\E: install/, 'a later function: no result');
like(slurp_file($node->logfile, $offset), qr/is of version \Q$later\E, its library of version \Q$version\E/, 'the log says so');
audit_ok('all the time', $emulator, 'clicks', \@committed);

$node->stop;
done_testing();
