#!/usr/bin/perl
# A UNIQUE index that somebody has added to our table: the delivery that it
# refuses is kept in rejected/, and all others go on.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Spool;

for my $kind (SmartsuppTest::Database->kinds) {
    my $httpd = SmartsuppTest::Httpd->new(database => $kind,
        modules => ['watchdog'], conf => <<'CONF');
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 200ms
CONF
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->start;
    my $database = $httpd->database;
    is post($httpd, sample())->{result}, 'stored', "$kind: the first";
    my $column = $database->dialect eq 'mariadb' ? 'visitor_email(100)'
        : 'visitor_email';
    $database->change(
        "CREATE UNIQUE INDEX one ON smartsupp_conversation ($column)");
    is post($httpd, body_of('channel.id' => 'second'))->{result}, 'rejected',
        'the second with the same e-mail is refused for good';
    is post($httpd, body_of('channel.id' => "t$_",
        'visitor.email' => "m$_"))->{result}, 'stored', 'others go on'
        for 1 .. 3;
    is scalar(() = $spool->names('new')), 0, 'nothing waits';
    is scalar(() = $spool->names('rejected')), 1, 'one is in rejected/';
    $httpd->expect_log('SMARTSUPP0215');
    $httpd->done;
}
done_testing;
