#!/usr/bin/perl
# Require smartsupp-token: grants what carries the token, in the query, as
# Authorization: Bearer or as X-Smartsupp-Token, whatever handler answers, alone
# or beside other words of Require; and never tells it.

use strict;
use warnings;

use FindBin;
use MIME::Base64 qw(encode_base64);
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(spew);

my $token = 'Losung-1234+56/78=9';
my %tokens = (token => $token, second => 'Zweitlosung', strange =>
    "a b&c=d%41\"'\xc3\xa9;#?", percent => '%41%');

my $conf = <<'CONF';
<Location "/hook">
    Require smartsupp-token file:keys/token
</Location>
<Location "/file.txt">
    Require smartsupp-token file:keys/token
</Location>
<Location "/status">
    SetHandler smartsupp-status
    Require smartsupp-token file:keys/token
</Location>
<Location "/hook/strange">
    Require smartsupp-token file:keys/strange
</Location>
<Location "/hook/percent">
    Require smartsupp-token file:keys/percent
</Location>
<Location "/hook/several">
    Require smartsupp-token file:keys/token
    Require smartsupp-token file:keys/second
</Location>
<Location "/hook/any">
    <RequireAny>
        Require smartsupp-token file:keys/token
        Require env internal
    </RequireAny>
</Location>
<Location "/hook/all">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require env internal
    </RequireAll>
</Location>
<Location "/hook/both">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require smartsupp-token file:keys/second
    </RequireAll>
</Location>
<Location "/hook/ip">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require ip 127.0.0.1
    </RequireAll>
</Location>
<Location "/hook/elsewhere">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require ip 192.0.2.1
    </RequireAll>
</Location>
<Location "/hook/not">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require not smartsupp-token file:keys/second
    </RequireAll>
</Location>
<Location "/hook/none">
    <RequireAll>
        Require all granted
        <RequireNone>
            Require smartsupp-token file:keys/second
        </RequireNone>
    </RequireAll>
</Location>
<Location "/hook/inner">
    Require smartsupp-token file:keys/second
</Location>
<Location "/hook/merged">
    AuthMerging And
    Require smartsupp-token file:keys/second
</Location>
<LocationMatch "/hook/basic-(any|all)">
    AuthType Basic
    AuthName "chat"
    AuthUserFile %%ROOT%%/keys/users
</LocationMatch>
<Location "/hook/basic-any">
    Require smartsupp-token file:keys/token
    Require valid-user
</Location>
<Location "/hook/basic-all">
    <RequireAll>
        Require smartsupp-token file:keys/token
        Require valid-user
    </RequireAll>
</Location>
<Location "/hook/method">
    <LimitExcept GET>
        Require smartsupp-token file:keys/token
    </LimitExcept>
    <Limit GET>
        Require all granted
    </Limit>
</Location>
SetEnvIf X-Internal yes internal
CONF

my $httpd = SmartsuppTest::Httpd->new(conf => $conf,
    log_level => 'warn smartsupp_hook:trace8',
    modules   => [qw(setenvif authn_core authn_file auth_basic authz_user)]);
mkdir $httpd->path('keys') or die "keys: $!\n";
chmod 0755, $httpd->path('keys');
spew($httpd->path("keys/$_"), "$tokens{$_}\n") for keys %tokens;
# htpasswd's oldest form that needs no other program
spew($httpd->path('keys/users'), 'customer:' . crypt('Passwort', 'ab') . "\n");
spew($httpd->path('htdocs/file.txt'), "a static file\n");
$httpd->start;

my $escaped = escape($token);
subtest 'in the query'       => \&in_the_query;
subtest 'as Bearer'          => \&as_bearer;
subtest 'X-Smartsupp-Token'  => \&in_its_header;
subtest 'strange tokens'     => \&strange_tokens;
subtest 'beside other words' => \&composes;
subtest 'beside AuthType'    => \&beside_basic;
subtest 'on any handler'     => \&on_any_handler;
subtest 'the log'            => \&log_tells_nothing;
$httpd->expect_log(qr/AH01630/);
$httpd->done;
done_testing;

