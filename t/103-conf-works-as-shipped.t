#!/usr/bin/perl
# The files of conf/, with nothing but the folders replaced, start and store;
# what they show in comments is right as well.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $head = <<'CONFIG';
ServerRoot "%%ROOT%%"
PidFile "%%ROOT%%/run/httpd.pid"
DefaultRuntimeDir "%%ROOT%%/run"
%%MODULES%%
ServerName localhost
Listen 127.0.0.1:%%PORT%%
DocumentRoot "%%ROOT%%/htdocs"
ErrorLog "%%ROOT%%/logs/error.log"
LogLevel info
%%CONF%%
CONFIG

sub shipped { return SmartsuppTest::Httpd::shipped($_[0]) }

# A server with this text as its own part, not started.
sub httpd_with {
    my ($conf) = @_;
    return SmartsuppTest::Httpd->new(config => $head, conf => $conf,
        database => 'none', load => 0);
}

# It stores the sample in the database that conf/ names.
sub stores {
    my ($httpd, $name) = @_;
    my $answer = post($httpd, sample(), path => '/smartsupp-hook');
    is $answer->{result}, 'stored', "$name stores" or diag explain $answer;
    ok -s $httpd->path('db/smartsupp.db'), 'in the database that it names';
    return;
}

my %parts = (
    Debian => 'LoadModule dbd_module "'
        . SmartsuppTest::Httpd::apxs('LIBEXECDIR') . qq{/mod_dbd.so"\n}
        . shipped('smartsupp_hook.load') . shipped('smartsupp_hook.conf'),
    plain  => shipped('httpd-smartsupp-hook.conf'),
);
like $parts{Debian}, qr/^# Depends: (?:\w+ )*dbd\b/m,
    'a2enmod is told that mod_dbd is needed';

for my $name (sort keys %parts) {
    unlike $parts{$name}, qr/\@\w+\@/, "$name: no placeholder is left";
    my $httpd = httpd_with($parts{$name})->start;
    stores($httpd, $name);
    is post($httpd, sample(), path => '/hook')->{status}, 404,
        'nothing else is opened';
    $httpd->done;

    subtest "$name with its comments" => sub {
        my $all = $parts{$name};
        my $count = $all =~ s/^(\s*)#(Smartsupp)/$1$2/mg;
        is $count, 6, 'six directives are shown';
        $all =~ s/^(\s*)Require local/$1# /m;
        $all =~ s{^\s*# +(Require smartsupp-token|SmartsuppAccount)}{$1}mg == 2
            or fail 'neither Require smartsupp-token nor SmartsuppAccount';
        $all =~ s{^# +(CustomLog )logs/(access.log) combined}{$1logs/$2 common}m
            && $all =~ s{^# +(CustomLog )}{$1}m or fail 'no CustomLog';
        $all =~ s{file:\S*(?=/smartsupp-token)}{file:%%ROOT%%/conf}g;
        $httpd = httpd_with($all);
        SmartsuppTest::Process::spew($httpd->path('conf/smartsupp-token'),
            "LONG-RANDOM-WORD\n");
        $httpd->start;
        is post($httpd, sample(), path => '/smartsupp-hook')->{status}, 403,
            'without the token: 403';
        my $answer = post($httpd, sample(),
            path => '/smartsupp-hook?token=LONG-RANDOM-WORD');
        is $answer->{result}, 'stored', 'with it: stored';
        # written after the answer is sent
        my $written = $httpd->path('logs/smartsupp.log');
        $httpd->wait_for(sub {
            eval { SmartsuppTest::Process::slurp($written) } =~ / stored / });
        my ($hook, $access) = map { eval { SmartsuppTest::Process::slurp(
            $httpd->path("logs/$_")) } // '' } qw(smartsupp.log access.log);
        like $hook, qr/"POST \/smartsupp-hook HTTP\/1.1" 200 \d+ stored \d+ ms/,
            'the log line that is proposed';
        unlike "$hook$access", qr/RANDOM/, 'no access log holds the token';
        $httpd->expect_log(qr/AH01630/);
        $httpd->done;
    };
}

my ($debian, $plain) = map { my $text = $_;
    $text =~ s/.*?(?=^# The database)//ms; $text =~ s/-o \w\S* -g \S+//;
    $text =~ s{/etc/apache2/}{conf/}g; $text }
    @parts{qw(Debian plain)};
is $plain, $debian, 'both files say the same';
done_testing;
