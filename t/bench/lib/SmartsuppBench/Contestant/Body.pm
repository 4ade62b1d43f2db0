package SmartsuppBench::Contestant::Body;

# httpd with a handler that reads the body and answers 200: no receiver in this
# httpd can be faster.

use strict;
use warnings;

use SmartsuppBench::Contestant::Httpd ();

our @ISA = ('SmartsuppBench::Contestant::Httpd');

sub prepare {
    my ($self) = @_;
    my $folder = $self->{bench}{build} . '/bench/.libs';
    $self->make_httpd(<<'CONF', load => 0, hook => 0, database => 'none',
LoadModule bench_body_module "%%ROOT%%/mod_smartsupp_hook.so"
<Location "/hook">
    SetHandler bench-body
</Location>
CONF
        module => "$folder/mod_bench_body.so"); # copied under the usual name
    return;
}

1;
