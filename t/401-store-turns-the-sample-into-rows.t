#!/usr/bin/perl
# The published samples of both generations, every column of every row.

use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode qw(decode_utf8);
use FindBin;
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $visitor = 'mxTiqn9adr2h39kmzAJ0FeaTGFJhmjio0R41491503012015';
my %key = (account_id => 208, channel_id => '55039',
    begin_at => 1427470439703);

my %conversation = (
    %key,
    end_at               => 1427470476687,
    is_chat              => 1,
    is_missed            => 0,
    is_triggered         => 1,
    is_offline           => 0,
    is_completed         => 1,
    is_dropped           => 0,
    duration             => 36,
    avg_response         => 14,
    first_response       => 14,
    messages_count       => 5,
    words_count          => 11,
    rating               => 5,
    rating_desc          => '',
    visitor_id           => '27671',
    visitor_name         => 'Dusan Kmet',
    visitor_email        => 'dusan@domain.com',
    visitor_note         => 'VIP customer',
    visitor_group        => undef,
    visitor_ip_address   => '89.235.0.55',
    visitor_city         => 'Czech Republic',
    visitor_country_code => 'CZ',
    visitor_country      => 'Brno',
    visitor_user_agent   => 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_8_5)'
        . ' AppleWebKit/537.36 (KHTML, like Gecko) Chrome/41.0.2272.89'
        . ' Safari/537.36',
    visitor_platform     => 'MacIntel',
    visitor_referer      => '',
    warnings             => undef,
    message_rows         => 6,
    updated_at           => undef,
);

my @messages = map { my %row = %key;
    @row{qw(seq type name sender_kind sender_id content sent_at triggered_by
        email)} = @$_, undef; \%row }
    [0, 'visitor', undef, 'visitor', $visitor, 'Hello', 1427470439703, undef],
    [1, 'system', 'John Doe', 'agent', '3', 'agent.join', 1427470446219,
        undef],
    [2, 'agent', '', 'system', undef, 'This is triggered message',
        1427470449706, 'Test Trigger'],
    [3, 'agent', 'John Doe', 'agent', '3', 'Hi, how can i help you ?',
        1427470453772, undef],
    [4, 'visitor', 'Dusan Kmet', 'visitor', $visitor, 'tanks.',
        1427470473124, undef],
    [5, 'system', 'Dusan Kmet', 'system', undef, 'close.visitorClose',
        1427470476687, undef];

my @paths = (
    {%key, seq => 0,
        url => 'http://developers.smartsupp.com/smartsupp/hook-post',
        title => 'POST Hook · Smartsupp'},
    {%key, seq => 1, url => 'http://developers.smartsupp.com',
        title => 'API · Smartsupp'},
);

my @variables = map { my %row = %key;
    @row{qw(seq name label value value_type)} = @$_; \%row }
    [0, 'chatId', 'Chat ID', '208', 'number'],
    [1, 'chatPackage', 'Chat Package', 'pro', 'string'],
    [2, 'userId', 'User ID', '1234', 'string'];

for my $kind (SmartsuppTest::Database->kinds) {
    for my $generation (2, 1) {
        subtest "generation $generation on $kind" => sub {
            sample_becomes_rows($kind, $generation);
        };
    }
}
done_testing;

# Deliver the sample of this generation to an empty database and look.
sub sample_becomes_rows {
    my ($kind, $generation) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    my $body = sample($generation == 1 ? 'conversation-generation-1.json'
        : 'conversation.json');

    my $before = int(time * 1000);
    my $answer = post($httpd, $body);
    my $after = int(time * 1000);
    is $answer->{result}, 'stored', 'the answer is stored'
        or diag explain $answer;

    my ($row, @more) = $database->rows('SELECT * FROM smartsupp_conversation');
    is @more, 0, 'one conversation';
    my $received = delete $row->{received_at};
    ok $received >= $before && $received <= $after, 'received_at is now';
    is_deeply $row, {%conversation, generation => $generation,
        body => decode_utf8($body), body_sha256 => sha256_hex($body)},
        'its columns' or diag explain $row;
    for my $table (['message', @messages], ['path', @paths],
        ['variable', @variables]) {
        my ($name, @expected) = @$table;
        is_deeply [$database->rows(
            "SELECT * FROM smartsupp_$name ORDER BY seq")], \@expected,
            "the rows of $name";
    }
    is $database->counts->{event}, 0, 'no event';
    $httpd->done;
    return;
}
