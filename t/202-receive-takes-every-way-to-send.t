#!/usr/bin/perl
# Chunked bodies, kept connections, pipelining, Expect, bytes that trickle in,
# and HTTP/2.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(modules => ['http2'],
    mpm => ($ENV{SMARTSUPP_MPM} // '') eq 'worker' ? 'worker' : 'event',
    conf => <<'CONF')->start;
Protocols h2c http/1.1
<Location "/hook/small">
    SmartsuppMaxBody 3000
</Location>
CONF
my $database = $httpd->database;

chunked_bodies();
kept_connection();
pipelining();
expect_continue();
trickle();
malformed_chunks();
http2();
is $database->value('SELECT count(*) FROM smartsupp_message'),
    6 * $database->value('SELECT count(*) FROM smartsupp_conversation'),
    'each conversation has its messages';
$httpd->done;
done_testing;

# A body with a channel id of its own.
sub fresh {
    our $number;
    return body_of('channel.id' => 'c' . ++$number, @_);
}

sub chunked_bodies {
    for my $size (1, 7, 1000, 1_000_000) {
        my $body = fresh('visitor.note' => 'x' x ($size == 1 ? 1 : 60_000));
        my $answer = dial($httpd)->write(request(chunked($body, $size),
            headers => ['Transfer-Encoding' => 'chunked']))->answer;
        is $answer->{result}, 'stored', "chunks of $size bytes";
        is $database->value('SELECT length(CAST(body AS BLOB))'
            . ' FROM smartsupp_conversation ORDER BY rowid DESC LIMIT 1'),
            length $body, 'all of it';
    }
    for my $size (3000, 3001) {
        my $answer = dial($httpd)->write(request(chunked('[' . ' ' x ($size - 2)
            . ']', 128), path => '/hook/small',
            headers => ['Transfer-Encoding' => 'chunked']))->answer;
        is $answer->{status}, $size == 3000 ? 422 : 413,
            "$size bytes in chunks, where 3000 are allowed";
    }
    $httpd->expect_log(qw(SMARTSUPP0203 SMARTSUPP0207));
    return;
}

sub kept_connection {
    my $connection = dial($httpd);
    for my $n (1 .. 3) {
        is $connection->write(request(fresh()))->answer->{result}, 'stored',
            "delivery $n on one connection";
    }
    is $connection->write(request('[]'))->answer->{status}, 422,
        'one that is refused with 422';
    is $connection->write(request(undef, method => 'GET'))->answer->{status},
        405, 'one that is refused with 405';
    is $connection->write(request(fresh()))->answer->{result}, 'stored',
        'do not end it';
    is $connection->write(request('x'))->answer->{status}, 400,
        'one that is no JSON';
    ok $connection->closed, 'does';
    $httpd->expect_log('SMARTSUPP0206');
    return;
}

sub pipelining {
    my @bodies = map { fresh('visitor.note' => 'x' x (20_000 * $_)) } 1 .. 5;
    my $connection = dial($httpd)->write(join '', map {
        (request($_), request(undef, method => 'GET', path => '/nothing')) }
        @bodies);
    is_deeply [map { $connection->answer->{status} } 1 .. 10],
        [(200, 404) x 5], 'ten requests in one write, answered in order';
    return;
}

sub expect_continue {
    my $body = fresh();
    my $head = request(undef, headers => [Expect => '100-continue',
        'Content-Length' => length $body]);
    my $connection = dial($httpd)->write($head);
    is $connection->answer->{status}, 100, '100 before the body is sent';
    is $connection->write($body)->answer->{result}, 'stored', 'then stored';
    $connection = dial($httpd)->write($head . $body);
    my $answer = $connection->answer;
    $answer = $connection->answer if $answer->{status} == 100;
    is $answer->{result}, 'duplicate', 'a body that does not wait is read, too';
    return;
}

# Slow, but not too slow.
sub trickle {
    my $body = fresh();
    my $connection = dial($httpd);
    for my $piece (request($body) =~ /(.{1,400})/sg) {
        $connection->write($piece);
        select undef, undef, undef, 0.02;
    }
    is $connection->answer->{result}, 'stored', 'a body in many packets';
    return;
}

# httpd's own answer; nothing of it is taken for a delivery.
sub malformed_chunks {
    my $before = $database->dump;
    for my $chunks ("zz\r\n{}\r\n0\r\n\r\n", "5\r\n{}xxxxx\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n") {
        my $answer = dial($httpd)->write(request($chunks,
            headers => ['Transfer-Encoding' => 'chunked']))->answer;
        like $answer->{status}, qr/^4(?:00|13)$/, 'malformed chunks';
        is $answer->{result}, undef, 'are answered by httpd';
    }
    is_deeply $database->dump, $before, 'and leave nothing';
    $httpd->expect_log('SMARTSUPP0213');
    $httpd->allow_log(qr/AH0\d+: (?:Invalid|Bad) [Cc]hunk/);
    return;
}

# With prior knowledge: with a length and without one, too long, and a GET.
sub http2 {
    my $curl = 'curl -sS --noproxy "*" --http2-prior-knowledge -w'
        . ' "%{http_version} %{response_code}\n" -o '
        . $httpd->path('conf/out');
    my $url = $httpd->url;
    my @files = map { $httpd->path("conf/$_.json") } 1, 2;
    SmartsuppTest::Httpd::spew($_, fresh('visitor.note' => 'x' x 99_000))
        for @files;
    is `$curl --data-binary \@$files[0] $url`, "2 200\n", 'HTTP/2';
    is `cat $files[1] | $curl -X POST -T - $url`, "2 200\n",
        'without a Content-Length';
    is $database->value('SELECT count(*) FROM smartsupp_conversation'
        . ' WHERE length(visitor_note) = 99000'), 2, 'both are stored';
    # so short that curl is done sending before it reads the answer
    my $file = $httpd->path('conf/short');
    SmartsuppTest::Httpd::spew($file, 'x' x 3001);
    is `$curl --data-binary \@$file $url/small`, "2 413\n", 'one byte too many';
    is `$curl $url`, "2 405\n", 'a GET';
    return;
}
