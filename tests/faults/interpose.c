/* Faults at the calls by which a program changes files: preloaded with LD_PRELOAD, it counts them and, at one of them,
 * kills the process or lets the call fail.
 *
 * Counted are calls that touch a path containing the text GFE_FAULT_PATH: open, openat and creat for writing, write,
 * writev, pwrite, pwritev, ftruncate, truncate, fallocate, posix_fallocate, copy_file_range, sendfile, fsync, fdatasync,
 * rename, renameat, renameat2, link, unlink and unlinkat. Without GFE_FAULT_PATH nothing is done.
 *   GFE_FAULT_AT=N          the call, from 1; without it none
 *   GFE_FAULT_WHEN=before   SIGKILL before it (the default); `after`: once it is done
 *   GFE_FAULT_ERRNO=ENOSPC  or EIO: instead the call does nothing and fails so
 *   GFE_FAULT_ON=1          so does every later one, but those that remove files
 *   GFE_FAULT_LOG=FILE      a line per counted call, its name and path with a tab between
 *   GFE_FAULT_IN=WORD       only in processes that have this argument; GFE_FAULT_NOT_IN=WORD: only in the others
 * Each process counts its own calls. System calls made without the C library are not seen: neither those of the rustix
 * crate (in gfe fallocate alone) nor what the C library does inside fopen and fclose.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *wanted, *record;
static long fatal;
static int lasting;
static int after, failure;
static atomic_long calls;

/* Whether this process was started with the argument `word`. */
static int has_argument(const char *word)
{
    char all[1 << 16];
    long file = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    long length = file < 0 ? -1 : syscall(SYS_read, file, all, sizeof all - 1);
    if (length < 0)
        abort();
    syscall(SYS_close, file);
    all[length] = 0;
    for (long at = 0; at < length; at += (long)strlen(all + at) + 1)
        if (strcmp(all + at, word) == 0)
            return 1;
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    wanted = getenv("GFE_FAULT_PATH");
    record = getenv("GFE_FAULT_LOG");
    const char *at = getenv("GFE_FAULT_AT"), *when = getenv("GFE_FAULT_WHEN"), *number = getenv("GFE_FAULT_ERRNO");
    fatal = at ? atol(at) : 0;
    after = when && strcmp(when, "after") == 0;
    if (number)
        failure = strcmp(number, "ENOSPC") == 0 ? ENOSPC : EIO;
    lasting = getenv("GFE_FAULT_ON") != NULL;
    const char *in = getenv("GFE_FAULT_IN"), *not_in = getenv("GFE_FAULT_NOT_IN");
    if ((in && !has_argument(in)) || (not_in && has_argument(not_in)))
        wanted = NULL;
}

/* The library's own notes go past the counted calls. */
static void note(const char *name, const char *path)
{
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s\t%s\n", name, path);
    long file = syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_write, file, line, length) != length)
        abort();
    syscall(SYS_close, file);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

enum verdict { PASS, DIE_AFTER, FAIL };

/* Counts a call that touches `path`, and says what becomes of it. */
static enum verdict count(const char *name, const char *path)
{
    if (!wanted || !strstr(path, wanted))
        return PASS;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (record)
        note(name, path);
    if (lasting ? !fatal || number < fatal || strncmp(name, "unlink", 6) == 0 : number != fatal)
        return PASS;
    if (failure)
        return FAIL;
    if (!after)
        die();
    return DIE_AFTER;
}

