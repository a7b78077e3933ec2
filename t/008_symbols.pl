# The names that the shared objects show to the rest of the process: those with
# the prefix firehose_ and PostgreSQL's own, no other, since another library's
# function of the same name would replace ours.  What is no SQL function and no
# worker's main function, nor has the prefix in the source, is in the list of src/common/exports.h, and what is in
# the list exists.
use strict;
use warnings FATAL => 'all';
use Test::More;

chomp(my $libdir = `$ENV{PG_CONFIG} --pkglibdir`);

# Names that an object defines for others
sub exported
{
    my ($object) = @_;
    my @lines = `nm -D --defined-only '$libdir/$object'`;
    is($?, 0, "nm reads $object");
    return map { (split)[-1] } @lines;
}

# Those that another library might have as well
sub without_prefix
{
    return join(' ', grep { !/^(firehose_\w+|pg_finfo_firehose_\w+|Pg_magic_func|_PG_init)$/ } @_);
}

is(without_prefix(qw(firehose_wait _PG_init Pg_magic_func pg_finfo_firehose_wait siphash)), 'siphash',
    'a name without the prefix is seen');

my @core = exported('firehose.so');
my @sender = exported('firehose_sender.so');
is(without_prefix(@core), '', 'firehose.so exports nothing without the prefix');
is(join(' ', sort @sender), 'Pg_magic_func firehose_sender_build firehose_sender_main',
    'firehose_sender.so exports its build and its main function');

open(my $in, '<', 'src/common/exports.h') or die "exports.h: $!";
my @listed = map { /^#define \w+\s+(firehose_\w+)$/ ? $1 : () } <$in>;
close($in);
my %known = map { $_ => 1 } qw(firehose_launcher_main firehose_decoder_main firehose_sender_start
      firehose_queue firehose_preloaded firehose_check_preloaded),
  map { /^pg_finfo_(\w+)$/ ? $1 : () } @core;
is(join(' ', sort grep { /^firehose_/ && !$known{$_} } @core), join(' ', sort @listed),
    'what firehose.so exports is listed in exports.h, and what is listed exists');

foreach my $object (qw(firehose.so firehose_sender.so))
{
    like(scalar `readelf -d '$libdir/$object'`, qr/\bSYMBOLIC\b/, "$object prefers its own names");
}
done_testing();
