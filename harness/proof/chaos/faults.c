/* Preloaded into every process of a disturbed sweep: lets single calls fail, and steps the clock, when it is told to.

   GPAF_CHAOS_CONTROL names the file of `struct control`, which all processes map and ``harness.proof.chaos.fault_layer``
   writes; GPAF_CHAOS_EVENTS one to which each failed call's Python stack is added. A slot is armed for some kinds of call
   of one process, or of all, on paths below a prefix. What is not armed passes at the cost of one look at memory. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 16
enum { OPEN, READ, WRITE, FSYNC, CLOSE, RENAME, LINK, UNLINK, STAT, MKDIR, SCANDIR, UTIME, TRUNCATE, MMAP, FORK, THREAD };
enum { NOT, FAILS, FAILS_AFTERWARDS, IS_SHORT };

/* Laid out as fault_layer.py says. */
struct slot {
    atomic_int armed;   /* calls that are still to fail */
    int pid;            /* of one process; 0 for every one */
    unsigned calls;     /* bits of the kinds */
    int error;          /* errno; 0 writes only half */
    int afterwards;     /* the call is carried out, and said to have failed all the same */
    atomic_int skip;    /* calls that pass before */
    atomic_int fired;   /* calls that failed */
    int fired_pid;
    int fired_call;
    int unused;
    int64_t fired_at;   /* nanoseconds since the epoch */
    char prefix[1024];
    char path[1024];    /* of the last call that failed */
};
struct clock_step {
    atomic_int pid;     /* 0 for every process */
    atomic_int on;
    atomic_llong nanoseconds;
};
struct control {
    atomic_int any_slot, any_step;
    struct slot slots[SLOTS];
    struct clock_step steps[SLOTS];
};

static struct control *control;
static const char *events;

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("GPAF_CHAOS_CONTROL");
    events = getenv("GPAF_CHAOS_EVENTS");
    if (!name) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *place = (void *)syscall(SYS_mmap, NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place != MAP_FAILED) control = place;
    syscall(SYS_close, fd);
}

static int64_t real_now(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void add_event(const struct slot *slot) {
    static const char *const names[] = {
        "open", "read", "write", "fsync", "close", "rename", "link", "unlink", "stat", "mkdir", "scandir", "utime",
        "truncate", "mmap", "fork", "thread"};
    char line[1400];
    int fd = events ? (int)syscall(SYS_openat, AT_FDCWD, events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (fd < 0) return;
    int length = snprintf(line, sizeof line, "-- pid %d: %s of %s: %s%s\n", slot->fired_pid, names[slot->fired_call],
                          slot->path, slot->error ? strerrorname_np(slot->error) : "half",
                          slot->afterwards ? ", carried out" : "");
    if (length > 0) syscall(SYS_write, fd, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
    /* Of a thread without Python, such as a library's own, there is no stack to show. */
    void *(*state)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
    void (*dump)(int, void *) = (void (*)(int, void *))dlsym(RTLD_DEFAULT, "_Py_DumpTraceback");
    void *mine = state && dump ? state() : NULL;
    if (mine) dump(fd, mine);
    syscall(SYS_close, fd);
}

static int below(const char *path, const char *prefix) {
    size_t length = strlen(prefix);
    return path && !strncmp(path, prefix, length) && (path[length] == '/' || path[length] == 0);
}

/* Whether this call is to fail, and how; errno is then set. */
static int fate(int call, const char *path, const char *other) {
    if (!control || !atomic_load_explicit(&control->any_slot, memory_order_relaxed)) return NOT;
    int before = errno;
    for (struct slot *slot = control->slots; slot < control->slots + SLOTS; slot++) {
        if (atomic_load(&slot->armed) <= 0 || !(slot->calls >> call & 1)) continue;
        if (slot->pid && slot->pid != (int)getpid()) continue;
        const char *hit = "";
        if (call != FORK && call != THREAD) {
            hit = below(path, slot->prefix) ? path : below(other, slot->prefix) ? other : NULL;
            if (!hit) continue;
        }
        if (atomic_load(&slot->skip) > 0 && atomic_fetch_sub(&slot->skip, 1) > 0) continue;
        if (atomic_fetch_sub(&slot->armed, 1) <= 0) continue;
        slot->fired_pid = (int)getpid();
        slot->fired_call = call;
        slot->fired_at = real_now();
        snprintf(slot->path, sizeof slot->path, "%s", hit);
        atomic_fetch_add(&slot->fired, 1);
        add_event(slot);
        errno = slot->error;
        return !slot->error ? IS_SHORT : slot->afterwards ? FAILS_AFTERWARDS : FAILS;
    }
    errno = before;
    return NOT;
}

/* The same for a descriptor: its path is asked only while something is armed. */
static int fate_of(int call, int fd) {
    char link[64], path[1024];
    if (!control || !atomic_load_explicit(&control->any_slot, memory_order_relaxed)) return NOT;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = before;
    if (length <= 0 || path[0] != '/') return NOT;
    path[length] = 0;
    return fate(call, path, NULL);
}

/* A path as seen from the current folder; a folder's descriptor is looked up. */
static const char *at(int folder, const char *path, char *buffer, size_t size) {
    if (!path || path[0] == '/' || !control || !atomic_load_explicit(&control->any_slot, memory_order_relaxed)) return path;
    char link[64], from[512];
    int before = errno;
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, from, sizeof from - 1);
    errno = before;
    if (length <= 0) return path;
    from[length] = 0;
    snprintf(buffer, size, "%s/%s", from, path);
    return buffer;
}

/* With an error that is told afterwards the call is made all the same, and its own error, if it has one, is told. */
#define ANSWER(kind, path, other, failure, call) do { \
    int what = fate(kind, path, other); \
    if (what == FAILS) return failure; \
    if (what == FAILS_AFTERWARDS) { int told = errno; if ((call) != (failure)) errno = told; return failure; } \
    return call; \
} while (0)
#define ANSWER_OF(kind, fd, failure, call) do { \
    int what = fate_of(kind, fd); \
    if (what == FAILS || what == FAILS_AFTERWARDS) return failure; \
    return call; \
} while (0)
#define AT(folder, path) char seen_##path[1600]; const char *whole_##path = at(folder, path, seen_##path, sizeof seen_##path)
#define MODE(flags) va_list rest; va_start(rest, flags); \
    mode_t mode = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest)

