#!/usr/bin/perl
# What means something to SQL, to apr_dbd, to our own SQL texts, to a terminal
# or to HTTP is but text where a delivery has it: stored exactly, in every text
# field, by INSERT and by UPDATE, on each database; other tables stay as they
# are; and no request puts a line, or an escape sequence, into the log, or a
# header into the answer.

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
use SmartsuppTest::Process qw(slurp);
use SmartsuppTest::Spool;

# The words that our SQL texts have in braces, and how they are spelled.
my $source = "$FindBin::Bin/../mod_smartsupp_hook";
my %word = map { $_ => 1 } map { slurp("$source/$_") =~ /\{(\w+(?: \w+)?)\}/g }
    map { "smartsupp_sql_$_.c" } qw(text sqlite3 pgsql mysql odbc);
my @words = map { "{$_}" } sort keys %word;
cmp_ok scalar @words, '>', 10, 'the words in braces are found';

my @codes = (
    # quotes, and what ends or hides them
    q{'}, q{''}, q{'''}, q{"}, q{""}, q{`}, q{``}, q{\\}, q{\\\\}, q{\\'},
    q{\\\\'}, q{\\"}, q{'\\}, q{]]>}, q{[x]}, "\x{bf}'", "\x{2019}\x{ff07}",
    # comments, ends, wildcards
    q{;}, q{--}, q{-- x}, q{/*}, q{*/}, q{/*!50000 x */}, q{#}, q{%}, q{_},
    q{%%}, q{||}, q{@@version}, q{\\g}, q{\\!}, q{\\.},
    # placeholders
    q{?}, q{??}, q{$1}, q{$2::int}, q{$$}, q{$x$}, q{:name}, q{:1}, q{@x},
    q{%s}, q{%lld}, q{%lf}, q{%d}, q{%n}, q{%1$s}, q{%pDt}, q{%}, q{a%},
    # ours, those of ODBC, others
    @words, q({), q(}), q({}), q({{prefix}}), q({unknown}), q({if_new $}),
    q({fn now()}), q({d '2020-01-01'}), q({call x}), q({oj x}),
    q(${jndi:ldap://x}), q(%{PATH}e), q(<!--#exec cmd="id" -->), q(<?php ?>),
    q(<script>alert(1)</script>), q(&lt;&amp;),
    # statements
    q{'; DROP TABLE precious; --}, q{"; DROP TABLE precious; --},
    q{\\'; DROP TABLE precious; --}, q{'); DELETE FROM precious; --},
    q{' OR '1'='1}, q{1; UPDATE precious SET name = 'x'},
    q{' || (SELECT name FROM precious) || '}, q{$$; DROP TABLE precious; $$},
    q{'/**/UNION/**/SELECT/**/1--}, q{%27%3B%20DROP%20TABLE%20precious},
    # values that are words elsewhere
    q{NULL}, q{null}, q{\\N}, q{DEFAULT}, q{TRUE}, q{0x41}, q{E'\\x41'},
    q{\\x41}, q{\\u0041}, q{\\0}, q{x'41'}, q{1e5}, q{-0}, q{CURRENT_USER},
    # spaces, controls, what turns or hides text
    q{ }, q{ x }, "\n", "a\nb", "\r", "\r\n", "a\r\nX-Header: y\r\n\r\nz",
    "\t", "\b\f\x0b", "\x01", "\x1a", "\x1b[31m\x1b]0;x\x07", "\x7f",
    "\x{80}", "\x{85}", "\x{9b}31m", "\x{a0}", "\x{ad}", "\x{200b}",
    "\x{2028}", "\x{2029}", "\x{202e}x", "\x{feff}", "\x{fffe}", "\x{ffff}",
    "\x{fffd}", "\x{d7ff}", "\x{e000}", "\x{1f600}", "\x{10ffff}", "e\x{301}",
    "x" x 5000 . "'",
);

# What a line that httpd did not write would look like.
my $forged = '[Mon Jan 01 00:00:00 2024] [core:error] [pid 1] forged';

# The text fields, as a path in the delivery.
my %conversation_fields = (
    rating_desc => 'channel.ratingDesc', visitor_id => 'visitor.id',
    visitor_name => 'visitor.name', visitor_email => 'visitor.email',
    visitor_note => 'visitor.note', visitor_group => 'visitor.group',
    visitor_ip_address => 'visitor.ipAddress', visitor_city => 'visitor.city',
    visitor_country_code => 'visitor.countryCode',
    visitor_country => 'visitor.country',
    visitor_user_agent => 'visitor.userAgent',
    visitor_platform => 'visitor.platform',
    visitor_referer => 'visitor.referer',
);

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        my $others = make_precious($httpd);
        texts_stay($httpd);
        keys_stay($httpd);
        unstorable_is_replaced($httpd);
        events_stay($httpd);
        is_deeply precious($httpd), $others, 'other tables are as they were';
        $httpd->done;
    };
}
subtest 'the log'            => \&log_is_clean;
subtest 'the answer'         => \&answer_is_whole;
subtest 'words of databases' => \&words_of_databases_are_clean;
subtest 'SmartsuppTablePrefix' => \&prefix_is_no_code;
done_testing;

# The tables, and one with a row that no delivery may touch.
sub make_precious {
    my ($httpd) = @_;
    post($httpd, sample())->{status} == 200 or die "no tables\n";
    $httpd->database->change('CREATE TABLE precious (name VARCHAR(20))',
        "INSERT INTO precious VALUES ('kept')");
    return precious($httpd);
}

# All but the rows of our own tables.
sub precious {
    my ($httpd) = @_;
    my $database = $httpd->database;
    return {tables => [$database->tables], map({ $_ => $database->columns($_) }
        grep { /^smartsupp_/ } $database->tables, 'smartsupp_transcript'),
        rows => $database->dump->{precious},
        version => $database->dump->{smartsupp_schema_version},
        first => [$database->rows('SELECT * FROM smartsupp_conversation WHERE'
            . " channel_id = '55039'")],
        orphans => $database->orphans};
}

# The changes that put a text into every field of a conversation.
sub everywhere {
    my ($text) = @_;
    return (map({ $_ => $text } values %conversation_fields),
        'visitor.variables' => {$text => {label => $text, value => $text}},
        paths => [{url => $text, title => $text}],
        messages => [{type => $text, name => $text, from => "visitor:$text",
            content => $text, sentAt => 1, triggeredBy => $text,
            email => $text}, {type => 'visitor', from => $text, content => 1}]);
}

# What of the conversation is not as sent: [] where all is.
sub differences {
    my ($httpd, $id, $text) = @_;
    my $database = $httpd->database;
    my %row = map { my $table = $_; $_ => [$database->rows("SELECT * FROM"
        . " smartsupp_$table WHERE account_id = 208 AND channel_id = ?"
        . ($table eq 'conversation' ? '' : ' ORDER BY seq'), $id)] }
        qw(conversation message path variable transcript);
    my @wrong;
    my $is = sub {
        my ($where, $got, $wanted) = @_;
        push @wrong, "$where: " . ($got // 'NULL') if ($got // "\0") ne $wanted;
    };
    my %count = map { $_ => scalar @{$row{$_}} } keys %row;
    for my $table (sort keys %count) {
        $is->("rows of $table", $count{$table},
            $table =~ /message|transcript/ ? 2 : 1);
    }
    $is->($_, $row{conversation}[0]{$_}, $text)
        for sort keys %conversation_fields;
    $is->("message $_", $row{message}[0]{$_}, $text)
        for qw(type name sender_id content triggered_by email);
    $is->('sender_id', $row{message}[1]{sender_id}, $text)
        if $text ne 'system' && $text !~ /:/;
    $is->("path $_", $row{path}[0]{$_}, $text) for qw(url title);
    $is->("variable $_", $row{variable}[0]{$_}, $text)
        for qw(name label value);
    # to MariaDB a name of spaces is an empty one
    my $is_blank = $database->dialect eq 'mariadb' && $text =~ /^ +\z/;
    $is->("transcript $_", $row{transcript}[0]{$_}, $text)
        for $is_blank ? () : 'who', 'what';
    return \@wrong;
}

# Names of tests with no strange characters.
sub shown {
    my ($text) = @_;
    $text = substr($text, 0, 10) . '...' if length $text > 100;
    return $text =~ s/([^ -~]|#)/sprintf '\\x{%x}', ord $1/ger;
}

sub texts_stay {
    my ($httpd) = @_;
    my $number = 0;
    for my $code (@codes) {
        my $id = 'text ' . $number++;
        my $begin = 1427470439703;
        # a version that is later replaces what INSERT stored by UPDATE, which
        # binds its values no other way
        for my $version (0, $number % 4 ? () : 1) {
            my $text = $version ? "$code x $code" : $code;
            my $body = body_of('channel.id' => $id, everywhere($text),
                endAt => $begin + $version);
            my $result = post($httpd, $body)->{result};
            is $result, $version ? 'updated' : 'stored', shown($text) . ' is '
                . ($version ? 'updated' : 'stored');
            my $wrong = differences($httpd, $id, $text);
            is scalar @$wrong, 0, 'and everywhere as it was'
                or diag map { shown($_) . "\n" } @$wrong;
            is $httpd->database->value('SELECT body FROM smartsupp_conversation'
                . ' WHERE channel_id = ?', $id), decode_utf8($body),
                'the body too';
        }
    }
    # many rows of one statement, each another
    my $sent = conversation('channel.id' => 'many');
    $sent->{messages} = [map { {type => $_, content => "$_$_"} } @codes];
    is post($httpd, body_of($sent))->{result}, 'stored', 'all in one';
    is_deeply [map { [@$_{qw(type content)}] } $httpd->database->rows(
        'SELECT type, content FROM smartsupp_message WHERE channel_id ='
        . " 'many' ORDER BY seq")], [map { [$_, "$_$_"] } @codes],
        'as they were';
    return;
}

# channel.id is what conversations are told apart by: no two of these are one.
sub keys_stay {
    my ($httpd) = @_;
    my @ids;
    for my $code (@codes) {
        my $body = body_of('channel.id' => $code, 'visitor.note' => "of $code");
        my $answer = post($httpd, $body);
        if ($code =~ /^ | $|[\x00-\x1f\x7f-\x9f]/
            || length encode_utf8($code) > 128) {
            is $answer->{status}, 422, shown($code) . ' is no channel.id';
            next;
        }
        my ($again) = grep { $_ eq $code } @ids;
        next if defined $again;
        push @ids, $code;
        is $answer->{result}, 'stored', shown($code) . ' is one'
            or diag explain $answer;
        is $answer->{json}{channel}, $code, 'which is answered';
        is_deeply [$httpd->database->rows('SELECT channel_id, visitor_note FROM'
            . ' smartsupp_conversation WHERE channel_id = ?', $code)],
            [{channel_id => $code, visitor_note => "of $code"}], 'and stored';
    }
    for my $code (@ids) {
        my $body = body_of('channel.id' => $code, endAt => 1427470476688,
            'visitor.note' => 'updated', messages => []);
        is post($httpd, $body)->{result}, 'updated', shown($code) . ', again';
    }
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'
        . " WHERE visitor_note = 'updated'"), scalar @ids,
        'each update met its own';
    $httpd->expect_log('SMARTSUPP0207');
    return;
}

# U+0000 and half a character: what no database can hold is U+FFFD there.
sub unstorable_is_replaced {
    my ($httpd) = @_;
    for my $escape ('\u0000', '\u0000\u0000', '\ud83d', '\udc00') {
        my $id = 'unstorable ' . $escape =~ tr/\\//dr;
        (my $body = body_of('channel.id' => $id, everywhere("a'HERE'b")))
            =~ s/HERE/$escape/g;
        is post($httpd, $body)->{result}, 'stored', "$escape is stored";
        my $replaced = $escape eq '\u0000\u0000' ? "\x{fffd}" x 2 : "\x{fffd}";
        is_deeply differences($httpd, $id, "a'${replaced}'b"), [],
            'as U+FFFD, and nothing is cut';
    }
    return;
}

sub events_stay {
    my ($httpd) = @_;
    my @wanted;
    for my $code (@codes) {
        my $body = body_of({type => 'event_callback', account_id => 1,
            event => $code, timestamp => "$code$code", data => {x => $code}});
        my $result = post($httpd, $body)->{result};
        push @wanted, "$code / $code$code" if $result ne 'duplicate';
        like $result, qr/^(?:stored|duplicate)$/, 'event: ' . shown($code);
    }
    is_deeply [sort map { "$_->{event} / $_->{timestamp}" }
        $httpd->database->rows('SELECT event, timestamp FROM smartsupp_event')],
        [sort @wanted], 'events are as they were';
    return;
}

# A server for requests that want to write into its log. Unsafe: control
# characters in headers, which httpd refuses otherwise, come through.
sub noisy_server {
    my ($options) = @_;
    my $httpd = SmartsuppTest::Httpd->new(modules => ['watchdog'],
        log_level => 'warn smartsupp_hook:trace8', conf => <<"CONF");
HttpProtocolOptions $options
SmartsuppSpool %%ROOT%%/spool
<Location "/hook/signed">
    SmartsuppSecret file:keys
</Location>
<Location "/hook/token">
    Require smartsupp-token file:keys
</Location>
<Location "/hook/account">
    SmartsuppAccount 1
</Location>
<Location "/hook/small">
    SmartsuppMaxBody 10
</Location>
CONF
    SmartsuppTest::Process::spew($httpd->path('keys'), 'key');
    SmartsuppTest::Spool->of($httpd);
    $httpd->allow_log(qw(SMARTSUPP0203 SMARTSUPP0205 SMARTSUPP0206
        SMARTSUPP0207 SMARTSUPP0213 SMARTSUPP0217 SMARTSUPP0218 SMARTSUPP0219
        SMARTSUPP0220), qr/AH01630/);
    return $httpd->start;
}

# Each line of the log is one that httpd began, and holds no byte that a
# terminal would obey.
sub is_clean {
    my ($log, $what) = @_;
    my @strange = grep { !/^\[\w{3} \w{3} \d\d [\d:.]+ \d{4}\] \[[\w-]*:\w+\]/
        || /[\x00-\x1f\x7f]/ } split /\n/, $log;
    is_deeply \@strange, [], $what;
    is scalar(grep { /^\Q$forged/ } split /\n/, $log), 0, 'no line is forged';
    return;
}

sub log_is_clean {
    for my $options ('Strict', 'Unsafe') {
        my $httpd = noisy_server($options);
        my @evil = ("\x1b[31mred\x1b[0m", "a\rb", "a\r\r$forged", "a\x0b\x0cb",
            "\x07\x08\x7f", "\xff\xfe\x9b31m", "a\tb", "%0d%0a$forged",
            "%s%n%lld%pDt", "\x{e2}\x{80}\x{a8}$forged");
        for my $evil (@evil) {
            for my $name ('X-Smartsupp-Hmac', 'X-Smartsupp-Token',
                'Authorization', 'Content-Encoding', 'Content-Type',
                'User-Agent', 'Referer', 'Host', 'Transfer-Encoding',
                'Expect', 'X-Smartsupp-Account') {
                for my $path (qw(/hook /hook/signed /hook/token)) {
                    post($httpd, sample(), path => $path,
                        headers => [$name => $evil]);
                }
            }
            post($httpd, sample(), path => "/hook/token/$evil?token=$evil");
            my $escaped = join '', map { sprintf '%%%02x', ord }
                split //, $evil;
            post($httpd, $_, path => "/hook/signed/$escaped?$escaped")
                for sample(), $evil, undef;
            post($httpd, undef, method => "G${evil}T");
            post($httpd, sample(), path => "/$escaped");
        }
        # in the body: keys, values, whatever the answer may point at
        for my $text (map({ decode_utf8($_) } "\x1b[31m", "a\r\n$forged",
            "a\n$forged", "\x7f\x01"), "\x{9b}31m", "\x{2028}$forged") {
            my %key = (label => 1, value => 2);
            for my $body (body_of('channel.id' => $text),
                body_of('channel.id' => "$text x", accountId => $text),
                body_of('visitor.variables' => {$text => {x => $text}},
                    beginAt => 1),
                body_of(messages => [$text], paths => [[$text]]),
                body_of($text => $text), body_of({$text => {$text => $text}}),
                body_of({type => 'event_callback', account_id => $text,
                    event => $text}), body_of({type => 'event_callback',
                    account_id => 7, event => $text, timestamp => $text}),
                twice('visitor', $text), twice('variables', $text),
                encode_utf8(qq({"$text":)), encode_utf8($text)) {
                post($httpd, $body, path => $_)
                    for '/hook', '/hook/account', '/hook/small';
            }
        }
        my $log = $httpd->log;
        like $log, qr/SMARTSUPP0207: refused \(422\)[^\n]*duplicate/,
            'a key that stands twice was met';
        is_clean($log, "$options: no control character in the log");
        is post($httpd, sample())->{status}, 200, 'the server is as before';
        $httpd->allow_log(qr/\bAH\d{5}:/);
        $httpd->done;
    }
    return;
}

# A delivery with a known key twice, in an object that has this text for a key.
sub twice {
    my ($where, $text) = @_;
    my $body = body_of('visitor.variables' => {$text => {label => 'HERE'}});
    return $where eq 'visitor' ? $body =~ s/"visitor":\{/"visitor":{"name":1,/r
        : $body =~ s/"label":"HERE"/"label":1,"label":2/r;
}

# What a sender says comes back in no header, and in the body as JSON.
sub answer_is_whole {
    my $httpd = noisy_server('Unsafe');
    my @known = sort qw(connection content-length content-type date server
        smartsupp-result);
    for my $evil ("x\r\nSet-Cookie: a=b", "x\r\n\r\n<html>", "x\nSet-Cookie: a",
        "%0d%0aSet-Cookie:%20a=b", "x\x{2028}y", '"</script><script>', "\x1b[2J"
        ) {
        for my $body (body_of('channel.id' => $evil), body_of('channel.id' =>
            $evil =~ s/[\x00-\x1f]+/-/gr), body_of('visitor.variables' =>
            {$evil => {label => []}}), body_of({type => 'event_callback',
            account_id => $evil, event => $evil})) {
            my $answer = post($httpd, $body);
            is_deeply [sort keys %{$answer->{headers}}], \@known,
                "$answer->{status}: the usual headers";
            is $answer->{headers}{'content-length'}, length $answer->{body},
                'and a body of that length';
            ok $answer->{json}, 'which is JSON';
            unlike $answer->{body}, qr/[\x00-\x09\x0b-\x1f\x7f<>]|\n./,
                'on one line, and no HTML';
            unlike $answer->{body}, qr/\xe2\x80[\xa8\xa9]/, 'nor JavaScript';
        }
        my $escaped = join '', map { sprintf '%%%02x', ord } split //,
            encode_utf8($evil);
        # httpd itself refuses an escaped slash
        my $answer = post($httpd, sample(), path => '/hook/'
            . ($escaped =~ s/%2f//gr) . "?$escaped");
        is_deeply [sort keys %{$answer->{headers}}], \@known, 'in the path';
        $answer = post($httpd, sample(), headers => [
            'Content-Type' => encode_utf8($evil =~ s/[\r\n].*//sr)]);
        is $answer->{headers}{'content-type'}, 'application/json',
            'nor as a type';
    }
    $httpd->allow_log(qr/\bAH\d{5}:/);
    $httpd->done;
    return;
}

# What a database says of a delivery that it refuses may have been put there by
# anyone.
sub words_of_databases_are_clean {
    my $httpd = noisy_server('Strict');
    my $spool = SmartsuppTest::Spool->new($httpd->path('spool'), $httpd);
    post($httpd, sample());
    $httpd->database->change($httpd->database->refusal('evil',
        "words \x1b[31m\x07 %s%n {prefix}\n$forged\nreason forged"));
    is post($httpd, body_of('channel.id' => 'evil'))->{result}, 'rejected',
        'refused by the database';
    my ($kept) = $spool->deliveries('rejected');
    ok $kept && defined $kept->{reason}, 'kept in a whole file';
    unlike $kept->{reason} // '', qr/[\x00-\x1f]|forged/, 'with clean words';
    is_clean($httpd->log, 'no control character in the log');
    $httpd->expect_log('SMARTSUPP0215');
    $httpd->done;
    return;
}

sub prefix_is_no_code {
    my $httpd = SmartsuppTest::Httpd->new;
    for my $prefix (q{"x'"}, q{'x"'}, q{x;drop}, q{"x; DROP TABLE y; --"},
        q{x--}, q{x/*}, q{x`}, q{x\\\\y}, q{x%s}, q(x{prefix}), q{x$1}, q{x?},
        q{x.y}, q{x(}, "x\xe2\x80\xa8", '"x ' . "\x1b" . '"', '"x' . "\t" . '"',
        'sqlite_x', 'X', '1', "x\\\ny;z") {
        my ($status, $output) = $httpd->write_config(
            "SmartsuppTablePrefix $prefix\n")->configtest;
        ok $status != 0 && $output =~ /SmartsuppTablePrefix: /,
            'not ' . shown($prefix) or diag $output;
    }
    # words of SQL and of ours are prefixes like others
    for my $prefix (qw(select_ null prefix s lld text _ drop_table_ if_new)) {
        my $server = SmartsuppTest::Httpd->new(conf =>
            "SmartsuppTablePrefix $prefix\n")->start;
        is post($server, sample())->{result}, 'stored', "$prefix is one";
        is $server->database->value("SELECT count(*) FROM ${prefix}message"), 6,
            'with its own tables';
        $server->done;
    }
    $httpd->done;
    return;
}
