#!/usr/bin/perl
# A PostgreSQL primary dies under load, and its synchronous standby takes its
# place; then that one dies, and one at the first one's place follows. httpd
# goes on by itself, and all that was answered 200 is there.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Server;
use SmartsuppTest::Server::Standby;

use constant SENDERS => 12;
use constant SOME => 500; # deliveries before and after each

# The database, reached on those servers: the DSN that the README gives.
{
    package Cluster;
    our @ISA = ('SmartsuppTest::Database::PgSQL');

    sub through {
        my ($class, $database, $settings, @servers) = @_;
        return bless {%$database, servers => \@servers,
            dsn_settings => $settings, handle => undef}, $class;
    }

    sub params {
        my ($self) = @_;
        my @servers = @{$self->{servers}};
        return 'host=' . join(',', map { '127.0.0.1' } @servers)
            . ' port=' . join(',', map { $_->port } @servers)
            . ' dbname=' . $self->name . ' user=' . $self->user
            . ' password=' . $self->password
            . " connect_timeout=2 client_encoding=UTF8$self->{dsn_settings}";
    }
}

my $writable = ' target_session_attrs=read-write';

my $primary = SmartsuppTest::Server->new('postgresql')->start;
my $standby = SmartsuppTest::Server::Standby->new($primary)->start;
my $old = SmartsuppTest::Database->new('pgsql', server => $primary);
my $new = SmartsuppTest::Database->new('pgsql', server => $standby,
    name => $old->name);

# Two that know both places, and two that know the standby only, with one
# child each.
my ($event, $prefork) = map { SmartsuppTest::Httpd->new(mpm => $_,
    database => Cluster->through($old, $writable, $primary, $standby))->start }
    qw(event prefork);
my ($any, $strict) = map { SmartsuppTest::Httpd->new(mpm => 'event',
    database => Cluster->through($new, $_, $standby), conf => <<'CONF')->start }
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MinSpareThreads 1
MaxSpareThreads 8
MaxRequestWorkers 8
CONF
    '', $writable;

my $load = SmartsuppTest::Load->start([$event, $prefork], SENDERS);
$load->wait_for_more(200, SOME);
a_standby_takes_nothing($any, qr/code 25006/);
a_standby_takes_nothing($strict, qr/session is read-only/);
$standby->kill_primary;
$load->wait_for_more(503, SENDERS);
$standby->promote;
$load->wait_for_more(200, SOME);
pass 'deliveries are stored after a failover';

is post($_, sample())->{status}, 200,
    'who knew the standby only stores without a restart' for $any, $strict;

# the dead one's place is taken by a copy of the one that lives
my $third = SmartsuppTest::Server::Standby->new($standby, $primary)->start;
$load->wait_for_more(200, SOME);
$third->kill_primary;
$load->wait_for_more(503, SENDERS);
$third->promote;
$load->wait_for_more(200, SOME);
pass 'and after the failover back';

$load->stop;
my %count;
$count{$_->{status} == 200 ? $_->{result} : $_->{status}}++
    for @{$load->answers};
note scalar keys %{$load->stored}, ' conversations, ',
    join ', ', map { "$count{$_} answers $_" } sort keys %count;
my $database = SmartsuppTest::Database->new('pgsql', server => $third,
    name => $old->name);
my @wrong = $load->wrong($database, '55039');
is_deeply \@wrong, [], 'all that was answered 200 is there, exactly'
    or diag join "\n", splice @wrong, 0, 20;
is $database->orphans, 0, 'and nothing else';
is $database->value('SELECT count(*) FROM smartsupp_message WHERE channel_id ='
    . " '55039'"), 6, 'nor is what came by the other two missing';

for my $httpd ($event, $prefork, $any, $strict) {
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
    $httpd->allow_log(qr/\[dbd:error\]/);
    like $httpd->log, qr/SMARTSUPP0302: /, 'the log tells the end of it';
    $httpd->done;
}
$_->abort, $_->remove_folder for $third, $standby, $primary;
done_testing;

# It has a database that is there to be read; mod_dbd or we tell why not.
sub a_standby_takes_nothing {
    my ($httpd, $reason) = @_;
    my $answer = post($httpd, sample());
    is $answer->{status}, 503, 'a standby takes no delivery';
    ok $answer->{headers}{'retry-after'}, 'it is to come again';
    like $httpd->log, qr/SMARTSUPP0301: /, 'the log has a tag for it';
    like $httpd->log, $reason, 'and the reason';
    return;
}
