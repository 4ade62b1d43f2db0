package SmartsuppTest::Database;

# What the module stored, read from outside of it. A kind of database is one
# package below: it says which httpd lines choose it and how DBI opens it. A
# test of family 4 runs once for each:
#
#   for my $kind (SmartsuppTest::Database->kinds) {
#       my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
#       ... $httpd->database->rows('SELECT ...') ...
#   }
#
# A database that is missing here is a failure, never a skip.

use strict;
use warnings;

my %package = (sqlite => 'SmartsuppTest::Database::SQLite');

# The kinds that the tests run on.
sub kinds { return sort keys %package }

# A fresh, empty database. folder: where an embedded one keeps its file.
sub new {
    my ($class, $kind, %options) = @_;
    my $package = $package{$kind} // die "no database is called $kind\n";
    return bless {kind => $kind, %options}, $package;
}

sub kind { return $_[0]{kind} }

# The lines that make mod_dbd use it.
sub config {
    my ($self) = @_;
    return sprintf qq{DBDriver %s\nDBDParams "%s"\nDBDMin 0},
        $self->driver, $self->params;
}

# A DBI handle; texts come as characters. Made anew where a child process asks.
sub handle {
    my ($self) = @_;
    delete $self->{handle} if ($self->{owner} // $$) != $$;
    $self->{owner} = $$;
    return $self->{handle} //= $self->connect;
}

# Close the handle, so that httpd may be the last to leave, or the file go.
sub disconnect {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    $handle->disconnect;
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

sub row_text { return join "\0", map { $_ // "\1" } @{$_[0]} }

package SmartsuppTest::Database::SQLite;

our @ISA = ('SmartsuppTest::Database');

sub driver { return 'sqlite3' }
sub params { return "$_[0]{folder}/smartsupp.db" }
sub exists { return -s $_[0]->params }

# Opened read-only and never created: the file is httpd's.
sub connect {
    require DBD::SQLite;
    return $_[0]->open_file(DBD::SQLite::OPEN_READONLY());
}

# A further handle that may write.
sub writer {
    require DBD::SQLite;
    return $_[0]->open_file(DBD::SQLite::OPEN_READWRITE());
}

# Run one statement that changes something.
sub change {
    my ($self, $sql) = @_;
    my $writer = $self->writer;
    $writer->do($sql);
    $writer->disconnect;
    return;
}

sub open_file {
    my ($self, $flags) = @_;
    my $file = $self->params;
    die "no database at $file\n" if !-e $file;
    require DBI;
    return DBI->connect("dbi:SQLite:dbname=$file", '', '',
        {RaiseError => 1, PrintError => 0, sqlite_unicode => 1,
            sqlite_open_flags => $flags});
}

# The names of all tables.
sub tables {
    my ($self) = @_;
    return @{$self->handle->selectcol_arrayref("SELECT name FROM sqlite_master"
        . " WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name")};
}

# The columns of a table or view as {name => type as declared}, in upper case.
sub columns {
    my ($self, $table) = @_;
    return {map { $_->{name} => uc $_->{type} }
        $self->rows("SELECT name, type FROM pragma_table_info(?)", $table)};
}

1;
