#!/usr/bin/perl
# Smartsupp's REST webhooks, aimed at the same URL, are kept raw in `event`.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        events_are_rows($httpd);
        $httpd->done;
    };
}
done_testing;

sub events_are_rows {
    my ($httpd) = @_;
    my $database = $httpd->database;
    my $body = sample('rest-event.json');
    my $answer = post($httpd, $body);
    is $answer->{status}, 200, 'the published event is answered 200';
    is $answer->{result}, 'stored', 'stored';
    my ($row) = $database->rows('SELECT * FROM smartsupp_event');
    ok delete $row->{received_at}, 'received_at is set';
    is_deeply $row, {account_id => 881987, event => 'conversation.closed',
        timestamp => '2020-08-08T07:53:18.825Z', body => $body,
        body_sha256 => sha256_hex($body)}, 'its row';

    my $before = $database->dump;
    is post($httpd, $body)->{result}, 'duplicate', 'a second time';
    is_deeply $database->dump, $before, 'changes nothing';
    is post($httpd, "$body ")->{result}, 'stored', 'other bytes are another';
    is post($httpd, '{"type":"event_callback"}')->{result}, 'stored',
        'one that holds nothing else';
    ($row) = $database->rows("SELECT * FROM smartsupp_event"
        . " WHERE body = '{\"type\":\"event_callback\"}'");
    is_deeply [@$row{qw(account_id event timestamp)}], [undef, undef, undef],
        'is a row too';
    is_deeply $database->counts, {event => 3, conversation => 0, message => 0,
        path => 0, variable => 0,
        schema_version => $database->counts->{schema_version}},
        'nothing is taken for a conversation';
    return;
}
