#!/usr/bin/perl
# A child of prefork is stopped inside a signal handler, which runs all
# cleanups. Where that signal came while a delivery allocated or freed memory,
# none of them may do so too: it would corrupt the heap or wait for ever.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Preload;
use SmartsuppTest::Process qw(slurp spew);
use SmartsuppTest::Spool;

use constant CHILDREN => 8;
use constant RESTARTS => 5;

my $httpd = SmartsuppTest::Httpd->new(mpm => 'prefork',
    log_level => 'notice', conf => <<"CONF");
StartServers @{[CHILDREN]}
MinSpareServers 1
MaxSpareServers @{[CHILDREN]}
MaxRequestWorkers @{[CHILDREN]}
ListenBacklog 200
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 100ms
<Location "/hook">
    SmartsuppSecret file:conf/secret
    Require smartsupp-token file:conf/token
</Location>
CONF
spew($httpd->path("conf/$_"), $_) for qw(secret token);
my $spool = SmartsuppTest::Spool->of($httpd);
my $trace = $httpd->path('logs/malloc');
spew($trace, '');
chmod 0666, $trace;
preload($httpd, 'malloc', SMARTSUPP_MALLOC_TRACE => $trace,
    SMARTSUPP_MALLOC_FROM => 'mod_smartsupp_hook:libcrypto');
$httpd->allow_log(qr/AH00161/); # that all children are busy
$httpd->start;
my $load = SmartsuppTest::Load->start([$httpd], CHILDREN, taken => [200, 202],
    request => sub {
        my ($body) = @_;
        return (path => '/hook?token=token', headers => ['X-Smartsupp-Hmac' =>
            hmac_sha256_hex($body, 'secret')]);
    });
for (1 .. RESTARTS) {
    sleep 0.5; # in the middle of deliveries; any time will do
    $httpd->restart;
}
$load->wait_for_more(200, 1);
$load->stop;
note explain $load->statuses;
my $lines = slurp($trace);
cmp_ok scalar(() = $lines =~ /^stretched/mg), '>=', CHILDREN * RESTARTS,
    'memory was allocated in each child';
my %again;
$again{$_}++ for $lines =~ /^again (.*)$/mg;
is_deeply \%again, {}, 'and never on top of another allocation'
    or diag explain \%again;
my @late = $httpd->log =~ /SMARTSUPP0304|AH0004\d/g;
is scalar @late, 0, 'every child ended when it was told to'
    or diag join ' ', @late;
$httpd->allow_log('SMARTSUPP0304', qr/AH0004\d/); # these are told above
ok $httpd->wait_for(sub { !$spool->names('new') }), 'the spool is empty';
is_deeply [$load->wrong($httpd->database)], [],
    'what was taken is stored, once';
$httpd->done;
done_testing;
