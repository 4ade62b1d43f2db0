package SmartsuppTest::Database::Served;

# A database of a server: what PostgreSQL and MariaDB have in common.

use strict;
use warnings;

our @ISA = ('SmartsuppTest::Database');

sub create {
    my ($self) = @_;
    require SmartsuppTest::Server;
    $self->{server} //= SmartsuppTest::Server->shared($self->server_name);
    $self->{name} //= $self->{server}->create_database;
    return;
}

sub user     { return $_[0]->server->USER }
sub password { return $_[0]->server->user_password }

# Where httpd connects to.
sub port { return $_[0]{through} // $_[0]->server->port }

sub connect { return $_[0]->server->connect($_[0]->name) }
sub writer  { return $_[0]->connect }
sub exists  { return scalar $_[0]->tables }

# What conf/ has for this driver, with another place and name.
sub shipped_params {
    my ($self) = @_;
    require SmartsuppTest::Httpd;
    my $conf = SmartsuppTest::Httpd::shipped('smartsupp_hook-' . $self->kind
        . '.conf');
    my ($params) = $conf =~ /^DBDParams "(.*)"$/m
        or die "conf/ has no DBDParams\n";
    my %value = (port => $self->port, dbname => $self->name,
        user => $self->user, qr/pass(?:word)?/ => $self->password);
    for my $name (keys %value) {
        $params =~ s/\b($name)=[^ ,]*/$1=$value{$name}/ or die "no $name\n";
    }
    return $params;
}

# The names of all tables; the columns of a table or view as {name => type},
# spelled as the README does.
sub tables {
    my ($self) = @_;
    return @{$self->handle->selectcol_arrayref('SELECT table_name FROM'
        . ' information_schema.tables WHERE table_schema = ' . $self->schema
        . " AND table_type = 'BASE TABLE' ORDER BY table_name")};
}

sub columns {
    my ($self, $table) = @_;
    return {map { $_->[0] => $self->type(@$_[1, 2]) }
        @{$self->handle->selectall_arrayref('SELECT column_name, '
        . $self->type_columns . ' FROM information_schema.columns'
        . ' WHERE table_schema = ' . $self->schema . ' AND table_name = ?',
        undef, $table)}};
}

# End the sessions of httpd, as an administrator would; gives how many.
sub end_sessions {
    my ($self) = @_;
    my $server = $self->server;
    my @sessions = $server->sessions($self->name);
    $server->end_session($_) for @sessions;
    my %ended = map { $_ => 1 } @sessions;
    $server->wait_for(sub {
        return !grep { $ended{$_} } $server->sessions($self->name);
    }) or die "sessions stay: @sessions\n";
    return scalar @sessions;
}

1;
