package SmartsuppTest::Preload;

# A library of t/fault/ that stands between a private httpd and the C library:
#
#   preload($httpd, 'malloc', SMARTSUPP_MALLOC_TRACE => $file, ...);
#   $httpd->start;
#
# Before the httpd's start: its children and it get the library, with that
# environment.

use strict;
use warnings;

use Cwd ();
use Exporter qw(import);
use File::Basename qw(dirname);

use SmartsuppTest::Httpd ();

our @EXPORT = qw(preload);

my $sources = Cwd::realpath(dirname(__FILE__) . '/../../fault');

sub preload {
    my ($httpd, $name, %environment) = @_;
    my $library = $httpd->path("conf/$name.so");
    build("$sources/$name.c", $library);
    my $others = $ENV{LD_PRELOAD} // '';
    # a sanitizer is preloaded by words that come after ours
    $ENV{SMARTSUPP_HTTPD_WRAPPER}
        =~ s/\b(LD_PRELOAD=)(?!\Q$library\E)/$1$library:/
        if defined $ENV{SMARTSUPP_HTTPD_WRAPPER};
    push @{$httpd->{wrapper}}, 'env', "LD_PRELOAD=$library"
        . (length $others ? ":$others" : ''),
        map { "$_=$environment{$_}" } sort keys %environment;
    return;
}

sub build {
    my ($source, $library) = @_;
    my @compiler = split ' ', $ENV{CC} // SmartsuppTest::Httpd::apxs('CC');
    system(@compiler, qw(-std=c99 -O1 -fPIC -shared -o), $library, $source,
        '-ldl') == 0 or die "cannot build $source\n";
    chmod 0755, $library;
    return;
}

1;
