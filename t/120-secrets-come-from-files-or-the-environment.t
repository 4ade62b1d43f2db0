#!/usr/bin/perl
# SmartsuppSecret and Require smartsupp-token read a file or the environment,
# and nothing else: what cannot be read stops the start with directive, file and
# line, and a secret that stands in the configuration itself is never printed.
# So are numbers that mean nothing. And who lets everyone deliver is told.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp spew);

my $literal = 'Geheimschluessel-37';

# Each directive that takes a source, as a line to put one behind.
my %takes = (
    SmartsuppSecret => 'SmartsuppSecret',
    Require         => 'Require smartsupp-token',
);
$ENV{SMARTSUPP_TEST_EMPTY} = '';
$ENV{SMARTSUPP_TEST_KEY} = 'from the environment';
$ENV{SMARTSUPP_TEST_LONGEST} = 'x' x 4096;
$ENV{SMARTSUPP_TEST_LONG} = 'x' x 4097;
delete $ENV{SMARTSUPP_TEST_MISSING};

my $httpd = SmartsuppTest::Httpd->new(hook => 0);
my $file = $httpd->path('conf/httpd.conf');
write_keys($httpd);

subtest 'what is no source'          => \&refuses_what_is_no_source;
subtest 'a secret itself'            => \&never_prints_a_literal;
subtest 'sources that fail'          => \&refuses_sources_that_fail;
subtest 'sources that do not'        => \&takes_sources;
subtest 'numbers of accounts, sizes' => \&checks_numbers;
subtest 'who lets everyone deliver'  => \&warns_who_is_open;
$httpd->done;
subtest 'what is read'               => \&reads_what_is_there;
done_testing;

# Files of keys, each for one case.
sub write_keys {
    my ($server) = @_;
    my %keys = (
        plain => 'key', newline => "key\n", newlines => "key\n\n",
        crlf => "key\r\n", spaces => " key \n", inner => "ke\ny", nul => "k\0y",
        utf8 => "kl\xc3\xad\xc4\x8d", next => 'next', 'a b' => 'key',
        empty => '', blank => "\n", longest => 'x' x 4096,
        'longest-newline' => 'x' x 4096 . "\n", long => 'x' x 4097,
        'long-newline' => 'x' x 4097 . "\n", longer => 'x' x 100_000,
        unreadable => 'key',
    );
    mkdir $server->path('keys') or die "keys: $!\n";
    chmod 0755, $server->path('keys');
    for my $name (keys %keys) {
        spew($server->path("keys/$name"), $keys{$name});
        chmod 0644, $server->path("keys/$name");
    }
    chmod 0000, $server->path('keys/unreadable');
    return;
}

# Whether httpd takes this configuration, and what it says.
sub configtest {
    my ($conf) = @_;
    return $httpd->write_config($conf)->configtest;
}

# A configtest that fails with these words, at the line with this mark, and
# names the directive.
sub refused {
    my ($conf, $mark, $words, $what) = @_;
    my ($status, $output) = configtest($conf);
    my ($line) = line_of($mark);
    my ($directive) = $mark =~ /(\w+)/;
    ok $status != 0
        && $output =~ /on line $line of \Q$file\E:\n?.*\b$directive\b.*$words/s,
        $what or diag $output;
    return $output;
}

# The number of the line of the configuration that begins so.
sub line_of {
    my ($start) = @_;
    my @lines = split /\n/, slurp($file);
    my ($line) = grep { $lines[$_ - 1] =~ /^\s*\Q$start\E/ } 1 .. @lines;
    return $line // die "no $start\n";
}

sub in_location { return "<Location \"/x\">\n    $_[0]\n</Location>\n" }

