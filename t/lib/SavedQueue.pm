# Changing the file of a saved queue, and writing that of the ids, with a checksum that
# fits.
#
# header: magic, version, system identifier, timeline, streams, records (32
# bytes); stream: database, server, records, bytes, name (24 + 64); record:
# kind, state, attempts, length, id, time (24)
package SavedQueue;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';

our @EXPORT = qw(changed_queue file_of_ids write_bytes);

my @crc_table = map { my $c = $_; $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;

sub _crc32c
{
    my $crc = 0xffffffff;
    $crc = $crc_table[ ($crc ^ $_) & 0xff ] ^ ($crc >> 8) foreach unpack 'C*', $_[0];
    return $crc ^ 0xffffffff;
}

# The file with some of its bytes replaced and the checksum made to fit.
sub changed_queue
{
    my ($data, $at, $bytes) = @_;
    substr($data, $at, length $bytes) = $bytes;
    substr($data, -4) = pack('L', _crc32c(substr($data, 0, -4)));
    return $data;
}

# The file pg_firehose/ids that says that ids below this were given out.
sub file_of_ids
{
    my ($limit) = @_;
    my $number = pack('Q', $limit);
    return pack('LL', 0x46484931, _crc32c($number)) . $number;
}

# Write a file anew.
sub write_bytes
{
    my ($file, $bytes) = @_;
    open(my $out, '>:raw', $file) or die "$file: $!";
    print $out $bytes;
    close($out) or die "$file: $!";
    return;
}

1;
