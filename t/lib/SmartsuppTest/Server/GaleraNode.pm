package SmartsuppTest::Server::GaleraNode;

# One node of a private Galera cluster of MariaDB on the loopback.
#
#   my @nodes = SmartsuppTest::Server::GaleraNode->cluster(3);
#
# gives so many, started and joined. Needs the packages mariadb-server (for
# wsrep_sst_rsync), galera-4 and rsync.

use strict;
use warnings;

use File::Path ();

use SmartsuppTest::Server ();
use SmartsuppTest::Server::MariaDB ();

our @ISA = ('SmartsuppTest::Server::MariaDB');

# The ports of a node next to the one for SQL: replication, its incremental
# and its full state transfer.
my @channels = qw(group ist sst);

sub cluster {
    my ($class, $count) = @_;
    provider();
    my @nodes = map { bless SmartsuppTest::Server->new('mariadb',
        number => $_), $class } 1 .. $count;
    for my $node (@nodes) {
        $node->{password} = $nodes[0]{password};
        $node->{channel} = {map { $_ => SmartsuppTest::Server::GaleraNode::Port
            ->new } @channels};
    }
    my $address = 'gcomm://' . join ',', map { '127.0.0.1:'
        . $_->{channel}{group}->port } @nodes;
    $_->{address} = $address for @nodes;
    $_->start for @nodes;
    my $size;
    $nodes[0]->wait_for(sub { ($size = $nodes[0]->status('cluster_size'))
        == $count }) or die "the cluster has $size nodes\n";
    return @nodes;
}

# The library that replicates.
sub provider {
    my ($found) = grep { -e } map { "$_/libgalera_smm.so" }
        qw(/usr/lib/galera /usr/lib64/galera-4 /usr/lib64/galera);
    SmartsuppTest::Server::MariaDB::program($_) for qw(rsync wsrep_sst_rsync);
    return $found // die "libgalera_smm.so is missing: install galera-4\n";
}

# Who comes first makes the cluster and the users; the others get all they
# have from it.
sub is_first { return $_[0]{number} == 1 && !$_[0]{set_up} }

sub command {
    my ($self) = @_;
    my $channel = $self->{channel};
    $self->{settings} = {
        'wsrep-on'                 => 1,
        'wsrep-provider'           => provider(),
        'wsrep-cluster-address'    => $self->{address},
        'wsrep-node-name'          => "node$self->{number}",
        'wsrep-node-address'       => '127.0.0.1:'
            . $channel->{group}->port,
        'wsrep-sst-method'         => 'rsync',
        'wsrep-sst-receive-address' => '127.0.0.1:' . $channel->{sst}->port,
        'wsrep-provider-options'   => 'gmcast.listen_addr=tcp://127.0.0.1:'
            . $channel->{group}->port . ';ist.recv_addr=127.0.0.1:'
            . $channel->{ist}->port . ';gcache.size=64M',
        'binlog-format'            => 'ROW',
        'innodb-autoinc-lock-mode' => 2,
        'default-storage-engine'   => 'InnoDB',
    };
    my @command = $self->SUPER::command;
    return ($self->is_first ? (@command, '--wsrep-new-cluster')
        : grep { !/^--init-file=/ } @command);
}

# It serves when it has joined.
sub serves {
    my ($self) = @_;
    return eval { $self->status('local_state_comment') eq 'Synced' };
}

# What it says about itself: wsrep_<name>.
sub status {
    my ($self, $name) = @_;
    my $handle = $self->connect;
    my (undef, $value) = $handle->selectrow_array(
        "SHOW STATUS LIKE 'wsrep_$name'");
    $handle->disconnect;
    return $value;
}

package SmartsuppTest::Server::GaleraNode::Port;

our @ISA = ('SmartsuppTest::Process');

sub new {
    my ($class) = @_;
    my $self = bless {}, $class;
    $self->reserve_port;
    return $self;
}

1;
