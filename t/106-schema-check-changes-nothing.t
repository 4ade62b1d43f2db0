#!/usr/bin/perl
# SmartsuppSchema check: what is missing is named in the log, the sender is
# told to come again, and the database stays as it is.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $hosts = <<'CONF';
SmartsuppSchema check
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName checks
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName creates
    SmartsuppSchema create
</VirtualHost>
CONF

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind,
            conf => $hosts)->start;
        what_is_missing_is_named($httpd);
        $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
        $httpd->done;
    };
}
done_testing;

sub answer {
    my ($httpd, $host, $body) = @_;
    return post($httpd, $body // sample(), headers => [Host => $host]);
}

# The host that checks answers 503, the log says why, nothing has changed.
sub refuses {
    my ($httpd, $name, $why) = @_;
    my $database = $httpd->database;
    my $before = $database->dump;
    my $answer = answer($httpd, 'checks', body_of('channel.id' => $name));
    is $answer->{status}, 503, "$name: 503" or diag explain $answer;
    ok $answer->{headers}{'retry-after'}, 'with Retry-After';
    like $httpd->log, qr/SMARTSUPP0301: [^\n]*$why/, 'the log says what';
    is_deeply $database->dump, $before, 'the database is as it was';
    return;
}

sub what_is_missing_is_named {
    my ($httpd) = @_;
    my $database = $httpd->database;
    refuses($httpd, 'no tables', qr/smartsupp_\w+/);
    is answer($httpd, 'creates')->{result}, 'stored',
        'another host creates them';
    is answer($httpd, 'checks')->{result}, 'duplicate',
        'then the first one stores, too';

    $database->change(
        'ALTER TABLE smartsupp_message RENAME COLUMN content TO x');
    $httpd->restart;
    refuses($httpd, 'a column is missing', qr/table message: [^\n]*content/);
    $database->change(
        'ALTER TABLE smartsupp_message RENAME COLUMN x TO content');
    is answer($httpd, 'checks', body_of('channel.id' => 'back'))->{result},
        'stored', 'put right, without a restart';

    $database->change('ALTER TABLE smartsupp_path RENAME TO other');
    $httpd->restart;
    refuses($httpd, 'a table is missing', qr/smartsupp_path/);
    $database->change('ALTER TABLE other RENAME TO smartsupp_path');

    $database->change('DROP VIEW smartsupp_transcript');
    $httpd->restart;
    refuses($httpd, 'the view is missing', qr/smartsupp_transcript/);
    return;
}
