#!/usr/bin/perl
# Senders that stall get 408, senders that hang up leave nothing, and the
# server goes on.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(modules => ['reqtimeout'],
    conf => <<'CONF')->start;
RequestReadTimeout header=60 body=1
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName patient
    RequestReadTimeout header=60 body=60
    Timeout 1
</VirtualHost>
CONF
my $database = $httpd->database;
is post($httpd, sample())->{result}, 'stored', 'the sample';
my $before = $database->dump;

# All but the end of a request.
my $start = substr request(body_of(endAt => 1427470476999)), 0, -100;

for my $host ('localhost', 'patient') {
    (my $request = $start) =~ s/Host: localhost/Host: $host/;
    my $connection = dial($httpd)->write($request);
    my $answer = $connection->answer;
    is $answer->{status}, 408, "$host: a sender that stalls gets 408"
        or diag explain $answer;
    is $answer->{headers}{'content-type'}, 'application/problem+json',
        'as a problem';
    is $answer->{headers}{connection}, 'close', 'the connection is closed';
    ok $connection->closed, 'with nothing after it';
}

for my $n (1 .. 3) {
    my $connection = dial($httpd)->write($start);
    select undef, undef, undef, 0.1;
    $connection->abort;
}
my $connection = dial($httpd)->write($start);
shutdown $connection->{socket}, 1;
like $connection->answer->{status} // 'none', qr/^(?:400|408|none)$/,
    'a body that is cut off is no delivery';
my $chunks = substr chunked(body_of(endAt => 1427470476999)), 0, -7;
$connection = dial($httpd)->write(request($chunks,
    headers => ['Transfer-Encoding' => 'chunked']));
shutdown $connection->{socket}, 1;
like $connection->answer->{status} // 'none', qr/^(?:400|408|none)$/,
    'nor are chunks without an end';

is post($httpd, sample())->{result}, 'duplicate', 'the server goes on';
$httpd->expect_log('SMARTSUPP0204', 'SMARTSUPP0213');
# each of the seven has its line
$httpd->wait_for(sub {
    my $lines = () = $httpd->log =~ /SMARTSUPP02(?:04|13): /g;
    return $lines >= 7;
}) or fail 'a line for each';
is_deeply $database->dump, $before, 'nothing of them is stored';
$httpd->done;
done_testing;
