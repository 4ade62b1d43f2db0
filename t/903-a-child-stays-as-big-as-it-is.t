#!/usr/bin/perl
# Nothing that a child allocates grows with the number of deliveries: stored,
# stale, refused and spoilt ones, over connections that stay and that do not.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

use constant SENDERS => 8;
use constant WARM_UP => 500;     # deliveries a sender
use constant MEASURED => 2_500;  # as many again, for the comparison
use constant ALLOWED => 1_024;   # KiB; one leaked byte a delivery is 20

my $httpd = SmartsuppTest::Httpd->new(log_level => 'crit', mpm => 'event',
    conf => <<'CONF')->start;
StartServers 1
ServerLimit 1
ThreadsPerChild 16
MaxRequestWorkers 16
MaxKeepAliveRequests 0
SmartsuppDatabaseWait 60s
CONF

sub rss {
    my ($child) = $httpd->children;
    open my $status, '<', "/proc/$child/status" or die "$child: $!";
    my ($kib) = join('', <$status>) =~ /^VmRSS:\s+(\d+)/m;
    return $kib;
}

# Each sender's deliveries, numbered from one on; some of them are refused.
sub deliver {
    my ($from, $count) = @_;
    parallel(SENDERS, sub {
        my ($sender) = @_;
        my $connection = dial($httpd);
        for my $number ($from .. $from + $count - 1) {
            my $body = $number % 10 == 9 ? '{"accountId": 0}'
                : body_of('channel.id' => "$sender-" . $number % 900,
                    endAt => 1427470476687 + $number);
            my $answer = $connection->write(request($body))->answer;
            die "unexpected: $answer->{status} $answer->{body}"
                if $answer->{status} != ($number % 10 == 9 ? 422 : 200);
        }
        return 1;
    });
    return;
}

deliver(1, WARM_UP);
my $before = rss();
deliver(1 + WARM_UP, MEASURED);
my $after = rss();
note "$before KiB after ", SENDERS * WARM_UP, ' deliveries, ',
    "$after KiB after ", SENDERS * MEASURED, ' more';
cmp_ok $after - $before, '<=', ALLOWED, 'the child has not grown';
$httpd->done;
done_testing;