sub refuses_what_is_no_source {
    refused(in_location('SmartsuppSecret'), 'SmartsuppSecret',
        qr/takes one argument/, 'SmartsuppSecret without a source');
    refused(in_location('SmartsuppSecret file:keys/plain file:keys/next'),
        'SmartsuppSecret', qr/takes one argument/, 'SmartsuppSecret with two');
    for my $rest ('', ' file:keys/plain file:keys/next', ' ""',
        ' file:keys/plain x') {
        refused(in_location("Require smartsupp-token$rest"), 'Require',
            qr/smartsupp-token takes one source/,
            "Require smartsupp-token$rest");
    }
    my ($status, $output) = configtest("SmartsuppSecret file:keys/plain\n");
    ok $status != 0 && $output =~ /SmartsuppSecret not allowed here/,
        'SmartsuppSecret belongs to a directory' or diag $output;
    ($status, $output) = configtest("SmartsuppAccount 1\n");
    ok $status != 0 && $output =~ /SmartsuppAccount not allowed here/,
        'SmartsuppAccount belongs to a directory' or diag $output;
    return;
}

# Not on the terminal, not in any log, and not with all that httpd can tell.
sub never_prints_a_literal {
    for my $name (sort keys %takes) {
        my $line = $takes{$name};
        for my $source ($literal, qq{"$literal"}, "'$literal'",
            "File:$literal", " $literal ", "http:$literal", "file $literal",
            qq{"$literal $literal"}, "$literal $literal", "=$literal",
            "key:$literal") {
            my $conf = "LogLevel trace8\n" . in_location("$line $source");
            my $output = refused($conf, $name,
                qr/file:PATH (?:nor|or) env:NAME/, "$line $source");
            unlike $output . $httpd->log, qr/\Q$literal/, 'is not printed';
        }
        unlink $httpd->path('logs/start.log');
        configtest(in_location("$line $literal"));
        waitpid $httpd->spawn($httpd->path('logs/start.log'), '-X', '-e',
            'debug'), 0;
        isnt $?, 0, 'nor does httpd start';
        my $said = slurp($httpd->path('logs/start.log'));
        like $said, qr/a secret itself is not taken here/, 'it tells why';
        unlike $said . $httpd->log, qr/\Q$literal/, 'and does not print it';
        unlink $httpd->path('logs/start.log');
    }
    return;
}

sub refuses_sources_that_fail {
    my %fails = (
        'file:keys/missing'          => qr/file:keys\/missing: No such file/,
        'file:%%ROOT%%/keys/missing' => qr/No such file/,
        'file:keys/unreadable'       => qr/Permission denied/,
        'file:keys'                  => qr/is no file/,
        'file:'                      => qr/file:: /,
        'file:keys/empty'            => qr/is empty/,
        'file:keys/blank'            => qr/is empty/,
        'file:keys/long'             => qr/longer than 4096 bytes/,
        'file:keys/long-newline'     => qr/longer than 4096 bytes/,
        'file:keys/longer'           => qr/longer than 4096 bytes/,
        'file:/dev/zero'             => qr/is no file/,
        'file:/dev/null'             => qr/is no file/,
        'env:SMARTSUPP_TEST_MISSING' => qr/no variable of that name/,
        'env:'                       => qr/no variable of that name/,
        'env:SMARTSUPP_TEST_EMPTY'   => qr/is empty/,
        'env:SMARTSUPP_TEST_LONG'    => qr/longer than 4096 bytes/,
    );
    for my $name (sort keys %takes) {
        for my $source (sort keys %fails) {
            refused(in_location("$takes{$name} $source"), $name,
                $fails{$source}, "$takes{$name} $source");
        }
        refused(in_location("$takes{$name} file:keys/plain\n"
            . "$takes{$name} file:keys/missing"),
            "$takes{$name} file:keys/missing", qr/No such file/,
            "$takes{$name}: the second one fails");
    }
    return;
}

