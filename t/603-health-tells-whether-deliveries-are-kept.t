#!/usr/bin/perl
# Health is 200 as long as each host that receives can keep what comes, in its
# database or in its spool, and 503 when one can't; the other forms say which
# and why.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Status;

use constant MIB => 1024 * 1024;

my $conf = <<'CONF';
SmartsuppReplayInterval 100ms
<Location "/status">
    SetHandler smartsupp-status
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName sound
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName frail
    DBDriver sqlite3
    DBDParams %%ROOT%%/down/smartsupp.db
    DBDMin 0
    SmartsuppDatabaseWait 60s
    SPOOL
</VirtualHost>
CONF

my $stored = 'deliveries are accepted and stored';
my $down   = 'the database is down';
my ($httpd, $n);

subtest 'with a spool'    => \&with_a_spool;
subtest 'without a spool' => \&without_a_spool;
done_testing;

# A server one of whose databases cannot be opened for now, because its folder
# lets nobody in.
sub start {
    my ($spool) = @_;
    $httpd = SmartsuppTest::Httpd->new(modules => ['watchdog'],
        conf => $conf =~ s/SPOOL/$spool/r);
    for my $folder (map { $httpd->path($_) } qw(down spool)) {
        mkdir $folder, 0700 or die "$folder: $!\n";
        $httpd->give($folder);
    }
    chmod 0500, $httpd->path('down');
    $httpd->start;
    $httpd->allow_log('SMARTSUPP0114', qr/\[dbd:error\]/);
    $httpd->expect_log('SMARTSUPP0301');
    return;
}

sub deliver {
    my ($size) = (@_, 0);
    return post($httpd, body_of('channel.id' => 'n' . $n++,
        'messages.0.content' => 'x' x $size), headers => [Host => 'frail']);
}

# What a load balancer sees.
sub health_is {
    my ($status, $sentence) = @_;
    my $answer = get($httpd, '/status?format=health');
    is $answer->{status}, $status, "$status: $sentence";
    is $answer->{body}, "$sentence\n", 'in one line';
    is defined $answer->{headers}{'retry-after'}, $status == 503,
        'Retry-After where it is 503';
    like $answer->{headers}{'retry-after'} // '', qr/^\d*$/, 'as seconds';
    return;
}

# What the other forms say of the host in trouble, and of all together.
sub state_is {
    my ($state) = @_;
    my $json = get($httpd, '/status?format=json')->{json};
    my %host = map { $_->{server} =~ s/:\d+$//r => $_ } @{$json->{servers}};
    is $json->{state}, $state, "JSON: the worst state is $state";
    is $host{frail}{state}, $state, 'that of the host in trouble';
    is $host{sound}{state}, 'stored', 'the other one is well';
    is !!$host{frail}{accepting}, $state ne 'refused', 'accepting';
    is !!$host{frail}{database}{up}, $state eq 'stored', 'up';
    my %value = map { ("$_->[0] " . $_->[1]{server} =~ s/:\d+$//r => $_->[2]) }
        @{prometheus(get($httpd, '/status?format=prometheus')->{body})};
    is $value{'smartsupp_accepting frail'}, $state eq 'refused' ? 0 : 1,
        'Prometheus: accepting';
    is $value{'smartsupp_database_up frail'}, $state eq 'stored' ? 1 : 0, 'up';
    is $value{'smartsupp_database_up sound'}, 1, 'the other one is up';
    my ($first) = get($httpd, '/status')->{body} =~ m{<main>\s*<p[^>]*>(.*?)<};
    if ($state eq 'stored') { is $first, $stored, 'HTML' }
    else {
        like $first, qr/^\Q$down\E\ since\ \d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d\ UTC
            \ \(\d+\ \w+\ ago\)[ ,].*\ deliveries\ are\ $state$/x, 'HTML';
    }
    return $host{frail};
}

sub with_a_spool {
    $n = 0;
    start("SmartsuppSpool %%ROOT%%/spool\n    SmartsuppSpoolMaxSize 8m");
    health_is(200, $stored);
    state_is('stored');

    my $before = time;
    is deliver()->{result}, 'spooled', 'the database does not open';
    health_is(200, "$down, deliveries are spooled");
    my $host = state_is('spooled');
    is_deeply [@{$host->{spool}}{qw(deliveries max_bytes)}], [1, 8 * MIB],
        'what the spool holds';
    my ($file) = glob $httpd->path('spool/new/*');
    is $host->{spool}{bytes}, -s $file, 'with its size';
    cmp_ok $host->{spool}{oldest_age_seconds}, '>=', 0, 'and its age';
    my $database = $host->{database};
    for my $time (@$database{qw(down_since last_error)}) {
        ok $time >= $before * 1000 && $time <= (time + 1) * 1000,
            'since when';
    }
    is $database->{last_error_class}, 'transient', 'the class of its error';
    ok length $database->{last_error_code}, 'and the code';
    is $database->{last_commit}, undef, 'it has never stored';

    for my $size (900_000, 60_000) {
        my $answer;
        do { $answer = deliver($size) }
            while ($answer->{result} // '') eq 'spooled';
        is $answer->{status}, 503, 'until the spool is full';
    }
    health_is(503, "$down and the spool is full, deliveries are refused");
    state_is('refused');
    $httpd->graceful;
    health_is(503, "$down and the spool is full, deliveries are refused");

    chmod 0700, $httpd->path('down');
    ok $httpd->wait_for(sub {
        my $answer = get($httpd, '/status?format=json')->{json};
        my ($frail) = grep { $_->{server} =~ /^frail/ } @{$answer->{servers}};
        return $frail->{spool}{deliveries} == 0;
    }), 'once the database opens, the spool is drained';
    health_is(200, $stored);
    $host = state_is('stored');
    is_deeply [@{$host->{spool}}{qw(deliveries bytes oldest_age_seconds)}],
        [0, 0, 0], 'nothing waits';
    is $host->{replayed}, $host->{spooled}, 'all that was spooled is stored';
    is $host->{database}{down_since}, undef, 'it is not down';
    is $host->{database}{last_error_class}, 'transient', 'its last error stays';
    cmp_ok $host->{database}{last_commit}, '>=', $before * 1000, 'last commit';
    $httpd->expect_log('SMARTSUPP0216');
    $httpd->done;
    return;
}

sub without_a_spool {
    $n = 0;
    start('');
    health_is(200, $stored);
    is deliver()->{status}, 503, 'the database does not open';
    health_is(503, "$down and there is no spool, deliveries are refused");
    is state_is('refused')->{spool}, undef, 'there is no spool';
    is get($httpd, '/status?format=health', method => 'HEAD')->{status}, 503,
        'HEAD tells the same';
    is get($httpd, '/status?format=json')->{status}, 200,
        'the other forms are answered 200';
    chmod 0700, $httpd->path('down');
    is deliver()->{result}, 'stored', 'the database opens';
    health_is(200, $stored);
    $httpd->expect_log('SMARTSUPP0212');
    $httpd->done;
    return;
}
