#!/usr/bin/perl
# httpd gives a virtual host that has none of our directives the main server's
# configuration itself, not a copy: what post_config noted there for one host
# held for all of them, and a delivery went to another host's database.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF');
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName inherits
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName one
    DBDriver sqlite3
    DBDParams %%ROOT%%/db-one/smartsupp.db
    DBDMin 0
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName two
    DBDriver sqlite3
    DBDParams %%ROOT%%/db-two/smartsupp.db
    DBDMin 0
</VirtualHost>
CONF
my %database = (inherits => $httpd->database);
for my $host (qw(one two)) {
    my $folder = $httpd->path("db-$host");
    mkdir $folder, 0700 or die "$folder: $!\n";
    $httpd->give($folder);
    $database{$host} = SmartsuppTest::Database->new('sqlite',
        folder => $folder);
}
$httpd->start;

for my $host (sort keys %database) {
    is post($httpd, body_of('channel.id' => "to $host"),
        headers => [Host => $host])->{result}, 'stored', "a delivery to $host";
}
for my $host (sort keys %database) {
    is_deeply [map { $_->{channel_id} } $database{$host}->rows(
        'SELECT channel_id FROM smartsupp_conversation')], ["to $host"],
        "is in the database of $host, and nothing else is";
}
$httpd->allow_log('SMARTSUPP0114');
$httpd->done;
done_testing;
