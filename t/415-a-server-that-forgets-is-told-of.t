#!/usr/bin/perl
# A server may be set to answer a COMMIT before it is on disk. Then 200 is less
# than durable: the deliveries are stored, and the log says so once a child. A
# server that is set right is not accused.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Server;

my %careless = (
    pgsql => [postgresql => {synchronous_commit => 'off'},
        qr/200: synchronous_commit = off$/m],
    mysql => [mariadb => {'innodb-flush-log-at-trx-commit' => 2},
        qr/200: innodb_flush_log_at_trx_commit = 2$/m],
);

for my $kind (grep { $careless{$_} } SmartsuppTest::Database->kinds) {
    subtest "$kind, careless" => sub {
        my ($name, $settings, $words) = @{$careless{$kind}};
        my $server = SmartsuppTest::Server->new($name,
            settings => $settings)->start;
        my $httpd = httpd(SmartsuppTest::Database->new($kind,
            server => $server));
        is post($httpd, body_of('channel.id' => $_))->{result}, 'stored',
            'stored all the same' for 1 .. 3;
        my @lines = $httpd->log =~ /SMARTSUPP0306: .*/g;
        is @lines, 1, 'said once';
        like $lines[0] // '', $words, 'with the setting';
        $httpd->expect_log('SMARTSUPP0306');
        $httpd->done;
    };
}

for my $kind (SmartsuppTest::Database->kinds) {
    subtest "$kind, as it should be" => sub {
        my $httpd = httpd($kind);
        is post($httpd, sample())->{result}, 'stored', 'stored';
        unlike $httpd->log, qr/SMARTSUPP0306/, 'and nothing to say';
        $httpd->done;
    };
}
done_testing;

# One child, on that database.
sub httpd {
    my ($database) = @_;
    return SmartsuppTest::Httpd->new(database => $database, mpm => 'event',
        conf => <<'CONF')->start;
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
MinSpareThreads 1
MaxSpareThreads 8
CONF
}
