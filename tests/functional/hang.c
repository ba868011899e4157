/* Preloaded into a server: while the file HANG_FLAG is there, calls on files below the folder HANG_FOLDER do not return,
   as on a disk that has stopped answering. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int is_hung(void)
{
    struct stat status;
    const char *flag = getenv("HANG_FLAG");
    return flag != NULL && fstatat(AT_FDCWD, flag, &status, 0) == 0;
}

static void hang_on(const char *path)
{
    const char *folder = getenv("HANG_FOLDER");
    if (folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0)
        while (is_hung())
            usleep(20000);
}

static void hang_on_descriptor(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (!is_hung())
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    hang_on(path);
}

#define OPENING(name)                                                                                                  \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                                 \
        va_end(arguments);                                                                                             \
        hang_on(path);                                                                                                 \
        return REAL(int, #name, const char *, int, ...)(path, flags, mode);                                            \
    }

#define OPENING_AT(name)                                                                                               \
    int name(int directory, const char *path, int flags, ...)                                                          \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                                 \
        va_end(arguments);                                                                                             \
        hang_on(path);                                                                                                 \
        return REAL(int, #name, int, const char *, int, ...)(directory, path, flags, mode);                            \
    }

#define ON_PATH(name, type, parameters, given, ...)                                                                    \
    type name parameters                                                                                               \
    {                                                                                                                  \
        hang_on(path);                                                                                                 \
        return REAL(type, #name, __VA_ARGS__) given;                                                                   \
    }

#define ON_DESCRIPTOR(name, type, parameters, given, ...)                                                              \
    type name parameters                                                                                               \
    {                                                                                                                  \
        hang_on_descriptor(fd);                                                                                        \
        return REAL(type, #name, __VA_ARGS__) given;                                                                   \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
ON_PATH(mkdir, int, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(rmdir, int, (const char *path), (path), const char *)
ON_PATH(unlink, int, (const char *path), (path), const char *)
ON_PATH(rename, int, (const char *path, const char *to), (path, to), const char *, const char *)
ON_DESCRIPTOR(fsync, int, (int fd), (fd), int)
ON_DESCRIPTOR(fdatasync, int, (int fd), (fd), int)
ON_DESCRIPTOR(syncfs, int, (int fd), (fd), int)
ON_DESCRIPTOR(fsetxattr, int, (int fd, const char *name, const void *value, size_t size, int flags),
              (fd, name, value, size, flags), int, const char *, const void *, size_t, int)
ON_DESCRIPTOR(fgetxattr, ssize_t, (int fd, const char *name, void *value, size_t size), (fd, name, value, size), int,
              const char *, void *, size_t)
ON_DESCRIPTOR(pwrite64, ssize_t, (int fd, const void *content, size_t size, off64_t at), (fd, content, size, at), int,
              const void *, size_t, off64_t)
