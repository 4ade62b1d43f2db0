#!/usr/bin/perl
# Graceful restarts under load, a connection for each delivery: while the
# database is up, while it is down and the spool fills, and while the spool is
# drained. No delivery is refused, none stays without an answer, and each is
# stored once.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Server;
use SmartsuppTest::Spool;

use constant SENDERS => 4;
use constant SOME => 50;   # deliveries between two restarts
use constant MANY => 1000; # that are to be drained across a restart

my $conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppDatabaseWait 2s
SmartsuppReplayInterval 100ms
CONF

for my $kind (SmartsuppTest::Database->kinds(qw(sqlite pgsql))) {
    my $server = $kind eq 'sqlite' ? undef
        : SmartsuppTest::Server->new('postgresql')->start;
    for my $mpm (qw(event worker prefork)) {
        subtest "$kind, $mpm" => \&none_is_refused, $kind, $mpm, $server;
    }
}
done_testing;

sub none_is_refused {
    my ($kind, $mpm, $server) = @_;
    my $httpd = SmartsuppTest::Httpd->new(mpm => $mpm, conf => $conf,
        modules => ['watchdog'], database => $server
            ? SmartsuppTest::Database->new($kind, server => $server,
                shipped => 1) : $kind);
    my $spool = SmartsuppTest::Spool->of($httpd);
    # libpq tells of it, too, when its server stops
    $httpd->allow_log('SMARTSUPP0301', qr/\[dbd:error\]/,
        qr/terminating connection due to administrator command/);
    $httpd->start;

    my $load = SmartsuppTest::Load->start([$httpd], SENDERS,
        taken => [200, 202]);
    for (1 .. 3) {
        $load->wait_for_more(200, SOME);
        $httpd->graceful;
    }
    $load->wait_for_more(200, SOME);
    is_taken($load, 'while the database is up');

    set_down($httpd, $server, 1);
    $httpd->graceful; # who has SQLite's file open goes on
    for (1 .. 2) {
        $load->wait_for_more(202, SOME);
        $httpd->graceful;
    }
    $load->wait_for_more(202, SOME);
    is_taken($load, 'while it is down');

    my @channels = fill($spool, 'first');
    set_down($httpd, $server, 0);
    for my $n (1 .. 4) {
        # there is some left for the new generation, and there comes some more
        ok $httpd->wait_for(sub { $spool->names('new') < MANY }), 'it drains';
        push @channels, fill($spool, "more $n");
        $httpd->graceful;
    }
    $load->wait_for_more(200, SOME);
    $load->stop;
    is_taken($load, 'while it is drained');
    ok $httpd->wait_for(sub { !map { $spool->names($_) } qw(tmp new) }),
        'the spool is empty' or diag $httpd->log;
    is_deeply [$spool->names('rejected')], [], 'nothing is rejected';

    my $database = $httpd->database;
    my @wrong = $load->wrong($database, @channels);
    is_deeply \@wrong, [], 'each delivery is stored, once'
        or diag join "\n", splice @wrong, 0, 20;
    is $database->orphans, 0, 'no orphans';
    is $database->value('SELECT count(*) FROM smartsupp_conversation'),
        @channels + keys %{$load->stored}, 'nor is one of the spool missing';
    my $count = $load->statuses;
    note join ', ', map { "$count->{$_} answers $_" } sort keys %$count;
    my %drainers = map { $_ => 1 } $httpd->log =~ /\[pid (\d+)\S* [^\n]*0508:/g;
    note scalar(keys %drainers), ' processes have drained';
    $database->disconnect;
    $httpd->done;
    return;
}

# Nobody was told anything but 200 or 202.
sub is_taken {
    my ($load, $when) = @_;
    my %count = %{$load->statuses};
    delete @count{200, 202};
    is_deeply \%count, {}, "each delivery is taken $when"
        or diag explain [grep { $_->{status} !~ /^20[02]$/ }
            @{$load->answers}];
    return;
}

# The database goes down, or comes back.
sub set_down {
    my ($httpd, $server, $down) = @_;
    if ($server) { $down ? $server->stop : $server->start }
    else { chmod $down ? 0 : 0700, $httpd->path('db') }
    return;
}

# Deliveries as if httpd had spooled them; gives their channels.
sub fill {
    my ($spool, $name) = @_;
    my @channels = map { "$name $_" } 1 .. MANY;
    my $body = body_of('channel.id' => 'CHANNEL');
    $spool->put($body =~ s/CHANNEL/$_/r) for @channels;
    return @channels;
}
