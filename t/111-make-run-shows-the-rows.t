#!/usr/bin/perl
# What make run and make stop call: the sample becomes rows, a second run
# changes nothing, the lines that are printed work, no process is left.

use strict;
use warnings;

use Cwd qw(realpath);
use File::Path qw(remove_tree);
use File::Temp ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Httpd;

my $checkout = realpath("$FindBin::Bin/..");
my $folder = File::Temp->newdir('smartsupp-XXXXXXXX',
    DIR => $> == 0 ? '/var/tmp' : File::Spec->tmpdir);
chmod 0755, $folder;
$ENV{SMARTSUPP_RUN} = "$folder/run";
chdir $checkout or die "$checkout: $!\n";

# Exit status and output of t/run.
sub t_run {
    my $output = `'$FindBin::Bin/run' @_ 2>&1`;
    return ($? >> 8, $output);
}

# Whatever happens, nothing stays behind.
END {
    local $?;
    t_run('stop');
    my $real = realpath($ENV{SMARTSUPP_RUN}) // '';
    remove_tree($real) if $real =~ m{/smartsupp-run-\w+\z};
}

my $rows = qr/1 conversation, 6 messages, 2 paths, 3 variables/;
my $line = qr/^2015-03-27 15:34:13  John Doe  Hi, how can i help you \?$/m;

my ($status, $output) = t_run();
is $status, 0, 'the first run succeeds' or diag $output;
like $output, qr/200, Smartsupp-Result: stored/, 'the sample is stored';
like $output, $rows, 'the rows are counted';
like $output, $line, 'and can be read';
my $httpd = SmartsuppTest::Httpd->existing(realpath("$folder/run"));
my $pid = $httpd->attach;
ok $pid, 'the server stays up';
my $owner = (stat "/proc/$pid")[4];
is $owner, $> == 0 ? SmartsuppTest::Httpd::ordinary_user()->[1] : $>,
    'as an ordinary user';
my $database = SmartsuppTest::Database->new('sqlite',
    folder => $httpd->path('db'));
my $before = $database->dump;

($status, $output) = t_run();
is $status, 0, 'the second run succeeds' or diag $output;
like $output, qr/200, Smartsupp-Result: duplicate/, 'it is a duplicate';
like $output, $rows, 'the rows are the same';
is $httpd->attach, $pid, 'on the same server';
is_deeply $database->dump, $before, 'nothing has changed';

my ($send) = $output =~ /^Send.*\n +(.*)$/m;
my ($look) = $output =~ /^Look.*\n +(.*)$/m;
like `$send`, qr/^Smartsupp-Result: stored/m, 'the curl line works';
is $?, 0, 'with status 0';
like `$look`, $line, 'the sqlite3 line works';
is $?, 0, 'with status 0';
is $database->value('SELECT count(*) FROM smartsupp_conversation'), 2,
    'the next one is stored';

$httpd->kill9;
$database->disconnect;
($status, $output) = t_run();
is $status, 0, 'after a kill -9 it starts again' or diag $output;
like $output, qr/duplicate/, 'on the same database';
$pid = $httpd->attach;
kill 'KILL', $pid;
($status, $output) = t_run('stop');
is $status, 0, 'children whose parent was killed can be stopped';
is_deeply [$httpd->processes], [], 'no process is left';

SmartsuppTest::Httpd::spew($httpd->path('run/httpd.pid'), "$$\n");
($status, $output) = t_run('stop');
is $status, 0, 'a pid file that names another process';
like $output, qr/no server runs/, 'harms nobody';
($status, $output) = t_run();
is $status, 0, 'nor the next run' or diag $output;
$httpd->attach;
($status, $output) = t_run('stop');
is $status, 0, 'stop';
is_deeply [$httpd->processes], [], 'leaves no process';
is((t_run('stop'))[0], 0, 'nor harm when nothing runs');

SKIP: {
    skip 'only root runs httpd as someone else', 4 if $> != 0;
    mkdir "$folder/closed" or die "closed: $!\n";
    chmod 0700, "$folder/closed";
    local $ENV{SMARTSUPP_RUN} = "$folder/closed/run";
    ($status, $output) = t_run();
    is $status, 0, 'where an ordinary user cannot go' or diag $output;
    like readlink("$folder/closed/run"), qr{^/var/tmp/}, 'it is a link';
    is((t_run('stop'))[0], 0, 'stop follows it');
    remove_tree(readlink "$folder/closed/run");

    chown 1, 1, "$folder/run";
    $ENV{SMARTSUPP_RUN} = "$folder/run";
    ($status, $output) = t_run();
    is $status, 0, "another user's folder is no obstacle" or diag $output;
    t_run('stop');
}
done_testing;
