package SmartsuppBench::Contestant::Httpd;

# What all contestants that live in an httpd have in common: the server, which
# is set up alike for all of them.

use strict;
use warnings;

use SmartsuppBench::Contestant ();
use SmartsuppTest::Httpd ();

our @ISA = ('SmartsuppBench::Contestant');

# So many children are several.
use constant SEVERAL => 4;

sub path { return '/hook' }
sub url  { my ($self) = @_; return $self->{httpd}->url($self->path) }

sub address { return $_[0]{httpd} }

sub start { $_[0]{httpd}->start; return }
sub stop  { my ($self) = @_; $self->{httpd}->stop if $self->{httpd}; return }

sub receivers { return $_[0]{httpd}->processes }

sub complaints {
    my ($self) = @_;
    my @lines = grep { /:(?:error|crit|alert|emerg)\]/ } split /\n/,
        $self->{httpd}->log;
    return @lines ? "its log ends with: $lines[-1]" : ();
}

sub variant {
    my ($self) = @_;
    return $self->{mpm} . ($self->{several} ? ', several children' : '');
}

sub variants {
    my ($self, $mpms, $children) = @_;
    return map { my $mpm = $_; $mpm eq 'prefork' ? {mpm => $mpm}
        : map { {mpm => $mpm, several => $_ eq 'several' ? SEVERAL : 0} }
            @$children } @$mpms;
}

# Keep-alive, no access log, no .htaccess (as distributions ship httpd), and as
# many workers as connections at least, all of them there from the start. A
# connection may idle while strace attaches.
sub make_httpd {
    my ($self, $conf, %options) = @_;
    return $self->{httpd} = SmartsuppTest::Httpd->new(mpm => $self->{mpm},
        log_level => 'warn', %options, conf => join "\n",
        'KeepAlive On', 'KeepAliveTimeout 60', 'MaxKeepAliveRequests 0',
        'MaxConnectionsPerChild 0', '<Directory "/">', 'AllowOverride None',
        '</Directory>', $self->workers, $conf);
}

sub workers {
    my ($self) = @_;
    my $workers = $self->{bench}{workers};
    my $children = $self->{mpm} eq 'prefork' ? $workers
        : $self->{several} ? $self->{several} : 1;
    my @lines = ("ServerLimit $children", "StartServers $children");
    if ($self->{mpm} eq 'prefork') {
        push @lines, 'MinSpareServers 1', "MaxSpareServers $workers";
    }
    else {
        # in each child: connections are not spread evenly, and where all of
        # its threads are busy event hangs up on those that idle
        push @lines, "ThreadLimit $workers", "ThreadsPerChild $workers";
        $workers *= $children;
        push @lines, 'MinSpareThreads 1', "MaxSpareThreads $workers";
    }
    return (@lines, "MaxRequestWorkers $workers");
}

1;