/* --- the clock --- */

static int64_t step(void) {
    if (!control || !atomic_load_explicit(&control->any_step, memory_order_relaxed)) return 0;
    int64_t total = 0;
    for (struct clock_step *one = control->steps; one < control->steps + SLOTS; one++) {
        int pid = atomic_load(&one->pid);
        if (atomic_load(&one->on) && (!pid || pid == (int)getpid())) total += atomic_load(&one->nanoseconds);
    }
    return total;
}

static void move(struct timespec *time, int64_t by) {
    int64_t whole = time->tv_sec * 1000000000LL + time->tv_nsec + by;
    time->tv_sec = whole / 1000000000LL;
    time->tv_nsec = whole % 1000000000LL;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int answer = real(clock, time);
    if (!answer && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t by = step();
        if (by) move(time, by);
    }
    return answer;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    REAL(gettimeofday);
    int answer = real(time, zone);
    int64_t by = answer ? 0 : step();
    if (by) {
        struct timespec exact = {time->tv_sec, time->tv_usec * 1000};
        move(&exact, by);
        time->tv_sec = exact.tv_sec;
        time->tv_usec = exact.tv_nsec / 1000;
    }
    return answer;
}

time_t time(time_t *to) {
    REAL(time);
    time_t answer = real(NULL) + step() / 1000000000LL;
    if (to) *to = answer;
    return answer;
}

/* When the clock is set, the kernel says as much later when the machine was started. */
static int stepped_boot_time(void) {
    int64_t by = step() / 1000000000LL;
    FILE *(*open_stream)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    FILE *from = by ? open_stream("/proc/stat", "re") : NULL;
    if (!from) return -1;
    int fd = memfd_create("stat", MFD_CLOEXEC);
    char *line = NULL;
    size_t size = 0;
    while (fd >= 0 && getline(&line, &size, from) > 0) {
        long long boot;
        if (sscanf(line, "btime %lld", &boot) == 1) dprintf(fd, "btime %lld\n", boot + (long long)by);
        else dprintf(fd, "%s", line);
    }
    free(line);
    fclose(from);
    if (fd >= 0) lseek(fd, 0, SEEK_SET);
    return fd;
}

static int is_boot_time(const char *path) {
    return control && atomic_load_explicit(&control->any_step, memory_order_relaxed) && path && !strcmp(path, "/proc/stat");
}

/* --- files --- */

#define OPENING(path, call) do { \
    if (is_boot_time(path)) { int made = stepped_boot_time(); if (made >= 0) return made; } \
    ANSWER(OPEN, path, NULL, -1, call); \
} while (0)

