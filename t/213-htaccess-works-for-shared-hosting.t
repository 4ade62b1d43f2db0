#!/usr/bin/perl
# Shared hosting: the host loads the module and gives each virtual host its
# database and spool; the customer says the rest in .htaccess. What is not
# allowed there is refused in words, and an .htaccess with a mistake lets nobody
# in.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp spew);
use SmartsuppTest::Spool;

my $literal = 'Geheimschluessel-37';

my $config = <<'CONFIG';
ServerRoot "%%ROOT%%"
PidFile "%%ROOT%%/run/httpd.pid"
DefaultRuntimeDir "%%ROOT%%/run"
%%MODULES%%
ServerName localhost
Listen 127.0.0.1:%%PORT%%
ErrorLog "%%ROOT%%/logs/error.log"
LogLevel %%LOGLEVEL%%
DocumentRoot "%%ROOT%%/run"
<Directory "/">
    AllowOverride None
    Require all granted
</Directory>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
    DocumentRoot "%%ROOT%%/htdocs"
    <Directory "%%ROOT%%/htdocs">
        AllowOverride FileInfo AuthConfig Limit
    </Directory>
    <Directory "%%ROOT%%/htdocs/only-fileinfo">
        AllowOverride FileInfo
    </Directory>
    <Directory "%%ROOT%%/htdocs/only-authconfig">
        AllowOverride AuthConfig
    </Directory>
    <Directory "%%ROOT%%/htdocs/no-limit">
        AllowOverride FileInfo AuthConfig
    </Directory>
    <Directory "%%ROOT%%/htdocs/none">
        AllowOverride None
        SetHandler smartsupp-hook
        Require all denied
    </Directory>
    <Directory "%%ROOT%%/htdocs/tolerant">
        AllowOverride FileInfo Nonfatal=Override
        SetHandler smartsupp-hook
        Require all denied
    </Directory>
    %%DATABASE%%
    SmartsuppSpool "%%ROOT%%/spool"
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName neighbour
    DocumentRoot "%%ROOT%%/htdocs"
    <Directory "%%ROOT%%/htdocs">
        AllowOverride FileInfo AuthConfig Limit
    </Directory>
</VirtualHost>
CONFIG

$ENV{SMARTSUPP_TEST_KEY} = 'from the environment';
delete $ENV{SMARTSUPP_TEST_MISSING};
my $httpd = SmartsuppTest::Httpd->new(config => $config,
    modules => ['watchdog']);
my $spool = SmartsuppTest::Spool->of($httpd);
mkdir $httpd->path('htdocs/keys') or die "keys: $!\n";
my %keys = (token => "Losung\n", second => "Zweitlosung\n", secret =>
    "Schluessel\n", empty => '', unreadable => "Schluessel\n");
for my $name (keys %keys) {
    spew($httpd->path("htdocs/keys/$name"), $keys{$name});
}
chmod 0000, $httpd->path('htdocs/keys/unreadable');
$httpd->start;
my $database = $httpd->database;
my $hook = "SetHandler smartsupp-hook\n";

subtest 'what a customer may say'   => \&takes_what_is_allowed;
subtest 'what a customer may not'   => \&refuses_what_is_not;
subtest 'AllowOverride'             => \&needs_override;
subtest 'a broken .htaccess'        => \&fails_closed;
subtest 'it is read every time'     => \&is_read_every_time;
subtest 'a host without a database' => \&needs_a_database;
$httpd->done;
done_testing;

# Write the .htaccess of a folder of that name.
sub htaccess {
    my ($name, $text) = @_;
    my $folder = $httpd->path("htdocs/$name");
    -d $folder or mkdir $folder or die "$folder: $!\n";
    chmod 0644, "$folder/.htaccess";
    spew("$folder/.htaccess", $text);
    return;
}

sub status_of {
    my ($path, @headers) = @_;
    return post($httpd, sample(), path => $path, headers => \@headers)
        ->{status};
}

sub signed_by {
    return ('X-Smartsupp-Hmac' => hmac_sha256_hex(sample(), $_[0]));
}

