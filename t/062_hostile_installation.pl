# CREATE EXTENSION, the views and the functions run by a superuser, or any other
# else, run nothing of a stranger's.  The stranger owns the database and with
# it schema public.  What could be mistaken for something of PostgreSQL's is
# derived from the extension's script, so that no new line can be forgotten:
# for every function, operator and type that it names there are overloads in
# schema public that match better than PostgreSQL's own wherever one may, and
# say in the log who ran them.  And objects that bear the names of ours before
# it is created are never taken for ours.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator);

# ------------------------------------------------------------------------
# What the script names
# ------------------------------------------------------------------------
# Without comments, and with what C sources have SQL do by SPI.
my $script = slurp_file('firehose--1.0.sql');
$script =~ s/^\s*--.*$//mg;
$script =~ s/^COMMENT ON .*?';$//msg;
foreach my $file (glob('src/*/*.c'))
{
    my $source = slurp_file($file);
    next unless $source =~ /\bSPI_execute/;
    $script .= "\n$1" while $source =~ /"((?:[^"\\]|\\.)*)"/g;
}
my %words = map { lc $_ => 1 } $script =~ /\b([a-z_][a-z0-9_]*)\b/gi;
my %operators = map { $_ => 1 } $script =~ m{([-+*/<>=~!\@#%^&|`?]+)}g;
my $words = join(',', map { "'$_'" } sort keys %words);
my $operators = join(',', map { "'$_'" } sort keys %operators);

# ------------------------------------------------------------------------
# A stranger's overloads of it
# ------------------------------------------------------------------------
my $overloads = qq{
SET client_min_messages = warning;
SET search_path = pg_catalog;
CREATE FUNCTION public.decoy(kind text, name text, args text, result text) RETURNS void
LANGUAGE plpgsql AS \$decoy\$
BEGIN
    EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
        '\$\$BEGIN RAISE WARNING ''intruder: %s %I(%s) run by %%'', current_user;%s END\$\$',
        name, args, result, kind, name, replace(args, '''', ''),
        CASE WHEN result <> 'void' THEN ' RETURN NULL;' END);
EXCEPTION WHEN invalid_function_definition OR duplicate_function THEN
    NULL;       -- polymorphic result without such an argument
END
\$decoy\$;

-- types that occur in the script; those of a keyword go by the name of its type
CREATE TABLE public.decoy_types AS
    SELECT format_type(oid, NULL) AS type, typname::text AS name FROM pg_type
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typcategory <> 'Z'
      AND (typname IN ($words) OR typname IN ('int4', 'int8', 'bool', 'interval', 'float8', 'numeric', '_text', '_int8', '_text'));

-- functions: every name of PostgreSQL's with every number of arguments that it has
DO \$\$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.proname::text AS name, p.pronargs AS n,
               min(CASE WHEN t.typtype = 'p' AND p.prorettype <> 'void'::regtype THEN 'text'
                        ELSE format_type(p.prorettype, NULL) END) AS result
        FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ($words)
          AND p.prokind IN ('f', 'a') AND p.pronargs <= 3
        GROUP BY 1, 2
    LOOP
        IF f.n = 0 THEN
            PERFORM public.decoy('function', f.name, 'integer DEFAULT 0', f.result);
            PERFORM public.decoy('function', f.name, '', f.result);
        ELSIF f.n = 1 THEN
            PERFORM public.decoy('function', f.name, type, f.result)
            FROM public.decoy_types;
        ELSIF f.n = 2 THEN
            PERFORM public.decoy('function', f.name, a.type || ', ' || b.type, f.result)
            FROM public.decoy_types a, public.decoy_types b;
        ELSE
            PERFORM public.decoy('function', f.name, concat_ws(', ', a, b, c), f.result)
            FROM unnest('{text,name,oid,integer}'::text[]) a, unnest('{text,name,oid,integer}'::text[]) b,
                 unnest('{text,name,oid,integer}'::text[]) c;
        END IF;
        PERFORM public.decoy('function', f.name, 'VARIADIC text[]', f.result);
    END LOOP;

    FOR f IN
        SELECT o.name, a.type AS lefttype, b.type AS righttype,
               row_number() OVER () AS n,
               coalesce((SELECT format_type(oprresult, NULL) FROM pg_operator
                         WHERE oprname = o.name AND oprresult <> 0
                         ORDER BY oprleft = a.type::regtype DESC, oprright = b.type::regtype DESC LIMIT 1),
                        'boolean') AS result
        FROM (SELECT DISTINCT oprname::text AS name FROM pg_operator WHERE oprname IN ($operators)) o,
             public.decoy_types a, public.decoy_types b
    LOOP
        PERFORM public.decoy('operator', 'decoy_operator_' || f.n, f.lefttype || ', ' || f.righttype, f.result);
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.decoy_operator_%s)',
            f.name, f.lefttype, f.righttype, f.n);
    END LOOP;

    -- types, with casts from and to whatever they are mistaken for
    FOR f IN SELECT name, type FROM public.decoy_types WHERE name !~ '^_'
    LOOP
        EXECUTE format('CREATE TYPE public.%I AS (intruder pg_catalog.int4)', f.name);
        PERFORM public.decoy('cast', 'decoy_from_' || f.name, 'pg_catalog.text', format('public.%I', f.name));
        PERFORM public.decoy('cast', 'decoy_to_' || f.name, format('public.%I', f.name), 'pg_catalog.' || quote_ident(f.name));
        EXECUTE format('CREATE CAST (pg_catalog.text AS public.%I) WITH FUNCTION public.%I AS IMPLICIT',
            f.name, 'decoy_from_' || f.name);
        EXECUTE format('CREATE CAST (public.%I AS pg_catalog.%I) WITH FUNCTION public.%I AS IMPLICIT',
            f.name, f.name, 'decoy_to_' || f.name);
    END LOOP;
END
\$\$;
};

my @roles = qw(nobody reader owner monitor data replicator mallory postgres);
$node->safe_psql('postgres', q{
    CREATE ROLE nobody; CREATE ROLE reader; CREATE ROLE owner; CREATE ROLE monitor; CREATE ROLE data;
    CREATE ROLE replicator REPLICATION; CREATE ROLE mallory LOGIN;
    GRANT pg_monitor TO monitor; GRANT pg_read_all_data, pg_write_all_data TO data;
    CREATE DATABASE hostile OWNER mallory;
    CREATE DATABASE crowded OWNER mallory;});
$node->safe_psql('hostile', $overloads, extra_params => [ '-U', 'mallory' ]);

my $log_offset = -s $node->logfile;
sub intruders
{
    my %seen = map { $_ => 1 } slurp_file($node->logfile, $log_offset) =~ /intruder: (.*)$/mg;
    $log_offset = -s $node->logfile;
    my @seen = sort keys %seen;
    return @seen;
}
sub no_intruders
{
    my ($what) = @_;
    my @intruders = intruders();
    ok(!@intruders, "$what runs nothing of a stranger's")
      or diag(join("\n", @intruders[0 .. ($#intruders < 20 ? $#intruders : 20)]));
    return;
}

# the traps work
cmp_ok($node->safe_psql('hostile', "SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::pg_catalog.regnamespace"),
    '>', 500, 'there are operators');
intruders();
foreach my $careless (q{SELECT pg_has_role('pg_read_all_stats', 'USAGE')},
    q{SELECT 1::oid = 1::integer}, q{SELECT 'x'::pg_catalog.text::public.text})
{
    $node->psql('hostile', $careless);
    is(scalar(intruders()), 1, "a careless statement runs a stranger's: $careless");
}

# ------------------------------------------------------------------------
# Creating it
# ------------------------------------------------------------------------
my ($status, undef, $stderr) = $node->psql('hostile', 'CREATE EXTENSION firehose');
is($status, 0, 'CREATE EXTENSION in a hostile database') or diag($stderr);
no_intruders('CREATE EXTENSION');

# its catalog is that of an innocent database
sub definitions
{
    my ($dbname) = @_;
    return $node->safe_psql($dbname, q{
        SET search_path = pg_catalog;
        SELECT pg_describe_object(d.classid, d.objid, 0), CASE d.classid
            WHEN 'pg_class'::regclass THEN (SELECT concat_ws(' ', relowner::regrole, relacl,
                CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END) FROM pg_class WHERE oid = d.objid)
            WHEN 'pg_proc'::regclass THEN pg_get_functiondef(d.objid) END
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
        WHERE e.extname = 'firehose' AND d.deptype = 'e' ORDER BY 1});
}
is(definitions('hostile'), definitions('postgres'), 'it is what it is elsewhere');

# ------------------------------------------------------------------------
# Using it
# ------------------------------------------------------------------------
$node->safe_psql('hostile', q{
    SET search_path = pg_catalog;
    GRANT ALL ON SCHEMA public TO PUBLIC;
    CREATE SERVER clicks FOREIGN DATA WRAPPER firehose;
    CREATE TABLE public.t (a pg_catalog.int4 PRIMARY KEY, b pg_catalog.text);
    CREATE PUBLICATION p FOR TABLE public.t;
    GRANT USAGE ON FOREIGN SERVER clicks TO reader;
    ALTER SERVER clicks OWNER TO owner;
    GRANT CREATE ON DATABASE hostile TO owner;});

# every view, and every function with arguments of its types, by every role
my $views = $node->safe_psql('hostile', q{
    SET search_path = pg_catalog;
    SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose' WHERE c.relkind = 'v'});
my $calls = $node->safe_psql('hostile', q{
    SET search_path = pg_catalog;
    SELECT format('SELECT %s(%s)', p.oid::regproc::text, (SELECT string_agg(format('%s::%s',
            CASE WHEN n = 1 AND a = 'text'::regtype THEN quote_literal('clicks')
                 WHEN a = 'interval'::regtype THEN quote_literal('0 seconds') ELSE 'NULL' END,
            a::regtype), ', ' ORDER BY n)
        FROM unnest(p.proargtypes) WITH ORDINALITY u(a, n)))
    FROM (SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'firehose') p});
$calls =~ s/::(text|bytea|jsonb?|oid|pg_lsn|regclass)\b/::pg_catalog.$1/g;
cmp_ok(scalar(split /\n/, $calls), '>', 20, 'functions are called');
my $session = join('', map { "SELECT * FROM $_;\n" } split /\n/, $views);
$session .= join('', map { "$_;\n" } split /\n/, $calls);
foreach my $role (@roles)
{
    # with the stranger's before PostgreSQL's own, as a careless session may have it
    $node->psql('hostile', "SET ROLE $role; SET search_path = public, pg_catalog;\n$session", on_error_stop => 0);
    no_intruders("a session of $role");
}

# puts, triggers, durable puts, a pipeline, dead letters: everything, and what workers do
$node->psql('hostile', q{
    SET ROLE postgres;
    SET search_path = public, pg_catalog;
    SELECT public.firehose_attach('public.t'::pg_catalog.regclass, 'clicks'::pg_catalog.text);
    SELECT public.firehose_detach('public.t'::pg_catalog.regclass, 'clicks'::pg_catalog.text);
    SELECT public.firehose_attach('public.t'::pg_catalog.regclass, 'clicks'::pg_catalog.text, 'statement'::pg_catalog.text);
    SELECT public.firehose_create_pipeline('p'::pg_catalog.text, 'clicks'::pg_catalog.text, '{p}'::pg_catalog.text[]);
    SELECT public.firehose_enable_durable_puts(true);
}, on_error_stop => 0);
# what commits before a pipeline streams is not delivered, and durable puts are refused until then
wait_until('both pipelines stream', sub {
    return $node->safe_psql('hostile', q{
        SET search_path = pg_catalog;
        SELECT count(*) FROM public.firehose_stat_pipeline WHERE state = 'streaming'}) eq '2';
});
foreach my $search_path ('public, pg_catalog', 'pg_catalog')
{
    $node->psql('hostile', qq{
        SET search_path = $search_path;
        INSERT INTO public.t VALUES (length('$search_path'::pg_catalog.text), 'b');
        SET firehose.put_durability = wal;
        SELECT public.firehose_put_record('clicks'::pg_catalog.text, 'durable'::pg_catalog.text, true);
        SELECT public.firehose_put_record('clicks'::pg_catalog.text, 'x'::pg_catalog.text, false);
        SELECT public.firehose_retry_dead_letters('clicks'::pg_catalog.text, NULL::pg_catalog.int8[], NULL::pg_catalog.text, 10);
    }, on_error_stop => 0);
}
wait_until('all three ways in work there', sub {
    my $data = join('', map { $_->{data} } $emulator->records('clicks'));
    return $data =~ /^durable$/m && $data =~ /"op":.*"lsn":/ && $data =~ /"op":(?!.*"lsn":)/;
});
$node->psql('hostile', q{
    SET search_path = public, pg_catalog;
    SELECT public.firehose_disable_durable_puts(true);
    SELECT public.firehose_drop_pipeline('p'::pg_catalog.text, false);});
no_intruders('use of it');
is($node->safe_psql('hostile', 'DROP EXTENSION firehose CASCADE; SELECT 1'), 1, 'dropped');
no_intruders('DROP EXTENSION');

# ------------------------------------------------------------------------
# Objects of our names that were there before
# ------------------------------------------------------------------------
# Each is made by the stranger before the superuser creates the extension,
# which has to refuse: it neither adopts one nor evades it.
$node->safe_psql('crowded', q{
    CREATE FUNCTION try_after(obstacle text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        SET LOCAL ROLE mallory;
        EXECUTE obstacle;
        RESET ROLE;
        CREATE EXTENSION firehose;
        RAISE EXCEPTION 'created' USING ERRCODE = 'ZZ000';
    EXCEPTION WHEN duplicate_table OR duplicate_object OR duplicate_function OR ambiguous_function THEN
        RETURN 'refused';
    WHEN OTHERS THEN
        RETURN SQLERRM;
    END $$});
my $obstacles = $node->safe_psql('postgres', q{
    WITH members AS (
        SELECT d.classid, d.objid FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
        WHERE e.extname = 'firehose' AND d.deptype = 'e'),
    relations AS (
        SELECT c.relname FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
        UNION SELECT i.indexrelid::regclass::name FROM pg_index i
              JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = i.indrelid)
    SELECT format(kind, relname) FROM relations,
        unnest('{CREATE TABLE public.%I (a int), CREATE SEQUENCE public.%I, CREATE VIEW public.%I AS SELECT 1 AS a, CREATE TYPE public.%I AS (a int)}'::text[]) kind
    WHERE kind NOT LIKE 'CREATE TYPE%' OR relname IN
        (SELECT relname FROM pg_class WHERE reltype <> 0 AND relname ~ '^firehose')
    UNION ALL
    -- SQL takes no record, and no language but a superuser's record[]
    SELECT format('CREATE FUNCTION public.%s RETURNS int LANGUAGE plpgsql AS $f$BEGIN RETURN 1; END$f$',
           format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)))
    FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    WHERE 'record[]'::regtype <> ALL (p.proargtypes)
    UNION ALL   -- what may be meant by a view's call without arguments
    SELECT format('CREATE FUNCTION public.%I(integer DEFAULT 0) RETURNS int LANGUAGE sql AS $f$ SELECT 1 $f$', relname)
    FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE relname IN (SELECT proname FROM pg_proc)});
my @obstacles = split /\n/, $obstacles;
cmp_ok(scalar @obstacles, '>', 60, 'there are obstacles');
my %outcomes;
foreach my $obstacle (@obstacles)
{
    $obstacle =~ s/\(OUT .*?\) RETURNS int/() RETURNS int/;
    $obstacle =~ s/, OUT .*?\) RETURNS int/) RETURNS int/;
}
my @outcomes = split /\n/, $node->safe_psql('crowded',
    join('', map { "SELECT try_after(\$o\$$_\$o\$);\n" } @obstacles));
my @passed = grep { $outcomes[$_] ne 'refused' } 0 .. $#obstacles;
is_deeply([ map { "$obstacles[$_]: $outcomes[$_]" } @passed ], [], 'each is refused');
is($node->safe_psql('crowded', q{SELECT try_after('SELECT 1')}), 'created', 'nothing else stands in its way');

$node->stop;
$emulator->stop;
done_testing();
