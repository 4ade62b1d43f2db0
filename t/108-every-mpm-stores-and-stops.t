#!/usr/bin/perl
# event, worker and prefork: store, go on storing through a graceful restart,
# and stop without leaving a process.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

for my $mpm (qw(event worker prefork)) {
    subtest $mpm => sub {
        my $httpd = SmartsuppTest::Httpd->new(mpm => $mpm)->start;
        my $database = $httpd->database;
        is post($httpd, sample())->{result}, 'stored', 'the sample';
        is_deeply [@{$database->counts}{qw(conversation message path
            variable)}], [1, 6, 2, 3], 'is rows';

        # each sender goes on until it has delivered after the restarts
        my @results = parallel(5, sub {
            my ($sender) = @_;
            if ($sender == 0) {
                $httpd->graceful for 1 .. 2;
                SmartsuppTest::Httpd::spew($httpd->path('conf/over'), '');
                return [];
            }
            my ($n, @wrong) = (0);
            do {
                my $answer = post($httpd,
                    body_of('channel.id' => "$sender-" . $n++));
                push @wrong, $answer if ($answer->{result} // '') ne 'stored';
            } until -e $httpd->path('conf/over') || @wrong;
            return [$n, @wrong];
        });
        my ($sent, @wrong) = (0);
        for my $result (@results) {
            $sent += shift @$result // 0;
            push @wrong, @$result;
        }
        is_deeply \@wrong, [], 'all deliveries during a graceful restart are'
            . ' stored' or diag explain \@wrong;
        is_deeply [@{$database->counts}{qw(conversation message)}],
            [1 + $sent, 6 + 6 * $sent], "as rows ($sent)";
        $httpd->restart;
        is post($httpd, sample())->{result}, 'duplicate',
            'the database is there after a restart';
        $httpd->graceful;
        is post($httpd, body_of(endAt => 1427470476688))->{result}, 'updated',
            'and after a graceful one';
        ok $httpd->stop, 'no process is left';
        $httpd->done;
    };
}
done_testing;
