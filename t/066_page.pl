# The emulator's page in a browser: records put in SQL appear as they arrive, and
# as text, whatever they hold; a fault that is switched on there is seen in SQL,
# and what it refuses is on the page; switched off, all is delivered.  The
# picture of docs/ is taken here: it stays in build/emulator.png.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Browser;
use Emulator;
use FirehoseTest;

plan skip_all => 'a browser runs with --long only' unless is_long();
my $missing = Browser->missing;
plan skip_all => $missing if $missing;

my $emulator = Emulator->start;
my $node = new_node('main', $emulator);
new_stream($node, 'clicks');
new_stream($node, 'orders');
my $browser = Browser->start;
$browser->open_page($emulator->url . '/');

# Wait until JavaScript is true in the page.
sub page_shows
{
    my ($what, $code) = @_;
    wait_until($what, sub { $browser->evaluate("return Boolean($code)") })
      or diag($browser->evaluate('return document.body.innerText'));
    return;
}

my $records = q{[...document.querySelectorAll('#records tbody tr')].map(row => row.cells[4].textContent)};
my $stored = q{document.querySelector('[data-stream="clicks"]')?.cells[3].textContent};

is($browser->evaluate('return document.title'), 'Firehose emulator', 'the page is there');
page_shows('every fault can be chosen', q{document.querySelectorAll('#fault-action option').length > 50});

# ------------------------------------------------------------------------
# What is put in SQL appears, as text
# ------------------------------------------------------------------------
$node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', '{"page": "/prices"}')});
page_shows('a record appears', qq{$records.some(text => text.includes('{"page": "/prices"}'))});
my $markup = q{<img src=x onerror="window.broken=1"><script>window.broken=1</script></td></table>};
$node->safe_psql('postgres', "SELECT firehose_put_batch('clicks', ARRAY['$markup', E'a\\nb'])");
page_shows('markup is shown as it is', "$records.some(text => text.includes('onerror=\"window.broken=1\"'))");
is($browser->evaluate('return window.broken ?? null'), undef, 'and does nothing');
is($browser->evaluate(q{return document.querySelectorAll('img, main script').length}), 0, 'it has become no element');
page_shows('the stream counts them', "$stored === '3'");
page_shows('and has a plot', q{document.querySelector('[data-stream="clicks"] svg path.stored').getAttribute('d').length > 10});

# ------------------------------------------------------------------------
# A fault, switched on and off
# ------------------------------------------------------------------------
$browser->type_into('#fault-stream', 'clicks');
$browser->click('#fault-on');
page_shows('the rule is listed', q{document.querySelectorAll('#rules tbody tr').length === 1});
my ($rule) = @{ $emulator->control(GET => 'rules')->{rules} };
is_deeply([ $rule->{match}, $rule->{action} ], [ { stream => 'clicks' }, { type => 'throttle' } ], 'the emulator has it');
$node->safe_psql('postgres', q{SELECT firehose_put_record('clicks', 'refused'), firehose_put_record('orders', 'not meant')});
ok($node->poll_query_until('postgres',
        q{SELECT reason ~ 'ThrottlingException' AND queued + in_flight = 1 FROM firehose_stat_stream WHERE stream = 'clicks'}),
    'the stream in SQL is refused, by its reason');
ok($node->poll_query_until('postgres', q{SELECT accepted = 1 FROM firehose_stat_stream WHERE stream = 'orders'}),
    'another stream is not');
page_shows('the page says what was refused and why',
    q{[...document.querySelectorAll('#refusals tbody tr')].some(row => row.cells[3].textContent === 'ThrottlingException'
        && row.cells[1].textContent === 'clicks' && row.cells[5].textContent === 'throttle')});
page_shows('and how often the rule struck', q{Number(document.querySelector('#rules tbody tr').cells[4].textContent) > 0});
$browser->click('#rules tbody button');
page_shows('switched off it is gone', q{document.querySelectorAll('#rules tbody tr').length === 0});
is($node->safe_psql('postgres', q{SELECT firehose_flush(timeout => '1min')}), 't', 'and all is delivered');
page_shows('which appears', "$records.some(text => text.startsWith('refused')) && $stored === '4'");

$browser->type_into('#fault-parameters', '{"nonsense": 1}');
$browser->click('#fault-on');
page_shows('a mistake is said', q{document.querySelector('#fault-error').textContent.includes('nonsense')});
$browser->type_into('#fault-parameters', '{}');
is_deeply([ grep { !/_control\/rules .*400/ } $browser->console ], [], 'the page makes no error, and loads nothing that its policy forbids');

# ------------------------------------------------------------------------
# The picture: some seconds of traffic, and some of it refused
# ------------------------------------------------------------------------
$browser->resize(1200, 1150);
$browser->open_page($emulator->url . '/');
$emulator->control(POST => 'reset');
page_shows('a reset clears the lists', q{document.querySelectorAll('#records tbody tr').length === 0});
$emulator->fault('fail_records', { probability => 0.2 }, { stream => 'orders' });
foreach my $round (1 .. 25)
{
    $node->safe_psql('postgres', "SELECT firehose_put_record('clicks', json_build_object('page', '/item/' || n, 'customer', n * 37 % 1000))
        FROM generate_series(1, 20 + $round * 7 % 60) n;
        SELECT firehose_put_record('orders', json_build_object('op', 'INSERT', 'id', n, 'total', n * 1.25))
        FROM generate_series(1, 10 + $round * 3 % 25) n");
    Time::HiRes::sleep(0.4);
}
is($node->safe_psql('postgres', q{SELECT firehose_flush(timeout => '1min')}), 't', 'all of it is delivered');
page_shows('refused records are in the plot',
    q{document.querySelector('[data-stream="orders"] svg path.refused').getAttribute('d').length > 10});
File::Path::make_path('build');
$browser->screenshot('build/emulator.png');
cmp_ok(-s 'build/emulator.png', '>', 10000, 'the picture is taken');
$browser->stop;
$node->stop;
done_testing();
