#!/usr/bin/perl
# What a section or virtual host does not say it inherits, what it says it
# overrides: told by what the server does.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF');
SmartsuppTablePrefix outer_
<Location "/">
    SmartsuppMaxBody 3000
</Location>
<Location "/hook/inner">
    SmartsuppMaxBody 1k
</Location>
<Location "/hook/inner/most">
    SmartsuppMaxBody 10
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName inherits
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName overrides
    SmartsuppTablePrefix inner_
    SmartsuppSchema check
    <Location "/hook">
        SmartsuppMaxBody 2600
    </Location>
    <Location "/hook/inner">
        SmartsuppMaxBody 3k
    </Location>
</VirtualHost>
<Directory "%%ROOT%%/htdocs">
    AllowOverride FileInfo Limit
    SmartsuppMaxBody 30
</Directory>
<Directory "%%ROOT%%/htdocs/closed">
    AllowOverride FileInfo
</Directory>
CONF

# Folders with an .htaccess each.
my %htaccess = (
    open    => "SetHandler smartsupp-hook\nSmartsuppMaxBody 20\n",
    plain   => "SetHandler smartsupp-hook\n",
    closed  => "SetHandler smartsupp-hook\nSmartsuppMaxBody 20\n",
    prefix  => "SetHandler smartsupp-hook\nSmartsuppTablePrefix x_\n",
    wrong   => "SetHandler smartsupp-hook\nSmartsuppMaxBody x\n",
);
for my $name (keys %htaccess) {
    my $folder = $httpd->path("htdocs/$name");
    mkdir $folder or die "$folder: $!\n";
    SmartsuppTest::Httpd::spew("$folder/.htaccess", $htaccess{$name});
}
$httpd->start;

# What httpd and the module say of it; each must come.
$httpd->expect_log(qw(SMARTSUPP0203 SMARTSUPP0206));

# The limit that holds there: a body of that size reaches the JSON scanner,
# one byte more does not.
sub limit_is {
    my ($host, $path, $limit) = @_;
    my @to = (path => $path, headers => [Host => $host]);
    is post($httpd, '{' x $limit, @to)->{status}, 400,
        "$host$path takes $limit bytes";
    is post($httpd, '{' x ($limit + 1), @to)->{status}, 413, 'and not one more';
    return;
}

limit_is('localhost', '/hook', 3000);
limit_is('inherits', '/hook', 3000);
limit_is('overrides', '/hook', 2600);
limit_is($_, '/hook/inner', 1024) for qw(localhost inherits);
limit_is('overrides', '/hook/inner', 3072);
limit_is('localhost', '/hook/inner/most', 10);

for my $name (qw(closed prefix wrong)) {
    is post($httpd, sample(), path => "/$name/hook")->{status}, 500,
        "an .htaccess with what it may not say ($name) fails closed";
}
$httpd->expect_log(qr/SmartsuppMaxBody not allowed here/,
    qr/SmartsuppTablePrefix not allowed here/,
    qr/SmartsuppMaxBody: not a size/);

is post($httpd, sample(), headers => [Host => 'overrides'])->{status}, 503,
    'SmartsuppSchema check of one host';
$httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
is post($httpd, sample(), headers => [Host => $_])->{status}, 200,
    "$_ creates tables" for qw(localhost inherits);
is_deeply [grep { /conversation/ } $httpd->database->tables],
    ['outer_conversation'], 'with the prefix of the outer server';
$httpd->done;
done_testing;
