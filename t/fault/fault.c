/*
 * A disk that fails on demand: a library for LD_PRELOAD that stands between a
 * program and the C library's calls on files of some folders, writes each of
 * them down, and at the one that it is told to kills the process, or lets the
 * call fail. SmartsuppTest::Fault builds and drives it.
 *
 * Environment, absolute paths all:
 *
 *   SMARTSUPP_FAULT_FOLDERS  the folders, with colons between; what is in none
 *                            of them is let through
 *   SMARTSUPP_FAULT_CONTROL  a file that is read at each call; without it calls
 *                            are written down only
 *   SMARTSUPP_FAULT_TRACE    a file that takes a line for each call, before it
 *                            is done: "<run> <thread> <number> <call> <folder>
 *                            <name>", the folder by its last part
 *
 * The control file is replaced by rename, so that it is read whole. Its first
 * line is "run <number>"; when that changes, each thread counts its calls from
 * 1 again. Any further line is a rule:
 *
 *   <start> <number> <call> <folder> <name> before|after <action> [<marker>]
 *
 * where `*` stands for anything. <start> is the folder of the thread's first
 * call, which tells what it is at; <number> is which of the thread's calls that
 * fit <call>, <folder> and <name>, or <from>- for that one and all later ones.
 * The first rule that fits is done: <action> is `kill`, `short` (a write takes
 * half of what it is given), or the name of an error; before the call, which is
 * then not done, or after it. Where a marker is named, the rule is for the one
 * process that makes that file.
 *
 * Folders and names are those that a path ends with: for rename and link, of
 * the new path. A folder's own name is "." in it.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* No header declares these, which programs call that were built with
 * _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

#define CONTROL_SIZE 4096
#define RULES_MAX 32

typedef enum action_e { NOTHING, KILL, SHORT, FAIL } action_e;

/* What to do at a call. */
typedef struct fault_t {
    action_e action;
    int after;
    int error; /* for FAIL */
} fault_t;

/* A rule as read. */
typedef struct rule_t {
    char start[64];
    char number[24];
    char call[24];
    char folder[64];
    char name[NAME_MAX + 1];
    char when[16];
    char action[16];
    char marker[PATH_MAX];
} rule_t;

static const struct {
    const char *name;
    int error;
} errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EROFS", EROFS},
              {"EMFILE", EMFILE}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES},
              {"EINTR", EINTR},   {"ENOLCK", ENOLCK}};

/* What a thread has done in this run. */
static __thread struct {
    long run;
    long calls;
    long fitting[RULES_MAX]; /* each rule */
    char start[64];
} done = {.run = -1};

/* The C library's own function. */
static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (!function) {
        abort();
    }
    return function;
}

/* The calls that are used here go to the kernel directly. */
static int raw_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void raw_close(int file)
{
    syscall(SYS_close, file);
}

/* The text of the control file, "" where there is none. */
static void read_control(char text[CONTROL_SIZE])
{
    const char *path = getenv("SMARTSUPP_FAULT_CONTROL");
    int file = path ? raw_open(path, O_RDONLY) : -1;
    long length =
        file < 0 ? 0 : syscall(SYS_read, file, text, CONTROL_SIZE - 1);

    text[length > 0 ? length : 0] = '\0';
    if (file >= 0) {
        raw_close(file);
    }
}

/* Whether the path is one of the folders or in one. */
static int is_ours(const char *path)
{
    const char *folder = getenv("SMARTSUPP_FAULT_FOLDERS");

    while (folder && *folder) {
        size_t length = strcspn(folder, ":");

        if (strncmp(path, folder, length) == 0 &&
            (path[length] == '/' || path[length] == '\0')) {
            return 1;
        }
        folder += length + (folder[length] == ':');
    }
    return 0;
}

/* The path of an open file, or "". */
static void path_of_file(char path[PATH_MAX], int file)
{
    char link[64];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
}

/* The absolute path of what is called so from there. */
static void path_of_name(char path[PATH_MAX], int folder, const char *name)
{
    size_t length;

    path[0] = '\0';
    if (*name != '/') {
        if (folder != AT_FDCWD) {
            path_of_file(path, folder);
        }
        else if (!getcwd(path, PATH_MAX)) {
            path[0] = '\0';
        }
    }
    length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "%s%s", *name != '/' ? "/" : "",
             name);
}

/* The last two parts of a path; a folder's own name is ".". */
static void split(char folder[64], char name[NAME_MAX + 1], const char *path)
{
    char copy[PATH_MAX];
    char *slash;
    struct stat info;

    snprintf(copy, sizeof(copy), "%s", path);
    if (fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(info.st_mode)) {
        strncat(copy, "/.", sizeof(copy) - strlen(copy) - 1);
    }
    slash = strrchr(copy, '/');
    snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash + 1);
    *slash = '\0';
    slash = strrchr(copy, '/');
    snprintf(folder, 64, "%.63s", slash ? slash + 1 : copy);
}