sub takes_what_is_allowed {
    htaccess(handler => $hook);
    is status_of('/handler/x'), 200, 'SetHandler';
    is status_of('/handler/'), 200, 'for the folder itself';
    htaccess(files => "<Files \"smartsupp-hook\">\n${hook}Require"
        . " smartsupp-token file:htdocs/keys/token\n</Files>\n");
    is status_of('/files/smartsupp-hook?token=Losung'), 200,
        'as the README has it';
    is status_of('/files/smartsupp-hook'), 403, 'without the token';
    is status_of('/files/x?token=Losung'), 404, 'another file';

    htaccess(token => "${hook}Require smartsupp-token file:htdocs/keys/token\n"
        . "Require smartsupp-token file:htdocs/keys/second\n");
    is status_of('/token/x?token=Losung'), 200, 'Require smartsupp-token';
    is status_of('/token/x', Authorization => 'Bearer Zweitlosung'), 200,
        'the second one';
    is status_of('/token/x?token=x'), 403, 'and no other';
    htaccess(absolute => "${hook}Require smartsupp-token \"file:"
        . $httpd->path('htdocs/keys/token') . "\"\n");
    is status_of('/absolute/x?token=Losung'), 200, 'an absolute path';
    is status_of('/absolute/x'), 403, 'which demands it';

    htaccess(secret => "${hook}SmartsuppSecret file:htdocs/keys/secret\n"
        . "SmartsuppSecret env:SMARTSUPP_TEST_KEY\n");
    is status_of('/secret/x', signed_by($_)), 200, "SmartsuppSecret, $_"
        for 'Schluessel', $ENV{SMARTSUPP_TEST_KEY};
    is status_of('/secret/x', signed_by('x')), 403, 'and no other';
    is status_of('/secret/x'), 403, 'nor none';

    htaccess(account => "${hook}SmartsuppAccount 208 209\n");
    htaccess(foreign => "${hook}SmartsuppAccount 209\n");
    is status_of('/account/x'), 200, 'SmartsuppAccount';
    is status_of('/foreign/x'), 403, 'which is another';

    htaccess(large => "${hook}SmartsuppMaxBody 3k\n");
    htaccess(small => "${hook}SmartsuppMaxBody 1k\n");
    is status_of('/large/x'), 200, 'SmartsuppMaxBody 3k';
    is status_of('/small/x'), 413, 'SmartsuppMaxBody 1k';

    htaccess(everything => "${hook}Require smartsupp-token"
        . " file:htdocs/keys/token\nSmartsuppSecret file:htdocs/keys/secret\n"
        . "SmartsuppAccount 208\nSmartsuppMaxBody 1m\n");
    is status_of('/everything/x?token=Losung', signed_by('Schluessel')), 200,
        'all of them';
    is status_of('/everything/x', signed_by('Schluessel')), 403,
        'without the token';
    is status_of('/everything/x?token=Losung'), 403, 'without a signature';
    htaccess('everything/in' => "SmartsuppAccount 209\n");
    is status_of('/everything/in/x?token=Losung', signed_by('Schluessel')),
        403, 'a folder within inherits the others';
    is $database->value('SELECT count(*) FROM smartsupp_conversation'), 1,
        'all in the host\'s database';

    # the spool of the virtual host serves it too
    is post($httpd, '{', path => '/handler/x')->{status}, 400, 'no JSON';
    is scalar(() = $spool->names('rejected')), 1,
        'is kept in rejected/ of the virtual host';
    $httpd->expect_log(qw(SMARTSUPP0203 SMARTSUPP0206 SMARTSUPP0217
        SMARTSUPP0219 SMARTSUPP0220), qr/AH01630/);
    return;
}

# A request to a folder that must not be served, and one line of the log which
# tells why.
sub is_broken {
    my ($name, $text, $words, $what, %options) = @_;
    htaccess($name, $text);
    my $before = $database->dump;
    my @kept = map { $spool->names($_) } qw(new rejected);
    my $log = length $httpd->log;
    for my $case (['POST', sample()], ['POST', '{'], ['GET', undef]) {
        my ($method, $body) = @$case;
        my $answer = post($httpd, $body, method => $method, path => "/$name/x"
            . '?token=Losung', headers => [signed_by('Schluessel')]);
        is $answer->{status}, $options{status} // 500, "$what: $method"
            or diag explain $answer;
        unlike $answer->{body}, qr/file:|htaccess|Smartsupp|\Q$literal/,
            'the answer does not tell why';
    }
    is_deeply $database->dump, $before, 'nothing is stored';
    is_deeply [map { $spool->names($_) } qw(new rejected)], \@kept,
        'nothing is kept';
    my @lines = grep { /\Q$name\E\/\.htaccess/ } split /\n/,
        substr $httpd->log, $log;
    is scalar(grep { /$words/ } @lines), 3, 'the log tells why'
        or diag substr $httpd->log, $log;
    $httpd->expect_log($words);
    return;
}

