#!/usr/bin/perl
# Status, headers and body of each answer; and that a refused delivery leaves
# the database as it was, and is told to nobody.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF')->start;
<Location "/hook/small">
    SmartsuppMaxBody 100
</Location>
<Location "/hook/closed">
    Require all denied
</Location>
CONF
my $database = $httpd->database;

# What only the payload says: no answer and no log line may.
my @private = qw(Privatus privatus@example.org Geheimnis 203.0.113.77
    Sprichwort);
my @private_changes = ('visitor.name' => $private[0],
    'visitor.email' => $private[1], 'messages.0.content' => $private[2],
    'visitor.ipAddress' => $private[3],
    'visitor.variables' => {x => {label => $private[4], value => {}}});
my $private = join '|', map { quotemeta } @private;

takes_deliveries();
refuses_bad_json();
refuses_what_has_no_identity();
refuses_other_methods();
refuses_what_is_encoded();
refuses_what_is_too_large();
leaves_httpd_its_answers();
unlike $httpd->log, qr/$private/, 'the log holds no personal data';
my @untagged = grep { !/\bSMARTSUPP0\d{3}: / }
    grep { /\[smartsupp_hook:(?:notice|warn|error)\]/ } split /\n/, $httpd->log;
is_deeply \@untagged, [], 'all its lines have a tag';
$httpd->done;
done_testing;

# An answer that says where the delivery went.
sub is_taken {
    my ($answer, $result, $body) = @_;
    is $answer->{status}, 200, "$result is 200" or diag explain $answer;
    is $answer->{result}, $result, 'Smartsupp-Result';
    is $answer->{headers}{'content-type'}, 'application/json', 'Content-Type';
    is $answer->{body}, "$body\n", 'the body' if defined $body;
    unlike $answer->{body}, qr/$private/, 'no personal data';
    return;
}

sub takes_deliveries {
    my $identity = '"account":208,"channel":"55039","begin":1427470439703,'
        . '"warnings":[]';
    for my $case (['stored', sample()], ['duplicate', sample()],
        ['updated', body_of(endAt => 1427470476688)], ['stale', body_of()]) {
        my ($result, $body) = @$case;
        is_taken(post($httpd, $body), $result,
            qq({"result":"$result",$identity}));
    }
    my $answer = post($httpd, body_of(@private_changes,
        'channel.id' => "\x{e9}\"\\/", 'channel.isChat' => 1));
    is_taken($answer, 'stored');
    is $answer->{json}{channel}, "\x{e9}\"\\/", 'the channel id is JSON';
    is_deeply [map { "$_->{code} $_->{pointer}" } grep {
        $_->{pointer} eq '/channel/isChat' } @{$answer->{json}{warnings}}],
        ['coerced /channel/isChat'], 'warnings have code and pointer';
    is_taken(post($httpd, sample('rest-event.json')), 'stored',
        '{"result":"stored","account":881987,"warnings":[]}');
    is_taken(post($httpd, sample('rest-event.json')), 'duplicate');
    for my $type ('text/plain', 'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x', 'nonsense', '') {
        is_taken(post($httpd, sample(), headers => ['Content-Type' => $type]),
            'stale');
    }
    return;
}