int open(const char *path, int flags, ...) {
    MODE(flags); REAL(open); AT(AT_FDCWD, path);
    OPENING(whole_path, real(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    MODE(flags); REAL(open64); AT(AT_FDCWD, path);
    OPENING(whole_path, real(path, flags, mode));
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags); REAL(openat); AT(folder, path);
    OPENING(whole_path, real(folder, path, flags, mode));
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags); REAL(openat64); AT(folder, path);
    OPENING(whole_path, real(folder, path, flags, mode));
}
FILE *fopen(const char *path, const char *how) { REAL(fopen); AT(AT_FDCWD, path); ANSWER(OPEN, whole_path, NULL, NULL, real(path, how)); }
FILE *fopen64(const char *path, const char *how) { REAL(fopen64); AT(AT_FDCWD, path); ANSWER(OPEN, whole_path, NULL, NULL, real(path, how)); }

ssize_t read(int fd, void *to, size_t count) { REAL(read); ANSWER_OF(READ, fd, -1, real(fd, to, count)); }
ssize_t pread(int fd, void *to, size_t count, off_t from) { REAL(pread); ANSWER_OF(READ, fd, -1, real(fd, to, count, from)); }
ssize_t pread64(int fd, void *to, size_t count, off64_t from) { REAL(pread64); ANSWER_OF(READ, fd, -1, real(fd, to, count, from)); }
ssize_t readv(int fd, const struct iovec *to, int count) { REAL(readv); ANSWER_OF(READ, fd, -1, real(fd, to, count)); }

ssize_t write(int fd, const void *from, size_t count) {
    REAL(write);
    int what = fate_of(WRITE, fd);
    if (what == FAILS || what == FAILS_AFTERWARDS) return -1;
    return real(fd, from, what == IS_SHORT && count > 1 ? count / 2 : count);
}
ssize_t pwrite(int fd, const void *from, size_t count, off_t where) { REAL(pwrite); ANSWER_OF(WRITE, fd, -1, real(fd, from, count, where)); }
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t where) { REAL(pwrite64); ANSWER_OF(WRITE, fd, -1, real(fd, from, count, where)); }
ssize_t writev(int fd, const struct iovec *from, int count) { REAL(writev); ANSWER_OF(WRITE, fd, -1, real(fd, from, count)); }
ssize_t sendfile(int to, int from, off_t *where, size_t count) { REAL(sendfile); ANSWER_OF(WRITE, to, -1, real(to, from, where, count)); }
ssize_t sendfile64(int to, int from, off64_t *where, size_t count) { REAL(sendfile64); ANSWER_OF(WRITE, to, -1, real(to, from, where, count)); }
ssize_t copy_file_range(int from, off64_t *at_from, int to, off64_t *at_to, size_t count, unsigned flags) {
    REAL(copy_file_range); ANSWER_OF(WRITE, to, -1, real(from, at_from, to, at_to, count, flags));
}

int fsync(int fd) { REAL(fsync); ANSWER_OF(FSYNC, fd, -1, real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); ANSWER_OF(FSYNC, fd, -1, real(fd)); }
int close(int fd) {
    /* Whatever Linux says, the descriptor is gone. */
    REAL(close);
    int what = fate_of(CLOSE, fd), told = errno, answer = real(fd);
    if (what == NOT || what == IS_SHORT) return answer;
    errno = told;
    return -1;
}
int ftruncate(int fd, off_t size) { REAL(ftruncate); ANSWER_OF(TRUNCATE, fd, -1, real(fd, size)); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); ANSWER_OF(TRUNCATE, fd, -1, real(fd, size)); }

void *mmap(void *where, size_t size, int access, int flags, int fd, off_t from) {
    REAL(mmap);
    if (fd < 0) return real(where, size, access, flags, fd, from);
    ANSWER_OF(MMAP, fd, MAP_FAILED, real(where, size, access, flags, fd, from));
}
void *mmap64(void *where, size_t size, int access, int flags, int fd, off64_t from) {
    REAL(mmap64);
    if (fd < 0) return real(where, size, access, flags, fd, from);
    ANSWER_OF(MMAP, fd, MAP_FAILED, real(where, size, access, flags, fd, from));
}