sub takes_sources {
    for my $name (sort keys %takes) {
        for my $source (qw(file:keys/plain file:./keys/../keys/plain
            file:%%ROOT%%/keys/plain "file:%%ROOT%%/keys/plain"
            file:keys/longest file:keys/longest-newline env:SMARTSUPP_TEST_KEY
            env:SMARTSUPP_TEST_LONGEST), '"file:keys/a b"',
            "file:keys/plain  \t") {
            my ($status, $output) = configtest(
                in_location("$takes{$name} $source"));
            is $status, 0, "$takes{$name} $source" or diag $output;
        }
        my ($status, $output) = configtest(in_location(join "\n    ",
            map { "$takes{$name} file:keys/$_" } qw(plain newline next)));
        is $status, 0, "$takes{$name} three times" or diag $output;
    }
    my ($status, $output) = configtest(in_location(
        "<RequireAll>\nRequire not smartsupp-token file:keys/plain\n"
        . "Require all granted\n</RequireAll>"));
    is $status, 0, 'Require not smartsupp-token' or diag $output;
    return;
}

sub checks_numbers {
    my %good = (
        SmartsuppAccount        => [qw(1 208 9007199254740991), '1 2 3'],
        SmartsuppSpool          => [qw(off Off OFF spool /var/spool/x),
            '"a b"'],
        SmartsuppSpoolMaxSize   => [qw(8m 8M 8388608 8192k 1g 1024g)],
        SmartsuppReplayInterval => [qw(1 5s 200ms 1mi 1h 3600 3600000ms)],
    );
    my %bad = (
        SmartsuppAccount => {
            map({ $_ => qr/not the number of an account/ } qw(0 -1 +1 1.5 1e3
                0x10 1a x 9007199254740992 99999999999999999999),
                '" 1"', '"1 "', '1 x', '1,', '1,2', '1 2 0'),
            '' => qr/at least one argument/},
        SmartsuppSpool => {
            '/' => qr/neither a folder nor off/,
            map({ $_ => qr/takes one argument/ } '', 'a b')},
        SmartsuppSpoolMaxSize => {
            map({ $_ => qr/not a size from 8m to 1024g/ } qw(0 -1 8388607 7m
                8191k 1025g 1t 8mm 1.5g x m 1099511627777
                99999999999999999999999 99999999999999g), '" 8m"', '"8m "'),
            map({ $_ => qr/takes one argument/ } '', '8 m')},
        SmartsuppReplayInterval => {
            map({ $_ => qr/not a time from 1ms to 1h/ } qw(0 0s 0ms -1 1.5 2h
                61mi 3601 x s 2y 9999999999999 99999999999999999999)),
            map({ $_ => qr/takes one argument/ } '', '1 s')},
    );
    for my $directive (sort keys %good) {
        my $place = sub { $directive eq 'SmartsuppAccount'
            ? in_location("$directive $_[0]") : "$directive $_[0]\n" };
        for my $value (@{$good{$directive}}) {
            my ($status, $output) = configtest($place->($value));
            is $status, 0, "$directive $value" or diag $output;
        }
        for my $value (sort keys %{$bad{$directive}}) {
            refused($place->($value), $directive, $bad{$directive}{$value},
                "not $directive $value");
        }
    }
    for my $directive ('SmartsuppSpool x', 'SmartsuppSpoolMaxSize 8m',
        'SmartsuppReplayInterval 1') {
        my ($status, $output) = configtest(in_location($directive));
        ok $status != 0 && $output =~ /not allowed (?:in .* context|here)/,
            "$directive belongs to a server" or diag $output;
    }
    return;
}

