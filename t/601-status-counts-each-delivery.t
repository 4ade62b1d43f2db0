#!/usr/bin/perl
# What becomes of each delivery is counted once, with its virtual host, in
# whichever process it was; a graceful restart forgets nothing; and every form
# of the status shows the same figures.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Status;

my $conf = <<'CONF';
RequestReadTimeout header=60 body=60
SmartsuppReplayInterval 100ms
StartServers 5
<Location "/hook/small">
    SmartsuppMaxBody 100
</Location>
<Location "/status">
    SetHandler smartsupp-status
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName one
    SmartsuppSpool %%ROOT%%/spool-one
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName two
    RequestReadTimeout header=60 body=1
    DBDriver sqlite3
    DBDParams %%ROOT%%/down/smartsupp.db
    DBDMin 0
    SmartsuppDatabaseWait 60s
    SmartsuppSpool %%ROOT%%/spool-two
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName three
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName four
</VirtualHost>
CONF

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        my $httpd = SmartsuppTest::Httpd->new(mpm => $mpm, conf => $conf,
            modules => [qw(status watchdog reqtimeout)]);
        # two's database cannot be opened for now
        for my $folder ($httpd->path('down'), map { $httpd->path("spool-$_") }
            qw(one two)) {
            mkdir $folder, 0700 or die "$folder: $!\n";
            $httpd->give($folder);
        }
        chmod 0500, $httpd->path('down');
        $httpd->start;

        my %wanted;
        counts_what_is_committed($httpd, \%wanted);
        counts_what_is_rejected($httpd, \%wanted);
        counts_what_is_refused($httpd, \%wanted);
        counts_what_is_spooled($httpd, \%wanted);
        forms_are_equal($httpd, \%wanted, 'before a restart');
        counts_in_all_children($httpd, \%wanted);
        $httpd->allow_log('SMARTSUPP0114', 'SMARTSUPP0301',
            qr/\[dbd:error\]/);
        $httpd->done;
    };
}
done_testing;

