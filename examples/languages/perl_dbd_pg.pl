# Puts from DBD::Pg; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
#
#     perl perl_dbd_pg.pl STREAM FULL_STREAM
#
# The queue of FULL_STREAM has no room: what to do then is shown, too.
use strict;
use warnings;
use DBD::Pg qw(:pg_types);
use JSON::PP qw(encode_json);
use Time::HiRes qw(sleep);

my ($stream, $full) = @ARGV;
my $dbh = DBI->connect('dbi:Pg:', '', '', { AutoCommit => 0, RaiseError => 1, PrintError => 0 });

# one record; sent when the transaction commits
$dbh->do('SELECT firehose_put_json(?, ?)', undef, $stream, encode_json({ page => '/', n => 1 }));
$dbh->do('SELECT firehose_put_text(?, ?)', undef, $stream, 'line');

# bytes have to say that they are
my $put = $dbh->prepare('SELECT firehose_put_bytes(?, ?)');
$put->bind_param(1, $stream);
$put->bind_param(2, "\x00\xff\n", { pg_type => PG_BYTEA });
$put->execute;
$put->finish;
$dbh->do('CALL firehose_send(?, ?)', undef, $stream, encode_json({ sent => JSON::PP::true }));

# several
$dbh->do('SELECT firehose_put_jsons(?, ?)', undef, $stream, encode_json([ { n => 2 }, { n => 3 } ]));
$dbh->do('SELECT firehose_put_texts(?, ?)', undef, $stream, [ 'a', 'b' ]);
$dbh->do('SELECT firehose_put_texts(?, ?)', undef, $stream, []);
my $list = $dbh->prepare('SELECT firehose_put_bytes_array(?, ARRAY[?, ?]::bytea[])');
$list->bind_param(1, $stream);
$list->bind_param(2, "\x01", { pg_type => PG_BYTEA });
$list->bind_param(3, '\x02', { pg_type => PG_BYTEA });
$list->execute;
$list->finish;
$dbh->commit;

# what is rolled back is not sent, unless it is put at once
$dbh->do(q{SELECT firehose_put_text(?, 'rolled back')}, undef, $stream);
$dbh->do(q{SELECT firehose_put_text(?, 'at once', false)}, undef, $stream);
$dbh->rollback;

# the outcome
my ($id) = $dbh->selectrow_array(q{SELECT firehose_put_text(?, 'waited for')}, undef, $stream);
$dbh->commit;
my ($outcome) = $dbh->selectrow_array('SELECT firehose_wait(?)', undef, $id);
print "$outcome\n";
$dbh->rollback;

# Put in a transaction that goes on if the queue stays full.
sub put_patiently
{
    my ($dbh, $stream, $text) = @_;
    foreach my $attempt (0 .. 2)
    {
        $dbh->pg_savepoint('put');
        return 1 if eval { $dbh->do('SELECT firehose_put_text(?, ?)', undef, $stream, $text) };
        die $@ unless $dbh->state eq '53000';
        $dbh->pg_rollback_to('put');
        sleep(0.1 * 2**$attempt);
    }
    return 0;
}

print "full\n" unless put_patiently($dbh, $full, 'never sent');
$dbh->do(q{SELECT firehose_put_text(?, 'went on')}, undef, $stream);
$dbh->commit;

# an error that no other attempt mends
eval { $dbh->do('SELECT firehose_put_json(?, ?)', undef, $stream, 'no JSON') } or print $dbh->state, "\n";
$dbh->rollback;
$dbh->disconnect;