static void trace(const char *line)
{
    const char *path = getenv("SMARTSUPP_FAULT_TRACE");
    int file = path ? raw_open(path, O_WRONLY | O_CREAT | O_APPEND) : -1;

    if (file >= 0) {
        syscall(SYS_write, file, line, strlen(line));
        raw_close(file);
    }
}

static int fits_number(const char *pattern, long number)
{
    char *end;
    long from = strtol(pattern, &end, 10);

    return !strcmp(pattern, "*") || number == from ||
           (*end == '-' && number > from);
}

static int fits_word(const char *pattern, const char *word)
{
    return !strcmp(pattern, "*") || !strcmp(pattern, word);
}

/* Whether this process is the one that a rule with a marker is for. */
static int takes_marker(const char *marker)
{
    int file = raw_open(marker, O_WRONLY | O_CREAT | O_EXCL);

    if (file < 0) {
        return 0;
    }
    raw_close(file);
    return 1;
}

static fault_t fault_of_rule(const rule_t *rule)
{
    fault_t fault = {FAIL, !strcmp(rule->when, "after"), EIO};
    size_t i;

    if (!strcmp(rule->action, "kill")) {
        fault.action = KILL;
    }
    if (!strcmp(rule->action, "short")) {
        fault.action = SHORT;
    }
    for (i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        if (!strcmp(rule->action, errors[i].name)) {
            fault.error = errors[i].error;
        }
    }
    return fault;
}

static int read_rule(rule_t *rule, const char *line)
{
    int words =
        sscanf(line, "%63s %23s %23s %63s %255s %15s %15s%*[ ]%4095[^ \n]",
               rule->start, rule->number, rule->call, rule->folder, rule->name,
               rule->when, rule->action, rule->marker);

    if (words < 8) {
        rule->marker[0] = '\0';
    }
    return words >= 7;
}

/* The first rule that fits. */
static fault_t find_fault(const char *control, const char *call,
                          const char *folder, const char *name)
{
    fault_t fault = {NOTHING, 0, 0};
    const char *line = control;
    rule_t rule;
    int i;

    for (i = 0; i < RULES_MAX; i++) {
        line = strchr(line, '\n');
        if (!line || !*++line || !read_rule(&rule, line)) {
            break;
        }
        if (fits_word(rule.call, call) && fits_word(rule.folder, folder) &&
            fits_word(rule.name, name) &&
            fits_number(rule.number, ++done.fitting[i]) &&
            fits_word(rule.start, done.start) && fault.action == NOTHING &&
            (!*rule.marker || takes_marker(rule.marker))) {
            fault = fault_of_rule(&rule);
        }
    }
    return fault;
}

static void kill_me(void)
{
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

/* Count and write down a call on a path of ours, and find what to do at it. */
static fault_t note(const char *call, const char *path)
{
    char control[CONTROL_SIZE];
    char folder[64];
    char name[NAME_MAX + 1];
    char line[512];
    fault_t fault;
    long run = 0;
    int saved = errno;

    split(folder, name, path);
    read_control(control);
    sscanf(control, "run %ld", &run);
    if (run != done.run) {
        memset(&done, 0, sizeof(done));
        done.run = run;
        memcpy(done.start, folder, sizeof(done.start));
    }
    snprintf(line, sizeof(line), "%ld %ld %ld %s %s %s\n", run,
             syscall(SYS_gettid), ++done.calls, call, folder, name);
    trace(line);
    fault = find_fault(control, call, folder, name);
    if (fault.action == KILL && !fault.after) {
        kill_me();
    }
    errno = saved;
    return fault;
}

static fault_t note_file(const char *call, int file)
{
    static const fault_t nothing;
    char path[PATH_MAX];
    int saved = errno;

    path_of_file(path, file);
    errno = saved;
    return is_ours(path) ? note(call, path) : nothing;
}

static fault_t note_name(const char *call, int folder, const char *name)
{
    static const fault_t nothing;
    char path[PATH_MAX];
    int saved = errno;

    path_of_name(path, folder, name);
    errno = saved;
    return is_ours(path) ? note(call, path) : nothing;
}

/* Whether the call is not to be done at all. */
static int skips(const fault_t *fault)
{
    if (fault->action != FAIL || fault->after) {
        return 0;
    }
    errno = fault->error;
    return 1;
}

/* What the caller is told of a call that was done. */
static long told(const fault_t *fault, long result)
{
    if (fault->after && fault->action == KILL) {
        kill_me();
    }
    if (fault->after && fault->action == FAIL) {
        errno = fault->error;
        return -1;
    }
    return result;
}

/* The same for a new descriptor, which the caller will not close. */
static int told_opened(const fault_t *fault, int file)
{
    int result = (int)told(fault, file);

    if (result < 0 && file >= 0) {
        int saved = errno;

        raw_close(file);
        errno = saved;
    }
    return result;
}

static size_t shortened(const fault_t *fault, size_t length)
{
    return fault->action == SHORT && length > 1 ? length / 2 : length;
}

static int open_any(int folder, const char *name, int flags, mode_t mode)
{
    int (*next)(int, const char *, int, ...) =
        (int (*)(int, const char *, int, ...))real("openat");
    fault_t fault = note_name("open", folder, name);

    return skips(&fault) ? -1
                         : told_opened(&fault, next(folder, name, flags, mode));
}

/* The mode is there only where the flags want it. */
#define MODE_OF(flags)                                                         \
    mode_t mode = 0;                                                           \
    if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) {               \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode = (mode_t)va_arg(arguments, int);                                 \
        va_end(arguments);                                                     \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(folder, path, flags | O_LARGEFILE, mode);
}