/* The same for a path relative to the folder `folder`. */
static enum verdict count_at(const char *name, int folder, const char *path)
{
    char whole[2 * PATH_MAX], place[64];
    if (path[0] == '/')
        return count(name, path);
    if (folder == AT_FDCWD)
        snprintf(place, sizeof place, "/proc/self/cwd");
    else
        snprintf(place, sizeof place, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(place, whole, PATH_MAX - 1);
    if (length < 0)
        return count(name, path);
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return count(name, whole);
}

/* The same for an open file. */
static enum verdict count_fd(const char *name, int fd)
{
    char path[PATH_MAX], place[64];
    int kept = errno;
    snprintf(place, sizeof place, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(place, path, sizeof path - 1);
    errno = kept;
    if (length < 0)
        return PASS;
    path[length] = 0;
    return count(name, path);
}

/* Calls the function of the C library whose place this one takes, as `what` says. */
#define NEXT(what, result, name, ...) \
    do { \
        enum verdict said = what; \
        if (said == FAIL) { \
            errno = failure; \
            return -1; \
        } \
        static __typeof__(&name) real; \
        if (!real) \
            real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        result done = real(__VA_ARGS__); \
        if (said == DIE_AFTER) \
            die(); \
        return done; \
    } while (0)

static int writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags)
    NEXT(writes(flags) ? count_at("open", AT_FDCWD, path) : PASS, int, open, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    MODE(flags)
    NEXT(writes(flags) ? count_at("open", AT_FDCWD, path) : PASS, int, open64, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...)
{
    MODE(flags)
    NEXT(writes(flags) ? count_at("openat", folder, path) : PASS, int, openat, folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...)
{
    MODE(flags)
    NEXT(writes(flags) ? count_at("openat", folder, path) : PASS, int, openat64, folder, path, flags, mode);
}
int creat(const char *path, mode_t mode) { NEXT(count_at("creat", AT_FDCWD, path), int, creat, path, mode); }
int creat64(const char *path, mode_t mode) { NEXT(count_at("creat", AT_FDCWD, path), int, creat64, path, mode); }

ssize_t write(int fd, const void *bytes, size_t n) { NEXT(count_fd("write", fd), ssize_t, write, fd, bytes, n); }
ssize_t writev(int fd, const struct iovec *parts, int n) { NEXT(count_fd("writev", fd), ssize_t, writev, fd, parts, n); }
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    NEXT(count_fd("pwrite", fd), ssize_t, pwrite, fd, bytes, n, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    NEXT(count_fd("pwrite", fd), ssize_t, pwrite64, fd, bytes, n, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
    NEXT(count_fd("pwritev", fd), ssize_t, pwritev, fd, parts, n, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at)
{
    NEXT(count_fd("pwritev", fd), ssize_t, pwritev64, fd, parts, n, at);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags)
{
    NEXT(count_fd("copy_file_range", out), ssize_t, copy_file_range, in, from, out, to, n, flags);
}
ssize_t sendfile(int out, int in, off_t *from, size_t n);
ssize_t sendfile64(int out, int in, off64_t *from, size_t n);
ssize_t sendfile(int out, int in, off_t *from, size_t n)
{
    NEXT(count_fd("sendfile", out), ssize_t, sendfile, out, in, from, n);
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t n)
{
    NEXT(count_fd("sendfile", out), ssize_t, sendfile64, out, in, from, n);
}

int truncate(const char *path, off_t n) { NEXT(count_at("truncate", AT_FDCWD, path), int, truncate, path, n); }
int truncate64(const char *path, off64_t n) { NEXT(count_at("truncate", AT_FDCWD, path), int, truncate64, path, n); }
int ftruncate(int fd, off_t n) { NEXT(count_fd("ftruncate", fd), int, ftruncate, fd, n); }
int ftruncate64(int fd, off64_t n) { NEXT(count_fd("ftruncate", fd), int, ftruncate64, fd, n); }
int fallocate(int fd, int mode, off_t at, off_t n) { NEXT(count_fd("fallocate", fd), int, fallocate, fd, mode, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    NEXT(count_fd("fallocate", fd), int, fallocate64, fd, mode, at, n);
}

/* These two give the error as their result. */
#define GIVES_ERROR(function, offset) \
    int function(int fd, offset at, offset n) \
    { \
        enum verdict said = count_fd("posix_fallocate", fd); \
        if (said == FAIL) \
            return failure; \
        int (*real)(int, offset, offset) = (int (*)(int, offset, offset))dlsym(RTLD_NEXT, #function); \
        int done = real(fd, at, n); \
        if (said == DIE_AFTER) \
            die(); \
        return done; \
    }
GIVES_ERROR(posix_fallocate, off_t)
GIVES_ERROR(posix_fallocate64, off64_t)

int fsync(int fd) { NEXT(count_fd("fsync", fd), int, fsync, fd); }
int fdatasync(int fd) { NEXT(count_fd("fdatasync", fd), int, fdatasync, fd); }

/* Of two paths the one that is given a name counts. */
int rename(const char *from, const char *to) { NEXT(count_at("rename", AT_FDCWD, to), int, rename, from, to); }
int renameat(int in, const char *from, int out, const char *to)
{
    NEXT(count_at("renameat", out, to), int, renameat, in, from, out, to);
}
int renameat2(int in, const char *from, int out, const char *to, unsigned flags)
{
    NEXT(count_at("renameat2", out, to), int, renameat2, in, from, out, to, flags);
}
int link(const char *from, const char *to) { NEXT(count_at("link", AT_FDCWD, to), int, link, from, to); }
int unlink(const char *path) { NEXT(count_at("unlink", AT_FDCWD, path), int, unlink, path); }
int unlinkat(int folder, const char *path, int flags)
{
    NEXT(count_at("unlinkat", folder, path), int, unlinkat, folder, path, flags);
}
