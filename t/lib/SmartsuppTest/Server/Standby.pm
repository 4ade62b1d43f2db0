package SmartsuppTest::Server::Standby;

# A private PostgreSQL that follows another one, for whose COMMITs it is waited
# for, until it is promoted.
#
#   my $primary = SmartsuppTest::Server->new('postgresql')->start;
#   my $standby = SmartsuppTest::Server::Standby->new($primary)->start;
#   $standby->kill_primary;
#   $standby->promote;

use strict;
use warnings;

use SmartsuppTest::Server ();
use SmartsuppTest::Server::PostgreSQL ();

our @ISA = ('SmartsuppTest::Server::PostgreSQL');

# By this name it is known to the primary.
use constant NAME => 'standby';

# One that is not started yet; it may take the port of a server that is dead.
sub new {
    my ($class, $primary, $dead) = @_;
    return bless SmartsuppTest::Server->new('postgresql',
        password => $primary->{password}, primary => $primary, place => $dead,
        settings => {hot_standby => 'on', cluster_name => NAME}), $class;
}

sub reserve_port {
    my ($self) = @_;
    my $place = $self->{place} or return $self->SUPER::reserve_port;
    @$self{qw(reservation port)} = @$place{qw(reservation port)};
    return;
}

# A copy of the primary that goes on receiving what it writes.
sub make_command {
    my ($self) = @_;
    my $primary = $self->{primary};
    return (SmartsuppTest::Server::PostgreSQL::program('pg_basebackup'),
        '-d', 'host=127.0.0.1 port=' . $primary->port . ' user=admin'
            . " password=$primary->{password}",
        '-D', $self->path('data'), '--wal-method=stream',
        '--checkpoint=fast', '--write-recovery-conf', '--no-sync');
}

# From now on the primary's COMMIT returns when the standby has it on disk.
# Not before: the standby's own copy of the settings must wait for nobody.
sub set_up {
    my ($self) = @_;
    my $primary = $self->{primary};
    $primary->administer("ALTER SYSTEM SET synchronous_standby_names = '"
        . NAME . "'", "ALTER SYSTEM SET synchronous_commit = 'on'",
        'SELECT pg_reload_conf()');
    my $handle = $primary->connect;
    $self->wait_for(sub { $handle->selectrow_array('SELECT count(*) FROM'
        . " pg_stat_replication WHERE sync_state = 'sync'") })
        or die $self->failure('it is not synchronous');
    # who tells COMMIT to wait is the checkpointer, when it gets round to it
    $handle->do('CHECKPOINT');
    $handle->disconnect;
    return;
}

# The primary dies as its machine would, all at once.
sub kill_primary {
    my ($self) = @_;
    $self->{primary}->kill9;
    return $self->{primary};
}

# Make it the primary; returns when it takes writes.
sub promote {
    my ($self) = @_;
    my $handle = $self->connect;
    my ($promoted) = $handle->selectrow_array('SELECT pg_promote(true, '
        . $self->PATIENCE . ')');
    $handle->disconnect;
    die $self->failure('it was not promoted') if !$promoted;
    return $self;
}

1;
