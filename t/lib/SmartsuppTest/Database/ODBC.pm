package SmartsuppTest::Database::ODBC;

# The other databases, through apr_dbd_odbc. The names of the ODBC drivers are
# those that Debian gives them, told to httpd in a file of its own: the
# machine's odbcinst.ini is neither read nor changed.

use strict;
use warnings;

use File::Temp ();

use SmartsuppTest::Database::PgSQL ();
use SmartsuppTest::Database::SQLite ();
use SmartsuppTest::Process ();

sub driver { return 'odbc' }

# Colons and braces are ODBC's, commas and quotes apr_dbd's.
sub params {
    my ($self) = @_;
    return "CONNECT='" . $self->connect_string . "' CTIMEOUT=10";
}

sub environment {
    my ($self) = @_;
    my $folder = $self->{ini} //= File::Temp->newdir('smartsupp-XXXXXXXX',
        DIR => '/var/tmp');
    chmod 0755, $folder;
    SmartsuppTest::Process::spew("$folder/odbcinst.ini", join '', map {
        my ($name, $file) = @$_;
        "[$name]\nDriver = " . library($file) . "\n" }
        ['PostgreSQL Unicode', 'psqlodbcw.so'],
        ['SQLite3', 'libsqlite3odbc.so']);
    return {ODBCSYSINI => "$folder", ODBCINSTINI => 'odbcinst.ini',
        ODBCINI => "$folder/odbc.ini"};
}

sub library {
    my ($name) = @_;
    my ($found) = grep { -e } map { "$_/$name" } glob '/usr/lib/*/odbc'
        . ' /usr/lib/odbc /usr/lib64 /usr/lib';
    return $found // die "the ODBC driver $name is missing: make deps\n";
}

package SmartsuppTest::Database::ODBC::PostgreSQL;

our @ISA = qw(SmartsuppTest::Database::ODBC SmartsuppTest::Database::PgSQL);

sub connect_string {
    my ($self) = @_;
    return sprintf 'DRIVER={PostgreSQL Unicode};SERVER=127.0.0.1;PORT=%d;'
        . 'DATABASE=%s;UID=%s;PWD=%s', $self->port, $self->name, $self->user,
        $self->password;
}

package SmartsuppTest::Database::ODBC::SQLite;

our @ISA = qw(SmartsuppTest::Database::ODBC SmartsuppTest::Database::SQLite);

sub connect_string {
    my ($self) = @_;
    return 'DRIVER={SQLite3};Database=' . $self->file . ';Timeout=10000';
}

1;
