# Random values of every type of PostgreSQL's own, as SQL literals; the same
# for the same seed of srand.
package RandomValues;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';

our @EXPORT = qw(random_types random_value random_text any_of);

sub any_of { return $_[ int rand @_ ] }

my @letters = ('a' .. 'e', ' ', '"', '\\', "'", ',', '{', '}', '(', ')', '[', ']', ':', ';',
    "\n", "\t", "\r", "\x01", "\x7f", chr 0xe4, chr 0x20ac, chr 0x2028, chr 0x1f600, chr 0x10ffff,
    'NULL', 'null', '%', '\\n', '\\u0041', '</x>', '$1');

sub random_text
{
    my ($length) = @_;
    return join('', map { any_of(@letters) } 1 .. ($length // int rand 12));
}

sub integer
{
    my ($low, $high) = @_;
    return any_of($low, $high, 0, 1, $high > 100 ? int rand 100 : 1,
        $low + int rand($high - $low));
}

sub digits { return join('', map { int rand 10 } 1 .. $_[0]) }

sub numeric
{
    return any_of('NaN', 'Infinity', '-Infinity', 0, '0.00', '-0.000000012', '1e100',
        '10.50', '-' . digits(30) . '.' . digits(20), digits(3) . '.' . digits(2));
}

sub float
{
    return any_of('NaN', 'Infinity', '-Infinity', '-0', '0.1', '1e-30', '1.5e30',
        rand(), rand(1e9) - 5e8, 1 / 3);
}

sub point { return sprintf('(%s,%s)', rand(100) - 50, any_of(0, 1.5, rand())) }

sub bits { return join('', map { int rand 2 } 1 .. $_[0]) }

sub hex_digits { return join('', map { any_of(0 .. 9, 'a' .. 'f') } 1 .. $_[0]) }

sub date
{
    return any_of('infinity', '-infinity', '0044-03-15 BC', '4713-01-01 BC', '5874897-12-31',
        '10000-01-01', sprintf('%04d-%02d-%02d', 1 + rand 3000, 1 + rand 12, 1 + rand 28));
}

sub clock
{
    return sprintf('%02d:%02d:%02d%s', rand 24, rand 60, rand 60, any_of('', '.5', '.123456'));
}

sub timestamp
{
    my ($zone) = @_;
    return any_of('infinity', '-infinity', "0044-03-15 12:00:00.25$zone BC",
        "294276-12-31 23:59:59.999999$zone", "12026-01-01 00:00:00$zone",
        map { sprintf('%04d-%02d-%02d %s%s', 1 + rand 3000, 1 + rand 12, 1 + rand 28, clock(), $zone) }
          1 .. 6);
}

sub interval
{
    return any_of('0', '178000000 years', '-1 day', '1 microsecond',
        sprintf('%d months %d days %.6f seconds', rand(100) - 50, rand(100) - 50, rand(1e6) - 5e5));
}

sub json_string
{
    my $text = random_text();
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge;
    return "\"$text\"";
}

sub json
{
    my ($depth) = @_;
    $depth //= 3;
    return any_of('null', 'true', 'false', '1', '-1.50', '1e3', json_string(), '{}', '[]')
      if $depth == 0 || rand() < 0.3;
    return '[' . join(', ', map { json($depth - 1) } 1 .. rand 4) . ']' if rand() < 0.5;
    my $n = 0;
    return '{' . join(', ', map { '"k' . $n++ . '": ' . json($depth - 1) } 1 .. rand 4) . '}';
}

# A range of two ordered bounds
sub range
{
    my ($low, $high) = @_;
    return 'empty' if rand() < 0.1;
    return any_of('[', '(') . any_of($low, $low, '') . ',' . any_of($high, $high, '') . any_of(']', ')');
}

sub integers { my $low = int(rand 1000) - 500; return range($low, $low + 1 + int rand 100) }
sub numerics { my $low = rand 10; return range("$low", $low + 0.5) }
sub dates { return range('2026-01-01', '2026-02-' . sprintf('%02d', 1 + rand 28)) }
sub timestamps
{
    my ($zone) = @_;
    return range("\"2026-01-01 00:00:00$zone\"", "\"2026-02-0" . (1 + int rand 9) . " 12:00:00.5$zone\"");
}
sub multi { my ($low, $high) = @_; return any_of('{}', "{$low}", "{$low,$high}") }

my %make = (
    bool => sub { any_of('t', 'f') },
    bytea => sub { '\\x' . hex_digits(2 * int rand 20) },
    '"char"' => sub { any_of('', 'x', '"', '\\', ',') },
    name => sub { substr(random_text(5), 0, 15) },
    int2 => sub { integer(-32768, 32767) },
    int4 => sub { integer(-2147483648, 2147483647) },
    int8 => sub { any_of('-9223372036854775808', '9223372036854775807', integer(-2**40, 2**40)) },
    text => sub { random_text() },
    varchar => sub { random_text() },
    bpchar => sub { random_text() },
    'char(10)' => sub { substr(random_text(4), 0, 10) },
    'varchar(20)' => sub { substr(random_text(5), 0, 20) },
    oid => sub { int rand 4294967295 },
    regproc => sub { any_of('0', 'pg_catalog.now', 'pg_sleep') },
    regprocedure => sub { any_of('0', 'abs(integer)', 'now()') },
    regoper => sub { any_of('0', 'pg_catalog.||/') },
    regoperator => sub { any_of('0', '+(integer,integer)', '-(NONE,integer)') },
    regclass => sub { any_of('0', 'pg_class', 'information_schema.columns') },
    regtype => sub { any_of('0', 'integer', 'timestamp with time zone', 'text[]') },
    regrole => sub { any_of('0', 'pg_monitor') },
    regnamespace => sub { any_of('0', 'pg_catalog') },
    regcollation => sub { any_of('0', '"C"', '"POSIX"') },
    regconfig => sub { any_of('0', 'english', 'simple') },
    regdictionary => sub { any_of('0', 'simple') },
    tid => sub { sprintf('(%d,%d)', rand 1e6, 1 + rand 100) },
    xid => sub { int rand 4294967295 },
    xid8 => sub { any_of('18446744073709551615', int rand 1e15) },
    cid => sub { int rand 4294967295 },
    int2vector => sub { join(' ', map { int rand 100 } 1 .. rand 4) },
    oidvector => sub { join(' ', map { int rand 4294967295 } 1 .. rand 4) },
    # but not null, which JSON cannot tell from an SQL null
    json => sub { any_of(json(1), '[' . json() . ']') =~ s/^null$/"null"/r },
    jsonb => sub { any_of(json(1), '{"a": ' . json() . '}') =~ s/^null$/"null"/r },
    jsonpath => sub { any_of('$', 'strict $."a b"[*]?(@ > 1)', 'lax $.a[0 to 3].type()') },
    xml => sub { any_of('<a>x</a>', '<a b="c">&lt;&amp;"</a>', 'text', '<a/><b/>') },
    point => \&point,
    lseg => sub { '[' . point() . ',' . point() . ']' },
    path => sub { any_of('[', '(') eq '[' ? '[' . point() . ',' . point() . ']' : '(' . point() . ',' . point() . ')' },
    box => sub { point() . ',' . point() },
    polygon => sub { '(' . join(',', map { point() } 1 .. 3) . ')' },
    line => sub { sprintf('{%s,%s,%s}', 1 + rand(), rand(), rand()) },
    circle => sub { '<' . point() . ',' . rand(10) . '>' },
    float4 => \&float,
    float8 => \&float,
    money => sub { any_of('-1234.56', '92233720368547758.07', sprintf('%.2f', rand 1000)) },
    macaddr => sub { join(':', map { hex_digits(2) } 1 .. 6) },
    macaddr8 => sub { join(':', map { hex_digits(2) } 1 .. 8) },
    inet => sub { any_of('10.0.0.1/8', '192.168.1.' . int rand 256, '::1', '2001:db8::' . hex_digits(4) . '/64') },
    cidr => sub { any_of('10.0.0.0/8', '2001:db8::/32', '1.2.3.' . int(rand 256) . '/32') },
    aclitem => sub { any_of('=r/pg_monitor', 'pg_monitor=arwdDxt/pg_monitor') },
    date => \&date,
    time => sub { any_of('00:00', '24:00:00', clock()) },
    timetz => sub { clock() . any_of('+00', '+05:30', '-08', '+15:59:59') },
    timestamp => sub { timestamp('') },
    timestamptz => sub { timestamp('+00') },
    interval => \&interval,
    bit => sub { bits(1) },
    'bit(9)' => sub { bits(9) },
    varbit => sub { bits(int rand 20) },
    numeric => \&numeric,
    'numeric(12,3)' => sub { sprintf('%.3f', rand(1e8) - 5e7) },
    refcursor => sub { random_text() },
    uuid => sub { join('-', map { hex_digits($_) } 8, 4, 4, 4, 12) },
    pg_lsn => sub { sprintf('%X/%X', rand 1000, rand 4294967295) },
    txid_snapshot => sub { '10:20:' . join(',', grep { rand() < 0.5 } 10 .. 19) },
    pg_snapshot => sub { '10:20:' . join(',', grep { rand() < 0.5 } 10 .. 19) },
    tsvector => sub { any_of('', "'a':1A b:2,3", "'it''s':5B 'x y'") },
    tsquery => sub { any_of('', 'a & !b', "'x y':* <-> c", 'a | (b & c)') },
    int4range => \&integers,
    int8range => \&integers,
    numrange => \&numerics,
    tsrange => sub { timestamps('') },
    tstzrange => sub { timestamps('+00') },
    daterange => \&dates,
    int4multirange => sub { multi('[1,5)', '[7,' . (9 + int rand 9) . ')') },
    int8multirange => sub { multi('[1,5)', '[7,' . (9 + int rand 9) . ')') },
    nummultirange => sub { multi('[1.5,2.50]', '(7,' . (9 + rand 9) . ')') },
    tsmultirange => sub { multi('[2026-01-01,2026-02-01)', '[2027-01-01,)') },
    tstzmultirange => sub { multi('[2026-01-01 00:00+00,2026-02-01 00:00+00)', '[2027-01-01 00:00+00,)') },
    datemultirange => sub { multi('[2026-01-01,2026-02-01)', '[2027-01-01,)') });

# Types that have no values of their own: of the catalogs, or without input.
our @WITHOUT_VALUES = qw(pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list
  pg_brin_bloom_summary pg_brin_minmax_multi_summary pg_ddl_command gtsvector);

sub random_types { return sort keys %make }

# An SQL literal of a type, or of its array; sometimes NULL.
sub random_value
{
    my ($type, $is_array) = @_;
    return 'NULL' if rand() < 0.15;
    return _literal($make{$type}->()) unless $is_array;

    # of one or two dimensions, now and then empty; json has one, since the JSON
    # of an array does not tell a dimension from an array that is an element
    my $elements = int rand 4;
    return "'{}'" if $elements == 0;
    my $two = $type !~ /^json/ && rand() < 0.3;
    my $row = sub {
        return 'ARRAY[' . join(',', map { rand() < 0.2 ? 'NULL' : _literal($make{$type}->()) . "::$type" }
              1 .. $elements) . "]::$type\[]";
    };
    return $two ? 'ARRAY[' . join(',', map { $row->() } 1 .. 1 + rand 3) . ']' : $row->();
}

sub _literal
{
    my ($text) = @_;
    $text =~ s/'/''/g;
    return "'$text'";
}

1;
