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

# Children of these 400 that httpd may have to kill, without a word of ours. One
# was met so far, with no stack; httpd's handler frees memory whatever it has
# interrupted, its own malloc as well, which is the likely cause. What a
# delivery of ours is at when it is interrupted shows as SMARTSUPP0304, or in
# t/132.
use constant HTTPD_HANGS => 2;

# No child is ever just being made when it is told to stop: httpd itself may
# then free memory on top of malloc (its handler interrupts the child's
# ap_thread_main_create, and frees), and the child aborts.
my $httpd = SmartsuppTest::Httpd->new(mpm => 'prefork',
    log_level => 'notice smartsupp_hook:info', conf => <<"CONF");
StartServers @{[CHILDREN]}
MinSpareServers 1
MaxSpareServers @{[CHILDREN]}
MaxRequestWorkers @{[CHILDREN]}
ListenBacklog 200
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 100ms
CONF
my $spool = SmartsuppTest::Spool->of($httpd);
$httpd->start;
my $load = SmartsuppTest::Load->start([$httpd], CHILDREN, taken => [200, 202]);
$httpd->allow_log(qr/AH00161/); # that all children are busy
for (1 .. RESTARTS) {
    all_have_served();
    sleep rand 0.1; # in the middle of it; any time will do
    $httpd->restart;
}
$load->wait_for_more(200, 1);
$load->stop;
note explain $load->statuses;
is scalar(() = $httpd->log =~ /SMARTSUPP0304/g), 0, 'no child waits for itself';
my %late = map { $_ => 1 } $httpd->log =~ /AH0004\d: child process (\d+)/g;
diag 'late: ' . keys %late if %late;
cmp_ok scalar keys %late, '<=', HTTPD_HANGS,
    'every child ended when it was told to';
$httpd->allow_log('SMARTSUPP0304', qr/AH0004\d/); # these are told above
ok $httpd->wait_for(sub { !$spool->names('new') }), 'the spool is empty';
is_deeply [$load->wrong($httpd->database)], [],
    'what was taken is stored, once';
$httpd->done;
done_testing;

# Since the last time, which was before the restart.
sub all_have_served {
    our $seen //= 0;
    my %served;
    $httpd->wait_for(sub {
        my $log = substr $httpd->log, $seen;
        my ($last) = $log =~ /.*resuming normal operations(.*)/s;
        $served{$_}++ for ($last // '') =~ /\[pid (\d+)[^\n]* stored: /g;
        return keys %served >= CHILDREN;
    }) or die "some children serve nobody\n";
    $seen = length $httpd->log;
    return;
}