sub escape { return join '', map { sprintf '%%%02X', ord } split //, $_[0] }

# What this path and these headers are answered.
sub is_answered {
    my ($status, $path, $headers, $what) = @_;
    my $before = $httpd->database->dump;
    my $answer = post($httpd, sample(), path => $path, headers => $headers);
    is $answer->{status}, $status, $what // "$path @$headers: $status"
        or diag explain $answer;
    return if $status == 200;
    is $answer->{result}, undef, 'no result';
    unlike $answer->{headers}{'content-type'}, qr/problem/, "httpd's answer";
    unlike $answer->{body}, qr/osung/, 'tells no token';
    is_deeply $httpd->database->dump, $before, 'and nothing is stored';
    return;
}

sub in_the_query {
    my %good = (
        'alone'                  => "token=$escaped",
        'as it stands'           => "token=$token",
        'first'                  => "token=$escaped&a=1&b=2",
        'in the middle'          => "a=1&token=$escaped&b=2",
        'last'                   => "a=1&b=2&token=$escaped",
        'lower-case escapes'     => 'token=' . lc $escaped,
        'twice'                  => "token=$escaped&token=$escaped",
        'the first of two'       => "token=$escaped&token=x",
        'the second of two'      => "token=x&token=$escaped",
        'beside an empty one'    => "token=&token=$escaped",
        'beside a bad escape'    => "token=%zz&token=$escaped",
        'behind empty arguments' => "&&&token=$escaped&&",
        'behind a nameless one'  => "=x&token=$escaped",
        'among a thousand'       => 'a&' x 1000 . "token=$escaped",
    );
    is_answered(200, "/hook?$good{$_}", [], $_) for sort keys %good;

    my $short = substr $token, 0, -1;
    my %bad = (
        'no query'              => '',
        'an empty query'        => '?',
        'the name alone'        => '?token',
        'empty'                 => '?token=',
        'empty, twice'          => '?token=&token=',
        'wrong'                 => '?token=x',
        'a prefix'              => '?token=' . escape($short),
        'longer'                => "?token=${escaped}x",
        'a space behind'        => "?token=$escaped%20",
        'a newline behind'      => "?token=$escaped%0a",
        'NUL behind'            => "?token=$escaped%00",
        'NUL and more behind'   => "?token=$escaped%00x",
        'a space before'        => "?token=%20$escaped",
        'another case'          => '?token=' . escape(lc $token),
        'the plus as a space'   => '?token=' . ($token =~ tr/+/ /r
            =~ s/ /%20/r),
        'escaped twice'         => '?token=' . ($escaped =~ s/%/%25/gr),
        'in quotes'             => "?token=%22$escaped%22",
        'another name'          => "?xtoken=$escaped",
        'the name in capitals'  => "?TOKEN=$escaped",
        'the name with []'      => "?token[]=$escaped",
        'the name escaped'      => "?%74oken=$escaped",
        'the name behind ;'     => "?a=1;token=$escaped",
        'no name'               => "?$escaped",
        'the name with a space' => "?token%20=$escaped",
        'a space behind ='      => "?token=+$escaped",
        'a bad escape'          => '?token=%zz',
        'half an escape'        => '?token=%2',
        'of another section'    => '?token=Zweitlosung',
        'in the path'           => "/token=$token",
        'in the path, ;'        => "/x;token=$token",
        'the file'              => '?token=file:keys/token',
    );
    is_answered(403, "/hook$bad{$_}", [], $_) for sort keys %bad;
    is post($httpd, "token=$escaped", headers => ['Content-Type' =>
        'application/x-www-form-urlencoded'])->{status}, 403, 'in the body';
    is post($httpd, sample(), headers => [Cookie => "token=$token"])->{status},
        403, 'in a cookie';
    is post($httpd, sample(), headers => [Referer => "http://localhost/hook?x"])
        ->{status}, 403, 'in a Referer';
    return;
}

sub as_bearer {
    is_answered(200, '/hook', [Authorization => $_]) for "Bearer $token",
        "bearer $token", "BEARER $token", "bEaReR $token", "Bearer   $token",
        "  Bearer $token  ";
    is_answered(403, '/hook', [Authorization => $_]) for '', 'Bearer',
        'Bearer ', $token, "Bearer$token", "Bearer:$token", "Bearer=$token",
        "Bearer\t$token", "Bearer \t$token", "Bearer ${token}x",
        'Bearer ' . substr($token, 0, -1), "Bearer $token, Bearer $token",
        "Bearer $escaped", "Bearer \"$token\"", "Basic $token",
        "Token $token", 'Basic ' . encode_base64("x:$token", ''),
        'Bearer ' . encode_base64($token, ''), "XBearer $token",
        "Bearer x $token", "Bearer token=$token";
    is_answered(403, '/hook', [Authorization => "Bearer $token",
        Authorization => 'Bearer x'], 'two headers, the first good');
    is_answered(403, '/hook', [Authorization => 'Bearer x',
        Authorization => "Bearer $token"], 'two headers, the second good');
    is_answered(403, '/hook', ['Proxy-Authorization' => "Bearer $token"],
        'for a proxy');
    return;
}

sub in_its_header {
    is_answered(200, '/hook', ['X-Smartsupp-Token' => $_]) for $token,
        "  $token\t";
    is_answered(200, '/hook', ['x-smartsupp-TOKEN' => $token]);
    is_answered(200, '/hook?token=x', [Authorization => 'Bearer x',
        'X-Smartsupp-Token' => $token], 'one of three ways is enough');
    is_answered(403, '/hook', ['X-Smartsupp-Token' => $_]) for '', ' ', 'x',
        "${token}x", "x$token", substr($token, 0, -1), $escaped,
        qq{"$token"}, "Bearer $token", "token=$token", lc $token;
    is_answered(403, '/hook', [map { ('X-Smartsupp-Token' => $_) } $token,
        $token], 'two headers');
    is_answered(403, '/hook', ['Smartsupp-Token' => $token,
        'X_Smartsupp_Token' => $token], 'other names');
    return;
}

sub strange_tokens {
    my $strange = $tokens{strange};
    is_answered(200, '/hook/strange?token=' . escape($strange), []);
    is_answered(200, '/hook/strange?token=' . (escape($strange)
        =~ s/%20/+/r), [], 'a space as a plus');
    is_answered(200, '/hook/strange', ['X-Smartsupp-Token' => $strange]);
    is_answered(403, '/hook/strange?token=' . escape($strange =~ s/%41/A/r),
        [], 'an escape in the token is not one');
    is_answered(200, '/hook/percent?token=%2541%25', []);
    is_answered(200, '/hook/percent?token=%41%', [], 'as it stands');
    is_answered(403, '/hook/percent?token=A%25', []);
    return;
}

# Which of the tokens opens which path.
sub composes {
    my @internal = ('X-Internal' => 'yes');
    my @second = ('X-Smartsupp-Token' => 'Zweitlosung');
    my @none = ('X-Smartsupp-Token' => 'x');
    is_answered(@$_) for
        [200, "/hook/several?token=$escaped", []],
        [200, '/hook/several', \@second],
        [403, '/hook/several', \@none],
        [403, '/hook/several', []],
        [200, "/hook/any?token=$escaped", []],
        [200, '/hook/any', \@internal],
        [200, '/hook/any?token=x', \@internal],
        [403, '/hook/any?token=x', []],
        [200, "/hook/all?token=$escaped", \@internal],
        [403, "/hook/all?token=$escaped", []],
        [403, '/hook/all', \@internal],
        [403, '/hook/all?token=x', \@internal],
        [200, "/hook/both?token=$escaped", \@second],
        [403, "/hook/both?token=$escaped", []],
        [403, '/hook/both', \@second],
        [200, "/hook/ip?token=$escaped", []],
        [403, '/hook/ip', []],
        [403, "/hook/elsewhere?token=$escaped", []],
        [200, "/hook/not?token=$escaped", []],
        [403, "/hook/not?token=$escaped", \@second],
        [403, '/hook/not', []],
        [200, '/hook/none', []],
        [200, '/hook/none', \@none],
        [403, '/hook/none', \@second],
        [200, '/hook/inner', \@second],
        [403, "/hook/inner?token=$escaped", []],
        [403, '/hook/merged', \@second],
        [403, "/hook/merged?token=$escaped", []],
        [200, "/hook/merged?token=$escaped", \@second],
        [200, "/hook/method?token=$escaped", []],
        [403, '/hook/method', []];
    is get($httpd, '/hook/method')->{status}, 405,
        'a method that needs no token';
    return;
}

sub beside_basic {
    my @user = (Authorization => 'Basic '
        . encode_base64('customer:Passwort', ''));
    my @bad = (Authorization => 'Basic ' . encode_base64('customer:x', ''));
    my @bearer = (Authorization => "Bearer $token");
    my @header = ('X-Smartsupp-Token' => $token);
    is_answered(@$_) for
        [200, "/hook/basic-any?token=$escaped", []],
        [200, '/hook/basic-any', \@bearer],
        [200, '/hook/basic-any', \@user],
        [200, '/hook/basic-any?token=x', \@user],
        [200, "/hook/basic-any?token=$escaped", \@bad],
        [401, '/hook/basic-any', []],
        [401, '/hook/basic-any?token=x', []],
        [401, '/hook/basic-any', \@bad],
        [401, '/hook/basic-any', [Authorization => 'Bearer x']],
        [200, "/hook/basic-all?token=$escaped", \@user],
        [200, '/hook/basic-all', [@user, @header]],
        [401, "/hook/basic-all?token=$escaped", []],
        [401, "/hook/basic-all?token=$escaped", \@bad],
        [401, '/hook/basic-all', \@bearer];
    my $answer = post($httpd, sample(), path => '/hook/basic-all?token=x',
        headers => \@user);
    like $answer->{status}, qr/^40[13]$/, 'a user without the token';
    $answer = post($httpd, sample(), path => '/hook/basic-any');
    like $answer->{headers}{'www-authenticate'}, qr/^Basic realm="chat"/,
        'who has neither is asked for a password';
    $httpd->expect_log(qr/AH01614/, qr/AH01617/);
    $httpd->allow_log(qr/AH01631/);
    return;
}

sub on_any_handler {
    for my $path ('/file.txt', '/status') {
        is get($httpd, "$path?token=$escaped")->{status}, 200,
            "$path, with the token";
        is get($httpd, $path, headers => [Authorization => "Bearer $token"])
            ->{status}, 200, 'with Bearer';
        is get($httpd, $path)->{status}, 403, 'without';
        is get($httpd, "$path?token=x")->{status}, 403, 'with another';
    }
    is get($httpd, "/file.txt?token=$escaped")->{body}, "a static file\n",
        'the file comes';
    is get($httpd, "/hook?token=$escaped")->{status}, 405,
        'the hook still takes POST only';
    is get($httpd, '/hook')->{status}, 403, 'and tells nothing without';
    is post($httpd, 'x' x 2_000_000)->{status}, 403,
        'a large body is refused before it is read';
    return;
}

sub log_tells_nothing {
    my $log = $httpd->log;
    unlike $log, qr/osung|\Q$escaped\E|Passwort/i, 'no token';
    unlike $log, qr/\Q$tokens{strange}\E|\Q${\escape($tokens{strange})}\E/,
        'no strange one';
    unlike $log, qr/token=/, 'no query string';
    is_deeply [grep { /smartsupp_hook:(?:warn|error)/ && !/SMARTSUPP0114|
        SMARTSUPP0115/x } split /\n/, $log], [],
        'what Require refuses is httpd\'s to tell';
    return;
}
