# The floor plan of src/ holds: a folder includes only what stands to its right
# in the rule below, no two modules include each other in a circle, libcurl is
# included in one file and PostgreSQL in none of aws/, files, functions and
# comments stay short, and comments have plain words.  Each check is first shown a tree that
# breaks it, so that it cannot rot into one that passes whatever it reads.
use strict;
use warnings FATAL => 'all';
use Test::More;

use constant {
    MAX_FILE     => 600,
    MAX_FUNCTION => 80,
    MAX_COMMENT  => 79,
};

my @levels = (
    ['firehose'], ['sender', 'decoder'], ['status'], ['put'], ['pipeline'],
    ['workers'], ['stream', 'wal'], ['queue', 'format'], ['aws', 'common']);
my %rank;
foreach my $level (0 .. $#levels)
{
    $rank{$_} = $level foreach @{ $levels[$level] };
}

# name of the file below src/ => text
sub read_tree
{
    my %tree;
    foreach my $path (glob('src/*.[ch]'), glob('src/*/*.[ch]'))
    {
        open(my $file, '<', $path) or die "$path: $!";
        local $/ = undef;
        $tree{ $path =~ s{^src/}{}r } = <$file>;
    }
    return \%tree;
}

sub folder { return $_[0] =~ m{^(\w+)/} ? $1 : 'firehose'; }

# The headers of ours that a file includes
sub includes
{
    my ($tree, $file) = @_;
    return grep { exists $tree->{$_} } $tree->{$file} =~ /^#include "([\w\/]+\.h)"/mg;
}

sub against_rule
{
    my ($tree) = @_;
    my @found;
    foreach my $file (sort keys %$tree)
    {
        my $own = folder($file);
        push @found, "$file includes $_"
          foreach grep { folder($_) ne $own && $rank{ folder($_) } <= ($rank{$own} // -1) }
          includes($tree, $file);
        push @found, "$file is in no folder of the plan" unless exists $rank{$own};
    }
    return @found;
}

# A module is a .c with its .h.  A header without a .c is a contract of its own.
sub circles
{
    my ($tree) = @_;
    my %uses;
    foreach my $file (keys %$tree)
    {
        my $module = $file =~ s/\.[ch]$//r;
        foreach my $header (includes($tree, $file))
        {
            my $used = $header =~ s/\.h$//r;
            $uses{$module}{$used} = 1 if $used ne $module && exists $tree->{"$used.c"};
        }
    }
    my @found;
    foreach my $module (sort keys %uses)
    {
        my %seen;
        my @todo = keys %{ $uses{$module} };
        while (defined(my $next = pop @todo))
        {
            push @todo, keys %{ $uses{$next} // {} } unless $seen{$next}++;
        }
        push @found, "$module is part of a circle" if $seen{$module};
    }
    return @found;
}

sub strangers
{
    my ($tree) = @_;
    my @found;
    foreach my $file (sort keys %$tree)
    {
        push @found, "$file includes curl"
          if $tree->{$file} =~ /^#include <curl/m && $file !~ m{^sender/http\.[ch]$};
        push @found, "$file includes postgres.h"
          if $tree->{$file} =~ /^#include "postgres\.h"/m && $file =~ m{^aws/};
    }
    return @found;
}

sub too_long
{
    my ($tree) = @_;
    my @found;
    foreach my $file (sort keys %$tree)
    {
        my ($number, $begun, $in_comment) = (0, 0, 0);
        my @lines = split /\n/, $tree->{$file};
        push @found, "$file has " . @lines . ' lines'
          if @lines > MAX_FILE;
        foreach my $line (@lines)
        {
            $number++;
            my $wide = $line;
            1 while $wide =~ s/\t/' ' x (4 - $-[0] % 4)/e;
            my $begins = $wide =~ m{^\s*/\*};
            push @found, "$file:$number: a comment of " . length($wide) . ' columns'
              if ($begins || $in_comment) && length($wide) > MAX_COMMENT;
            $in_comment = 1 if $begins;
            $in_comment = 0 if $wide =~ m{\*/};

            $begun = $number if $line eq '{';
            push @found, "$file:$begun: a function of " . ($number - $begun + 1) . ' lines'
              if $line eq '}' && $begun && $number - $begun + 1 > MAX_FUNCTION;
            $begun = 0 if $line eq '}';
        }
    }
    return @found;
}

# Words that say less than the plain ones do, and words of a private language.
# A comment that begins with "What" mostly has no main clause.
my $unwanted = qr/\b(?i:some|no|any|every)body\b|\b(?:he|him|his)\b
    |\b(?:outbox|fates?|seats?|vacate|nudge|bury|buried|burial)\b
    |\brepl(?:y|ies)\b|\bby\ the\ WAL\b(?!\ writer)|\bforeign\ pipeline|\(trap\ \d/x;

sub unwanted_words
{
    my ($tree) = @_;
    my @found;
    foreach my $file (sort keys %$tree)
    {
        while ($tree->{$file} =~ m{/\*(.*?)\*/}sg)
        {
            my $comment = $1 =~ s/\n\s*\*?/ /gr =~ s/\s+/ /gr;
            push @found, "$file: \"$1\" in a comment:" . substr($comment, 0, 60)
              if $comment =~ /($unwanted)/;
            push @found, "$file: a comment begins with What:" . substr($comment, 0, 60)
              if $comment =~ /^ (?:\w+\.[ch] )?What /;
        }
    }
    return @found;
}

# Of that, what is unwanted outside of C, too: in manuals, and in the comments of
# SQL, tests and scripts
sub unwanted_prose
{
    my ($files) = @_;
    my @found;
    foreach my $path (sort keys %$files)
    {
        my $number = 0;
        foreach my $line (split /\n/, $files->{$path})
        {
            $number++;
            next unless $path =~ /\.md$/ || $line =~ /^\s*(?:#|--)/;
            push @found, "$path:$number: \"$1\" in: $line"
              if $line =~ /\b((?i:some|no|any|every)body|he|him|his|fates?|by the WAL)\b/;
        }
    }
    return @found;
}

sub without_errcode
{
    my ($tree) = @_;
    my @found;
    foreach my $file (sort keys %$tree)
    {
        my $text = $tree->{$file};
        while ($text =~ /ereport\((?:ERROR|FATAL)\s*,(.{0,200})/sg)
        {
            push @found, "$file: an ereport without an errcode: " . ($1 =~ s/\s+/ /gr)
              if $1 !~ /errcode/;
        }
    }
    return @found;
}

# Each check, and a tree that it must complain about
my @checks = (
    ['the rule of folders', \&against_rule,
        { 'queue/a.c' => qq{#include "put/b.h"\n}, 'put/b.h' => '' }],
    ['no circles', \&circles,
        { 'put/a.c' => qq{#include "put/b.h"\n}, 'put/a.h' => '',
            'put/b.c' => qq{#include "put/a.h"\n}, 'put/b.h' => '' }],
    ['who includes libcurl and PostgreSQL', \&strangers,
        { 'sender/sender.c' => "#include <curl/curl.h>\n" }],
    ['length of files, functions and comments', \&too_long,
        { 'put/a.c' => "{\n" . "x;\n" x MAX_FUNCTION . "}\n" }],
    ['plain words in comments', \&unwanted_words,
        { 'put/a.c' => '/* Somebody waits. */' }],
    ['an SQLSTATE on every error', \&without_errcode,
        { 'put/a.c' => 'ereport(ERROR, (errmsg("no")));' }]);

# What is written for tests and benchmarks is as short
sub read_programs
{
    my %programs;
    foreach my $path (glob('test/*/*.[ch]'), glob('test/*/*/*.[ch]'), glob('bench/programs/*.[ch]'))
    {
        open(my $file, '<', $path) or die "$path: $!";
        local $/ = undef;
        $programs{$path} = <$file>;
    }
    return \%programs;
}

sub read_prose
{
    my %files;
    foreach my $path (map { glob } qw(*.md docs/*.md docs/*/*.md bench/*.md test/*/*.md *.sql sql/*.sql
        t/*.pl t/lib/*.pm scripts/* bench/*))
    {
        next unless -f $path;
        open(my $file, '<', $path) or die "$path: $!";
        local $/ = undef;
        $files{$path} = <$file>;
    }
    return \%files;
}

my $tree = read_tree();
cmp_ok(scalar keys %$tree, '>', 100, 'there is a tree to look at');
foreach my $check (@checks)
{
    my ($name, $find, $bad) = @$check;
    isnt(scalar $find->($bad), 0, "$name: a breach is found");
    my @found = $find->($tree);
    is(scalar @found, 0, $name) or diag(join("\n", @found));
}

my $programs = read_programs();
cmp_ok(scalar keys %$programs, '>', 20, 'there are programs of tests and benchmarks');
my @long = too_long($programs);
is(scalar @long, 0, 'length of files, functions and comments of tests and benchmarks')
  or diag(join("\n", @long));

is(scalar unwanted_prose({ 'a.md' => "Nobody waits.\n", 'a.pl' => "1;\n# he waits\n" }), 2,
    'plain words in manuals: a breach is found');
my $prose = read_prose();
cmp_ok(scalar keys %$prose, '>', 100, 'there are manuals, tests and scripts');
my @unwanted = unwanted_prose($prose);
is(scalar @unwanted, 0, 'plain words in manuals, and in comments of SQL, tests and scripts')
  or diag(join("\n", @unwanted));

# What ARCHITECTURE.md names is there
open(my $file, '<', 'ARCHITECTURE.md') or die "ARCHITECTURE.md: $!";
my $architecture = do { local $/ = undef; <$file> };
my @places = $architecture =~ m{`(\w+/\w+\.[ch](?::\w+)?)`}g;
cmp_ok(scalar @places, '>', 20, 'ARCHITECTURE.md names places in the code');
foreach my $place (@places)
{
    my ($path, $function) = split /:/, $place;
    ok(exists $tree->{$path} && (!defined $function || $tree->{$path} =~ /^$function\(/m),
        "ARCHITECTURE.md: $place");
}
done_testing();
