#!/usr/bin/perl
# SmartsuppSchema check: what is missing is named in the log, the sender is
# told to come again, and the database stays as it is.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF')->start;
SmartsuppSchema check
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName checks
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName creates
    SmartsuppSchema create
</VirtualHost>
CONF
my $database = $httpd->database;

sub answer {
    my ($host, $body) = @_;
    return post($httpd, $body // sample(), headers => [Host => $host]);
}

# The host that checks answers 503, the log says why, nothing has changed.
sub refuses {
    my ($name, $why) = @_;
    my $before = $database->dump;
    my $answer = answer('checks', body_of('channel.id' => $name));
    is $answer->{status}, 503, "$name: 503" or diag explain $answer;
    ok $answer->{headers}{'retry-after'}, 'with Retry-After';
    like $httpd->log, qr/SMARTSUPP0301: [^\n]*$why/, 'the log says what';
    is_deeply $database->dump, $before, 'the database is as it was';
    return;
}

refuses('no tables', qr/smartsupp_\w+/);
is answer('creates')->{result}, 'stored', 'another host creates them';
is answer('checks')->{result}, 'duplicate', 'then the first one stores, too';

$database->change('ALTER TABLE smartsupp_message RENAME COLUMN content TO x');
$httpd->restart;
refuses('a column is missing', qr/table message: [^\n]*content/);
$database->change('ALTER TABLE smartsupp_message RENAME COLUMN x TO content');
is answer('checks', body_of('channel.id' => 'back'))->{result}, 'stored',
    'put right, without a restart';

$database->change('ALTER TABLE smartsupp_path RENAME TO other');
$httpd->restart;
refuses('a table is missing', qr/smartsupp_path/);
$database->change('ALTER TABLE other RENAME TO smartsupp_path');

$database->change('DROP VIEW smartsupp_transcript');
$httpd->restart;
refuses('the view is missing', qr/smartsupp_transcript/);

$httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
$httpd->done;
done_testing;
