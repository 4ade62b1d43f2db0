#!/usr/bin/perl
# SetInputFilter DEFLATE: the limit counts the inflated bytes, the database
# keeps them, and a bomb is stopped at the limit.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

use Digest::SHA qw(sha256_hex);
use IO::Compress::Deflate qw(deflate);
use IO::Compress::Gzip qw(gzip);

my $httpd = SmartsuppTest::Httpd->new(modules => ['deflate', 'filter'],
    conf => <<'CONF')->start;
<Location "/hook">
    SetInputFilter DEFLATE
    SmartsuppMaxBody 100k
    DeflateInflateRatioLimit 2000
    DeflateInflateRatioBurst 1000
</Location>
CONF
my $database = $httpd->database;

# The body as gzip, sent with that Content-Encoding.
sub post_gzip {
    my ($body) = @_;
    my $zipped;
    gzip(\$body, \$zipped) or die 'gzip';
    return (length $zipped, post($httpd, $zipped,
        headers => ['Content-Encoding' => 'gzip']));
}

my ($length, $answer) = post_gzip(sample());
cmp_ok $length, '<', length sample(), 'gzip makes it smaller';
is $answer->{result}, 'stored', 'a gzip body is stored' or diag explain $answer;
is $database->value('SELECT body_sha256 FROM smartsupp_conversation'),
    sha256_hex(sample()), 'as the bytes that it was made of';
is post($httpd, sample())->{result}, 'duplicate', 'a plain one is the same';

my $fill = 102_400 - length body_of('visitor.note' => '');
($length, $answer) = post_gzip(body_of('visitor.note' => 'x' x $fill));
is $answer->{status}, 200, 'inflated to the limit: 200';
my $before = $database->dump;
($length, $answer) = post_gzip(body_of('visitor.note' => 'x' x ($fill + 1)));
is $answer->{status}, 413, 'one byte more: 413';
cmp_ok $length, '<', 10_000, 'though little was sent';
($length, $answer) = post_gzip('[' . ' ' x 50_000_000);
is $answer->{status}, 413, 'a bomb: 413';
is_deeply $database->dump, $before, 'the database is as it was';

(my $cut) = do { gzip(\sample(), \my $zipped); substr $zipped, 0, 500 };
for my $body ($cut, 'no gzip at all') {
    $answer = post($httpd, $body, headers => ['Content-Encoding' => 'gzip']);
    like $answer->{status}, qr/^4\d\d$/, 'what is no gzip is refused';
}
is_deeply $database->dump, $before, 'and leaves nothing';
$httpd->expect_log('SMARTSUPP0203');
$httpd->allow_log('SMARTSUPP0213', 'SMARTSUPP0206', qr/\[deflate:\w+\]/);
$httpd->done;
done_testing;
