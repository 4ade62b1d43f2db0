package SmartsuppBench::Contestant::PHP;

# A PHP script under mod_php, which Debian builds for prefork only, with the
# configuration that its packages install (opcache is on).

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Copy qw(copy);

use SmartsuppBench::Contestant::Httpd ();
use SmartsuppTest::Httpd ();

our @ISA = ('SmartsuppBench::Contestant::Httpd');

my $scripts = dirname(__FILE__) . '/../../..';

sub path      { return '/hook.php' }
sub is_traced { return 1 }

sub variants { return {mpm => 'prefork'} }

sub php_module {
    return (sort glob SmartsuppTest::Httpd::apxs('LIBEXECDIR') . '/libphp*.so')
        [-1];
}

sub missing {
    return php_module() ? undef : 'PHP\'s module is missing (Debian:'
        . ' libapache2-mod-php; where the package apache2 is installed, it'
        . ' switches that to prefork)';
}

sub make_php {
    my ($self, $script) = @_;
    my $httpd = $self->make_httpd(<<"CONF", load => 0, hook => 0,
LoadModule php_module "@{[php_module()]}"
<FilesMatch "\\.php\$">
    SetHandler application/x-httpd-php
</FilesMatch>
CONF
        database => 'none');
    my $place = $httpd->path('htdocs/hook.php');
    copy("$scripts/$script", $place) or die "$script: $!\n";
    chmod 0644, $place;
    $httpd->give($httpd->path('htdocs'));
    return $httpd;
}

1;
