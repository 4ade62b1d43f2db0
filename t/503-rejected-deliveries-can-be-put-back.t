#!/usr/bin/perl
# smartsupp-spool, the administrator's command: first alone, on files that are
# written here, in every shell and with every awk that is there; then with a
# server whose deliveries were refused.

use strict;
use warnings;

use Digest::SHA ();
use Fcntl qw(O_RDWR O_NOCTTY);
use File::Temp ();
use FindBin;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC sockaddr_un);
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp spew);
use SmartsuppTest::Spool;

my $command = "$FindBin::Bin/../mod_smartsupp_hook/smartsupp-spool";

# The shells, by name: the words that start them, and the PATH of their tools.
my $folder = File::Temp->newdir('smartsupp-XXXXXXXX', TMPDIR => 1);
my %shells = (sh => [['/bin/sh'], $ENV{PATH}]);
for my $name (qw(dash bash ksh mksh posh)) {
    my $path = which($name) // next;
    $shells{$name} = [[$path], $ENV{PATH}];
}
for my $name (qw(mawk gawk original-awk)) {
    my $path = which($name) // next;
    mkdir "$folder/$name";
    symlink $path, "$folder/$name/awk";
    $shells{"sh with $name"} = [['/bin/sh'], "$folder/$name:$ENV{PATH}"];
}
if (my $busybox = which('busybox')) {
    mkdir "$folder/busybox";
    system $busybox, '--install', '-s', "$folder/busybox";
    $shells{busybox} = [["$folder/busybox/sh"], "$folder/busybox"];
}
my $shell = 'sh';

for my $name (sort keys %shells) {
    $shell = $name;
    subtest "in $name" => sub {
        looks_into_a_spool();
        shows_what_is_there();
        puts_back();
        puts_back_only_what_fits();
        deletes();
        finds_names();
        tells_damaged_ones();
        obeys_no_file();
        refuses_other_folders();
        explains_itself();
    };
}
$shell = 'sh';
hash_programs();
copies_are_spools();
subtest 'what a server refused' => \&server_refuses;
done_testing;

sub which {
    my ($name) = @_;
    return (grep { -x } map { "$_/$name" } split /:/, $ENV{PATH})[0];
}

# Run it: {status, out, err}. A hash may come first: environment to change, and
# tty => 1 for a terminal in place of standard output.
sub spool {
    my %options = ref $_[0] ? %{shift()} : ();
    my $terminal = delete $options{tty} ? terminal() : undef;
    my ($words, $path) = @{$shells{$shell}};
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        delete @ENV{grep { /^(?:LC_|LANG)/ } keys %ENV};
        %ENV = (%ENV, PATH => $path, %options);
        open STDOUT, '>', "$folder/out" or die "$folder/out: $!\n";
        POSIX::dup2(fileno $terminal->[1], 1) if $terminal;
        open STDERR, '>', "$folder/err" or die "$folder/err: $!\n";
        open STDIN, '<', '/dev/null';
        exec @$words, $command, @_ or POSIX::_exit(126);
    }
    my $shown = $terminal ? read_terminal($terminal) : undef;
    waitpid $pid, 0;
    return {status => $? >> 8, out => $shown // slurp("$folder/out"),
        err => slurp("$folder/err")};
}

# A fresh terminal, as [our side, its side].
sub terminal {
    open my $ours, '+<', '/dev/ptmx' or die "/dev/ptmx: $!\n";
    my $number = pack 'i', 0;
    ioctl $ours, 0x40045431, $number or die "TIOCSPTLCK: $!\n";
    ioctl $ours, 0x80045430, $number or die "TIOCGPTN: $!\n";
    sysopen my $its, '/dev/pts/' . unpack('i', $number), O_RDWR | O_NOCTTY
        or die "terminal: $!\n";
    return [$ours, $its];
}

# What is written to it until all have closed it.
sub read_terminal {
    my ($ours, $its) = @{$_[0]};
    my $text = '';
    close $its;
    1 while sysread $ours, $text, 65536, length $text;
    $text =~ s/\r\n/\n/g;
    return $text;
}

# A fresh spool.
sub fresh {
    my $path = File::Temp->newdir('spool-XXXXXXXX', DIR => $folder,
        CLEANUP => 0)->dirname;
    rmdir $path;
    return SmartsuppTest::Spool->new($path)->make;
}

