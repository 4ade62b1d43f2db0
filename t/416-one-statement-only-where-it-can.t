#!/usr/bin/perl
# PostgreSQL: new conversations go in by one statement that commits by itself;
# where that would not do what a transaction does, by a transaction, and nobody
# notices.

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

# The statement, when it is bound.
my $insert = '\\0smartsupp_q1_\\d+_\\d+\\0';

plan skip_all => 'SMARTSUPP_DATABASES leaves PostgreSQL out'
    if !SmartsuppTest::Database->kinds('pgsql');
subtest 'as PostgreSQL comes' => sub {
    my ($httpd, $proxy) = server();
    is uses_it($httpd, $proxy, 'new'), 1, 'one statement';
    $httpd->done;
};
for my $level ('repeatable read', 'serializable') {
    subtest "$level by default" => sub {
        my ($httpd, $proxy, $server) = server();
        # of new sessions, and httpd has none yet
        $server->administer('ALTER DATABASE ' . $httpd->database->name
            . " SET default_transaction_isolation = '$level'");
        is uses_it($httpd, $proxy, 'new'), 0, 'a transaction';
        $httpd->done;
    };
}
subtest 'a rule that forbids it' => sub {
    my ($httpd, $proxy) = server();
    is uses_it($httpd, $proxy, 'before'), 1, 'without it one statement';
    $httpd->database->change('CREATE TABLE seen (channel_id text)',
        'GRANT ALL ON seen TO ' . $httpd->database->user,
        'CREATE RULE ours AS ON INSERT TO smartsupp_message DO ALSO'
        . ' INSERT INTO seen VALUES (NEW.channel_id)');
    is post($httpd, body_of('channel.id' => 'with'))->{result}, 'stored',
        'with it a delivery is stored';
    is $httpd->database->value("SELECT count(*) FROM seen WHERE channel_id"
        . " = 'with'"), 6, 'and the rule obeyed';
    is uses_it($httpd, $proxy, 'later'), 0, 'a transaction, from then on';
    $httpd->done;
};
done_testing;

# One thread, which has one session with the database.
sub server {
    my $server = SmartsuppTest::Server->shared('postgresql');
    my $proxy = SmartsuppTest::Proxy->new($server->port);
    my $httpd = SmartsuppTest::Httpd->new(mpm => 'prefork', database =>
        SmartsuppTest::Database->new('pgsql', through => $proxy->port),
        conf => <<'CONF')->start;
StartServers 1
MinSpareServers 1
MaxSpareServers 1
MaxRequestWorkers 1
CONF
    $httpd->allow_log(qr/AH00161|AH00162|\[dbd:error\]/);
    return ($httpd, $proxy, $server);
}

# Deliver a new conversation; how often the one statement was sent for it. It is
# cut before it arrives, and then sent again.
sub uses_it {
    my ($httpd, $proxy, $channel) = @_;
    $proxy->cut(before => $insert, 1);
    is post($httpd, body_of('channel.id' => $channel))->{result}, 'stored',
        "$channel: stored";
    my $left = $proxy->left;
    $proxy->cut(before => $insert, 0);
    is $httpd->database->orphans, 0, 'as a whole';
    return 1 - $left;
}