int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

int __openat_2(int folder, const char *path, int flags)
{
    return open_any(folder, path, flags, 0);
}

int __openat64_2(int folder, const char *path, int flags)
{
    return open_any(folder, path, flags | O_LARGEFILE, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ssize_t write(int file, const void *bytes, size_t length)
{
    ssize_t (*next)(int, const void *, size_t) =
        (ssize_t(*)(int, const void *, size_t))real("write");
    fault_t fault = note_file("write", file);

    return skips(&fault)
               ? -1
               : told(&fault, next(file, bytes, shortened(&fault, length)));
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
{
    ssize_t (*next)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))real("pwrite");
    fault_t fault = note_file("write", file);

    return skips(&fault)
               ? -1
               : told(&fault, next(file, bytes, shortened(&fault, length), at));
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at)
{
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t(*)(int, const void *, size_t, off64_t))real("pwrite64");
    fault_t fault = note_file("write", file);

    return skips(&fault)
               ? -1
               : told(&fault, next(file, bytes, shortened(&fault, length), at));
}

/* Cut short after its first part. */
ssize_t writev(int file, const struct iovec *parts, int length)
{
    ssize_t (*next)(int, const struct iovec *, int) =
        (ssize_t(*)(int, const struct iovec *, int))real("writev");
    fault_t fault = note_file("write", file);

    if (fault.action == SHORT && length > 0) {
        length = 1;
    }
    return skips(&fault) ? -1 : told(&fault, next(file, parts, length));
}

int fsync(int file)
{
    int (*next)(int) = (int (*)(int))real("fsync");
    fault_t fault = note_file("fsync", file);

    return skips(&fault) ? -1 : (int)told(&fault, next(file));
}

int fdatasync(int file)
{
    int (*next)(int) = (int (*)(int))real("fdatasync");
    fault_t fault = note_file("fsync", file);

    return skips(&fault) ? -1 : (int)told(&fault, next(file));
}

/* The descriptor is gone, whatever close says: so does Linux. */
int close(int file)
{
    int (*next)(int) = (int (*)(int))real("close");
    fault_t fault = note_file("close", file);
    int result = next(file);

    return skips(&fault) ? -1 : (int)told(&fault, result);
}

int ftruncate(int file, off_t length)
{
    int (*next)(int, off_t) = (int (*)(int, off_t))real("ftruncate");
    fault_t fault = note_file("truncate", file);

    return skips(&fault) ? -1 : (int)told(&fault, next(file, length));
}

int flock(int file, int operation)
{
    int (*next)(int, int) = (int (*)(int, int))real("flock");
    fault_t fault = note_file("flock", file);

    return skips(&fault) ? -1 : (int)told(&fault, next(file, operation));
}

int renameat(int from, const char *old, int to, const char *name)
{
    int (*next)(int, const char *, int, const char *) =
        (int (*)(int, const char *, int, const char *))real("renameat");
    fault_t fault = note_name("rename", to, name);

    return skips(&fault) ? -1 : (int)told(&fault, next(from, old, to, name));
}

int renameat2(int from, const char *old, int to, const char *name,
              unsigned int flags)
{
    int (*next)(int, const char *, int, const char *, unsigned int) = (int (*)(
        int, const char *, int, const char *, unsigned int))real("renameat2");
    fault_t fault = note_name("rename", to, name);

    return skips(&fault) ? -1
                         : (int)told(&fault, next(from, old, to, name, flags));
}

int rename(const char *old, const char *name)
{
    return renameat(AT_FDCWD, old, AT_FDCWD, name);
}

int linkat(int from, const char *old, int to, const char *name, int flags)
{
    int (*next)(int, const char *, int, const char *, int) =
        (int (*)(int, const char *, int, const char *, int))real("linkat");
    fault_t fault = note_name("link", to, name);

    return skips(&fault) ? -1
                         : (int)told(&fault, next(from, old, to, name, flags));
}

int link(const char *old, const char *name)
{
    return linkat(AT_FDCWD, old, AT_FDCWD, name, 0);
}

int unlinkat(int folder, const char *name, int flags)
{
    int (*next)(int, const char *, int) =
        (int (*)(int, const char *, int))real("unlinkat");
    fault_t fault = note_name("unlink", folder, name);

    return skips(&fault) ? -1 : (int)told(&fault, next(folder, name, flags));
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    int (*next)(int, const char *, mode_t) =
        (int (*)(int, const char *, mode_t))real("mkdirat");
    fault_t fault = note_name("mkdir", folder, name);

    return skips(&fault) ? -1 : (int)told(&fault, next(folder, name, mode));
}

int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}