# Did as told, without a word to standard error.
sub done_well {
    my ($result, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply [$result->{status}, $result->{err}], [0, ''], $name
        or diag explain $result;
    return $result;
}

# Refused, with this said.
sub refused {
    my ($result, $said, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is $result->{status}, 1, "$name: refused" or diag explain $result;
    like $result->{err}, qr/\Asmartsupp-spool: [^\n]*$said[^\n]*\n\z/,
        'and says why' or diag explain $result;
    return $result;
}

sub looks_into_a_spool {
    my $spool = fresh();
    is done_well(spool('status', $spool->path), 'status of nothing')->{out},
        "waiting: 0, 0 bytes\nrejected: 0, 0 bytes\n", 'is nothing';
    is done_well(spool('list', $spool->path), 'list of nothing')->{out}, '',
        'is nothing';
    $spool->put('abc', received => 1427470439703);
    $spool->put('abcdef', received => 951782400000);
    $spool->reject('{"a":1}', reason => 'first', received => 4102444799999);
    $spool->reject('{"b":22}', reason => 'second', server => "d\xc4\x9bti:80",
        received => 951827696123);
    my @bytes = map { my $in = $_; my $sum = 0;
        $sum += -s $spool->path($in, $_) for $spool->names($in); $sum }
        qw(new rejected);
    is done_well(spool('status', $spool->path), 'status')->{out},
        "waiting: 2, $bytes[0] bytes, the oldest received"
        . " 2000-02-29T00:00:00Z\nrejected: 2, $bytes[1] bytes\n",
        'says how many, how much, and how old';
    my @names = map { SmartsuppTest::Spool::name($_) =~ /-(.*)/ }
        '{"b":22}', '{"a":1}';
    is done_well(spool('list', $spool->path), 'list')->{out},
        "$names[0]\t2000-02-29T12:34:56Z\t8\td\\xc4\\x9bti:80\tsecond\n"
        . "$names[1]\t2099-12-31T23:59:59Z\t7\twww.example.com:443\tfirst\n",
        'has a line each, the oldest first';
    like spool({LC_ALL => 'C.UTF-8'}, 'list', $spool->path)->{out},
        qr/\td\xc4\x9bti:80\t/, 'in UTF-8 where the terminal knows it';
    $spool->write('new', 'foreign', 'x');
    $spool->write('tmp', 'half', 'x');
    $spool->write('rejected', 'foreign.damaged', 'x' x 10);
    $bytes[1] += 10;
    my $status = spool('status', $spool->path)->{out};
    like $status, qr/^rejected: 3, $bytes[1] bytes, 1 of them damaged$/m,
        'damaged ones are counted';
    like $status, qr/^waiting: 2, .*^foreign: 1 in .*^unfinished: 1 in /ms,
        'others are told of';
    return;
}

sub shows_what_is_there {
    my $spool = fresh();
    my $body = join '', map { chr } 0 .. 255;
    my $name = $spool->reject($body, reason => 'all bytes');
    my $shown = spool('show', $spool->path, $name);
    is $shown->{status}, 0, 'show';
    is $shown->{out}, <<"SHOWN", 'shows the header';
name:     $name
received: 2015-03-27T15:33:59Z (1427470439703)
server:   www.example.com:443
length:   256
sha256:   $name
reason:   all bytes
SHOWN
    like $shown->{err}, qr/--body/, 'and tells how to see the body';
    is done_well(spool('show', $spool->path, $name, '--body'), '--body')->{out},
        $body, 'which comes byte for byte';
    my $escaped = join '', map { $_ == 9 || $_ == 10 || $_ > 31 && $_ < 127
        ? chr : sprintf '\\x%02x', $_ } 0 .. 255;
    is spool({tty => 1}, 'show', '--body', $spool->path, $name)->{out},
        $escaped, 'on a terminal what it would obey is escaped';
    my $text = "\xc4\x9b \xc2\x9b \xe2\x80\xae \xed\xa0\x80 \xf0\x9f\x98\x80"
        . " \xe2\x82 \xc0\xaf \xf4\x90\x80\x80 \xef\xbb\xbf \xf0";
    $name = $spool->reject($text);
    is spool({tty => 1, LANG => 'cs_CZ.UTF-8'}, 'show', '--body', $spool->path,
        $name)->{out}, "\xc4\x9b \\xc2\\x9b \\xe2\\x80\\xae \\xed\\xa0\\x80"
        . " \xf0\x9f\x98\x80 \\xe2\\x82 \\xc0\\xaf \\xf4\\x90\\x80\\x80"
        . " \xef\xbb\xbf \\xf0", 'and UTF-8 is shown, if it is right and tame';
    for my $size (0, 1, 1023, 1024, 1025, 300_000) {
        my $body = 'x' x $size;
        my $name = $spool->reject($body);
        is spool('show', $spool->path, $name, '--body')->{out}, $body,
            "$size bytes";
    }
    refused(spool('show', $spool->path, 'f' x 64), 'no rejected delivery',
        'another name');
    return;
}

sub puts_back {
    my $spool = fresh();
    my ($one, $two, $three) = map { $spool->reject($_, received => $_) } 1 .. 3;
    my @before = stat $spool->path('rejected', $one);
    my $moved = done_well(spool('requeue', $spool->path, $one), 'requeue');
    is $moved->{out}, "requeued $one\n", 'says so';
    is_deeply [$spool->names('new')], ["0000000000001-$one"], 'and moves it';
    is_deeply [$spool->names('rejected')], [sort $two, $three], 'away';
    my @after = stat $spool->path('new', "0000000000001-$one");
    is_deeply [@after[1, 2, 4, 5, 7, 9]], [@before[1, 2, 4, 5, 7, 9]],
        'with its owner and mode';
    done_well(spool('requeue', $spool->path, '--all'), 'requeue --all');
    is_deeply [$spool->names('rejected')], [], 'moves all';
    is_deeply [map { $_->{body} } $spool->deliveries('new')], [1, 2, 3],
        'in the order in which they came';
    is_deeply [$spool->damaged], [], 'under the proper names';
    done_well(spool('requeue', $spool->path, '--all'), 'nothing is enough');
    return;
}

sub puts_back_only_what_fits {
    my $spool = fresh();
    my $name = $spool->reject('twice', reason => 'again');
    $spool->put('twice');
    done_well(spool('requeue', $spool->path, $name), 'what waits already');
    is_deeply [$spool->names('rejected'), scalar $spool->names('new')], [1],
        'waits once';
    my $target = SmartsuppTest::Spool::name('other');
    $name = $spool->reject('other');
    my %others = (
        'a damaged file' => sub { $spool->write('new', $target, 'mine') },
        'a folder' => sub { mkdir $spool->path('new', $target) },
        'a dangling link' => sub { symlink 'x', $spool->path('new', $target) },
        'a link to a file' => sub { symlink "../rejected/$name",
            $spool->path('new', $target) },
    );
    for my $other (sort keys %others) {
        $others{$other}->();
        my @before = lstat $spool->path('new', $target);
        refused(spool('requeue', $spool->path, $name), 'another file',
            "$other is in the way");
        my @after = lstat $spool->path('new', $target);
        is_deeply [@after[1, 2, 7, 9]], [@before[1, 2, 7, 9]], 'it stays';
        is_deeply [$spool->names('rejected')], [$name], 'as it was';
        rmdir $spool->path('new', $target);
        unlink $spool->path('new', $target);
    }
    return if $> != 0;
    chown 1, 1, $spool->path('rejected', $name);
    refused(spool('requeue', $spool->path, $name), 'chown it to 0 ',
        'what httpd could not read');
    return;
}

sub deletes {
    my $spool = fresh();
    my @names = map { $spool->reject($_) } 1 .. 4;
    $spool->put('waits');
    is done_well(spool('delete', $spool->path, @names[1, 2]), 'delete')->{out},
        "deleted $names[1]\ndeleted $names[2]\n", 'says so';
    is_deeply [$spool->names('rejected')], [sort @names[0, 3]], 'and does so';
    $spool->write('rejected', '-rf .damaged', '');
    my $refused = spool('delete', $spool->path, '--all');
    is $refused->{status}, 2, 'delete --all wants to be sure';
    like $refused->{err}, qr/--yes/, 'and says how';
    is scalar $spool->names('rejected'), 3, 'nothing is gone';
    mkdir $spool->path('rejected', 'folder');
    refused(spool('delete', $spool->path, '--all', '--yes'), 'folder',
        'a folder');
    is_deeply [$spool->names('rejected')], ['folder'], 'the rest is gone';
    is scalar $spool->names('new'), 1, 'what waits stays';
    return;
}

sub finds_names {
    my $spool = fresh();
    my $file = SmartsuppTest::Spool::file('x', reason => 'x');
    my ($one, $two) = map { $_ . '0' x 54 } 'abcdef0123', 'abcdef9876';
    $spool->write('rejected', $_, $file) for $one, $two;
    my @show = ('show', $spool->path);
    like spool(@show, 'abcdef0')->{out}, qr/^name: +$one$/m, 'a prefix';
    refused(spool(@show, 'abcdef'), '2 names begin', 'of two names');
    refused(spool(@show, 'abcde'), 'too short', 'of 5 characters');
    refused(spool(@show, 'abcdef01*'), 'no rejected', 'a pattern');
    refused(spool(@show, 'ABCDEF0'), 'no rejected', 'in capitals');
    refused(spool(@show, $_), 'no name', 'a path') for "../rejected/$one", '..',
        '.', "./$one", '';
    $spool->write('rejected', "$one.damaged", $file);
    like spool(@show, $one)->{out}, qr/^name: +$one$/m,
        'a whole name wins against a longer one';
    refused(spool('delete', $spool->path, 'abcdef0', $two), '2 names begin',
        'one of two');
    is_deeply [$spool->names('rejected')], [$one, "$one.damaged"],
        'the other is done';
    return;
}

sub tells_damaged_ones {
    my $spool = fresh();
    my $whole = SmartsuppTest::Spool::file('body', reason => 'words');
    my $file = \&SmartsuppTest::Spool::file;
    my %damaged = (
        'empty'                  => '',
        'nothing of ours'        => 'x' x 2000,
        'zeros'                  => "\0" x 2000,
        'a torn header'          => substr($whole, 0, 100),
        'a torn body'            => substr($whole, 0, -1),
        'a longer body'          => "${whole}x",
        'another body'           => $whole =~ s/body\z/bodz/r,
        'another header'         => $whole =~ s/words/sword/r,
        'a lie about its length' => $file->('body', length => 5),
        'a lie about its sum'    => $file->('body', sha256 => '0' x 64),
        'a sum in capitals'      => $file->('body', sha256 => 'A' x 64),
        'a lie about its header' => $file->('body', check => '0' x 64),
        'a sign'                 => $file->('body', received => '+1'),
        'a leading zero'         => $file->('body', received => '01'),
        'a late time'            => $file->('body', received => 1e13),
        'no time'                => $file->('body', received => 0),
        'a negative length'      => $file->('body', length => -1),
        'a control character'    => $file->('body', reason => "\e[31m"),
        'a NUL'                  => $file->('body', server => "a\0b"),
        'a long reason'          => $file->('body', reason => 'x' x 256),
        'a reason in its place'  => $file->('body', server => "x\nreason y"),
        'another version'        => reseal($whole, qr/spool 1/, 'spool 2'),
        'two spaces'             => reseal($whole, qr/received /, 'received  '),
        'CRLF'                   => reseal($whole, qr/\n/, "\r\n"),
        'no reason of words'     => reseal($whole, qr/reason words\n/, "\n"),
    );
    my $number = 0;
    my %name = map { $_ => sprintf '%064x', ++$number } sort keys %damaged;
    $spool->write('rejected', $name{$_}, $damaged{$_}) for keys %damaged;
    $spool->reject('whole');
    my %line = map { /^([^\t]+)\t(.*)$/ } split /\n/,
        done_well(spool('list', $spool->path), 'list with damaged')->{out};
    for my $what (sort keys %damaged) {
        my $size = length $damaged{$what};
        like $line{$name{$what}}, qr/^-\t$size\t-\tdamaged: \w/, $what;
    }
    my @all = $spool->names('rejected');
    my $result = spool('requeue', $spool->path, '--all');
    is $result->{status}, 1, 'not all can be requeued';
    is scalar(() = $result->{err} =~ /^smartsupp-spool: .* is damaged and/mg),
        scalar keys %damaged, 'which is said of each';
    is_deeply [map { $_->{body} } $spool->deliveries('new')], ['whole'],
        'the whole one is';
    is_deeply [$spool->names('rejected')], [sort values %name], 'they stay';
    like spool('show', $spool->path, $name{'another body'})->{out},
        qr/^damaged:  its body has been changed\nreceived: 2015/m,
        'show says what is known';
    for my $what ('a torn header', 'zeros', 'empty') {
        my $shown = refused(spool('show', $spool->path, $name{$what}, '--body'),
            'damaged', "the body of $what");
        is $shown->{out}, $damaged{$what}, 'is the file';
    }
    $spool->write('rejected', 'foreign.damaged', $file->('whole after all'));
    done_well(spool('requeue', $spool->path, 'foreign'), 'a whole file with'
        . ' another name is put back');
    is_deeply [grep { /^new/ } $spool->damaged], [], 'under the proper one';
    return;
}

# A file with its header changed and checked anew.
sub reseal {
    my ($file, $from, $to) = @_;
    my ($header) = $file =~ /\A(.*)^check /ms;
    $header =~ s/$from/$to/g;
    return $header . 'check ' . Digest::SHA::sha256_hex($header) . "\nbody";
}

# Names and contents made to do harm.
sub obeys_no_file {
    my $spool = fresh();
    my @names = ("\e[2J\e]0;x\a.damaged", "new\nline.damaged", '-rf',
        '$(touch obeyed)', '`touch obeyed`; touch obeyed', '* * *', '%s%n\\c',
        "back\\x41slash", "\xc2\x9b31m", '...', '.hidden', 'white space',
        "quote'\"", '--all', '[0-9a-f]');
    $spool->write('rejected', $_, "\e]0;x\a" x 100) for @names;
    mkdir $spool->path('rejected', 'folder.damaged');
    symlink '/etc/passwd', $spool->path('rejected', 'link.damaged');
    POSIX::mkfifo($spool->path('rejected', 'fifo.damaged'), 0600);
    socket my $socket, AF_UNIX, SOCK_STREAM, PF_UNSPEC;
    bind $socket, sockaddr_un($spool->path('rejected', 'sock.damaged'));
    my $files = @names + 4;

    my $list = done_well(spool({LANG => 'C.UTF-8'}, 'list', $spool->path),
        'list of hostile names')->{out};
    is $list =~ tr/\n//, $files, 'has a line each';
    unlike $list, qr/[^\n\t -~]/, 'of tame characters';
    like $list, qr/^new\\x0aline.damaged\t/m, 'which tell of the others';
    unlike $list, qr/root/, 'no link is followed';
    like spool('status', $spool->path)->{out},
        qr/^rejected: $files, \d+ bytes, $files of them damaged$/m, 'status';
    my $result = spool('requeue', $spool->path, '--all');
    is_deeply [$result->{status}, $spool->names('new')], [1],
        'none is requeued';
    unlike $result->{err}, qr/[^\n -~]/, 'tame characters again';
    unlike spool(@$_)->{err}, qr/[^\n -~]/, 'and again' for ["\e[2J"],
        ['list', "/\e[2J"], ['show', $spool->path, "\e[2J\e[2J"],
        ['list', $spool->path, "--\e[2J"];
    refused(spool('show', '--body', $spool->path, $_), 'no ordinary file', $_)
        for qw(link.damaged fifo.damaged folder.damaged);
    done_well(spool('delete', $spool->path, 'new\x0al', 'back\x5cx41'),
        'names are found as they are listed');
    done_well(spool('delete', $spool->path, '--', '-rf', '--all', "\e[2J\e]"),
        'and as they are');
    done_well(spool('delete', $spool->path, 'link.damaged'), 'a link goes');
    ok -s '/etc/passwd', 'what it points to stays';
    refused(spool('delete', $spool->path, '--all', '--yes'), 'folder', 'all');
    is_deeply [$spool->names('rejected')], ['folder.damaged'], 'all are gone';
    ok !grep({ -e "$_/obeyed" } '.', $spool->path, $spool->path('rejected')),
        'nothing was obeyed';
    return;
}

sub refuses_other_folders {
    my $spool = fresh();
    $spool->reject('x');
    refused(spool('list', $folder), 'is no spool', 'another folder');
    refused(spool('list', "$folder/missing"), 'there is no folder', 'none');
    refused(spool('list', "$folder/out"), 'there is no folder', 'a file');
    my $away = "$folder/away$shell";
    rename $spool->path('rejected'), $away;
    refused(spool('list', $spool->path), 'no folder rejected', 'half a spool');
    symlink $away, $spool->path('rejected');
    refused(spool('delete', $spool->path, '--all', '--yes'),
        'no folder rejected', 'a link for a folder');
    unlink $spool->path('rejected');
    rename $away, $spool->path('rejected');
    my $link = "$folder/-link $shell";
    symlink $spool->path, $link;
    like done_well(spool('list', "$link/"), 'a link to the spool')->{out},
        qr/^[0-9a-f]{64}\t/, 'is the spool';
    chdir $folder;
    like spool('list', '--', "-link $shell")->{out}, qr/^[0-9a-f]{64}\t/,
        'and so is a relative one with a dash';
    chdir '/';
    return;
}

sub explains_itself {
    for my $arguments (['--help'], ['-h'], ['requeue', '--help']) {
        my $help = done_well(spool(@$arguments), "@$arguments");
        like $help->{out}, qr/^usage: .*status.*list.*show.*requeue.*delete/ms,
            'tells how';
    }
    for my $arguments ([], ['x'], ['list'], ['list', ''], ['list', '/', '/'],
        ['show', '/'], ['show', '/', 'a', 'b'], ['requeue', '/'],
        ['requeue', '/', '--all', 'x'], ['requeue', '/', '--yes'],
        ['delete', '/', '--body'], ['list', '--all', '/'], ['status', '-x']) {
        my $result = spool(@$arguments);
        is $result->{status}, 2, "misuse: @$arguments";
        like $result->{err}, qr/usage:|--help/, 'says where to look';
    }
    return;
}

# With each program that knows SHA-256, and without any.
sub hash_programs {
    my $spool = fresh();
    $spool->reject('x');
    my @tools = qw(awk cat cut dd find ls mv od rm sed sh sort tail wc);
    for my $program (qw(sha256sum openssl shasum none)) {
        my $path = "$folder/with-$program";
        mkdir $path;
        my $file = which($program);
        next if !$file && $program ne 'none';
        symlink which($_), "$path/$_" for @tools, $file ? $program : ();
        my $result = spool({PATH => $path}, 'list', $spool->path);
        $program eq 'none'
            ? refused($result, 'install sha256sum', 'without one')
            : like(done_well($result, "with $program")->{out},
                qr/\tno reason$/m, 'lists');
    }
    return;
}

# A spool is moved by copying it.
sub copies_are_spools {
    my $spool = fresh();
    $spool->reject($_) for 1 .. 3;
    $spool->put($_) for 4 .. 5;
    my @before = map { spool($_, $spool->path)->{out} } qw(status list);
    for my $how ("cp -a '%s' '%s'",
        "mkdir '%2\$s' && tar -C '%s' -cf - . | tar -C '%s' -xpf -") {
        my $copy = SmartsuppTest::Spool->new("$folder/copy" . length $how);
        system sprintf $how, $spool->path, $copy->path;
        is_deeply [map { spool($_, $copy->path)->{out} } qw(status list)],
            \@before, 'a copy is the same' or diag $how;
        is_deeply [$copy->damaged], [], 'and whole';
    }
    return;
}

# 400, 422 and what the database refuses for good.
sub server_refuses {
    my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF');
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 1s
CONF
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->start;
    my $database = $httpd->database;
    is post($httpd, sample())->{result}, 'stored', 'one is stored';
    $database->change($database->refusal('refused', 'not this one'));

    my $refused = body_of('channel.id' => 'refused');
    my @cases = ([400, '{"account":'], [422, '{"accountId":"x"}'],
        [202, $refused]);
    for my $case (@cases) {
        my ($status, $body) = @$case;
        for my $time (1 .. 2) {
            my $answer = post($httpd, $body);
            is_deeply [@$answer{qw(status result)}], [$status, 'rejected'],
                "$status, time $time" or diag explain $answer;
        }
    }
    is_deeply [$spool->damaged], [], 'what is kept is right';
    is_deeply [sort map { $_->{body} } $spool->deliveries('rejected')],
        [sort map { $_->[1] } @cases], 'byte for byte, once each';
    my @lines = split /\n/, done_well(spool('list', $spool->path),
        'smartsupp-spool list')->{out};
    is @lines, 3, 'lists them' or diag explain \@lines;
    my ($line) = grep { /not this one/ } @lines;
    ok $line, "with the database's words" or diag explain \@lines;
    my ($name) = split /\t/, $line // '';

    $database->change('DROP TRIGGER refusal');
    done_well(spool('requeue', $spool->path, substr $name, 0, 12), 'requeue');
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'the drainer takes it';
    is $database->value('SELECT count(*) FROM smartsupp_conversation WHERE'
        . " channel_id = 'refused'"), 1, 'and stores it';
    ok !$spool->read('rejected', $name), 'it is rejected no more';
    done_well(spool('requeue', $spool->path, '--all'), 'requeue of the others');
    ok $httpd->wait_for(sub { !$spool->names('new')
        && $spool->names('rejected') == 2 }), 'they come back';
    is_deeply [$spool->damaged], [], 'as they were';
    $httpd->allow_log(qr/SMARTSUPP0[245]\d\d/);
    $httpd->done;
    return;
}
