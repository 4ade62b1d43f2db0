#!/usr/bin/perl
# SQLite goes on writing to a file that was deleted or replaced under its name.
# A delivery answered 200 must be in the file that an administrator sees.

use strict;
use warnings;

use DBI ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(mpm => 'event', conf => <<'CONF')->start;
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MinSpareThreads 1
MaxSpareThreads 8
MaxRequestWorkers 8
CONF
my $file = $httpd->path('db/smartsupp.db');

# What is stored under that channel, in the file as it is now.
sub stored {
    my ($channel) = @_;
    my $handle = DBI->connect("dbi:SQLite:dbname=$file", '', '',
        {RaiseError => 1});
    return $handle->selectrow_array(
        'SELECT count(*) FROM smartsupp_conversation WHERE channel_id = ?',
        undef, $channel);
}

sub deliver {
    my ($channel) = @_;
    return post($httpd, body_of('channel.id' => $channel))->{result};
}

is deliver('first'), 'stored', 'a delivery before';

# a backup as the README says, and later back in its place
system('sqlite3', $file, ".backup $file.copy") == 0 or die 'sqlite3';
$httpd->give("$file.copy");
is deliver('lost with the old file'), 'stored', 'one that the backup lacks';
unlink "$file-wal", "$file-shm";
rename "$file.copy", $file or die $!;
is deliver('after the restore'), 'stored', 'a delivery after the restore';
is stored('first'), 1, 'the restored file has the first';
is stored('after the restore'), 1, 'and what came after the restore';

unlink $file, "$file-wal", "$file-shm";
is deliver('after the deletion'), 'stored', 'the file was deleted';
is stored('after the deletion'), 1, 'a new one has the delivery';
is deliver('and one more'), 'stored', 'and the next one';
is stored('and one more'), 1, 'is there as well';
# Here SQLite itself is at an end, in every connection of the process.
unlink "$file-wal", "$file-shm";
is post($httpd, body_of('channel.id' => "without a log $_"))->{status}, 503,
    'the write-ahead log was deleted: not answered 200' for 1 .. 3;
like $httpd->log, qr/SMARTSUPP0301: .*restart httpd gracefully/,
    'the log has the remedy';
$httpd->graceful;
$httpd->wait_for(sub { (deliver('after the restart') // '') =~ /stored|dupl/ })
    or fail 'stored after the restart';
is stored('after the restart'), 1, 'which helps';
like $httpd->log, qr/SMARTSUPP0305: /, 'the log tells';
$httpd->expect_log('SMARTSUPP0301', 'SMARTSUPP0212');
$httpd->done;
done_testing;
