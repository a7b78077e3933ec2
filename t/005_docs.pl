# The manual cannot rot: its tables of stream options, settings and columns of
# views are what the server says about itself, word for word, and every argument
# of every function is described.  When one has changed, paste what the failure
# shows.  Each check is first shown a page that lacks something.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# without any setting, so that defaults are defaults
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'firehose'\nfirehose.enabled = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION firehose');

# A table of Markdown from a query of one column per cell
sub table
{
    my ($head, $query) = @_;
    my @rows = ($head, '|' . '---|' x ($head =~ tr/|// - 1));
    foreach my $row (split /\n/, $node->safe_psql('postgres', $query))
    {
        push @rows, '| ' . join(' | ', split(/\t/, $row =~ s/\|/\\|/gr, -1)) . ' |';
    }
    return join("\n", @rows) . "\n";
}

sub has_table
{
    my ($file, $what, $table) = @_;
    my $page = slurp_file("docs/$file");
    my $lacking = $page =~ s/^\| `[^\n]*\n(?=\n)//gmr;
    ok(index($lacking, $table) < 0, "docs/$file: $what: a table that lacks its last line is noticed");
    ok(index($page, $table) >= 0, "docs/$file: $what")
      or diag("it should have\n\n$table");
    return;
}

my $range = q{CASE WHEN %s IS NULL THEN '' ELSE ', ' || %s || ' to ' || %s END};
has_table('streams.md', 'options of a stream', table('| option | type | default | what it does |',
    q{SELECT concat_ws(E'\t', '`' || option || '`',
        type || coalesce(' in ' || unit, '') || } . sprintf($range, ('min_value') x 2, 'max_value') . q{,
        coalesce(default_value, ''), description)
      FROM firehose_stream_options}));

# those that give options their defaults are described with the options
has_table('settings.md', 'settings', table('| setting | type | default | changed by | what it does |',
    q{SELECT concat_ws(E'\t', '`' || name || '`',
        CASE vartype WHEN 'enum' THEN array_to_string(enumvals, ', ')
             ELSE vartype || coalesce(' in ' || unit, '') || } . sprintf($range, ('min_val') x 2, 'max_val') . q{ END,
        boot_val, CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload'
          WHEN 'superuser' THEN 'superusers' ELSE 'every role' END,
        short_desc || coalesce(' ' || extra_desc, ''))
      FROM pg_settings WHERE name LIKE 'firehose.%' AND name NOT IN
        (SELECT default_setting FROM firehose_stream_options WHERE default_setting IS NOT NULL)
      ORDER BY name}));

my $ours = q{FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose' WHERE c.relkind = 'v'};
my @views = split /\n/, $node->safe_psql('postgres', "SELECT c.relname $ours ORDER BY 1");
cmp_ok(scalar @views, '>=', 8, 'there are views');
foreach my $view (@views)
{
    has_table('monitoring.md', $view, table('| column | type | what it tells |',
        qq{SELECT concat_ws(E'\\t', '`' || attname || '`', format_type(atttypid, atttypmod),
                col_description(attrelid, attnum))
           FROM pg_attribute WHERE attrelid = '$view'::regclass AND attnum > 0 ORDER BY attnum}));
}

# ------------------------------------------------------------------------
# Functions
# ------------------------------------------------------------------------
# name => { comments, results, arguments: [name, type, default] }, overloads
# taken together.  What a view reads is described with the view.
sub functions
{
    my %functions;
    my $arguments = q{SELECT p.proname, coalesce(obj_description(p.oid, 'pg_proc'), ''), pg_get_function_result(p.oid),
            a.name, format_type(a.type, NULL), regexp_replace(pg_get_function_arg_default(p.oid, a.n::int), '::[a-z_ ]+(\[\])?$', '')
        FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose'
        LEFT JOIN LATERAL unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs])
            WITH ORDINALITY a(type, name, n) ON p.pronargs > 0
        WHERE p.proname NOT IN ('firehose_fdw_handler', 'firehose_fdw_validator', 'firehose_guard_table')
          AND NOT (p.pronargs = 0 AND p.proname IN (SELECT c.relname } . $ours . q{))
        ORDER BY p.oid, a.n};
    foreach my $line (split /\n/, $node->safe_psql('postgres', $arguments, extra_params => [ '-F', "\t" ]))
    {
        my ($function, $comment, $result, $name, $type, $default) = split /\t/, $line, -1;
        my $entry = $functions{$function} //= { comments => [], results => [], arguments => [] };
        $comment = ucfirst($comment) . '.';
        push @{ $entry->{comments} }, $comment unless grep { $_ eq $comment } @{ $entry->{comments} };
        push @{ $entry->{results} }, $result unless grep { $_ eq $result } @{ $entry->{results} };
        next if $name eq '';
        my ($known) = grep { $_->{name} eq $name } @{ $entry->{arguments} };
        push @{ $entry->{arguments} }, $known = { name => $name, types => [], default => $default } unless $known;
        push @{ $known->{types} }, $type unless grep { $_ eq $type } @{ $known->{types} };
    }
    return \%functions;
}

# What a section begins with, and the beginnings of its table's lines
sub section_of
{
    my ($name, $entry) = @_;
    my $results = join(' or ', map { "`$_`" } grep { $_ ne '' } @{ $entry->{results} });
    my $text = "## $name\n\n@{ $entry->{comments} }\n" . ($results ? "Returns $results.\n" : "Has no result.\n");
    my @rows = map { "| `$_->{name}` | " . join(', ', @{ $_->{types} }) . " | $_->{default} | " } @{ $entry->{arguments} };
    $text .= "\n| argument | type | default | what it is |\n|---|---|---|---|\n" if @rows;
    return ($text, @rows);
}

# What is wrong with a page of functions
sub complaints
{
    my ($page, $functions) = @_;
    my @found;
    foreach my $name (sort keys %$functions)
    {
        my ($text, @rows) = section_of($name, $functions->{$name});
        my $wanted = quotemeta($text) . join('', map { quotemeta($_) . '\S[^\n]* \|\n' } @rows);
        push @found, "$text" . join('', map { "$_... |\n" } @rows)
          unless $page =~ /^$wanted(?:\n|\z)(?!\|)/m;
    }
    foreach my $name ($page =~ /^## (firehose_\w+)$/mg)
    {
        push @found, "there is no function $name" unless $functions->{$name};
    }
    return @found;
}

my $functions = functions();
my $page = slurp_file('docs/functions.md');
cmp_ok(scalar keys %$functions, '>=', 17, 'there are functions');
isnt(scalar complaints($page =~ s/^\| `max_records`.*\n//mr, $functions), 0, 'an argument that is not described is noticed');
isnt(scalar complaints($page =~ s/^(\| `max_records` .*\| )[^|]+\|$/$1 |/mr, $functions), 0, 'so is one without a word on it');
isnt(scalar complaints($page =~ s/(?=^\| `max_records`)/| `gone` | text |  | what is no more |\n/mr, $functions), 0,
    'and one that is no more');
is_deeply([ complaints($page, $functions) ], [], 'docs/functions.md describes every argument of every function')
  or diag("it should have\n\n", join("\n", complaints($page, $functions)));

# ------------------------------------------------------------------------
# Links
# ------------------------------------------------------------------------
# The anchor of a heading, as the forges make it
sub anchor { return lc($_[0]) =~ s/`//gr =~ s/[^\w\- ]//gr =~ s/ /-/gr; }

# Links of a page that lead nowhere
sub dead_links
{
    my ($path, $text) = @_;
    my ($folder) = $path =~ m{^(.*/)?};
    my @dead;
    $text =~ s/^```.*?^```//msg;
    foreach my $link ($text =~ /\]\(([^)\s]+)\)/g)
    {
        next if $link =~ m{^https?://};
        my ($file, $heading) = split /#/, $link, 2;
        my $target = $file eq '' ? $path : ($folder // '') . $file;
        1 while $target =~ s{[^/]+/\.\./}{};
        if (!-e $target) { push @dead, $link }
        elsif (defined $heading)
        {
            push @dead, $link unless grep { anchor($_) eq $heading } slurp_file($target) =~ /^#+ (.*)$/mg;
        }
    }
    return @dead;
}

is_deeply([ dead_links('docs/put.md', '[a](nowhere.md) [b](put.md#nowhere) [c](put.md#durable-puts) [d](../README.md)') ],
    [ 'nowhere.md', 'put.md#nowhere' ], 'dead links are found');
my @pages = (glob('*.md'), glob('docs/*.md'), glob('*/*/README.md'), glob('bench/*.md'));
is_deeply([ dead_links($_, slurp_file($_)) ], [], "$_: every link leads somewhere") foreach @pages;
my $index = slurp_file('docs/README.md');
foreach my $page (map { s{^docs/}{}r } glob('docs/*.md'))
{
    next if $page eq 'README.md';
    like($index, qr/\(\Q$page\E\)/, "docs/README.md leads to $page");
}

$node->stop;
done_testing();
