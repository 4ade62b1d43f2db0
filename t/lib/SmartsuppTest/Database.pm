package SmartsuppTest::Database;

# What the module stored, read from outside of it. A kind of database is one
# package of Database/: it says which httpd lines choose it and how DBI opens
# it. A test of family 4 runs once for each:
#
#   for my $kind (SmartsuppTest::Database->kinds) {
#       my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
#       ... $httpd->database->rows('SELECT ...') ...
#   }
#
# A database that is missing here is a failure, never a skip. Who works on one
# of them narrows the list: SMARTSUPP_DATABASES="sqlite pgsql".

use strict;
use warnings;

use SmartsuppTest::Database::MySQL ();
use SmartsuppTest::Database::ODBC ();
use SmartsuppTest::Database::PgSQL ();
use SmartsuppTest::Database::SQLite ();

my %package = (
    'sqlite'          => 'SmartsuppTest::Database::SQLite',
    'pgsql'           => 'SmartsuppTest::Database::PgSQL',
    'mysql'           => 'SmartsuppTest::Database::MySQL',
    'odbc-postgresql' => 'SmartsuppTest::Database::ODBC::PostgreSQL',
    'odbc-sqlite'     => 'SmartsuppTest::Database::ODBC::SQLite',
);
my @kinds = qw(sqlite pgsql mysql odbc-postgresql odbc-sqlite);

# The kinds that the tests run on; those among the given ones.
sub kinds {
    my ($class, @among) = @_;
    my @wanted = split ' ', $ENV{SMARTSUPP_DATABASES} // "@kinds";
    package_of($_) for @wanted;
    return grep { my $kind = $_; grep { $_ eq $kind } @wanted }
        @among ? @among : @kinds;
}

sub package_of {
    my ($kind) = @_;
    return $package{$kind} // die "no database is called $kind\n";
}

# The servers that these kinds need.
sub servers {
    my ($class) = @_;
    my %needed = map { $_ => 1 } map { package_of($_)->server_name // () }
        $class->kinds;
    return sort keys %needed;
}

# A fresh, empty database. Options:
#   folder  where an embedded one keeps its file
#   server  another SmartsuppTest::Server than the shared one
#   name    a database of that server which is there already
#   through a port to which httpd connects instead of the server's
#   reconnect => 1 lets apr_dbd_mysql connect again behind our back
#   shipped => 1 has the DBDParams of conf/, with their timeouts
sub new {
    my ($class, $kind, %options) = @_;
    my $self = bless {kind => $kind, %options}, package_of($kind);
    $self->create;
    return $self;
}

sub kind    { return $_[0]{kind} }
sub server  { return $_[0]{server} }
sub name    { return $_[0]{name} }
sub dialect { return $_[0]->server_name // 'sqlite' }

# The lines that make mod_dbd use it.
sub config {
    my ($self) = @_;
    return sprintf qq{DBDriver %s\nDBDParams "%s"\nDBDMin 0},
        $self->driver, $self->params;
}

# What httpd needs in its environment.
sub environment { return {} }

# A DBI handle; texts come as characters. Made anew where a child process asks.
sub handle {
    my ($self) = @_;
    delete $self->{handle} if ($self->{owner} // $$) != $$;
    $self->{owner} = $$;
    return $self->{handle} //= $self->connect;
}

# Close the handle, so that httpd may be the last to leave, or the server end.
sub disconnect {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    $handle->disconnect;
    return;
}

# Run statements that change something.
sub change {
    my ($self, @sql) = @_;
    my $writer = $self->writer;
    $writer->do($_) for @sql;
    $writer->disconnect;
    return;
}

# All rows of a SELECT as hashes, and the first column of its first row.
sub rows {
    my ($self, $sql, @values) = @_;
    return @{$self->handle->selectall_arrayref($sql, {Slice => {}}, @values)};
}

sub value {
    my ($self, $sql, @values) = @_;
    return scalar $self->handle->selectrow_array($sql, undef, @values);
}

# All tables with all rows in order, to compare before with after:
# {table => [rows as lists]}; {} while there is no database.
sub dump {
    my ($self) = @_;
    return {} if !$self->exists;
    return {map { $_ => [sort { row_text($a) cmp row_text($b) }
        @{$self->handle->selectall_arrayref("SELECT * FROM $_")}] }
        $self->tables};
}

# How many rows each table has, by its name without the prefix.
sub counts {
    my ($self, $prefix) = (@_, 'smartsupp_');
    return {map { my $name = $_; $name =~ s/^\Q$prefix\E// ? ($name
        => $self->value("SELECT count(*) FROM $_")) : () } $self->tables};
}

# How many rows of the child tables belong to no conversation, or are not as
# many as it says.
sub orphans {
    my ($self, $prefix) = (@_, 'smartsupp_');
    my $key = 'c.account_id = x.account_id AND c.channel_id = x.channel_id'
        . ' AND c.begin_at = x.begin_at';
    my $count = 0;
    $count += $self->value("SELECT count(*) FROM ${prefix}$_ x WHERE NOT"
        . " EXISTS (SELECT 1 FROM ${prefix}conversation c WHERE $key)")
        for qw(message path variable);
    return $count + $self->value("SELECT count(*) FROM ${prefix}conversation"
        . " c WHERE message_rows <> (SELECT count(*) FROM ${prefix}message x"
        . " WHERE $key)");
}

sub row_text { return join "\0", map { $_ // "\1" } @{$_[0]} }

1;