# A configtest that passes, with this many warnings, each at a line with the
# mark HOOK behind it in a comment of its own.
sub warned {
    my ($count, $conf, $what) = @_;
    my ($status, $output) = configtest($conf);
    my @warnings = grep { /SMARTSUPP0115/ } split /\n/, $output;
    is $status, 0, $what or diag $output;
    is @warnings, $count, $count ? 'it is warned of' : 'no warning'
        or diag $output;
    my @lines = split /\n/, slurp($file);
    my @hooks = grep { ($lines[$_] // '') =~ /^\s*(?:Set|Add)Handler/ }
        0 .. $#lines;
    for my $warning (@warnings) {
        my ($line) = $warning =~ /\(\Q$file\E:(\d+)\)/;
        ok $line && (grep { $_ == $line - 1 } @hooks),
            'with file and line of the handler' or diag $warning;
    }
    return;
}

# A hook with these lines in its section.
sub hook {
    my ($inside, $outside) = (@_, '', '');
    return "<Location \"/hook\">\n    SetHandler smartsupp-hook\n$inside"
        . "</Location>\n$outside";
}

sub warns_who_is_open {
    warned(1, hook(), 'no word of who may deliver');
    warned(1, hook("Require all granted\n"), 'Require all granted');
    warned(1, hook("SmartsuppAccount 208\n"), 'SmartsuppAccount alone');
    warned(1, hook("<RequireAny>\nRequire all granted\n</RequireAny>\n"),
        'Require all granted in <RequireAny>');
    warned(1, hook('', "<Location \"/else\">\nRequire ip 127.0.0.1\n"
        . "SmartsuppSecret file:keys/plain\n</Location>\n"),
        'another <Location> is restricted');
    warned(0, hook($_), $_ =~ s/\n.*//sr) for
        "Require ip 127.0.0.1\n", "Require host example.org\n",
        "Require smartsupp-token file:keys/plain\n",
        "SmartsuppSecret file:keys/plain\n",
        "require smartsupp-token file:keys/plain\n",
        "<RequireAny>\nRequire ip 10.0.0.1\nRequire local\n</RequireAny>\n",
        "<RequireAll>\nRequire all granted\nRequire not ip 10.0.0.1\n"
            . "</RequireAll>\n";
    warned(0, hook('', "<Location \"/hook\">\n$_\n</Location>\n"),
        "$_ in another <Location> of that path") for 'Require local',
        'SmartsuppSecret env:SMARTSUPP_TEST_KEY';
    warned(0, "<Location \"/hook\">\nRequire local\n</Location>\n"
        . hook(), 'and before it');
    warned(0, "<Directory \"%%ROOT%%/htdocs\">\n<Files \"hook\">\n"
        . "SetHandler smartsupp-hook\n</Files>\nRequire local\n"
        . "</Directory>\n", 'Require in the section around');
    warned(1, "<Directory \"%%ROOT%%/htdocs\">\n<Files \"hook\">\n"
        . "SetHandler smartsupp-hook\n</Files>\nRequire all granted\n"
        . "</Directory>\n", 'Require all granted in the section around');
    warned(0, "<IfModule smartsupp_hook_module>\n"
        . hook("Require local\n") . "</IfModule>\n", 'within <IfModule>');
    warned(1, "<IfModule smartsupp_hook_module>\n<Location \"/else\">\n"
        . "Require local\n</Location>\n" . hook() . "</IfModule>\n",
        'a Require elsewhere in the same <IfModule>');
    my $host = "<VirtualHost 127.0.0.1:%%PORT%%>\nServerName %s\n%s"
        . "</VirtualHost>\n";
    warned(1, sprintf($host, 'a', hook()), 'open in a virtual host');
    warned(0, sprintf($host, 'a', hook("Require local\n")),
        'restricted in a virtual host');
    warned(2, join('', map { sprintf $host, $_, hook() } qw(a b)),
        'two virtual hosts, both open');
    warned(0, hook("<If \"true\">\nRequire local\n</If>\n"), 'within <If>');
    warned(0, "<Location \"/hook\">\n<If \"true\">\n"
        . "SetHandler smartsupp-hook\n</If>\nRequire local\n</Location>\n",
        'a handler within <If>');
    warned(1, sprintf($host, 'a', hook())
        . sprintf($host, 'b', hook("Require local\n")),
        'two virtual hosts, one open');
    warned(1, hook("Require local\n") . hook() =~ s/hook"/hook2"/r,
        'two hooks of one server, the second open');
    warned(1, "<Location \"/hook\">\nRequire local\n</Location>\n"
        . sprintf($host, 'a', hook("Require all granted\n")),
        'a virtual host opens what the main server restricts');
    warned(0, hook("Require all denied\n"), 'Require all denied');
    warned(0, "<Location \"/\">\nRequire local\n</Location>\n" . hook(),
        'Require for the path above');
    return;
}

# The bytes that count are those in the file but for one newline, told by what
# signs and what is a token.
sub reads_what_is_there {
    my %key = (plain => 'key', newline => 'key', newlines => "key\n",
        crlf => "key\r", spaces => ' key ', inner => "ke\ny", nul => "k\0y",
        utf8 => "kl\xc3\xad\xc4\x8d", 'a b' => 'key',
        longest => 'x' x 4096, 'longest-newline' => 'x' x 4096);
    my $conf = join '', map { my $name = s/ /-/r; "<Location \"/hook/$name\">\n"
        . "SmartsuppSecret \"file:keys/$_\"\n</Location>\n"
        . "<Location \"/hook/token/$name\">\n"
        . "Require smartsupp-token \"file:keys/$_\"\n</Location>\n"
        } sort keys %key;
    $conf .= <<'CONF';
<Location "/hook/absolute">
    SmartsuppSecret file:%%ROOT%%/keys/plain
</Location>
<Location "/hook/environment">
    SmartsuppSecret env:SMARTSUPP_TEST_KEY
</Location>
<Location "/hook/rotated">
    SmartsuppSecret file:keys/plain
    SmartsuppSecret file:keys/next
    SmartsuppSecret env:SMARTSUPP_TEST_KEY
</Location>
CONF
    my $server = SmartsuppTest::Httpd->new(conf => $conf);
    write_keys($server);
    $server->start;

    my $sign = sub {
        my ($path, $key) = @_;
        return post($server, sample(), path => "/hook/$path", headers => [
            'X-Smartsupp-Hmac' => hmac_sha256_hex(sample(), $key)])->{status};
    };
    for my $name (sort keys %key) {
        my $path = $name =~ s/ /-/r;
        is $sign->($path, $key{$name}), 200, "the key in $name signs";
        is $sign->($path, "$key{$name}\n"), 403, 'with a newline it does not';
        my $token = join '', map { sprintf '%%%02x', ord } split //,
            $key{$name};
        my $status = $name =~ /longest/ ? 414 : $name eq 'nul' ? 403 : 200;
        is post($server, sample(), path => "/hook/token/$path?token=$token")
            ->{status}, $status, "as a token in the query: $status";
    }
    is $sign->('crlf', 'key'), 403, 'a carriage return belongs to it';
    is $sign->('newlines', 'key'), 403, 'so does the first of two newlines';
    is $sign->('spaces', 'key'), 403, 'and spaces do';
    is $sign->('nul', 'k'), 403, 'it does not end at NUL';
    is $sign->('absolute', 'key'), 200, 'an absolute path';
    is $sign->('environment', $ENV{SMARTSUPP_TEST_KEY}), 200,
        'the environment';
    is $sign->('rotated', $_), 200, "rotated: $_" for 'key', 'next',
        $ENV{SMARTSUPP_TEST_KEY};
    is $sign->('rotated', 'last'), 403, 'rotated: no other';

    # a file is read at the start, and again at a restart, not before
    spew($server->path('keys/plain'), 'changed');
    is $sign->('plain', 'key'), 200, 'until a restart the old key signs';
    $server->graceful;
    is $sign->('plain', 'changed'), 200, 'after it the new one';
    is $sign->('plain', 'key'), 403, 'and the old one no longer';
    $server->expect_log('SMARTSUPP0219', qr/AH01630/);
    $server->allow_log(qr/AH00565/);
    $server->done;
    return;
}
