package SmartsuppTest::Server::MariaDB;

# A private MariaDB; SmartsuppTest::Server tells how to have one.

use strict;
use warnings;

use DBD::MariaDB ();

use SmartsuppTest::Process qw(spew);

our @ISA = ('SmartsuppTest::Server');

sub program {
    my ($name) = @_;
    my ($found) = grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}),
        qw(/usr/sbin /usr/libexec /usr/local/sbin);
    return $found // die "MariaDB's $name is missing: make deps\n";
}

# The server's own statements at its first start: who may log in.
sub make_command {
    my ($self) = @_;
    my $file = $self->path('init.sql');
    spew($file, join '', map { "$_;\n" }
        "CREATE USER IF NOT EXISTS admin\@127.0.0.1 IDENTIFIED BY"
            . " '$self->{password}'",
        'GRANT ALL ON *.* TO admin@127.0.0.1 WITH GRANT OPTION',
        'CREATE USER IF NOT EXISTS ' . $self->account . ' IDENTIFIED BY'
            . " '" . $self->user_password . "'",
        'DROP USER IF EXISTS root@localhost');
    chmod 0600, $file;
    $self->give($file);
    return (program('mariadb-install-db'), '--no-defaults',
        '--datadir=' . $self->path('data'), '--tmpdir=' . $self->{root},
        '--auth-root-authentication-method=normal', '--skip-test-db',
        '--skip-name-resolve', '--innodb-log-file-size=16M');
}

sub command {
    my ($self) = @_;
    my %settings = (
        datadir                   => $self->path('data'),
        tmpdir                    => $self->{root},
        'init-file'               => $self->path('init.sql'),
        'bind-address'            => '127.0.0.1',
        port                      => $self->{port},
        socket                    => $self->path('socket'),
        'pid-file'                => $self->path('server.pid'),
        'max-connections'         => 200,
        'innodb-buffer-pool-size' => '32M',
        'innodb-log-file-size'    => '16M',
        %{$self->{settings}},
    );
    return (program('mariadbd'), '--no-defaults', '--skip-name-resolve',
        map { "--$_=$settings{$_}" } sort keys %settings);
}

sub stop_signal  { return 'TERM' }
sub abort_signal { return 'KILL' }

sub dsn {
    my ($self, $database) = @_;
    $database //= '';
    return "dbi:MariaDB:host=127.0.0.1;port=$self->{port}"
        . ";database=$database";
}

sub attributes { return (mariadb_auto_reconnect => 0) }

sub account { my ($self) = @_; return $self->USER . '@127.0.0.1' }

sub set_up { return }

sub create_statements {
    my ($self, $name) = @_;
    return ("CREATE DATABASE $name",
        "GRANT ALL ON $name.* TO " . $self->account);
}

# The sessions of httpd in that database, and how to end one.
sub sessions {
    my ($self, $database) = @_;
    my $handle = $self->connect;
    return @{$handle->selectcol_arrayref('SELECT id FROM'
        . ' information_schema.processlist WHERE db = ? AND user = ?'
        . ' ORDER BY id', undef, $database, $self->USER)};
}

# How many sessions wait for a lock. (innodb_trx would not do: what it shows
# stays the same while somebody looks more than ten times a second.)
sub lock_waits {
    my ($self) = @_;
    return ($self->connect->selectrow_array("SHOW GLOBAL STATUS LIKE"
        . " 'Innodb_row_lock_current_waits'"))[1];
}

sub end_session {
    my ($self, $session) = @_;
    # it may have ended by itself since it was listed
    eval { $self->administer("KILL $session"); 1 }
        or $@ =~ /Unknown thread id/ or die $@;
    return;
}

1;
