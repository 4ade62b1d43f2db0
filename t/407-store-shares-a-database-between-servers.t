#!/usr/bin/perl
# Two servers on one database, both new to it: nobody is sent away because the
# other one is at work.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $one = SmartsuppTest::Httpd->new(database => $kind)->start;
        my $two = SmartsuppTest::Httpd->new(database => $one->database)->start;
        both_store($one, $two);
        $two->done;
        $one->done;
    };
}
done_testing;

# Sixteen senders, every other one to the other server, from the first
# delivery on. All deliver the sample, too.
sub both_store {
    my @servers = @_;
    my @results = parallel(16, sub {
        my ($sender) = @_;
        my $httpd = $servers[$sender % 2];
        return [map {
            my $answer = post($httpd, $_);
            $answer->{result} // $answer->{status};
        } sample(), map { body_of('channel.id' => "$sender.$_") } 1 .. 10];
    });
    my %count;
    $count{$_}++ for map { @$_ } @results;
    is_deeply \%count, {stored => 161, duplicate => 15},
        'all are stored, the sample once';
    my $rows = $servers[0]->database->counts;
    is_deeply [@$rows{qw(conversation message path variable)}],
        [161, 6 * 161, 2 * 161, 3 * 161], 'with all that belongs to them';
    return;
}