sub refuses_what_is_not {
    my %mine = (SmartsuppSchema => 'check', SmartsuppTablePrefix => 'x_',
        SmartsuppDatabaseWait => '1s', SmartsuppSpool => '/var/tmp/x',
        SmartsuppSpoolMaxSize => '8m', SmartsuppReplayInterval => '1s',
        DBDriver => 'sqlite3', DBDParams => '/var/tmp/x.db');
    for my $directive (sort keys %mine) {
        is_broken(lc $directive, "$hook$directive $mine{$directive}\n",
            qr/$directive not allowed here/, $directive);
    }
    return;
}

sub needs_override {
    my $token = "Require smartsupp-token file:htdocs/keys/token\n";
    my $name = 'only-fileinfo';
    htaccess($name => $hook);
    is status_of("/$name/x"), 200, 'FileInfo is enough for the handler';
    for my $line ($token, "SmartsuppSecret file:htdocs/keys/secret\n",
        "SmartsuppAccount 208\n") {
        my ($directive) = $line =~ /^(\w+)/;
        is_broken($name, "$hook$line", qr/$directive not allowed here/,
            "$directive without AuthConfig");
        is_broken($name, "$line$hook", qr/$directive not allowed here/,
            'before the handler');
    }
    is_broken($name, "${hook}SmartsuppMaxBody 1k\n",
        qr/SmartsuppMaxBody not allowed here/, 'SmartsuppMaxBody');
    is_broken('only-authconfig', "$token$hook",
        qr/SetHandler not allowed here/, 'SetHandler without FileInfo');
    is_broken('no-limit', "${hook}${token}SmartsuppMaxBody 1k\n",
        qr/SmartsuppMaxBody not allowed here/, 'SmartsuppMaxBody');
    htaccess(none => "Require all granted\n$hook");
    is status_of('/none/x'), 403, 'AllowOverride None: it is not read';
    htaccess(tolerant => "Require all granted\nSmartsuppSecret"
        . " file:htdocs/keys/secret\n");
    is status_of('/tolerant/x'), 403,
        'Nonfatal=Override: what is not allowed is not done';
    $httpd->allow_log(qr/AH02295/);
    return;
}

