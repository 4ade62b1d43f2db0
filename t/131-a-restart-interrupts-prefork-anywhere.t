#!/usr/bin/perl
# A child of prefork is told to stop by a signal that may come at any
# instruction of a delivery. It ends at once, whatever it held: no restart has
# to wait for it, and nobody is told that the database is to blame.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Spool;

use constant CHILDREN => 8;
use constant RESTARTS => 50;

my $httpd = SmartsuppTest::Httpd->new(mpm => 'prefork',
    log_level => 'notice', conf => <<"CONF");
StartServers @{[CHILDREN]}
MinSpareServers @{[CHILDREN]}
MaxSpareServers @{[2 * CHILDREN]}
ListenBacklog 200
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 100ms
CONF
my $spool = SmartsuppTest::Spool->of($httpd);
$httpd->start;
my $load = SmartsuppTest::Load->start([$httpd], CHILDREN, taken => [200, 202]);
for (1 .. RESTARTS) {
    sleep 0.2 + rand 0.1; # in the middle of it; any time will do
    $httpd->restart;
}
$load->wait_for_more(200, 1);
$load->stop;
note explain $load->statuses;
my @late = $httpd->log =~ /SMARTSUPP0304|AH0004\d/g;
is scalar @late, 0, 'every child ended when it was told to'
    or diag join ' ', @late;
$httpd->allow_log('SMARTSUPP0304', qr/AH0004\d/); # these are told above
ok $httpd->wait_for(sub { !$spool->names('new') }), 'the spool is empty';
is_deeply [$load->wrong($httpd->database)], [],
    'what was taken is stored, once';
$httpd->done;
done_testing;