# Deliver, and note what has to be counted for it.
sub deliver {
    my ($httpd, $wanted, $host, $names, $body, @options) = @_;
    $wanted->{"$host:" . $httpd->port}{$_}++ for @$names;
    my %options = @options;
    return post($httpd, $body, %options,
        headers => [@{$options{headers} // []}, Host => $host]);
}

sub counts_what_is_committed {
    my ($httpd, $wanted) = @_;
    for my $case (['stored', sample()], ['duplicate', sample()],
        ['updated', body_of(endAt => 1427470476688)], ['stale', body_of()],
        ['duplicate', body_of(endAt => 1427470476688)]) {
        my ($result, $body) = @$case;
        is deliver($httpd, $wanted, 'one', ['received_total',
            "committed_total $result"], $body)->{result}, $result, $result;
    }
    is deliver($httpd, $wanted, 'three', ['received_total',
        'committed_total stored'], body_of('channel.id' => 'of three'))
        ->{result}, 'stored', 'another host';
    return;
}

sub counts_what_is_rejected {
    my ($httpd, $wanted) = @_;
    for my $case (['syntax', 400, '{'], ['syntax', 400, ''],
        ['structure', 422, '{}']) {
        my ($cause, $status, $body) = @$case;
        is deliver($httpd, $wanted, 'one', ['received_total',
            "rejected_total $cause"], $body)->{status}, $status, $cause;
    }
    $httpd->database->change($httpd->database->refusal('refused', 'no'));
    my $body = body_of('channel.id' => 'refused');
    my $answer = deliver($httpd, $wanted, 'one', ['received_total',
        'rejected_total database'], $body);
    is "$answer->{status} $answer->{result}", '202 rejected', 'database';
    is deliver($httpd, $wanted, 'three', ['received_total',
        'refused_total unavailable'], $body)->{status}, 503,
        'unavailable: refused for good, and there is no spool';
    $httpd->expect_log(map { "SMARTSUPP0$_" } qw(206 207 212 215));
    return;
}

sub counts_what_is_refused {
    my ($httpd, $wanted) = @_;
    is deliver($httpd, $wanted, 'one', ['refused_total method'], undef,
        method => $_)->{status}, 405, "method: $_" for qw(GET DELETE);
    is deliver($httpd, $wanted, 'one', ['refused_total too_large'],
        'x' x 101, path => '/hook/small')->{status}, 413, 'too_large';
    is deliver($httpd, $wanted, 'one', ['refused_total encoding'], sample(),
        headers => ['Content-Encoding' => 'br'])->{status}, 415, 'encoding';
    is deliver($httpd, $wanted, 'one', ['refused_total body'], "no chunk\r\n",
        headers => ['Transfer-Encoding' => 'chunked'])->{status}, 400, 'body';
    my $connection = dial($httpd)->write(substr request(sample(),
        headers => [Host => 'two']), 0, -1);
    is $connection->answer->{status}, 408, 'timeout';
    $wanted->{'two:' . $httpd->port}{'refused_total timeout'}++;
    $httpd->expect_log(map { "SMARTSUPP0$_" } qw(203 204 205 213));
    return;
}

# two's database is down, and comes up.
sub counts_what_is_spooled {
    my ($httpd, $wanted) = @_;
    for my $n (1 .. 3) {
        my $answer = deliver($httpd, $wanted, 'two', ['received_total',
            'spooled_total', 'replayed_total'],
            body_of('channel.id' => "spooled $n"));
        is "$answer->{status} $answer->{result}", '202 spooled', "spooled $n";
    }
    chmod 0700, $httpd->path('down');
    my $two = 'two:' . $httpd->port;
    ok $httpd->wait_for(sub {
        my $status = get($httpd, '/status?format=json')->{json};
        my ($host) = grep { $_->{server} eq $two } @{$status->{servers}};
        return $host->{replayed} == 3 && $host->{spool}{deliveries} == 0;
    }), 'replayed';
    return;
}

# All forms, of the server that nothing is written to meanwhile.
sub forms_are_equal {
    my ($httpd, $wanted, $when) = @_;
    my $text = get($httpd, '/status?format=json')->{body};
    my $figures = counters(json => $text);
    my %counted;
    for my $server (keys %$figures) {
        my %some = map { $_ => $figures->{$server}{$_} }
            grep { $figures->{$server}{$_} } keys %{$figures->{$server}};
        $counted{$server} = \%some if %some;
    }
    is_deeply \%counted, $wanted, "$when: all is counted, and nothing else"
        or diag explain \%counted;
    is_deeply [sort map { s/:\d+$//r } keys %$figures],
        [qw(four localhost one three two)], 'every host with a hook is shown';
    is_deeply counters($_ => get($httpd, "/status?format=$_")->{body}),
        $figures, "$_ has the figures of JSON" for qw(html prometheus);
    is_deeply counters(auto => get($httpd, '/server-status?auto')->{body}),
        $figures, 'so has server-status?auto';
    latency_is_of_commits($httpd, $figures);
    return $figures;
}

# The histogram has each delivery that was answered 200.
sub latency_is_of_commits {
    my ($httpd, $figures) = @_;
    my %committed;
    for my $server (keys %$figures) {
        $committed{$server} = 0;
        $committed{$server} += $figures->{$server}{"committed_total $_"}
            for qw(stored updated duplicate stale);
    }
    my $json = get($httpd, '/status?format=json')->{json};
    is_deeply {map { $_->{server} => $_->{commit_duration}{count} }
        @{$json->{servers}}}, \%committed, 'JSON counts the durations of all'
        . ' that was committed';
    my (%count, %sum);
    for my $series (@{prometheus(get($httpd,
        '/status?format=prometheus')->{body})}) {
        my ($name, $labels, $value) = @$series;
        $count{$labels->{server}} = $value
            if $name eq 'smartsupp_commit_duration_seconds_count';
        $sum{$labels->{server}} = $value
            if $name eq 'smartsupp_commit_duration_seconds_sum';
    }
    is_deeply \%count, \%committed, 'so does Prometheus';
    is_deeply [grep { $committed{$_} xor $sum{$_} > 0 } keys %sum], [],
        'and sums them up';
    return;
}

# Connections that stay open hold a process each under prefork; a restart
# makes new ones under event too.
sub counts_in_all_children {
    my ($httpd, $wanted) = @_;
    my $host = 'three:' . $httpd->port;
    my $n = 0;
    for my $round (1 .. 3) {
        my @connections = map { dial($httpd) } 1 .. 4;
        for my $connection (@connections) {
            $connection->write(request(body_of('channel.id' => 'n' . $n++),
                headers => [Host => 'three']));
        }
        $_->answer->{result} eq 'stored' or fail 'stored' for @connections;
        $wanted->{$host}{$_} += @connections
            for 'received_total', 'committed_total stored';
        $httpd->graceful;
        forms_are_equal($httpd, $wanted, "after $round graceful restarts");
    }
    my %processes = map { $_ => 1 }
        $httpd->log =~ /\[pid (\d+)(?::tid \d+)?\][^\n]* stored: /g;
    cmp_ok scalar keys %processes, '>=', $httpd->{mpm} eq 'prefork' ? 4 : 2,
        'several processes have stored them';
    return;
}
