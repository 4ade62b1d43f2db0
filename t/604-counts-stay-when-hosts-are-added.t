#!/usr/bin/perl
# Counters stay where they are when a restart brings more virtual hosts than
# the shared memory has room for, and when it takes them away again.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Status;

# More than fit into the first piece of memory (mod_smartsupp_shared.c).
use constant MANY => 3500;

sub conf {
    my ($hosts) = @_;
    return join '', "<Location /status>\nSetHandler smartsupp-status\n"
        . "</Location>\n", map { "<VirtualHost 127.0.0.1:%%PORT%%>\n"
        . "ServerName host$_\n</VirtualHost>\n" } 1 .. $hosts;
}

my $httpd = SmartsuppTest::Httpd->new(conf => conf(3))->start;
my %received;

# Deliver to these hosts, and see that all was counted, and for them alone.
sub counts {
    my ($name, @hosts) = @_;
    for my $host (@hosts) {
        is post($httpd, sample(), headers => [Host => $host])->{status}, 200,
            "$name: a delivery to $host";
        $received{$host}++;
    }
    my $text = get($httpd, '/status?format=prometheus')->{body};
    my %counted = $text
        =~ /^smartsupp_received_total\{server="(\w+):\d+"\} ([1-9]\d*)$/mg;
    is_deeply \%counted, \%received, "$name: all counters";
    return;
}

counts('few hosts', qw(host2 host3 host3));
$httpd->write_config(conf(MANY))->graceful;
counts('many hosts', qw(host1 host3), 'host' . MANY);
$httpd->graceful;
counts('once more', qw(host1 host3), 'host' . MANY);
delete $received{'host' . MANY};
$httpd->write_config(conf(3))->graceful;
counts('few hosts again', qw(host1 host2 host3));
$httpd->allow_log('SMARTSUPP0114');
$httpd->done;
done_testing;
