package SmartsuppTest::Spool;

# The spool's files, written and read by the words of smartsupp_spool.h alone:
# a second opinion on what the module does. A folder of one:
#
#   my $spool = SmartsuppTest::Spool->of($httpd);
#   $spool->put($body, received => 1);  # as if httpd had
#   $spool->names('new');
#   is_deeply [$spool->damaged], [];
#
# What is made for an httpd belongs to the user that it runs as.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

use SmartsuppTest::Process qw(slurp spew);

use constant RECEIVED => 1427470439703;

sub new {
    my ($class, $path, $httpd) = @_;
    return bless {path => $path, httpd => $httpd}, $class;
}

# The one of an httpd, which `SmartsuppSpool %%ROOT%%/spool` (or another path)
# names: an empty folder as yet.
sub of {
    my ($class, $httpd, $path) = @_;
    my $self = $class->new($path // $httpd->path('spool'), $httpd);
    mkdir $self->path, 0700;
    $self->give($self->path);
    return $self;
}

sub path { my ($self, @names) = @_; return join '/', $self->{path}, @names }

# Make it, where no httpd does.
sub make {
    my ($self) = @_;
    for my $folder ($self->path, map { $self->path($_) } qw(tmp new rejected)) {
        mkdir $folder, 0700 or die "$folder: $!\n";
        $self->give($folder);
    }
    return $self;
}

sub give {
    my ($self, $path) = @_;
    $self->{httpd}->give($path) if $self->{httpd};
    return;
}

# The bytes of a file for a body. Options: received, server, reason, and length,
# sha256, check to lie about.
sub file {
    my ($body, %options) = @_;
    my $header = "smartsupp-spool 1\n"
        . 'received ' . ($options{received} // RECEIVED) . "\n"
        . 'server ' . ($options{server} // 'www.example.com:443') . "\n"
        . 'length ' . ($options{length} // length $body) . "\n"
        . 'sha256 ' . ($options{sha256} // sha256_hex($body)) . "\n";
    $header .= "reason $options{reason}\n" if defined $options{reason};
    return $header . 'check ' . ($options{check} // sha256_hex($header))
        . "\n$body";
}

# What a file says: {received, server, length, sha256, reason, body}, or undef
# where it is not a whole delivery.
sub parse {
    my ($bytes) = @_;
    my $number = qr/0|[1-9][0-9]*/;
    my $text = qr/[^\x00-\x1f\x7f]{0,255}/;
    my $digest = qr/[0-9a-f]{64}/;
    $bytes =~ s/\A(smartsupp-spool\ 1\nreceived\ ($number)\nserver\ ($text)\n
        length\ ($number)\nsha256\ ($digest)\n(?:reason\ ($text)\n)?)
        check\ ($digest)\n//x or return undef;
    my ($header, $received, $server, $length, $sha256, $reason, $check)
        = ($1, $2, $3, $4, $5, $6, $7);
    return undef if sha256_hex($header) ne $check || $length != length $bytes
        || sha256_hex($bytes) ne $sha256;
    return {received => $received, server => $server, length => $length,
        sha256 => $sha256, reason => $reason, body => $bytes};
}

# The proper name of such a file in new/.
sub name {
    my ($body, $received) = (@_, RECEIVED);
    return sprintf '%013d-%s', $received, sha256_hex($body);
}

# Put a delivery into new/, as atomically as httpd; gives its name.
sub put {
    my ($self, $body, %options) = @_;
    my $name = name($body, $options{received} // RECEIVED);
    $self->write('tmp', $name, file($body, %options));
    rename $self->path('tmp', $name), $self->path('new', $name)
        or die "$name: $!\n";
    return $name;
}

# Keep one in rejected/; gives its name.
sub reject {
    my ($self, $body, %options) = @_;
    my $name = sha256_hex($body);
    $self->write('rejected', $name, file($body, reason => 'no reason',
        %options));
    return $name;
}

# Write any file.
sub write {
    my ($self, $folder, $name, $bytes) = @_;
    my $file = $self->path($folder, $name);
    spew($file, $bytes);
    chmod 0600, $file;
    $self->give($file);
    return $name;
}

# The names in a folder, in order.
sub names {
    my ($self, $folder) = @_;
    opendir my $handle, $self->path($folder)
        or die $self->path($folder) . ": $!\n";
    my @names = sort grep { !/^\.\.?\z/ } readdir $handle;
    return @names;
}

# A file of it, parsed; undef where it is damaged or gone.
sub read {
    my ($self, $folder, $name) = @_;
    return parse(eval { slurp($self->path($folder, $name)) } // return undef);
}

# What waits, or was rejected, parsed.
sub deliveries {
    my ($self, $folder) = @_;
    return map { $self->read($folder, $_) // () } $self->names($folder);
}

# The files of new/ and rejected/ that are not whole or not named as they
# should be, and those whose owner or mode is not httpd's.
sub damaged {
    my ($self) = @_;
    my @found;
    for my $folder (qw(new rejected)) {
        for my $name ($self->names($folder)) {
            my $file = $self->read($folder, $name);
            my $proper = $file && ($folder eq 'rejected' ? $file->{sha256}
                : name($file->{body}, $file->{received}));
            my ($mode, $owner) = (stat $self->path($folder, $name))[2, 4];
            my $user = $self->{httpd} && $self->{httpd}{user};
            push @found, "$folder/$name" if ($proper // '') ne $name
                || ($mode & 07777) != 0600
                || $user && $owner != $user->[1];
        }
    }
    return @found;
}

# Make what a crash left in tmp/ so old that httpd looks after it. Gives how
# many files that were.
sub age {
    my ($self) = @_;
    my @files = map { $self->path('tmp', $_) } $self->names('tmp');
    return utime time - 3600, time - 3600, @files if @files;
    return 0;
}

1;
