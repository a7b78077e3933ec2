# The manual cannot rot: its tables of stream options, settings and columns of
# views are what the server says about itself, word for word, and every
# function is mentioned.  When one has changed, paste what the failure shows.
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
    ok(index(slurp_file("docs/$file"), $table) >= 0, "docs/$file: $what")
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
          WHEN 'superuser' THEN 'superusers' ELSE 'anybody' END,
        short_desc || coalesce(' ' || extra_desc, ''))
      FROM pg_settings WHERE name LIKE 'firehose.%' AND name NOT IN
        (SELECT default_setting FROM firehose_stream_options WHERE default_setting IS NOT NULL)
      ORDER BY name}));

foreach my $view (qw(firehose_status firehose_dead_letter firehose_stat_stream firehose_stat_identity firehose_stat_queue firehose_stream_options))
{
    has_table('monitoring.md', $view, table('| column | type | what it tells |',
        qq{SELECT concat_ws(E'\\t', '`' || attname || '`', format_type(atttypid, atttypmod),
                col_description(attrelid, attnum))
           FROM pg_attribute WHERE attrelid = '$view'::regclass AND attnum > 0 ORDER BY attnum}));
}

my $manual = join('', map { slurp_file($_) } 'README.md', glob('docs/*.md'));
foreach my $function (split /\n/, $node->safe_psql('postgres', q{
    SELECT DISTINCT proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
    WHERE proname LIKE 'firehose%' AND proname <> 'firehose_fdw_validator' ORDER BY 1}))
{
    like($manual, qr/\b$function\b/, "$function is described");
}
foreach my $link ($manual =~ /\]\(([\w.\/-]+\.md)\)/g)
{
    ok(-e $link || -e "docs/$link", "link to $link");
}

$node->stop;
done_testing();
