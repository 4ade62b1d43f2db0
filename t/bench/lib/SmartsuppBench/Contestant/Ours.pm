package SmartsuppBench::Contestant::Ours;

# The module, with a spool as conf/ ships it.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use SmartsuppBench::Contestant::Httpd ();

our @ISA = ('SmartsuppBench::Contestant::Httpd');

# How long to wait for what was spooled, in seconds.
use constant PATIENCE => 30;

sub is_traced { return 1 }

my $conf = <<'CONF';
SmartsuppDatabaseWait 2s
SmartsuppSpool "%%ROOT%%/db/spool"
SmartsuppSpoolMaxSize 64g
CONF

sub prepare {
    my ($self) = @_;
    my $kind = $self->{kind};
    my $database = $kind eq 'sqlite' ? $kind : $self->make_database;
    $self->make_httpd($conf . $self->limit . ($self->{conf} // ''),
        modules => ['watchdog'], database => $database);
    $self->{database} = $self->{httpd}->database;
    $self->make_tables;
    return;
}

# Conversations of 5,000 messages are larger than Smartsupp's.
sub limit { return "<Location \"/hook\">\nSmartsuppMaxBody 8m\n</Location>\n" }

# The names of what waits in the spool.
sub spooled {
    my ($self) = @_;
    opendir my $folder, $self->{httpd}->path('db/spool/new') or return ();
    return grep { !/^\./ } readdir $folder;
}

# What was spooled was answered 202: it counts once it is in the database.
sub settle {
    my ($self) = @_;
    $self->SUPER::settle;
    return if !$self->{database};
    my $end = time + PATIENCE;
    sleep 0.1 while $self->spooled && time < $end;
    return;
}

# How many waited in the spool at the end of the run, too: a database that is
# too slow to be waited for.
sub deliver {
    my ($self, @how) = @_;
    my $result = $self->SUPER::deliver(@how);
    $result->{spooled} = () = $self->spooled;
    return $result;
}

1;