# Whatever is wrong with it: nobody gets in, whoever else is let in by it.
sub fails_closed {
    my $token = 'Require smartsupp-token ';
    my %broken = (
        'a literal secret'      => ["SmartsuppSecret $literal",
            qr/a secret itself is not taken here/],
        'a literal token'       => ["$token$literal",
            qr/a secret itself is not taken here/],
        'a missing file'        => ['SmartsuppSecret file:htdocs/keys/missing',
            qr/SmartsuppSecret: file:htdocs\/keys\/missing: No such file/],
        'a file of this folder' => ['SmartsuppSecret file:.htaccess',
            qr/file:\.htaccess: No such file/],
        'a token that is missing' => ["${token}file:htdocs/keys/missing",
            qr/file:htdocs\/keys\/missing: No such file/],
        'an unreadable file'    => [
            'SmartsuppSecret file:htdocs/keys/unreadable',
            qr/Permission denied/],
        'an unreadable token'   => ["${token}file:htdocs/keys/unreadable",
            qr/Permission denied/],
        'an empty file'         => ['SmartsuppSecret file:htdocs/keys/empty',
            qr/is empty/],
        'a missing variable'    => [
            'SmartsuppSecret env:SMARTSUPP_TEST_MISSING',
            qr/no variable of that name/],
        'no source'             => ['SmartsuppSecret', qr/takes one argument/],
        'no token'              => ['Require smartsupp-token',
            qr/takes one source/],
        'a bad account'         => ['SmartsuppAccount 208x',
            qr/not the number of an account: 208x/],
        'a bad account, last'   => ['SmartsuppAccount 208 0',
            qr/not the number of an account: 0/],
        'no account'            => ['SmartsuppAccount',
            qr/SmartsuppAccount requires at least one argument/],
        'a bad size'            => ['SmartsuppMaxBody x', qr/not a size/],
        'no such directive'     => ['SmartsuppNothing x',
            qr/Invalid command 'SmartsuppNothing'/],
        'no such provider'      => ['Require smartsupp-tokens file:x',
            qr/Unknown Authz provider: smartsupp-tokens/],
        'a section not closed'  => ['<Files "y">', qr/was not closed/],
    );
    my $number = 0;
    for my $what (sort keys %broken) {
        my ($line, $words) = @{$broken{$what}};
        $number++;
        is_broken("broken-$number", "Require all granted\n$hook$line\n",
            $words, $what);
        is_broken("broken-$number", "$line\n$hook" =~ s/(?=<Files)/$hook/r,
            $words, "$what, first") if $what !~ /closed/;
    }
    # one that is good above one that is not, and a good one below
    htaccess(above => "${hook}SmartsuppSecret file:htdocs/keys/secret\n");
    is_broken('above/broken', "SmartsuppSecret file:htdocs/keys/missing\n",
        qr/No such file/, 'below a good one');
    is status_of('/above/x', signed_by('Schluessel')), 200,
        'the good one above is as before';
    mkdir $httpd->path('htdocs/broken-1/good') or die "good: $!\n";
    htaccess('broken-1/good' => $hook);
    is status_of('/broken-1/good/x'), 500, 'and a good one below does not mend';

    htaccess(unreadable => $hook);
    chmod 0000, $httpd->path('htdocs/unreadable/.htaccess');
    my $before = $database->dump;
    is status_of('/unreadable/x'), 403, 'an .htaccess that cannot be read';
    is_deeply $database->dump, $before, 'nothing is stored';
    $httpd->expect_log(qr/AH00529/);
    my $folder = $httpd->path('htdocs/folder');
    mkdir $folder and mkdir "$folder/.htaccess" or die "$folder: $!\n";
    my $status = status_of('/folder/x');
    ok $status >= 400, "an .htaccess that is a folder: $status";
    $httpd->allow_log(qr/AH00132|AH00529|AH01?\d+: .*\.htaccess/);
    unlike $httpd->log, qr/\Q$literal/, 'no literal is in the log';
    return;
}

sub is_read_every_time {
    my $key = $httpd->path('htdocs/keys/secret');
    htaccess(again => "${hook}SmartsuppSecret file:htdocs/keys/secret\n");
    is status_of('/again/x', signed_by('Schluessel')), 200, 'a key';
    spew($key, "another\n");
    is status_of('/again/x', signed_by('Schluessel')), 403,
        'which was changed holds no longer';
    is status_of('/again/x', signed_by('another')), 200, 'the new one does';
    rename $key, "$key.away" or die "rename: $!\n";
    is status_of('/again/x', signed_by('another')), 500, 'a file that is gone';
    rename "$key.away", $key or die "rename: $!\n";
    is status_of('/again/x', signed_by('another')), 200, 'and back';

    # one connection: what was read for the first request is not kept
    my $connection = dial($httpd);
    for my $case (['', 200], ["Require all denied\n", 403], ['', 200],
        ["SmartsuppAccount 1\n", 403], ['', 200]) {
        my ($line, $status) = @$case;
        htaccess(again => $hook . $line);
        is $connection->write(request(sample(), path => '/again/x'))
            ->answer->{status}, $status, "$status on a connection that is kept";
    }
    return;
}

# The customer of a host that has set up no database cannot make one up.
sub needs_a_database {
    htaccess(lonely => $hook);
    my $answer = post($httpd, sample(), path => '/lonely/x',
        headers => [Host => 'neighbour']);
    is $answer->{status}, 503, 'no database: 503' or diag explain $answer;
    $httpd->expect_log('SMARTSUPP0212', 'SMARTSUPP0301', qr/AH02654/);
    return;
}