int rename(const char *from, const char *to) { REAL(rename); AT(AT_FDCWD, from); AT(AT_FDCWD, to); ANSWER(RENAME, whole_to, whole_from, -1, real(from, to)); }
int renameat(int one, const char *from, int other, const char *to) {
    REAL(renameat); AT(one, from); AT(other, to); ANSWER(RENAME, whole_to, whole_from, -1, real(one, from, other, to));
}
int link(const char *from, const char *to) { REAL(link); AT(AT_FDCWD, to); ANSWER(LINK, whole_to, NULL, -1, real(from, to)); }
int linkat(int one, const char *from, int other, const char *to, int flags) {
    REAL(linkat); AT(other, to); ANSWER(LINK, whole_to, NULL, -1, real(one, from, other, to, flags));
}
int symlink(const char *from, const char *to) { REAL(symlink); AT(AT_FDCWD, to); ANSWER(LINK, whole_to, NULL, -1, real(from, to)); }
int unlink(const char *path) { REAL(unlink); AT(AT_FDCWD, path); ANSWER(UNLINK, whole_path, NULL, -1, real(path)); }
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat); AT(folder, path); ANSWER(UNLINK, whole_path, NULL, -1, real(folder, path, flags));
}
int rmdir(const char *path) { REAL(rmdir); AT(AT_FDCWD, path); ANSWER(UNLINK, whole_path, NULL, -1, real(path)); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); AT(AT_FDCWD, path); ANSWER(MKDIR, whole_path, NULL, -1, real(path, mode)); }
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat); AT(folder, path); ANSWER(MKDIR, whole_path, NULL, -1, real(folder, path, mode));
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    REAL(utimensat); AT(folder, path); ANSWER(UTIME, whole_path, NULL, -1, real(folder, path, times, flags));
}
int futimens(int fd, const struct timespec times[2]) { REAL(futimens); ANSWER_OF(UTIME, fd, -1, real(fd, times)); }

#define STAT(name, type) \
    int name(const char *path, struct type *to) { REAL(name); AT(AT_FDCWD, path); ANSWER(STAT, whole_path, NULL, -1, real(path, to)); }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)
int fstat(int fd, struct stat *to) { REAL(fstat); ANSWER_OF(STAT, fd, -1, real(fd, to)); }
int fstat64(int fd, struct stat64 *to) { REAL(fstat64); ANSWER_OF(STAT, fd, -1, real(fd, to)); }
int fstatat(int folder, const char *path, struct stat *to, int flags) { REAL(fstatat); AT(folder, path); ANSWER(STAT, whole_path, NULL, -1, real(folder, path, to, flags)); }
int fstatat64(int folder, const char *path, struct stat64 *to, int flags) { REAL(fstatat64); AT(folder, path); ANSWER(STAT, whole_path, NULL, -1, real(folder, path, to, flags)); }
int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict to) {
    REAL(statx); AT(folder, path);
    if (!*path) ANSWER_OF(STAT, folder, -1, real(folder, path, flags, mask, to));
    ANSWER(STAT, whole_path, NULL, -1, real(folder, path, flags, mask, to));
}
/* What programs call that were built before glibc 2.33. */
#define OLD_STAT(name, type) \
    int name(int version, const char *path, struct type *to) { REAL(name); AT(AT_FDCWD, path); ANSWER(STAT, whole_path, NULL, -1, real(version, path, to)); }
int __xstat(int, const char *, struct stat *);
int __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *);
int __lxstat64(int, const char *, struct stat64 *);
int __fxstat(int, int, struct stat *);
int __fxstat64(int, int, struct stat64 *);
OLD_STAT(__xstat, stat)
OLD_STAT(__xstat64, stat64)
OLD_STAT(__lxstat, stat)
OLD_STAT(__lxstat64, stat64)
int __fxstat(int version, int fd, struct stat *to) { REAL(__fxstat); ANSWER_OF(STAT, fd, -1, real(version, fd, to)); }
int __fxstat64(int version, int fd, struct stat64 *to) { REAL(__fxstat64); ANSWER_OF(STAT, fd, -1, real(version, fd, to)); }
int access(const char *path, int mode) { REAL(access); AT(AT_FDCWD, path); ANSWER(STAT, whole_path, NULL, -1, real(path, mode)); }

DIR *opendir(const char *path) { REAL(opendir); AT(AT_FDCWD, path); ANSWER(SCANDIR, whole_path, NULL, NULL, real(path)); }
struct dirent *readdir(DIR *folder) { REAL(readdir); ANSWER_OF(SCANDIR, dirfd(folder), NULL, real(folder)); }
struct dirent64 *readdir64(DIR *folder) { REAL(readdir64); ANSWER_OF(SCANDIR, dirfd(folder), NULL, real(folder)); }

/* --- processes and threads --- */

pid_t fork(void) { REAL(fork); ANSWER(FORK, NULL, NULL, -1, real()); }
pid_t vfork(void) {
    /* A child that shares its parent's stack must not return from here: it gets a copy. */
    return fork();
}
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                char *const arguments[], char *const variables[]) {
    REAL(posix_spawn);
    return fate(FORK, NULL, NULL) != NOT ? errno : real(pid, path, actions, how, arguments, variables);
}
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    REAL(pthread_create);
    return fate(THREAD, NULL, NULL) != NOT ? errno : real(thread, how, run, with);
}
