# What programs put arrives as they mean it: examples/languages has the same
# program for each driver, and all of them send the same records.  Then what a
# driver sends of which the server is not told the type, for each function: it
# means what the name says, or is an error.  And docs/languages.md shows what is
# in those programs, word for word.
#
# Drivers for C, Python and Perl are there in any case, others with --long.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;

my $folder = Cwd::abs_path('examples/languages');
my $json = JSON::PP->new->canonical->allow_nonref;
my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_size' => '8MB', listen_addresses => '127.0.0.1');
sub sql { return $node->safe_psql('postgres', $_[0]) }
my %environment = (
    PGHOST => '127.0.0.1', PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => (getpwuid($<))[0]);
# where Debian's package has node-pg, and where scripts/install-languages puts what npm has
$environment{NODE_PATH} = '/usr/share/nodejs:' . (Cwd::abs_path('build/languages/node_modules') // '');
my $build = Cwd::abs_path($node->basedir) . '/build';
mkdir $build or die "$build: $!";

# What a stream was sent; objects by their content
sub sent
{
    my ($stream) = @_;
    is(sql("SELECT firehose_flush('$stream', '60 s')"), 't', "$stream: all is sent");
    return [ sort map { $_->{data} =~ /^\{/ ? $json->encode($json->decode($_->{data})) : $_->{data} } $emulator->records($stream) ];
}

sub run_program
{
    my ($name, @command) = @_;
    local %ENV = (%ENV, %environment);
    my ($stdout, $stderr) = run_command(\@command);
    is($stderr, '', "$name: no error");
    return $stdout;
}

# ------------------------------------------------------------------------
# Drivers
# ------------------------------------------------------------------------
# A stream whose queue is full
new_stream($node, 'crowded', paused => 'true', on_full => 'error');
foreach my $size (500000, 5000, 1)
{
    1 while ($node->psql('postgres', "SELECT firehose_put_bytes('crowded', convert_to(repeat('x', $size), 'UTF8'))"))[0] == 0;
}

sub from_pg_config { chomp(my $value = `$ENV{PG_CONFIG} --$_[0]`); return $value }
$ENV{PG_CONFIG} //= 'pg_config';
my @python = ('/usr/bin/python3');
my $pgx = '/usr/share/gocode/src/github.com/jackc/pgx';
my @drivers = (
    # name, how to find out whether it is there, how to run it, what to do before
    [ 'c_libpq', [ 'cc', '--version' ], [ "$build/c_libpq" ],
        [ 'cc', '-Wall', '-Wextra', '-Werror', '-I', from_pg_config('includedir'), '-L', from_pg_config('libdir'),
            "$folder/c_libpq.c", '-o', "$build/c_libpq", '-lpq' ] ],
    [ 'python_psycopg2', [ @python, '-c', 'import psycopg2' ], [ @python, "$folder/python_psycopg2.py" ] ],
    [ 'perl_dbd_pg', [ 'perl', '-MDBD::Pg', '-e1' ], [ 'perl', "$folder/perl_dbd_pg.pl" ] ]);
my @further = (
    [ 'python_psycopg3', [ @python, '-c', 'import psycopg' ], [ @python, "$folder/python_psycopg3.py" ] ],
    [ 'python_asyncpg', [ @python, '-c', 'import asyncpg' ], [ @python, "$folder/python_asyncpg.py" ] ],
    [ 'node_pg', [ 'node', '-e', 'require("pg")' ], [ 'node', "$folder/node_pg.js" ] ],
    [ 'node_postgres', [ 'node', '-e', 'require("postgres")' ], [ 'node', "$folder/node_postgres.js" ] ],
    [ 'java_jdbc', [ 'sh', '-c', 'java -version && test -e /usr/share/java/postgresql.jar' ],
        [ 'java', '-cp', '/usr/share/java/postgresql.jar', "$folder/java_jdbc.java" ] ],
    [ 'node_knex', [ 'node', '-e', 'require("knex"); require("pg")' ], [ 'node', "$folder/node_knex.js" ] ],
    [ 'ruby_pg', [ 'ruby', '-rpg', '-e1' ], [ 'ruby', "$folder/ruby_pg.rb" ] ],
    [ 'php_pdo', [ 'php', '-r', 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);' ], [ 'php', "$folder/php_pdo.php" ] ],
    [ 'go_pq', [ 'sh', '-c', 'go version && test -d /usr/share/gocode/src/github.com/lib/pq' ], [ "$build/go_pq" ],
        [ 'env', 'GO111MODULE=off', 'GOPATH=/usr/share/gocode', "GOCACHE=$build/go", 'go', 'build', '-o', "$build/go_pq", "$folder/go_pq.go" ] ],
    # the program is for pgx v5; v4, which Debian 12 has, takes the same calls
    [ 'go_pgx', [ 'sh', '-c', "go version && test -d $pgx" ], [ "$build/go_pgx" ],
        [ 'sh', '-c', "version=v5; test -d $pgx/v5 || version=v4
            sed s,pgx/v5,pgx/\$version, '$folder/go_pgx.go' >'$build/go_pgx.go'
            GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE='$build/go' go build -o '$build/go_pgx' '$build/go_pgx.go'" ] ],
    # from the crates that Debian has
    [ 'rust_tokio', [ 'sh', '-c', '/usr/bin/cargo --version && ls -d /usr/share/cargo/registry/tokio-postgres-*' ],
        [ "$build/target/debug/rust_tokio" ],
        [ 'env', 'RUSTC=/usr/bin/rustc', "CARGO_HOME=$build/cargo", '/usr/bin/cargo', 'build', '--quiet', '--offline',
            '--manifest-path', "$build/Cargo.toml", '--config', 'source.crates-io.replace-with="debian"',
            '--config', 'source.debian.directory="/usr/share/cargo/registry"' ] ]);
append_to_file("$build/Cargo.toml", <<"END");
[package]
name = "rust_tokio"
version = "0.0.0"
edition = "2021"

[[bin]]
name = "rust_tokio"
path = "$folder/rust_tokio.rs"

[dependencies]
tokio = { version = "1", features = ["macros", "net", "rt", "time"] }
tokio-postgres = "0.7"
END
my @frameworks = (
    [ 'python_sqlalchemy', [ @python, '-c', 'import sqlalchemy, psycopg2' ], [ @python, "$folder/python_sqlalchemy.py" ] ],
    [ 'python_django', [ @python, '-c', 'import django, psycopg2' ], [ @python, "$folder/python_django.py" ] ],
    [ 'ruby_activerecord', [ 'ruby', '-ractive_record', '-rpg', '-e1' ], [ 'ruby', "$folder/ruby_activerecord.rb" ] ]);

# Is what a program needs there?
sub is_there
{
    my ($probe) = @_;
    local %ENV = (%ENV, %environment);
    return IPC::Run::run($probe, '>', \my $out, '2>', \my $err);
}

# Run a program, its own stream as argument; what it printed.
sub run_driver
{
    my ($driver, @arguments) = @_;
    my ($name, undef, $command, $prepare) = @$driver;
    is((run_command($prepare))[1], '', "$name is built") if $prepare;
    new_stream($node, $name);
    return run_program($name, @$command, $name, @arguments);
}

my $expected = [ sort "line\n", "\x00\xff\n", '{"n":1,"page":"/"}', '{"sent":true}', '{"n":2}', '{"n":3}',
    "a\n", "b\n", "\x01", '\x02', "at once\n", "waited for\n", "went on\n" ];
sub check_driver
{
    my ($driver) = @_;
    my $name = $driver->[0];
    is(run_driver($driver, 'crowded'), "accepted\nfull\n22P02", "$name: outcome, a full queue, an error");
    is_deeply(sent($name), $expected, "$name: each record is what the program means");
    return;
}

foreach my $driver (@drivers)
{
    ok(is_there($driver->[1]), "$driver->[0] can be run") or next;
    check_driver($driver);
}
sql(slurp_file("$folder/outbox.sql"));
foreach my $driver (is_long() ? (@further, @frameworks) : ())
{
  SKIP:
    {
        my $name = $driver->[0];
        skip("$name: its driver is not installed here", 1) unless is_there($driver->[1]);
        if (grep { $_ == $driver } @further)
        {
            check_driver($driver);
            next;
        }
        is(run_driver($driver), "accepted\n{\"by\": \"test\"}", "$name: the outcome, and what a test sees that rolls back");
        is_deeply(sent($name), [ sort "by core\n", '{"by":"orm"}', ('{"by":"cached"}') x ($name =~ /activerecord/ ? 2 : 0) ],
            "$name: each record is what the program means");
    }
}

# every program is tried by one of these
is_deeply([ sort map { m{([^/]+)\.\w+$} } glob("$folder/*") ], [ sort 'outbox', map { $_->[0] } @drivers, @further, @frameworks ],
    'no program is left out');

# ------------------------------------------------------------------------
# The outbox, as any client would use it
# ------------------------------------------------------------------------
new_stream($node, 'boxed');
is(sql(q{INSERT INTO outbox (stream, data) VALUES ('boxed', '{"n": 1}'), ('boxed', '{"n": 2}') RETURNING id > 0}), "t\nt",
    'an insert into the outbox returns ids');
sql(q{BEGIN; INSERT INTO outbox (stream, data) VALUES ('boxed', '{"n": 3}'); ROLLBACK});
is_deeply(sent('boxed'), [ '{"n":1}', '{"n":2}' ], 'what it was given is sent, unless it was rolled back');
my ($code, undef, $error) = $node->psql('postgres', q{INSERT INTO outbox (stream) VALUES ('boxed')});
like($error, qr/data of firehose_put_json\(\) must not be null/, 'and what cannot be put is an error');

# ------------------------------------------------------------------------
# A pooler: clients share one session, transaction by transaction
# ------------------------------------------------------------------------
my $pooler = '/usr/sbin/pgbouncer';
SKIP:
{
    last SKIP unless is_long();
    skip('pgbouncer is not installed here', 1) unless -x $pooler;
    my $port = PostgreSQL::Test::Cluster::get_free_port();
    append_to_file("$build/pgbouncer.ini", "[databases]\npostgres = host=127.0.0.1 port=$environment{PGPORT} user=$environment{PGUSER}\n"
          . "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = $port\nunix_socket_dir =\nauth_type = any\n"
          . "pool_mode = transaction\ndefault_pool_size = 1\n");
    my $running = IPC::Run::start([ $pooler, "$build/pgbouncer.ini" ], '<', \undef, '>', "$build/pgbouncer.log", '2>&1');
    my $client = sub {
        my $result = $node->psql('postgres', $_[0], connstr => "host=127.0.0.1 port=$port user=$environment{PGUSER} dbname=postgres", stdout => \my $out);
        return $result == 0 ? $out : 'error';
    };
    wait_until('pgbouncer takes clients', sub { $client->('SELECT 1') eq '1' });
    new_stream($node, 'pooled');
    my $pooled = $client->(q{SELECT firehose_put_text('pooled', 'x')});
    is($client->("SELECT firehose_wait($pooled)"), 'accepted', "another client's session can wait");
    $client->('BEGIN; SET LOCAL firehose.put_durability = wal; COMMIT');
    is($client->('SHOW firehose.put_durability'), 'memory', 'SET LOCAL ends with its transaction');
    $client->('SET firehose.put_durability = wal');
    is($client->('SHOW firehose.put_durability'), 'wal', 'SET reaches other clients, as the manual warns');
    $running->kill_kill;
}

# ------------------------------------------------------------------------
# Parameters of which no type is told
# ------------------------------------------------------------------------
# function and argument => what libpq is given for it, as text (0) or bytes (1), and
# what is sent, or the SQLSTATE
my @untyped = (
    [ 'SELECT firehose_put_record', 0, 'a', "a\n" ],
    [ 'SELECT firehose_put_record', 0, '{"a": 1}', '{"a":1}' ],
    [ 'SELECT firehose_put_record', 0, '\x6162', "\\x6162\n" ],
    # bytes look like text to the server: a newline is added, or they are refused
    [ 'SELECT firehose_put_record', 1, "\x01b", "\x01b\n" ],
    [ 'SELECT firehose_put_record', 1, "\x00\xff", '22021' ],
    [ 'SELECT firehose_put_record', 1, "\xff", '22021' ],
    [ 'SELECT firehose_put_text', 0, 'a', "a\n" ],
    [ 'SELECT firehose_put_text', 1, "\xff", '22021' ],
    [ 'SELECT firehose_put_bytes', 1, "\x00\xff", "\x00\xff" ],
    [ 'SELECT firehose_put_bytes', 0, '\x00ff', "\x00\xff" ],
    [ 'SELECT firehose_put_bytes', 0, '\xag', '22023' ],
    [ 'SELECT firehose_put_json', 0, '[1]', "[1]\n" ],
    [ 'SELECT firehose_put_json', 1, '{"a":1}', '{"a":1}' ],
    [ 'SELECT firehose_put_json', 0, 'a', '22P02' ],
    [ 'SELECT firehose_put_texts', 0, '{a,"b c"}', "a\n", "b c\n" ],
    [ 'SELECT firehose_put_texts', 0, '{}' ],
    [ 'SELECT firehose_put_texts', 0, 'a', '22P02' ],
    [ 'SELECT firehose_put_jsons', 0, '[{"a": 1}, 2]', '{"a":1}', "2\n" ],
    [ 'SELECT firehose_put_jsons', 0, '[]' ],
    [ 'SELECT firehose_put_jsons', 0, '{"a": 1}', '22023' ],
    # node-pg makes this of an array of objects, which is no JSON
    [ 'SELECT firehose_put_jsons', 0, '{"{\"a\":1}"}', '22P02' ],
    [ 'SELECT firehose_put_bytes_array', 0, '{"\\\\x00ff","\\\\x01"}', "\x00\xff", "\x01" ],
    [ 'SELECT firehose_put_bytes_array', 0, '{}' ],
    [ 'SELECT firehose_put_batch', 0, '{a,b}', "a\n", "b\n" ],
    [ 'SELECT firehose_put_batch', 0, '{}' ],
    [ 'SELECT firehose_put_batch', 0, '{"\\\\x00ff"}', '42725' ],
    [ 'SELECT firehose_put_batch', 0, '[{"a": 1}]', '22P02' ],
    [ 'SELECT firehose_put_batch', 0, 'a', '22P02' ],
    [ 'CALL firehose_send', 0, '{"a": 1}', '{"a":1}' ],
    [ 'CALL firehose_send', 0, 'a', '22P02' ]);
my $probe = "$build/untyped.py";
append_to_file($probe, <<'END');
import ctypes, json, sys
libpq = ctypes.CDLL(sys.argv[1] + "/libpq.so.5")
for name in "PQconnectdb", "PQexecParams":
    getattr(libpq, name).restype = ctypes.c_void_p
libpq.PQresultErrorField.restype = ctypes.c_char_p
connection = ctypes.c_void_p(libpq.PQconnectdb(b""))
for number, (call, binary, data) in enumerate(json.load(sys.stdin)):
    values = [b"untyped_%d" % number, data.encode("latin-1")]
    result = ctypes.c_void_p(libpq.PQexecParams(
        connection, (call + "($1, $2)").encode(), 2, None, (ctypes.c_char_p * 2)(*values),
        (ctypes.c_int * 2)(*map(len, values)), (ctypes.c_int * 2)(0, binary), 0))
    state = libpq.PQresultErrorField(result, ord("C"))
    print(state.decode() if state else "")
    libpq.PQclear(result)
libpq.PQfinish(connection)
END
sql('SET client_min_messages = error; ' . join('', map { "CREATE SERVER untyped_$_ FOREIGN DATA WRAPPER firehose;" } 0 .. $#untyped));
my $input = JSON::PP->new->ascii->encode([ map { [ @$_[ 0 .. 2 ] ] } @untyped ]);
my ($states, $trouble) = ('', '');
{
    local %ENV = (%ENV, %environment);
    ok(IPC::Run::run([ @python, $probe, from_pg_config('libdir') ], '<', \$input, '>', \$states, '2>', \$trouble), 'libpq was asked')
      or diag($trouble);
}
my @states = split /\n/, $states, -1;
foreach my $number (0 .. $#untyped)
{
    my ($call, $binary, $data, @sent) = @{ $untyped[$number] };
    my $shown = $data =~ s/([^ -~])/sprintf('<%02x>', ord $1)/ger;
    my $state = @sent == 1 && $sent[0] =~ /^\d\w{4}$/ ? shift @sent : '';
    is($states[$number], $state, "$call of $shown" . ($binary ? ' as bytes' : '') . ($state ? ": $state" : ''));
    is_deeply(sent("untyped_$number"), [ sort @sent ], 'sent: ' . @sent);
}

# ------------------------------------------------------------------------
# The manual
# ------------------------------------------------------------------------
# Blocks of a page that none of the files has that its section names
sub strange_blocks
{
    my ($page) = @_;
    my @strange;
    foreach my $section (split /^(?=## )/m, $page)
    {
        my $programs = join("\n", map { slurp_file("$folder/$_") } $section =~ m{\(\.\./examples/languages/([\w.]+)\)}g);
        next if $programs eq '';
        $programs =~ s/^\s+//mg;
        foreach my $block ($section =~ /((?:^    .*\n)+)/mg)
        {
            $block =~ s/^\s+//mg;
            # statements by themselves are run by t/007_statements.pl
            push @strange, $block if index($programs, $block) < 0 && $block !~ /\ACREATE SERVER /;
        }
    }
    return @strange;
}
my $page = slurp_file('docs/languages.md');
is_deeply([ strange_blocks("## C\n[a](../examples/languages/c_libpq.c)\n\n    no such line\n") ], ["no such line\n"], 'a block of no program is noticed');
is_deeply([ strange_blocks($page) ], [], 'docs/languages.md shows what is in the programs');
like($page, qr{\(\.\./examples/languages/\Q$_\E\)}, "docs/languages.md leads to $_")
  foreach map { s{.*/}{}r } glob("$folder/*");

$node->stop;
done_testing();
