#!/usr/bin/perl
# A body that httpd refuses while it is read: httpd's answer, and a log line
# that makes no sense of its inner codes. And other answers of the log that
# once misled.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF')->start;
<Location "/hook">
    LimitRequestBody 4096
</Location>
CONF

my $answer = post($httpd, '[' . ' ' x 5000);
is $answer->{status}, 413, 'LimitRequestBody';
unlike $answer->{headers}{'content-type'} // '', qr/problem/,
    'is answered by httpd';
$answer = post($httpd, '1');
is $answer->{status}, 422, 'a document that is no object';
unlike $httpd->log, qr/refused \(-/, 'no inner code of httpd is shown';
like $httpd->log, qr/SMARTSUPP0207: refused \(422\): type at the root;/,
    'the root has a name';
$httpd->expect_log('SMARTSUPP0213', 'SMARTSUPP0207');
$httpd->done;

for my $wrong (
    ['SmartsuppTablePrefix sqlite_', qr/sqlite_ to itself/],
    ['DBDParams "%%ROOT%%"', qr/SMARTSUPP0105: .*names the folder/],
    ) {
    my ($line, $text) = @$wrong;
    my $broken = SmartsuppTest::Httpd->new(conf => $line);
    my ($status, $output) = $broken->configtest;
    isnt $status, 0, "$line is refused";
    like $output, $text, 'in words that tell why';
    $broken->done;
}
done_testing;
