#!/usr/bin/perl
# What is hard to keep: NULL beside "", emoji, the largest integers, late
# times, long texts, what was put right, and the bytes as received.

use strict;
use warnings;
use utf8;

use Encode qw(decode_utf8 encode_utf8);
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $largest = 9007199254740991;
my $emoji = "\x{1F469}\x{200D}\x{1F680} \x{10FFFF} e\x{301}";

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        null_is_not_empty($httpd);
        characters_stay($httpd);
        integers_stay($httpd);
        long_texts_stay_whole($httpd);
        many_messages_stay($httpd);
        what_was_put_right_is_told($httpd);
        little_is_enough($httpd);
        bytes_are_kept($httpd);
        $httpd->done;
    };
}
done_testing;

# Store the sample with these changes under a key of its own, and give its
# conversation row.
sub stored {
    my ($httpd, $id, @changes) = @_;
    my $answer = post($httpd, body_of('channel.id' => $id, @changes));
    is $answer->{result}, 'stored', 'it is stored' or diag explain $answer;
    return ($httpd->database->rows('SELECT * FROM smartsupp_conversation'
        . ' WHERE channel_id = ?', $id))[0];
}

# The messages that belong to it.
sub messages {
    my ($httpd, $id) = @_;
    return $httpd->database->rows('SELECT * FROM smartsupp_message'
        . ' WHERE channel_id = ? ORDER BY seq', $id);
}

sub null_is_not_empty {
    my ($httpd) = @_;
    my $row = stored($httpd, 'null', endAt => undef,
        'channel.rating' => undef, 'channel.ratingDesc' => undef,
        'channel.isChat' => undef, 'visitor.name' => '',
        'visitor.email' => \'absent', 'messages.0.content' => '',
        'messages.1.content' => undef, 'messages.2.sentAt' => undef);
    is_deeply [@$row{qw(end_at rating rating_desc is_chat visitor_name
        visitor_email warnings)}],
        [undef, undef, undef, undef, '', undef, undef],
        'null and absent are NULL, "" is ""';
    my @messages = messages($httpd, 'null');
    is_deeply [$messages[0]{content}, $messages[1]{content},
        $messages[2]{sent_at}], ['', undef, undef], 'in messages too';
    return;
}

sub characters_stay {
    my ($httpd) = @_;
    my $row = stored($httpd, "id $emoji", 'visitor.name' => $emoji,
        'messages.0.content' => "a\tb\r\nc '\"\\%s %d %% ? \$1 $emoji",
        'visitor.variables' => {"n $emoji" => {label => "l $emoji",
            value => "v $emoji"}}, paths => [{url => "u $emoji",
            title => "t $emoji"}]);
    is $row->{visitor_name}, $emoji, 'four-byte characters';
    is((messages($httpd, "id $emoji"))[0]{content},
        "a\tb\r\nc '\"\\%s %d %% ? \$1 $emoji", 'quotes and placeholders');
    my ($variable) = $httpd->database->rows('SELECT name, label, value FROM'
        . ' smartsupp_variable WHERE channel_id = ?', "id $emoji");
    is_deeply $variable, {name => "n $emoji", label => "l $emoji",
        value => "v $emoji"}, 'in names of variables too';
    my ($path) = $httpd->database->rows('SELECT url, title FROM'
        . ' smartsupp_path WHERE channel_id = ?', "id $emoji");
    is_deeply $path, {url => "u $emoji", title => "t $emoji"}, 'and in paths';
    return;
}

sub integers_stay {
    my ($httpd) = @_;
    my $row = stored($httpd, "$largest", accountId => $largest,
        beginAt => 4102444800000, endAt => $largest,
        'channel.duration' => $largest, 'channel.rating' => -$largest,
        'visitor.id' => $largest, 'messages.0.sentAt' => $largest,
        'messages.1.sentAt' => -1);
    is_deeply [@$row{qw(account_id begin_at end_at duration rating visitor_id
        warnings)}], [$largest, 4102444800000, $largest, $largest, -$largest,
        $largest, undef], 'integers of 53 bits';
    my @messages = messages($httpd, "$largest");
    is_deeply [map { $_->{sent_at} } @messages[0, 1]], [$largest, -1],
        'in messages too';

    my $body = body_of('channel.id' => 'beyond', endAt => 'NUMBER');
    $body =~ s/"NUMBER"/9007199254740993/;
    is post($httpd, $body)->{result}, 'stored', 'one beyond is stored';
    ($row) = $httpd->database->rows('SELECT end_at, warnings FROM'
        . " smartsupp_conversation WHERE channel_id = 'beyond'");
    is $row->{end_at}, undef, 'as NULL, never rounded';
    like $row->{warnings}, qr{"/endAt"}, 'with a warning';
    return;
}

