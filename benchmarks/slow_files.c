/* Preloaded into a process: every file operation below one folder takes some milliseconds longer, as on a cluster's file
   system. SLOW_FILES names the folder, SLOW_FILES_US the microseconds. Opening, looking up, listing, making, renaming and
   removing wait, and so does the first reading and the first writing of each opened file: what a file server is asked for. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
static const char *root;
static size_t length;
static struct timespec delay;
static unsigned char fresh[MOST];

__attribute__((constructor)) static void begin(void) {
    root = getenv("SLOW_FILES");
    if (!root) return;
    length = strlen(root);
    long us = atol(getenv("SLOW_FILES_US"));
    delay.tv_sec = us / 1000000;
    delay.tv_nsec = us % 1000000 * 1000;
}

static void wait_a_moment(void) { nanosleep(&delay, NULL); }
static int concerned(const char *path) { return root && path && !strncmp(path, root, length); }
static void slow(const char *path) { if (concerned(path)) wait_a_moment(); }
static int opened(const char *path, int fd) {
    if (concerned(path)) {
        wait_a_moment();
        if (fd >= 0 && fd < MOST) fresh[fd] = 1;
    }
    return fd;
}
static void touched(int fd) {
    if (fd >= 0 && fd < MOST && fresh[fd]) { fresh[fd] = 0; wait_a_moment(); }
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE(flags) va_list rest; va_start(rest, flags); mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest)

int open(const char *path, int flags, ...) { MODE(flags); REAL(open); return opened(path, real(path, flags, mode)); }
int open64(const char *path, int flags, ...) { MODE(flags); REAL(open64); return opened(path, real(path, flags, mode)); }
int openat(int at, const char *path, int flags, ...) { MODE(flags); REAL(openat); return opened(path, real(at, path, flags, mode)); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags); REAL(openat64); return opened(path, real(at, path, flags, mode)); }
ssize_t read(int fd, void *to, size_t count) { REAL(read); touched(fd); return real(fd, to, count); }
ssize_t write(int fd, const void *from, size_t count) { REAL(write); touched(fd); return real(fd, from, count); }
int close(int fd) { REAL(close); if (fd >= 0 && fd < MOST) fresh[fd] = 0; return real(fd); }
int stat(const char *path, struct stat *to) { REAL(stat); slow(path); return real(path, to); }
int stat64(const char *path, struct stat64 *to) { REAL(stat64); slow(path); return real(path, to); }
int lstat64(const char *path, struct stat64 *to) { REAL(lstat64); slow(path); return real(path, to); }
int fstatat(int at, const char *path, struct stat *to, int flags) { REAL(fstatat); slow(path); return real(at, path, to, flags); }
int fstatat64(int at, const char *path, struct stat64 *to, int flags) { REAL(fstatat64); slow(path); return real(at, path, to, flags); }
int statx(int at, const char *path, int flags, unsigned mask, struct statx *to) { REAL(statx); slow(path); return real(at, path, flags, mask, to); }
int access(const char *path, int mode) { REAL(access); slow(path); return real(path, mode); }
int faccessat(int at, const char *path, int mode, int flags) { REAL(faccessat); slow(path); return real(at, path, mode, flags); }
DIR *opendir(const char *path) { REAL(opendir); slow(path); slow(path); return real(path); }
int unlink(const char *path) { REAL(unlink); slow(path); return real(path); }
int link(const char *from, const char *to) { REAL(link); slow(to); return real(from, to); }
int rename(const char *from, const char *to) { REAL(rename); slow(to); return real(from, to); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); slow(path); return real(path, mode); }
int utimensat(int at, const char *path, const struct timespec times[2], int flags) { REAL(utimensat); slow(path); return real(at, path, times, flags); }
