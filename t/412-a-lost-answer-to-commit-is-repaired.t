#!/usr/bin/perl
# The connection breaks between COMMIT and its answer, or just before COMMIT:
# nobody knows what has become of the transaction. The delivery is answered
# 200 all the same, and its rows are there once.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Proxy;
use SmartsuppTest::Server;

# What commits: not BEGIN ISOLATION LEVEL READ COMMITTED; and through pgsql the
# one statement that inserts what is new, when it is bound, not prepared.
my $commit = 'COMMIT(?!TED)';
my $insert = '\\0smartsupp_q1_\\d+_\\d+\\0';

for my $kind (SmartsuppTest::Database->kinds(
    qw(pgsql mysql odbc-postgresql))) {
    for my $when (qw(before after)) {
        subtest "$kind, $when COMMIT" => sub { commit_is_lost($kind, $when) };
    }
}
done_testing;

sub commit_is_lost {
    my ($kind, $when) = @_;
    my $server = SmartsuppTest::Server->shared(
        SmartsuppTest::Database::package_of($kind)->server_name);
    my $proxy = SmartsuppTest::Proxy->new($server->port);
    my $httpd = SmartsuppTest::Httpd->new(database =>
        SmartsuppTest::Database->new($kind, through => $proxy->port))->start;
    my $new = $kind eq 'pgsql' ? $insert : $commit;
    # what was committed is met again by the repetition
    my $again = $when eq 'after' ? '|duplicate' : '';

    is result($httpd, older('first')), 'stored', 'a first one';
    $proxy->cut($when, $new);
    like result($httpd, older('new')), qr/^(?:stored$again)$/,
        'a new conversation';
    is $proxy->left, 0, 'the connection was cut';
    is_complete($httpd, 2);
    $proxy->cut($when, $commit);
    like result($httpd, newer('new')), qr/^(?:updated$again)$/,
        'a newer version';
    is $proxy->left, 0, 'the connection was cut';
    is_complete($httpd, 2);
    $proxy->cut($when, $commit);
    is result($httpd, newer('new')), 'duplicate', 'the same once more';
    $proxy->cut($when, $commit, 0);

    sixteen_at_once($httpd, $proxy, $when, $new);
    cut_for_good($httpd, $proxy, $when, $new);
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->expect_log(qw(SMARTSUPP0212 SMARTSUPP0301));
    $httpd->done;
    return;
}

sub older { return body_of('channel.id' => $_[0], endAt => 1000) }
sub newer { return body_of('channel.id' => $_[0], endAt => 2000) }

sub result {
    my ($httpd, $body) = @_;
    my $answer = post($httpd, $body);
    return $answer->{result} // $answer->{status};
}

sub is_complete {
    my ($httpd, $conversations) = @_;
    my $rows = $httpd->database->counts;
    is_deeply [@$rows{qw(conversation message path variable)}],
        [map { $conversations * $_ } 1, 6, 2, 3], 'the rows are there once';
    return;
}

# Batches lose their COMMIT, too; the repetition comes through.
sub sixteen_at_once {
    my ($httpd, $proxy, $when, $new) = @_;
    for my $round (1 .. 3) {
        $proxy->cut($when, $new);
        my @results = parallel(16, sub {
            return result($httpd, older("$round $_[0]"));
        });
        is_deeply [grep { !/^(?:stored|duplicate)$/ } @results], [],
            'sixteen at once';
        is $proxy->left, 0, 'the connection was cut';
    }
    is_complete($httpd, 2 + 48);
    return;
}

# As long as it goes on, the sender is told to come again; then it is stored.
sub cut_for_good {
    my ($httpd, $proxy, $when, $new) = @_;
    $proxy->cut($when, $new, 1000);
    is result($httpd, older('later')), 503, 'always cut: 503';
    $proxy->cut($when, $new, 0);
    is result($httpd, older('later')),
        $when eq 'after' ? 'duplicate' : 'stored', 'later it is there';
    is_complete($httpd, 3 + 48);
    return;
}
