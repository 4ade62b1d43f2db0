#!/usr/bin/perl
# SmartsuppSecret: a delivery is taken where X-Smartsupp-Hmac is the HMAC-SHA256
# of the body, as the handler reads it, under any of the secrets in force.
# Whatever else is refused with 403 before a byte of it is parsed, leaves
# nothing behind, and tells nobody what was expected.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha1_hex hmac_sha256_base64 hmac_sha256_hex
    sha256_hex);
use FindBin;
use IO::Compress::Gzip qw(gzip);
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(spew);
use SmartsuppTest::Spool;

my %key = (old => 'Schluessel-alt', new => 'Schluessel-neu',
    inner => 'Schluessel-innen', customer => 'Schluessel-Kunde');

my $httpd = SmartsuppTest::Httpd->new(
    modules   => [qw(watchdog deflate filter)],
    log_level => 'warn smartsupp_hook:trace8', conf => <<'CONF');
SmartsuppSpool %%ROOT%%/spool
<Location "/hook">
    SmartsuppSecret file:keys/old
    SmartsuppSecret file:keys/new
</Location>
<Location "/hook/inner">
    SmartsuppSecret file:keys/inner
</Location>
<Location "/hook/inner/most">
    SmartsuppMaxBody 2m
</Location>
<Location "/hook/gzip">
    SetInputFilter DEFLATE
</Location>
<Location "/hook/small">
    SmartsuppMaxBody 10
</Location>
<Directory "%%ROOT%%/htdocs">
    AllowOverride FileInfo AuthConfig
    SmartsuppSecret file:keys/old
</Directory>
CONF
mkdir $httpd->path('keys') or die "keys: $!\n";
chmod 0755, $httpd->path('keys');
for my $name (keys %key) {
    spew($httpd->path("keys/$name"), "$key{$name}\n");
}
my $spool = SmartsuppTest::Spool->of($httpd);
write_htaccess();
$httpd->start;
my $database = $httpd->database;
my @seen; # headers that were given or expected: no log line may hold one

subtest 'what is signed is taken'       => \&takes_what_is_signed;
subtest 'what is not signed is refused' => \&refuses_what_is_not;
subtest 'nothing is parsed before'      => \&parses_nothing_before;
subtest 'what is signed'                => \&signs_what_is_read;
subtest 'an inner section'              => \&inner_replaces_outer;
subtest '.htaccess'                     => \&merges_htaccess;
subtest 'the log'                       => \&log_tells_nothing;
$httpd->done;
done_testing;

# Folders with an .htaccess each; their <Directory> has the old key.
sub write_htaccess {
    my %htaccess = (
        plain    => "SetHandler smartsupp-hook\n",
        own      => "SetHandler smartsupp-hook\n"
            . "SmartsuppSecret file:keys/customer\n",
        'own/in' => "",
        'own/in/two' => "SmartsuppSecret file:keys/inner\n"
            . "SmartsuppSecret file:keys/new\n",
        files    => "<Files \"one\">\nSetHandler smartsupp-hook\n"
            . "SmartsuppSecret file:keys/customer\n</Files>\n"
            . "<Files \"two\">\nSetHandler smartsupp-hook\n</Files>\n",
    );
    for my $name (sort keys %htaccess) {
        my $folder = $httpd->path("htdocs/$name");
        mkdir $folder or die "$folder: $!\n";
        spew("$folder/.htaccess", $htaccess{$name});
    }
    return;
}

sub sign {
    my ($body, $name) = (@_, 'old');
    my $hex = hmac_sha256_hex($body, $key{$name});
    push @seen, $hex;
    return $hex;
}

