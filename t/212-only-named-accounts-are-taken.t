#!/usr/bin/perl
# SmartsuppAccount: deliveries of the accounts that it names are taken, those of
# any other are answered 403 and leave nothing. Without it all are taken.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(spew);
use SmartsuppTest::Spool;

my $largest = 9007199254740991;
my $httpd = SmartsuppTest::Httpd->new(modules => ['watchdog'],
    conf => <<"CONF");
SmartsuppSpool %%ROOT%%/spool
<Location "/hook/one">
    SmartsuppAccount 208
</Location>
<Location "/hook/one/inherits">
    SmartsuppMaxBody 2m
</Location>
<Location "/hook/one/inner">
    SmartsuppAccount 300
</Location>
<Location "/hook/several">
    SmartsuppAccount 1 300
    SmartsuppAccount 208 $largest 0208
</Location>
<Directory "%%ROOT%%/htdocs/shared">
    AllowOverride FileInfo AuthConfig
    SmartsuppAccount 208
</Directory>
CONF
my $spool = SmartsuppTest::Spool->of($httpd);
my %htaccess = (
    plain => "SetHandler smartsupp-hook\n",
    own   => "SetHandler smartsupp-hook\nSmartsuppAccount 300 301\n",
    files => "SetHandler smartsupp-hook\n<Files \"one\">\n"
        . "SmartsuppAccount 300\n</Files>\n",
);
mkdir $httpd->path('htdocs/shared') or die "shared: $!\n";
for my $name (keys %htaccess) {
    my $folder = $httpd->path("htdocs/shared/$name");
    mkdir $folder or die "$folder: $!\n";
    spew("$folder/.htaccess", $htaccess{$name});
}
$httpd->start;
my $database = $httpd->database;

subtest 'conversations'    => \&names_conversations;
subtest 'REST webhooks'    => \&names_events;
subtest 'sections'         => \&sections_replace;
subtest 'where it stands'  => \&comes_after_the_other_gates;
$httpd->expect_log(qw(SMARTSUPP0206 SMARTSUPP0207 SMARTSUPP0220));
$httpd->done;
done_testing;

# What a path answers to the delivery of an account.
sub is_answered {
    my ($status, $path, $body, $what) = @_;
    my $before = $database->dump;
    my $answer = post($httpd, $body, path => $path);
    is $answer->{status}, $status, "$path, $what: $status"
        or diag explain $answer;
    return if $status == 200;
    is $answer->{headers}{'content-type'}, 'application/problem+json',
        'a problem';
    is_deeply $answer->{json}{errors}, [{code => 'account', pointer => ''}],
        'that says which';
    unlike $answer->{body}, qr/\d{4,}|208|300/, 'but no number of an account';
    is $answer->{result}, undef, 'no result';
    is_deeply $database->dump, $before, 'the database is as it was';
    is_deeply [map { $spool->names($_) } qw(new rejected tmp)], [],
        'nothing is kept';
    return;
}

sub of { return body_of(accountId => $_[0], 'channel.id' => "of $_[0]") }

sub event {
    my (%changes) = @_;
    my $event = JSON::PP->new->decode(sample('rest-event.json'));
    for my $key (keys %changes) {
        if (ref $changes{$key}) { delete $event->{$key} }
        else                    { $event->{$key} = $changes{$key} }
    }
    return body_of($event);
}

sub names_conversations {
    for my $account (1, 207, 208, 209, 2080, 300, $largest) {
        is_answered($account == 208 ? 200 : 403, '/hook/one', of($account),
            "account $account");
        is_answered($account =~ /^(?:1|208|300|$largest)$/ ? 200 : 403,
            '/hook/several', of($account), "account $account");
        is_answered(200, '/hook', of($account), "account $account");
    }
    is_answered(200, '/hook/one', of(208) =~ s/208/2.08e2/r,
        'the same number, spelled otherwise');
    like $httpd->log, qr/SMARTSUPP0220: refused \(403\): of account 209,/,
        'the log tells which account it was';
    return;
}

sub names_events {
    my $none = \'absent';
    is_answered(200, '/hook/one', event(account_id => '208'), 'as sent');
    is_answered(200, '/hook/one', event(account_id => 208), 'an integer');
    is_answered(200, '/hook/one', event(account_id => '0208'),
        'a leading zero');
    is_answered(403, '/hook/one', event(account_id => $_->[0]), $_->[1]) for
        ['209', 'another'], [209, 'another integer'], ['', 'an empty one'],
        [undef, 'null'], [$none, 'none'], ['208x', 'no number'],
        [' 208', 'a space'], ['-208', 'a sign'], [-208, 'negative'],
        [208.5, 'a fraction'], ['9' x 30, 'too large'], ['0', 'zero'];
    is_answered(200, '/hook', event(account_id => $none),
        'none, where all are taken');
    # what decides is what is stored
    my $twice = event(account_id => 208) =~ s/\{/{"account_id":209,/r;
    is_answered(200, '/hook/one', $twice, 'twice, the last good');
    is $database->value('SELECT count(*) FROM smartsupp_event WHERE account_id'
        . ' = 209'), 0, 'no other is stored';
    # one key of each kind: an event is judged by its own
    is_answered(403, '/hook/one', event(account_id => 209, accountId => 208),
        'accountId of an event is not its account');
    is_answered(403, '/hook/one', event(account_id => $none,
        accountId => 208), 'even alone');
    is_answered(200, '/hook/one', body_of(account_id => 209),
        'account_id of a conversation neither');
    is_answered(403, '/hook/one', body_of(accountId => 209, account_id => 208,
        'channel.id' => 'x'), 'whatever it says');
    is scalar(() = $httpd->log =~ /of account -\d{4,}/g), 0,
        'no number is made up for an event without account';
    return;
}

sub sections_replace {
    my %takes = ('/hook/one/inherits' => [208], '/hook/one/inner' => [300],
        '/shared/plain/x' => [208], '/shared/own/x' => [300, 301],
        '/shared/files/one' => [300], '/shared/files/two' => [208]);
    for my $path (sort keys %takes) {
        for my $account (208, 300, 301) {
            is_answered((grep { $_ == $account } @{$takes{$path}}) ? 200 : 403,
                $path, of($account), "account $account");
        }
    }
    return;
}

# What cannot be read has no account: it is refused, and kept, as everywhere.
sub comes_after_the_other_gates {
    is post($httpd, '{', path => '/hook/one')->{status}, 400, 'no JSON: 400';
    is post($httpd, body_of(accountId => 209, beginAt => 1),
        path => '/hook/one')->{status}, 422, 'no identity: 422';
    is scalar(() = $spool->names('rejected')), 2, 'both are kept';
    return;
}
