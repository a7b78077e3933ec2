# contrib/prometheus: the queries give the columns that they name, to a role
# with pg_monitor alone; rules and dashboard name no metric that there is not.
# With --long Debian's exporter and Prometheus run on a live server with a
# parked stream and a failed pipeline: the alerts that should fire do.
use strict;
use warnings FATAL => 'all';
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $folder = 'contrib/prometheus';
my $emulator = Emulator->start;
my $node = new_decoding_node('main', $emulator);
new_stream($node, 'clicks');
$node->safe_psql('postgres', q{
    CREATE ROLE exporter LOGIN; GRANT pg_monitor TO exporter;
    CREATE TABLE orders (id int PRIMARY KEY); CREATE PUBLICATION orders FOR TABLE orders;
    SELECT firehose_put_record('clicks', 'x')});
new_pipeline($node, 'postgres', 'orders', ['orders']);
wait_delivered($node);

# ------------------------------------------------------------------------
# The files agree with the server, and with each other
# ------------------------------------------------------------------------
my (%query, %columns, $name);
foreach (split /\n/, slurp_file("$folder/queries.yaml"))
{
    if (/^(\w+):$/) { $name = $1 }
    elsif (/^    - (\w+): \{ usage: (GAUGE|COUNTER|LABEL), description: ".+" \}$/) { push @{ $columns{$name} }, [ $1, $2 ] }
    elsif (/^    (.+)$/) { $query{$name} .= "$1\n" }
}
my %metric;
foreach my $name (sort keys %query)
{
    my $output = $node->safe_psql('postgres', $query{$name}, extra_params => [ '-t', '-A', '-P', 'tuples_only=off', '-P', 'footer=off' ],
        connstr => $node->connstr('postgres') . ' user=exporter');
    my ($header, @rows) = split /\n/, $output;
    is($header, join('|', map { $_->[0] } @{ $columns{$name} }), "$name has the columns that it names");
    cmp_ok(scalar @rows, '>=', 1, "$name has rows");
    foreach my $row (@rows)
    {
        my @values = split /\|/, $row, -1;
        my @empty = grep { $columns{$name}[$_][1] ne 'LABEL' && $values[$_] eq '' } 0 .. $#values;
        is_deeply([ map { $columns{$name}[$_][0] } @empty ], [], "$name: no metric is null");
    }
    $metric{"${name}_$_->[0]"} = 1 foreach grep { $_->[1] ne 'LABEL' } @{ $columns{$name} };
}

my $rules = slurp_file("$folder/firehose.rules.yml");
my %recorded = map { $_ => 1 } $rules =~ /record: (\S+)/g;
my $dashboard = decode_json(slurp_file("$folder/dashboard.json"));
my %used = (
    'rules' => [ $rules =~ /^ +expr: (.*)$/gm ],
    'tests of the rules' => [ slurp_file("$folder/firehose.rules.test.yml") =~ /series: '(\w+)/g ],
    'dashboard' => [ map { map { $_->{expr} } @{ $_->{targets} } } @{ $dashboard->{panels} } ]);
foreach my $file (sort keys %used)
{
    my @names = map { /(firehose[_:][\w:]+)/g } @{ $used{$file} };
    cmp_ok(scalar @names, '>=', 5, "$file: metrics are found");
    is_deeply([ grep { !$metric{$_} && !$recorded{$_} } @names ], [], "$file: they exist");
}
my $monitoring = slurp_file('docs/monitoring.md');
like($monitoring, qr/`$_`/, "docs/monitoring.md says what to do at $_") foreach $rules =~ /alert: (\w+)/g;

# ------------------------------------------------------------------------
# A live server, its exporter, and Prometheus
# ------------------------------------------------------------------------
SKIP:
{
    skip 'exporter and Prometheus run with --long only', 1 unless is_long();
    skip 'there is no Prometheus: see scripts/fetch-prometheus', 1 unless -d 'build/prometheus';

    my $bin = Cwd::abs_path('build/prometheus');
    command_ok([ "$bin/promtool", 'check', 'rules', "$folder/firehose.rules.yml" ], 'promtool check rules');
    command_ok([ "$bin/promtool", 'test', 'rules', "$folder/firehose.rules.test.yml" ], 'promtool test rules');

    my $dir = PostgreSQL::Test::Utils::tempdir;
    my ($exporter_port, $port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
    my ($host, $pgport) = ($node->host, $node->port);
    local $ENV{DATA_SOURCE_NAME} = "user=exporter host=$host port=$pgport dbname=postgres sslmode=disable";
    my $exporter = IPC::Run::start([ "$bin/prometheus-postgres-exporter", "--web.listen-address=127.0.0.1:$exporter_port",
        '--extend.query-path', "$folder/queries.yaml" ], '<', \undef, '>&', "$dir/exporter.log");
    my $web = HTTP::Tiny->new(timeout => 20);
    my $page = '';
    wait_until('the exporter answers',
        sub { ($page = $web->get("http://127.0.0.1:$exporter_port/metrics")->{content}) =~ /^firehose_/m });
    foreach my $metric (sort keys %metric)
    {
        next if $metric =~ /^firehose_identity/ && $page !~ /^firehose_identity/m;
        like($page, qr/^\Q$metric\E[ {]/m, "the exporter has $metric");
    }

    # the same rules without the time that they wait
    my $hasty = $rules =~ s/^ +for: .*\n//gmr;
    append_to_file("$dir/firehose.rules.yml", $hasty);
    append_to_file("$dir/prometheus.yml", "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
          . "rule_files: [ firehose.rules.yml ]\n"
          . "scrape_configs: [ { job_name: firehose, static_configs: [ { targets: [ '127.0.0.1:$exporter_port' ] } ] } ]\n");
    my $prometheus = IPC::Run::start([ "$bin/prometheus", "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/data",
        "--web.listen-address=127.0.0.1:$port" ], '<', \undef, '>&', "$dir/prometheus.log");
    my $firing = sub {
        my $reply = $web->get("http://127.0.0.1:$port/api/v1/alerts");
        return $reply->{success}
          ? join(' ', sort map { $_->{labels}{alertname} } grep { $_->{state} eq 'firing' } @{ decode_json($reply->{content})->{data}{alerts} })
          : 'no answer';
    };
    wait_until('a healthy server has no alerts', sub { $firing->() eq '' }, 120) or diag($firing->());

    $emulator->fault('unknown_stream', {}, { stream => 'clicks' });
    $node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'y'); DROP PUBLICATION orders CASCADE});
    wait_state($node, 'postgres', 'orders', 'failed');
    wait_until('the alerts that should fire do, and no other',
        sub { $firing->() eq 'FirehosePipelineFailed FirehoseStreamStuck' }, 120)
      or diag($firing->());
    $_->kill_kill foreach $prometheus, $exporter;
}

done_testing();
