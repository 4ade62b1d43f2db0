#!/usr/bin/perl
# The status comes in the form that is asked for, with headers that keep it out
# of caches; what the configuration gives it to show breaks no form; and what
# nobody should see is in none.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Status;

my %type = (
    html       => 'text/html; charset=utf-8',
    json       => 'application/json',
    prometheus => 'text/plain; version=0.0.4; charset=utf-8',
    health     => 'text/plain; charset=utf-8',
);

# A path and a name that each form has to escape, and a byte that is no UTF-8.
my $path = q{sp<b>"&'\\ool-%%BYTE%%};
my $name = 'a"b<c>&d\\e';

my $conf = <<'CONF';
<Location "/status">
    SetHandler smartsupp-status
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName shown
    <Location "/hook">
        SetHandler smartsupp-hook
    </Location>
    SmartsuppSpool "%%ROOT%%/SPOOL"
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName a"b<c>&d\e
    <Location "/hook">
        SetHandler smartsupp-hook
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName shown
    <Location "/hook">
        SetHandler smartsupp-hook
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName by-htaccess
    <Directory "%%ROOT%%/htdocs">
        AllowOverride FileInfo
    </Directory>
</VirtualHost>
CONF

(my $spool = $path) =~ s/%%BYTE%%/\xff/;
(my $quoted = $spool) =~ s/([\\"])/\\$1/g;
$conf =~ s/SPOOL/$quoted/;
my $httpd = SmartsuppTest::Httpd->new(hook => 0, conf => $conf,
    modules => [qw(status watchdog)]);
mkdir $httpd->path($spool), 0700 or die "mkdir: $!\n";
$httpd->give($httpd->path($spool));
mkdir $httpd->path('htdocs/chat') or die "mkdir: $!\n";
SmartsuppTest::Httpd::spew($httpd->path('htdocs/chat/.htaccess'),
    "SetHandler smartsupp-hook\n");
$httpd->start;
my ($shown, $named, $again, $htaccess) = map { "$_:" . $httpd->port }
    'shown', $name, 'shown', 'by-htaccess';
$again .= ' #2';

subtest 'the form by format and Accept' => \&chooses_the_form;
subtest 'headers'                       => \&has_headers;
subtest 'HEAD'                          => \&answers_head;
subtest 'what is refused'               => \&refuses;
subtest 'which hosts are shown'         => \&shows_hosts;
subtest 'what is escaped'               => \&escapes;
subtest 'figures are exact'             => \&figures_are_exact;
subtest 'the page'                      => \&is_a_page;
subtest 'in server-status'              => \&is_in_server_status;
subtest 'what is never shown'           => \&keeps_secrets;
$httpd->allow_log('SMARTSUPP0114');
$httpd->done;

subtest 'without any hook'              => \&has_nothing_to_show;
done_testing;

sub status {
    my ($query, %options) = @_;
    return get($httpd, "/status$query", %options);
}

sub chooses_the_form {
    is status("?format=$_")->{headers}{'content-type'}, $type{$_},
        "format=$_" for sort keys %type;
    my @cases = (
        [html => '*/*'], [html => ''], [html => 'image/png'],
        [html => 'text/html,application/xhtml+xml,application/xml;q=0.9,'
            . 'image/avif,image/webp,*/*;q=0.8'],
        [json => 'application/json'], [json => 'Application/JSON; q=0.3'],
        [json => 'text/html;q=0.5, application/json'],
        [json => 'application/json, text/html'],
        [html => 'application/json;q=0, */*'],
        [prometheus => 'text/plain;version=0.0.4;q=1,*/*;q=0.1'],
        [prometheus => 'application/openmetrics-text;version=1.0.0;q=0.5,'
            . 'text/plain;version=0.0.4;q=0.3,*/*;q=0.1'],
        [prometheus => 'text/plain'],
        [json => 'text/plain ; q=0.8 , application/json ; q=0.9'],
    );
    for my $case (@cases) {
        my ($form, $accept) = @$case;
        my $answer = status('', headers => [Accept => $accept]);
        is $answer->{headers}{'content-type'}, $type{$form}, "$form: $accept";
        like $answer->{headers}{vary} // '', qr/\bAccept\b/, 'Vary';
    }
    is status('')->{headers}{'content-type'}, $type{html}, 'html: no Accept';
    is status('?format=json', headers => [Accept => 'text/html'])->{headers}
        {'content-type'}, $type{json}, 'format goes before Accept';
    is status('?x=y&format=js%6fn&z')->{headers}{'content-type'}, $type{json},
        'among other arguments, encoded';
    return;
}

sub has_headers {
    for my $query ('', (map { "?format=$_" } sort keys %type), '?format=x') {
        my $answer = status($query);
        is $answer->{headers}{'cache-control'}, 'no-store', "$query: no-store";
        is $answer->{headers}{'x-content-type-options'}, 'nosniff', 'nosniff';
        is $answer->{headers}{'content-length'}, length $answer->{body},
            'Content-Length';
    }
    is status('?format=html')->{headers}{'content-security-policy'},
        q{default-src 'none'; style-src 'unsafe-inline'},
        'Content-Security-Policy';
    return;
}

sub answers_head {
    for my $form (sort keys %type) {
        my $answer = status("?format=$form", method => 'HEAD');
        is $answer->{status}, 200, "$form: 200";
        is $answer->{headers}{'content-type'}, $type{$form}, 'Content-Type';
        cmp_ok $answer->{headers}{'content-length'} // 0, '>', 0,
            'Content-Length';
        is $answer->{body}, '', 'no body';
    }
    return;
}

sub refuses {
    for my $method (qw(POST PUT DELETE OPTIONS)) {
        my $answer = post($httpd, 'x=y', method => $method,
            path => '/status?format=json');
        is $answer->{status}, 405, "$method: 405";
        is $answer->{headers}{allow}, 'GET, HEAD', 'Allow';
    }
    for my $format ('', 'x', 'JSON', 'html%20', 'health/') {
        my $answer = status("?format=$format");
        is $answer->{status}, 400, "format=$format: 400";
        like $answer->{body}, qr/html, json, prometheus and health/,
            'the formats are told';
        is $answer->{headers}{'content-type'}, $type{health}, 'as text';
    }
    is get($httpd, '/hook')->{status}, 405, 'the hook is not the status';
    is get($httpd, '/nothing', headers => [Host => 'by-htaccess'])->{status},
        404, 'nor is anything else';
    return;
}

# Those that have a hook in the configuration, and those that have received.
sub shows_hosts {
    my @hosts = sort $shown, $named, $again;
    is_deeply [sort keys %{counters(json => status('?format=json')->{body})}],
        \@hosts, 'those with a hook';
    is post($httpd, sample(), path => '/chat/hook',
        headers => [Host => 'by-htaccess'])->{result}, 'stored',
        'a hook in .htaccess';
    @hosts = sort @hosts, $htaccess;
    for my $form (qw(json html prometheus)) {
        for my $host ('shown', 'by-htaccess') {
            my $text = get($httpd, "/status?format=$form",
                headers => [Host => $host])->{body};
            is_deeply [sort keys %{counters($form => $text)}], \@hosts,
                "$form: and those that have received; asked of $host";
        }
    }
    is post($httpd, '{', headers => [Host => 'shown'])->{status}, 400,
        'what a host of the same name receives';
    is counters(json => status('?format=json')->{body})->{$_}{received_total},
        $_ eq $htaccess || $_ eq $shown ? 1 : 0, "is counted for one of them:"
        . " $_" for @hosts;
    $httpd->expect_log('SMARTSUPP0206');
    return;
}

sub escapes {
    (my $seen = $httpd->path($spool)) =~ s/\xff/?/;
    my $json = JSON::PP->new->utf8->decode(status('?format=json')->{body});
    my ($host) = grep { $_->{server} eq $shown } @{$json->{servers}};
    is $host->{spool}{path}, $seen, 'the path in JSON';
    my ($info) = grep { $_->[0] eq 'smartsupp_spool_info'
        && $_->[1]{server} eq $shown }
        @{prometheus(status('?format=prometheus')->{body})};
    is $info->[1]{path}, $seen, 'the path in Prometheus';
    my $page = status('?format=html')->{body};
    my $escaped = $seen =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr
        =~ s/"/&quot;/gr;
    like $page, qr/>[^<>]*\Q$escaped\E</, 'the path in HTML';
    unlike $page, qr/<b>|<c>/, 'no element comes from the configuration';
    return;
}

sub figures_are_exact {
    my $before = time;
    is post($httpd, body_of('channel.id' => 'exact'),
        headers => [Host => 'shown'])->{result}, 'stored', 'a delivery';
    my $json = status('?format=json')->{json};
    my $after = time;
    my ($host) = grep { $_->{server} eq $shown } @{$json->{servers}};
    my $database = $host->{database};
    is $database->{label}, 'sqlite3, tables smartsupp_*', 'the database';
    ok $database->{up}, 'it is up';
    is $database->{$_}, undef, "$_ is null"
        for qw(down_since last_error last_error_class last_error_code);
    like $database->{last_commit}, qr/^\d+$/, 'a time is an integer';
    cmp_ok $database->{last_commit}, '>=', $before * 1000, 'epoch ms';
    cmp_ok $database->{last_commit}, '<=', ($after + 1) * 1000, 'of now';
    my %value = map { $_->[0] => $_->[2] }
        grep { ($_->[1]{server} // '') eq $shown && !$_->[1]{le} }
        @{prometheus(status('?format=prometheus')->{body})};
    my ($seconds, $fraction) = split /\./,
        $value{smartsupp_database_last_commit_timestamp_seconds};
    is $seconds . substr(($fraction // '') . '000', 0, 3),
        $database->{last_commit}, 'the same in seconds';
    is $value{smartsupp_database_up}, 1, 'up is 1';
    is $value{smartsupp_accepting}, 1, 'it accepts';
    my $kept = $host->{spool};
    is $kept->{rejected_deliveries}, 1, 'what was rejected is in the spool';
    my ($file) = glob $httpd->path('sp*') . '/rejected/*';
    is $kept->{rejected_bytes}, -s $file, 'with its size';
    is $kept->{max_bytes}, 1073741824, 'which has a limit';
    is $kept->{$_}, 0, "$_ is 0" for qw(deliveries bytes oldest_age_seconds);
    is $value{"smartsupp_spool_$_"}, $kept->{$_}, "$_ in Prometheus"
        for qw(rejected_deliveries rejected_bytes max_bytes deliveries bytes
            oldest_age_seconds);
    my ($bare) = grep { $_->{server} eq $again } @{$json->{servers}};
    is $bare->{spool}, undef, 'another host has no spool';
    return;
}

sub is_a_page {
    my $page = status('?format=html')->{body};
    like $page, qr/\A<!DOCTYPE html>\n<html lang="en">/, 'HTML, with lang';
    like $page, qr{<title>[^<]*deliveries are accepted and stored</title>},
        'the state in the title';
    like $page, qr{<main>\s*<p[ ]class="state[ ]stored">
        deliveries[ ]are[ ]accepted[ ]and[ ]stored</p>}x,
        'and in the first line';
    like $page, qr/color-scheme: light dark/, 'dark and light';
    like $page, qr/name="viewport"/, 'for a phone';
    unlike $page, qr/<script|<link|<img|src=|url\(|\@import|https?:|\son\w+=/i,
        'no script, and nothing from elsewhere';
    my @open;
    for my $tag ($page =~ m{<(/?\w+)[^>]*>}g) {
        next if $tag eq 'meta';
        if ($tag !~ s{^/}{}) { push @open, $tag }
        elsif ((pop @open // 'none') ne $tag) { fail "</$tag> ends nothing" }
    }
    is_deeply \@open, [], 'each element ends';
    my %ids;
    $ids{$_}++ for $page =~ /\sid="([^"]*)"/g;
    is_deeply [grep { $ids{$_} > 1 } keys %ids], [], 'ids are unique';
    is_deeply [grep { !$ids{$_} } $page =~ /href="#([^"]*)"/g], [],
        'links lead somewhere';
    return;
}

sub is_in_server_status {
    my $figures = counters(json => status('?format=json')->{body});
    my $auto = get($httpd, '/server-status?auto');
    is_deeply counters(auto => $auto->{body}), $figures, '?auto has the'
        . ' figures';
    like $auto->{body}, qr/^Smartsupp\[0\]State: stored$/m, 'and the state';
    like $auto->{body}, qr/^Smartsupp\[\d\]SpoolRejectedDeliveries: 1$/m,
        'and what the spool holds';
    my $escaped = 'a&quot;b&lt;c&gt;&amp;d\\e:' . $httpd->port;
    my ($rows) = get($httpd, '/server-status')->{body}
        =~ m{<h1>Smartsupp hook</h1>\s*<table[^>]*>(.*?)</table>}s;
    my @cells = map { [m{<t[hd]>(.*?)</t[hd]>}g] } split /\n/, $rows // '';
    is scalar(grep { @$_ == 9 } @cells), 1 + keys %$figures,
        'a row for each host';
    my ($row) = grep { @$_ && $_->[0] eq $escaped } @cells;
    ok $row, 'with its name escaped';
    ($row) = grep { @$_ && $_->[0] eq $shown } @cells;
    is_deeply [@$row[1 .. 6]], [2, 1, 0, 0, 1, 1], 'and its figures';
    my ($list) = get($httpd, '/server-status?notable')->{body}
        =~ m{<h1>Smartsupp hook</h1>\s*<dl>(.*?)</dl>}s;
    like $list, qr{<dt>\Q$escaped\E:[^<]*</dt>},
        'a list where tables are not wanted';
    unlike $list . ($rows // ''), qr/<b>|<c>/, 'all escaped';
    return;
}

# Neither the database's parameters nor what was delivered.
sub keeps_secrets {
    my $params = $httpd->database->params;
    for my $path ((map { "/status?format=$_" } sort keys %type),
        '/server-status', '/server-status?auto') {
        my $text = get($httpd, $path)->{body};
        unlike $text, qr/\Q$params\E|55039|exact|[0-9a-f]{64}/,
            "$path tells no secret";
    }
    return;
}

sub has_nothing_to_show {
    $httpd = SmartsuppTest::Httpd->new(hook => 0, database => 'none',
        modules => ['status'], conf => <<'CONF')->start;
<Location "/status">
    SetHandler smartsupp-status
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
CONF
    is_deeply status('?format=json')->{json}{servers}, [], 'JSON has no server';
    is status('?format=json')->{json}{state}, undef, 'and no state';
    is status('?format=prometheus')->{body}, '', 'no series';
    like status('?format=html')->{body}, qr/no server has a hook/, 'a page';
    is status('?format=health')->{status}, 200, 'nothing is wrong';
    unlike get($httpd, $_)->{body}, qr/Smartsupp/, "$_ is as it was"
        for '/server-status', '/server-status?auto';
    $httpd->done;
    return;
}