# An answer that refuses: status, the codes with their places, and a database
# that is as it was before.
sub is_problem {
    my ($status, $errors, $body, %options) = @_;
    my $before = $database->dump;
    my $answer = post($httpd, $body, %options);
    my $title = {400 => 'Bad Request', 405 => 'Method Not Allowed',
        413 => 'Request Entity Too Large', 415 => 'Unsupported Media Type',
        422 => 'Unprocessable Entity'}->{$status};
    is $answer->{status}, $status, "@$errors is $status"
        or diag explain $answer;
    is $answer->{headers}{'content-type'}, 'application/problem+json',
        'a problem';
    my $json = $answer->{json} // {};
    is_deeply [sort keys %$json], [qw(detail errors status title type)],
        'with the members of RFC 9457';
    is $json->{status}, $status, 'its status';
    is $json->{title}, $title, 'its title';
    is_deeply [map { join ' ', $_->{code}, $_->{pointer}, $_->{offset} // () }
        @{$json->{errors}}], $errors, 'its errors';
    is $answer->{result}, $status =~ /^4(?:00|22)$/ ? 'rejected' : undef,
        'Smartsupp-Result';
    unlike $answer->{body}, qr/$private/, 'no personal data';
    is_deeply $database->dump, $before, 'the database is as it was';
    return $answer;
}

sub refuses_bad_json {
    my %bad = ('' => 'json_empty  0', '{"a":1,}' => 'json_syntax  7',
        '{"a":01}' => 'json_number  6', "\xef\xbb\xbf{}" => 'json_bom  0',
        '{}x' => 'json_trailing  2', '{"a":1' => 'json_eof  6',
        "[\"\x01\"]" => 'json_control  2', "[\"\xff\"]" => 'json_utf8  2',
        '["\q"]' => 'json_escape  3', '[' x 33 => 'json_depth  32',
        "{\"x\":\"$private[0]\",}" => 'json_syntax  16');
    is_problem(400, [$bad{$_}], $_) for sort keys %bad;
    is_problem(400, ['json_values  131071'], '[' . '0,' x 65536 . '0]');
    $httpd->expect_log('SMARTSUPP0206');
    return;
}

sub refuses_what_has_no_identity {
    is_problem(422, ['type '], '[]');
    is_problem(422, ['missing /accountId', 'missing /beginAt',
        'missing /channel'], '{}');
    is_problem(422, ['range /beginAt'], body_of(beginAt => 1427470439));
    is_problem(422, ['type /accountId'], body_of(accountId => '208'));
    is_problem(422, ['format /channel/id'], body_of('channel.id' => ' x',
        @private_changes));
    is_problem(422, ['type /messages/1', 'type /messages/3'],
        body_of(messages => [{}, 1, {}, $private[0]], @private_changes[0, 1]));
    (my $twice = body_of()) =~ s/\{/{"accountId":1,/;
    is_problem(422, ['duplicate /accountId'], $twice);
    $httpd->expect_log('SMARTSUPP0207');
    return;
}

sub refuses_other_methods {
    for my $method (qw(GET PUT DELETE PATCH OPTIONS PROPFIND NONSENSE)) {
        my $answer = is_problem(405, ['method '], undef, method => $method);
        is $answer->{headers}{allow}, 'POST', "$method: Allow";
    }
    my $answer = is_problem(405, ['method '], sample(), method => 'PUT');
    is $answer->{headers}{allow}, 'POST', 'PUT with a body: Allow';
    return;
}

sub refuses_what_is_encoded {
    for my $encoding (qw(gzip br x)) {
        is_problem(415, ['content_encoding '], sample(),
            headers => ['Content-Encoding' => $encoding]);
    }
    is_taken(post($httpd, sample(), headers => ['Content-Encoding' => $_]),
        'stale') for 'identity', 'Identity', '';
    $httpd->expect_log('SMARTSUPP0205');
    return;
}

sub refuses_what_is_too_large {
    my $answer = is_problem(413, ['body_too_large '], 'x' x 101,
        path => '/hook/small');
    is $answer->{headers}{connection}, 'close', 'the connection is closed';
    is_problem(400, ['json_syntax  0'], 'x' x 100, path => '/hook/small');
    $httpd->expect_log('SMARTSUPP0203');
    return;
}

# What httpd decides before us is answered by it.
sub leaves_httpd_its_answers {
    my $answer = post($httpd, sample(), path => '/hook/closed');
    is $answer->{status}, 403, 'Require refuses with 403';
    is $answer->{result}, undef, 'no result of ours';
    is post($httpd, sample(), path => '/nothing')->{status}, 404,
        'no handler, no hook';
    $httpd->expect_log(qr/AH01630/);
    return;
}