# Post with these values of the header, each in a line of its own.
sub post_signed {
    my ($body, $values, %options) = @_;
    push @seen, grep { length > 8 } @$values;
    return post($httpd, $body, %options, headers => [
        @{$options{headers} // []},
        map { ('X-Smartsupp-Hmac' => $_) } @$values]);
}

sub is_taken {
    my ($body, $values, $what, %options) = @_;
    my $answer = post_signed($body, $values, %options);
    is $answer->{status}, 200, $what or diag explain $answer;
    return;
}

# It is answered 403 with that code, by us, and leaves nothing.
sub is_refused {
    my ($body, $values, $code, $what, %options) = @_;
    my $before = $database->dump;
    my $answer = post_signed($body, $values, %options);
    is $answer->{status}, 403, $what or diag explain $answer;
    is $answer->{headers}{'content-type'}, 'application/problem+json',
        'a problem';
    is_deeply $answer->{json}{errors}, [{code => $code, pointer => ''}], $code;
    is $answer->{result}, undef, 'no result';
    is_deeply $database->dump, $before, 'the database is as it was';
    is_deeply [map { $spool->names($_) } qw(new rejected tmp)], [],
        'nothing is kept';
    my $expected = join '|', map { hmac_sha256_hex($body // '', $key{$_}) }
        keys %key;
    unlike $answer->{body} . join(' ', %{$answer->{headers}}),
        qr/$expected|Schluessel/, 'nothing is told';
    return $answer;
}

sub takes_what_is_signed {
    my $body = sample();
    my $hex = sign($body);
    my $mixed = join '', map { $_ % 2 ? uc substr $hex, $_, 1
        : substr $hex, $_, 1 } 0 .. 63;
    is_taken($body, [$hex], 'lower case');
    is_taken($body, [uc $hex], 'upper case');
    is_taken($body, [$mixed], 'both');
    is_taken($body, [sign($body, 'new')], 'the second secret');
    is_taken($body, ["  \t$hex \t "], 'spaces around, which HTTP allows');
    my $answer = post($httpd, $body, headers => ['x-SMARTSUPP-hmac' => $hex]);
    is $answer->{status}, 200, 'the name of a field has no case';
    is_taken(sample('rest-event.json'), [sign(sample('rest-event.json'))],
        'a REST webhook');
    return;
}

sub refuses_what_is_not {
    my $body = sample();
    my $hex = sign($body);
    my %malformed = (
        'one digit less'       => substr($hex, 0, 63),
        'one digit more'       => "${hex}0",
        'half'                 => substr($hex, 0, 32),
        'one digit'            => substr($hex, 0, 1),
        'twice'                => "$hex$hex",
        'no hex digit'         => 'g' . substr($hex, 1),
        'no hex digit at end'  => substr($hex, 0, 63) . 'g',
        'a space within'       => substr($hex, 0, 32) . ' ' . substr($hex, 33),
        'a sign'               => '-' . substr($hex, 1),
        '0x'                   => "0x$hex",
        '0x, 64 in all'        => '0x' . substr($hex, 2),
        'sha256='              => "sha256=$hex",
        'in quotes'            => qq{"$hex"},
        'a comma behind'       => "$hex,",
        'base64'               => hmac_sha256_base64($body, $key{old}),
        'SHA-1'                => hmac_sha1_hex($body, $key{old}),
        'bytes above 127'      => "\xff" x 64,
        'wide digits'          => "\xef\xbc\x91" x 64,
        '8 kB'                 => 'a' x 8000,
    );
    is_refused($body, [], 'signature_missing', 'no header');
    is_refused($body, [''], 'signature_missing', 'an empty header');
    is_refused($body, [" \t "], 'signature_missing', 'a header of spaces');
    is_refused($body, [$malformed{$_}], 'signature_malformed', $_)
        for sort keys %malformed;
    is_refused($body, [$hex, $hex], 'signature_malformed', 'two headers');
    is_refused($body, [$hex, '0' x 64], 'signature_malformed',
        'the good one first');
    is_refused($body, ['0' x 64, $hex], 'signature_malformed',
        'the good one last');
    is_refused($body, ['', $hex], 'signature_malformed', 'an empty one first');

    (my $near = $hex) =~ tr/0-9a-f/1-9a-f0/;
    my %wrong = (
        'of another body'   => sign("$body "),
        'of no body'        => sign(''),
        'of another secret' => sign($body, 'inner'),
        'of no secret'      => hmac_sha256_hex($body, ''),
        'no HMAC'           => sha256_hex($body),
        'secret and body'   => sha256_hex("$key{old}$body"),
        'with the newline'  => hmac_sha256_hex($body, "$key{old}\n"),
        'other digits'      => $near,
        'first digit wrong' => substr($near, 0, 1) . substr($hex, 1),
        'last digit wrong'  => substr($hex, 0, 63) . substr($near, 63),
        'zeros'             => '0' x 64,
    );
    is_refused($body, [$wrong{$_}], 'signature_wrong', $_)
        for sort keys %wrong;
    is_refused($body =~ s/208/209/r, [$hex], 'signature_wrong',
        'a body that was changed');
    is_refused($body, [], 'signature_missing', 'in the query',
        path => "/hook?X-Smartsupp-Hmac=$hex");
    is_refused($body, [], 'signature_missing', 'another name',
        headers => ['Smartsupp-Hmac' => $hex, 'X-Smartsupp_Hmac' => $hex]);
    $httpd->expect_log(qw(SMARTSUPP0217 SMARTSUPP0218 SMARTSUPP0219));
    return;
}

# A body that could never be stored is refused for its signature alone; with a
# good one it is told what is wrong with it.
sub parses_nothing_before {
    my %bad = (no => ['json_syntax', 400], '' => ['json_empty', 400],
        "\xff\xfe\0" => ['json_syntax', 400], '[' x 100_000 => ['json_depth',
        400], '[]' => ['type', 422], '{"accountId":1}' => ['missing', 422]);
    for my $body (sort keys %bad) {
        my $name = length $body > 20 ? '[ x 100000' : $body =~ s/[^ -~]/./gr;
        is_refused($body, [sign("x$body")], 'signature_wrong',
            "\"$name\", not signed");
    }
    for my $body (sort keys %bad) {
        my ($code, $status) = @{$bad{$body}};
        my $name = length $body > 20 ? '[ x 100000' : $body =~ s/[^ -~]/./gr;
        my $answer = post_signed($body, [sign($body)]);
        is $answer->{status}, $status, "\"$name\", signed";
        is $answer->{json}{errors}[0]{code}, $code, $code;
    }
    is_deeply [sort map { $_->{body} } $spool->deliveries('rejected')],
        [sort keys %bad], 'what was signed is kept';
    unlink map { $spool->path('rejected', $_) } $spool->names('rejected');
    is post_signed('x' x 11, [], path => '/hook/small')->{status}, 413,
        'what is too large cannot be signed';
    is post_signed(undef, [], method => 'GET')->{status}, 405,
        'other methods need no signature to be refused';
    $httpd->expect_log(qw(SMARTSUPP0203 SMARTSUPP0206 SMARTSUPP0207));
    return;
}

# The bytes that the handler reads: without chunks, inflated.
sub signs_what_is_read {
    my $body = body_of('channel.id' => 'read');
    is post($httpd, chunked($body, 100), headers => ['Transfer-Encoding' =>
        'chunked', 'X-Smartsupp-Hmac' => sign($body)])->{status}, 200,
        'chunked: of the body';
    is post($httpd, chunked($body, 100), headers => ['Transfer-Encoding' =>
        'chunked', 'X-Smartsupp-Hmac' => sign(chunked($body, 100))])->{status},
        403, 'not of the chunks';
    gzip(\$body, \my $zipped) or die 'gzip';
    my @gzip = (path => '/hook/gzip', headers => ['Content-Encoding' =>
        'gzip']);
    is_taken($zipped, [sign($body)], 'gzip: of what it inflates to', @gzip);
    is_refused($zipped, [sign($zipped)], 'signature_wrong',
        'not of the compressed bytes', @gzip);
    is post_signed($zipped, [sign($zipped)], headers => ['Content-Encoding' =>
        'gzip'])->{status}, 415, 'nor where nothing inflates it';
    $httpd->expect_log('SMARTSUPP0205');
    my $large = body_of('channel.id' => 'large',
        'visitor.note' => 'x' x 900_000);
    is_taken($large, [sign($large)], 'nearly a megabyte');
    is_refused($large =~ s/x"/y"/r, [sign($large)], 'signature_wrong',
        'its last byte is signed too');

    # one connection, several deliveries
    my $connection = dial($httpd);
    for my $good (1, 0, 1) {
        $connection->write(request($body, headers => ['X-Smartsupp-Hmac' =>
            $good ? sign($body) : sign('x')]));
        is $connection->answer->{status}, $good ? 200 : 403,
            'on a connection that is kept';
    }
    return;
}

sub inner_replaces_outer {
    my $body = sample();
    for my $path ('/hook/inner', '/hook/inner/most') {
        is_taken($body, [sign($body, 'inner')], "$path: its own", path =>
            $path);
        is_refused($body, [sign($body, $_)], 'signature_wrong',
            "the outer one no longer: $_", path => $path) for qw(old new);
        is_refused($body, [], 'signature_missing', 'and it is demanded',
            path => $path);
    }
    is_refused($body, [sign($body, 'inner')], 'signature_wrong',
        'the inner one does not hold outside');
    is_taken($body, [sign($body)], '/hook/other inherits',
        path => '/hook/other');
    return;
}

sub merges_htaccess {
    my $body = sample();
    my %takes = ('/plain/x' => ['old'], '/own/x' => ['customer'],
        '/own/in/x' => ['customer'], '/own/in/two/x' => [qw(inner new)],
        '/files/one' => ['customer'], '/files/two' => ['old']);
    for my $path (sort keys %takes) {
        my %good = map { $_ => 1 } @{$takes{$path}};
        for my $name (sort keys %key) {
            is post_signed($body, [sign($body, $name)], path => $path)
                ->{status}, $good{$name} ? 200 : 403, "$path, signed: $name";
        }
        is_refused($body, [], 'signature_missing', "$path, not signed",
            path => $path);
    }
    return;
}

sub log_tells_nothing {
    my $log = $httpd->log;
    unlike $log, qr/Schluessel/, 'no secret';
    # what says which body it was is told of every delivery
    my %given = map { $_ => 1 } map { ($_, lc, uc) }
        grep { $_ ne sha256_hex(sample()) } @seen;
    my @told = grep { index($log, $_) >= 0 } sort keys %given;
    is_deeply \@told, [], 'no signature, given or expected';
    like $log, qr/0219: refused \(403\): X-Smartsupp-Hmac is not that of the/,
        'what was wrong';
    like $log, qr/SMARTSUPP0217: .*use Require smartsupp-token/, 'the remedy';
    my @lines = grep { /\[smartsupp_hook:/ } split /\n/, $log;
    is_deeply [grep { /[^ -~]/ && !/…/ } @lines], [], 'no strange characters';
    return;
}