sub long_texts_stay_whole {
    my ($httpd) = @_;
    my $text = 'žluťoučký kůň ' x 32_000; # more than 500 kB in UTF-8
    my $row = stored($httpd, 'long', 'messages.3.content' => $text,
        'visitor.note' => 'x' x 70_000);
    is length $row->{visitor_note}, 70_000, 'a note of 70,000 characters';
    ok((messages($httpd, 'long'))[3]{content} eq $text,
        'a message of 500 kB is as it was sent');
    return;
}

sub many_messages_stay {
    my ($httpd) = @_;
    my $sent = conversation('channel.id' => 'many');
    my ($first) = @{$sent->{messages}};
    # a count that no power of two divides
    $sent->{messages} = [map { {%$first, content => "message $_"} } 0 .. 1332];
    $sent->{paths} = [map { {url => "/$_", title => $_ . ''} } 0 .. 66];
    is post($httpd, body_of($sent))->{result}, 'stored', '1333 messages';
    is_deeply [map { "$_->{seq} $_->{content}" } messages($httpd, 'many')],
        [map { "$_ message $_" } 0 .. 1332], 'are there in order';
    is_deeply $httpd->database->handle->selectcol_arrayref('SELECT url FROM'
        . " smartsupp_path WHERE channel_id = 'many' ORDER BY seq"),
        [map { "/$_" } 0 .. 66], 'with 67 paths';
    return;
}

sub what_was_put_right_is_told {
    my ($httpd) = @_;
    my $body = body_of('channel.id' => 'warned', 'channel.isChat' => 1,
        'channel.duration' => '14', 'channel.avgResponse' => 14.5,
        'visitor.name' => 42, 'channel.wordsCount' => {},
        'visitor.variables' => [1], 'visitor.note' => 'NUL');
    $body =~ s/"NUL"/"a\\u0000b\\ud83d"/;
    my $answer = post($httpd, $body);
    is $answer->{result}, 'stored', 'stored in spite of what is wrong';
    my ($row) = $httpd->database->rows('SELECT * FROM smartsupp_conversation'
        . " WHERE channel_id = 'warned'");
    is_deeply [@$row{qw(is_chat duration avg_response visitor_name words_count
        visitor_note)}], [1, 14, 14, '42', undef, "a\x{FFFD}b\x{FFFD}"],
        'what was put right, and what could not be';
    my $warnings = JSON::PP->new->decode($row->{warnings});
    my %code = map { $_->{pointer} => $_->{code} }
        grep { $_->{code} !~ /^json_/ } @$warnings;
    is_deeply \%code, {
        '/channel/isChat' => 'coerced', '/channel/duration' => 'coerced',
        '/channel/avgResponse' => 'coerced', '/visitor/name' => 'coerced',
        '/channel/wordsCount' => 'type', '/visitor/variables' => 'type',
    }, 'each has a warning with its pointer' or diag $row->{warnings};
    is_deeply [map { $_->{code} } grep { $_->{code} =~ /^json_/ } @$warnings],
        [qw(json_nul json_surrogate)], 'U+0000 and half an emoji too';
    is_deeply $answer->{json}{warnings}, $warnings,
        'the answer has the same list';
    return;
}

sub little_is_enough {
    my ($httpd) = @_;
    my $body = '{"accountId":1,"beginAt":946684800000,"channel":{"id":0}}';
    is post($httpd, $body)->{result}, 'stored', 'the key alone is enough';
    my ($row) = $httpd->database->rows('SELECT * FROM smartsupp_conversation'
        . " WHERE account_id = 1");
    my @set = grep { defined $row->{$_} } sort keys %$row;
    is_deeply \@set, [qw(account_id begin_at body body_sha256 channel_id
        generation message_rows received_at)], 'all else is NULL';
    is $row->{channel_id}, '0', 'channel 0';
    return;
}

sub bytes_are_kept {
    my ($httpd) = @_;
    my $body = "\r\n\t " . encode_utf8('{"unknown":[1e5,1.50,"\u0041é"],'
        . '"accountId":2,"beginAt":946684800000,"channel":{"id":"raw"}}')
        . "\n \n";
    is post($httpd, $body)->{result}, 'stored', 'white space and more';
    is $httpd->database->value('SELECT body FROM smartsupp_conversation'
        . ' WHERE account_id = 2'), decode_utf8($body), 'byte for byte';
    return;
}
