# Every SQL statement that README and docs/ show runs as it is pasted, in order,
# on a fresh server: a page in one session of psql, in a database of its own,
# which has the extension unless the page creates it.  A block is SQL if it
# begins with a statement, whether indented or fenced.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $statement = qr/^(?:SELECT|CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE|DELETE|BEGIN|SET|COPY|COMMENT|CALL)\b/;

# The blocks of code of a page that are SQL
sub blocks
{
    my ($page) = @_;
    my ($fenced, @blocks) = (0);
    my $open = 0;    # blank lines do not end an indented block
    foreach my $line (split /^/, $page)
    {
        if ($line =~ /^```/)
        {
            $fenced = !$fenced;
            push @blocks, '';
            $open = 0;
        }
        elsif ($fenced || $line =~ s/^    //)
        {
            push @blocks, '' if !$fenced && !$open;
            $blocks[-1] .= $line;
            $open = 1;
        }
        elsif ($line =~ /\S/)
        {
            $open = 0;
        }
    }
    return grep { /$statement/ } @blocks;
}

is_deeply([ blocks("a\n\n    SELECT 1;\n\n    shell\n\n```sql\nALTER x;\n```\n    { \"v\": 1 }\n") ],
    [ "SELECT 1;\nshell\n", "ALTER x;\n" ], 'blocks are found');

# the region that the pages are about
my $region = 'eu-west-1';
my $emulator = Emulator->start(region => $region);
my $node = new_decoding_node('main', $emulator, extension => 0, 'firehose.region' => $region);

foreach my $path ('README.md', glob('docs/*.md'))
{
    my @sql = blocks(slurp_file($path));
    next unless @sql;
    my $dbname = lc($path =~ s/\W/_/gr);
    $node->safe_psql('postgres', qq{DROP ROLE IF EXISTS app});
    $node->safe_psql('postgres', qq{CREATE DATABASE $dbname});
    $node->safe_psql($dbname, 'CREATE EXTENSION firehose') unless grep { /CREATE EXTENSION firehose/ } @sql;

    my ($out, $err, $code) = ('', '');
    $code = $node->psql($dbname, join("\n", @sql), stdout => \$out, stderr => \$err,
        on_error_stop => 1, timeout => 120);
    is($code, 0, "$path: " . scalar(@sql) . ' blocks of SQL run as pasted')
      or diag($err);
    unlike($err, qr/ERROR|WARNING/, "$path: without an error or a warning");
    like($out, qr/^accepted$/m, 'and the record that waited was accepted') if $path eq 'README.md';
    $node->safe_psql($dbname, 'DROP EXTENSION firehose CASCADE');
    $node->safe_psql('postgres', "DROP DATABASE $dbname WITH (FORCE)");
}
$node->stop;
done_testing();
