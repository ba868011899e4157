/* Threads that make short system calls on files without ever holding the interpreter.

   A Crew serves one filesystem: a few threads make its calls, which may hang, and one flushes for all who wait for that.
   A call is submitted by the thread that runs the hub, and begins with the others of the same round of the hub. What has
   ended is put on one list for the whole process, and an eventfd is signalled if that list was empty. The threads touch
   nothing of Python: what a call needs is copied, or pinned as a buffer, when it is submitted.

   Python's own threads would have to take the interpreter before and after each call, and the thread that runs the hub
   would have to get it back each time: measured, that takes several times as long as the calls themselves. */

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define STACK_BYTES (256 * 1024)
#define ATTRIBUTE_BYTES_MAX 65536 /* what the system allows */
#define RACE_ATTEMPTS 10          /* others remove directories that they find empty; losing that often is not chance */
#define TOGETHER_MAX 16 /* calls made before any of them is told */
#define STUCK_SECONDS 0.001
#define ANNOUNCED_SECONDS 1.0
#define DIRECTORY_MODE 0700
#define FILE_MODE 0600

enum kind { LOOK, OPEN, STAGE, WRITE, PUBLISH, FLUSH, CLOSE };

struct crew;

struct call {
    struct call *next;
    enum kind kind;
    struct crew *crew;
    PyObject *token;   /* told when it has ended; touched only with the interpreter, as are the next two */
    PyObject *durable; /* of WRITE and PUBLISH: told when the name is durable as well */
    PyObject *held;    /* keeps the descriptor that it uses open */
    char *path, *above, *name, *source, *attribute_name;
    Py_buffer content, attribute;
    int descriptor;      /* that of the caller, -1 if there is none */
    Py_ssize_t read_max; /* files up to this size are read when they are opened; -1: none is opened */
    bool is_new;         /* WRITE, PUBLISH: the directory is probably not there yet */
    bool everything;     /* FLUSH: of all that is on the filesystem */
    bool data_first;     /* STAGE, WRITE: make the data durable, before the name comes */
    bool has_data;       /* FLUSH: of a file, not of a directory */
    bool staged;         /* WRITE: what is left to do is to publish it */

    int error, opened;
    char *names;
    size_t names_length;
    off_t size;
    char *found;
    ssize_t found_length; /* -1: no attribute */
    char *body;
    ssize_t body_length; /* -1: not read */
};

struct list {
    struct call *first, *last;
    size_t count;
};

/* Calls that wait, and the threads that make them. */
struct queue {
    struct list calls;
    pthread_cond_t work;
    int threads, wanted, started, idle;
    bool coming; /* a thread has been woken, and has not come yet */
    double hung_seconds;
    double running[THREADS_MAX]; /* since when each thread makes a call; 0: it does not */
};

struct crew {
    pthread_mutex_t lock;
    struct queue calls, flushes;
    struct list done, staged; /* what threads have made, to be told, or flushed, by the one that finds no more calls */
    size_t queued_max;
    bool closing, begins;
    struct crew *next;
    int references;
    unsigned long process; /* the value of `process` when it was made */
    dev_t filesystem;
    /* A name may stand in a directory that a crash could take away while directories are being made, and while more have
       been made than there were when the last flush of everything began. */
    atomic_ulong making, made;
    unsigned long made_durable;
    atomic_ulong rounds, of_everything; /* flushes, and how many of them were of all that is on the filesystem */
};

/* Counts forks: a child has a copy of its parent's crews, and none of their threads. */
static unsigned long process;

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void close_if_open(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

/* The calls themselves. Each sets `error`, and leaves nothing open then. */

/* Make a directory and those above it that are missing; `made` says whether this has made the directory itself. */
static int make_directories(struct crew *crew, const char *path, bool *made)
{
    char copy[4096];
    size_t length = strlen(path);
    int error = 0;
    if (length >= sizeof copy)
        return ENAMETOOLONG;
    memcpy(copy, path, length + 1);
    atomic_fetch_add(&crew->making, 1);
    while (!(*made = mkdir(copy, DIRECTORY_MODE) == 0) && errno != EEXIST) { /* upwards, until one can be or is there */
        char *slash = strrchr(copy, '/');
        if (errno != ENOENT || slash == NULL || slash == copy) {
            error = errno;
            break;
        }
        *slash = 0;
    }
    while (!error && strlen(copy) < length) { /* and down again */
        copy[strlen(copy)] = '/';
        *made = mkdir(copy, DIRECTORY_MODE) == 0;
        if (!*made && errno != EEXIST)
            error = errno;
    }
    atomic_fetch_add(&crew->made, 1);
    atomic_fetch_sub(&crew->making, 1);
    return error;
}

static bool is_gone(int error) /* EPERM: so ext4 calls a directory that is being removed */
{
    return error == ENOENT || error == EPERM;
}

/* After an error: whether to try again, with the directory made. Others may have removed it meanwhile, or one above. */
static bool make_missing(struct call *call, const char *path, bool *made)
{
    if (!is_gone(call->error))
        return false;
    int error = make_directories(call->crew, path, made);
    if (error)
        call->error = error;
    return is_gone(call->error);
}

static void touch(const char *directory)
{
    utimensat(AT_FDCWD, directory, NULL, 0); /* one that is gone needs no touching */
}

static int write_all(int descriptor, const char *content, size_t length)
{
    while (length) {
        ssize_t count = write(descriptor, content, length);
        if (count < 0) {
            if (errno == EINTR)
                continue;
            return errno;
        }
        content += count;
        length -= (size_t)count;
    }
    return 0;
}

/* The attribute of an open file, its size, and its content if that is short enough. */
static int examine(struct call *call, int descriptor)
{
    char buffer[4096];
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return errno;
    call->size = status.st_size;
    call->found_length = fgetxattr(descriptor, call->attribute_name, buffer, sizeof buffer);
    if (call->found_length >= 0) {
        if ((call->found = malloc((size_t)call->found_length + 1)) == NULL)
            return ENOMEM;
        memcpy(call->found, buffer, (size_t)call->found_length);
    } else if (errno == ERANGE) {
        if ((call->found = malloc(ATTRIBUTE_BYTES_MAX)) == NULL)
            return ENOMEM;
        call->found_length = fgetxattr(descriptor, call->attribute_name, call->found, ATTRIBUTE_BYTES_MAX);
        if (call->found_length < 0)
            return errno;
    } else if (errno != ENODATA && errno != ENOTSUP) {
        return errno;
    }
    if (call->size > call->read_max)
        return 0;
    if ((call->body = malloc((size_t)call->size + 1)) == NULL)
        return ENOMEM;
    ssize_t filled = 0;
    while (filled < call->size) {
        ssize_t count = pread(descriptor, call->body + filled, (size_t)(call->size - filled), filled);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        if (count == 0)
            break;
        filled += count;
    }
    call->body_length = filled;
    return 0;
}

static void open_and_examine(struct call *call, int directory, const char *path)
{
    int descriptor = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        call->error = errno;
        return;
    }
    call->error = examine(call, descriptor);
    if (call->error)
        close(descriptor);
    else
        call->opened = descriptor;
}

struct entry { /* linux_dirent64 */
    unsigned long long inode;
    long long offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static void look(struct call *call)
{
    int directory = open(call->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        call->error = errno;
        return;
    }
    char buffer[8192] __attribute__((aligned(8)));
    size_t count = 0;
    long length = 0;
    while (!call->error && (length = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < length;) {
            struct entry *entry = (struct entry *)(buffer + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            size_t bytes = strlen(entry->name) + 1;
            char *names = realloc(call->names, call->names_length + bytes);
            if (names == NULL) {
                call->error = ENOMEM;
                break;
            }
            memcpy(names + call->names_length, entry->name, bytes);
            call->names = names;
            call->names_length += bytes;
            count++;
        }
    if (length < 0)
        call->error = errno;
    if (call->error)
        call->names_length = 0; /* a part of the names must not be taken for all of them */
    else if (count == 1 && call->read_max >= 0)
        open_and_examine(call, directory, call->names);
    close(directory);
}

static void stage(struct call *call)
{
    int descriptor = call->descriptor;
    bool made;
    for (int attempt = 0; descriptor < 0 && attempt < RACE_ATTEMPTS; attempt++) {
        descriptor = open(call->above, O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
        if (descriptor < 0) {
            call->error = errno;
            if (!make_missing(call, call->above, &made))
                return;
        }
    }
    if (descriptor < 0)
        return;
    call->error = call->content.obj == NULL ? 0 : write_all(descriptor, call->content.buf, (size_t)call->content.len);
    if (!call->error && call->attribute.obj != NULL &&
        fsetxattr(descriptor, call->attribute_name, call->attribute.buf, (size_t)call->attribute.len, 0) != 0)
        call->error = errno;
    if (call->descriptor < 0 && call->error)
        close(descriptor);
    else if (call->descriptor < 0)
        call->opened = descriptor;
}

static int descriptor_in_use(const struct call *call)
{
    return call->opened >= 0 ? call->opened : call->descriptor;
}

/* Link the file into its directory; gives that, opened, or -1. */
static int publish(struct call *call)
{
    bool made = false;
    call->error = ENOENT;
    if (call->is_new && !make_missing(call, call->path, &made))
        return -1;
    if (!made)
        touch(call->above);
    double announced = monotonic();
    char unnamed[32];
    snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", descriptor_in_use(call));
    for (int attempt = 0; attempt < RACE_ATTEMPTS; attempt++) {
        int directory = open(call->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory >= 0) {
            int linked = call->source != NULL ? linkat(AT_FDCWD, call->source, directory, call->name, 0)
                                              : linkat(AT_FDCWD, unnamed, directory, call->name, AT_SYMLINK_FOLLOW);
            if (linked == 0) {
                if (monotonic() - announced > ANNOUNCED_SECONDS)
                    touch(call->above);
                call->error = 0;
                return directory;
            }
            int error = errno;
            close(directory);
            errno = error;
        }
        call->error = errno;
        if (!make_missing(call, call->path, &made))
            break;
    }
    return -1;
}

/* One flush for all. syncfs reports a failed write once to each descriptor, and a new descriptor does not learn of a
   failure that another process has been told of: so each file is asked besides whether its own data failed. */
static void flush_together(struct crew *crew, struct call *first)
{
    /* in this order: a directory is counted before it is no longer being made */
    bool making = atomic_load(&crew->making) != 0;
    unsigned long made = atomic_load(&crew->made);
    bool is_flush = first->kind == FLUSH, is_name = is_flush && !first->has_data;
    bool everything =
        first->next != NULL || (is_flush && first->everything) || (is_name && (making || made != crew->made_durable));
    bool synced = false; /* the filesystem of the crew: a device may have another one mounted by now, or stacked */
    dev_t newest = 0;
    struct stat status;
    if (!everything && is_name) /* what has been made durable elsewhere is not known */
        everything = fstat(first->descriptor, &status) == 0 && status.st_dev != crew->filesystem;
    int error = everything ? 0 : fsync(descriptor_in_use(first)) == 0 ? 0 : errno;
    for (struct call *call = first; everything && call != NULL; call = call->next) {
        if (fstat(descriptor_in_use(call), &status) != 0 ||
            ((call == first || status.st_dev != newest) && syncfs(descriptor_in_use(call)) != 0)) {
            error = errno;
            break;
        }
        newest = status.st_dev;
        synced = synced || newest == crew->filesystem;
    }
    for (struct call *call = first; everything && call != NULL && !error; call = call->next)
        if ((call->kind != FLUSH || call->has_data) &&
            sync_file_range(descriptor_in_use(call), 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) != 0)
            error = errno;
    crew->rounds++;
    crew->of_everything += everything;
    if (synced && !error)
        crew->made_durable = made;
    for (struct call *call = first; call != NULL && error; call = call->next)
        call->error = error;
}

/* Crews */

static void release(struct crew *crew) /* with its lock held, which it gives up */
{
    bool last = --crew->references == 0;
    pthread_mutex_unlock(&crew->lock);
    if (last) {
        pthread_mutex_destroy(&crew->lock);
        pthread_cond_destroy(&crew->calls.work);
        pthread_cond_destroy(&crew->flushes.work);
        free(crew);
    }
}

static void append(struct list *list, struct call *call)
{
    call->next = NULL;
    if (list->first == NULL)
        list->first = call;
    else
        list->last->next = call;
    list->last = call;
    list->count++;
}

static void append_all(struct list *list, const struct list *others)
{
    if (others->first == NULL)
        return;
    if (list->first == NULL)
        list->first = others->first;
    else
        list->last->next = others->first;
    list->last = others->last;
    list->count += others->count;
}

static struct {
    pthread_mutex_t lock;
    struct list calls;
    int eventfd;
    PyObject *open_file;
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER, .eventfd = -1};

static void tell(const struct list *calls)
{
    if (calls->first == NULL)
        return;
    pthread_mutex_lock(&ended.lock);
    bool was_empty = ended.calls.first == NULL;
    append_all(&ended.calls, calls);
    int descriptor = ended.eventfd;
    pthread_mutex_unlock(&ended.lock);
    if (was_empty)
        eventfd_write(descriptor, 1);
}

static void *make_calls(void *crew);
static void *make_flushes(void *crew);

static void wake_one(struct crew *crew, struct queue *queue) /* with the lock held */
{
    if (queue->idle) {
        if (!queue->coming) {
            queue->coming = true;
            pthread_cond_signal(&queue->work);
        }
    } else if (queue->threads < queue->wanted) {
        pthread_t thread;
        pthread_attr_t attributes;
        sigset_t all, before;
        sigfillset(&all); /* signals are for the thread of the hub, and interrupt no call */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        crew->references++;
        queue->threads++;
        if (pthread_create(&thread, &attributes, queue == &crew->calls ? make_calls : make_flushes, crew) != 0) {
            crew->references--;
            queue->threads--; /* those that there are will do it; without any, the waiting ends with a timeout */
        }
        pthread_attr_destroy(&attributes);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

/* Wait until there is something to do; false when there will be no more. */
static bool wait_for_work(struct crew *crew, struct queue *queue) /* with the lock held */
{
    while (queue->calls.first == NULL &&
           (queue == &crew->flushes || (crew->done.first == NULL && crew->staged.first == NULL))) {
        if (crew->closing)
            return false;
        queue->idle++;
        pthread_cond_wait(&queue->work, &crew->lock);
        queue->idle--;
        queue->coming = false;
    }
    return true;
}

static void pass_on(struct crew *crew, struct queue *queue, const struct list *calls)
{
    if (calls->first == NULL)
        return;
    pthread_mutex_lock(&crew->lock);
    append_all(&queue->calls, calls);
    wake_one(crew, queue);
    pthread_mutex_unlock(&crew->lock);
}

/* What makes the name durable that was linked into an open directory. It takes over who is told of that. */
static struct call *flush_of(struct call *call, int directory)
{
    struct call *flush = calloc(1, sizeof *flush);
    if (flush == NULL) {
        call->error = ENOMEM;
        close(directory);
        return NULL;
    }
    flush->kind = FLUSH;
    flush->crew = call->crew;
    flush->descriptor = directory;
    flush->opened = flush->found_length = flush->body_length = -1;
    flush->token = call->durable;
    call->durable = NULL;
    return flush;
}

static void run(struct call *call, struct list *done, struct list *to_flush)
{
    switch (call->kind) {
    case LOOK:
        look(call);
        break;
    case OPEN:
        open_and_examine(call, AT_FDCWD, call->path);
        break;
    case CLOSE:
        close(call->descriptor);
        break;
    case STAGE:
    case WRITE:
        if (!call->staged) {
            stage(call);
            if (!call->error && call->data_first) {
                append(to_flush, call);
                return;
            }
            if (call->error || call->kind == STAGE)
                break;
        }
        /* fall through */
    case PUBLISH: {
        int directory = publish(call);
        struct call *flush = directory < 0 ? NULL : flush_of(call, directory);
        if (flush != NULL)
            append(to_flush, flush);
        break;
    }
    case FLUSH:
        append(to_flush, call);
        return;
    }
    if (call->error || call->kind == WRITE)
        close_if_open(&call->opened);
    append(done, call);
}

static struct list take_all(struct list *list)
{
    struct list taken = *list;
    memset(list, 0, sizeof *list);
    return taken;
}

static void *make_calls(void *argument)
{
    struct crew *crew = argument;
    struct list *waiting = &crew->calls.calls;
    pthread_mutex_lock(&crew->lock);
    double *running = &crew->calls.running[crew->calls.started++ % THREADS_MAX];
    while (wait_for_work(crew, &crew->calls)) {
        struct call *call = waiting->first;
        bool took_long = false;
        if (call != NULL) {
            struct list done = {0}, staged = {0};
            waiting->first = call->next;
            waiting->count--;
            *running = monotonic();
            pthread_mutex_unlock(&crew->lock);
            run(call, &done, &staged);
            pthread_mutex_lock(&crew->lock);
            took_long = monotonic() - *running > STUCK_SECONDS;
            *running = 0;
            append_all(&crew->done, &done);
            append_all(&crew->staged, &staged);
        }
        if (waiting->first != NULL && took_long)
            wake_one(crew, &crew->calls); /* the disk is slow: the hub may sleep for longer than the next call takes */
        else if (waiting->first != NULL && crew->done.count + crew->staged.count < TOGETHER_MAX)
            continue;
        struct list done = take_all(&crew->done), staged = take_all(&crew->staged);
        if (staged.first != NULL) {
            append_all(&crew->flushes.calls, &staged);
            wake_one(crew, &crew->flushes);
        }
        pthread_mutex_unlock(&crew->lock);
        tell(&done);
        pthread_mutex_lock(&crew->lock);
    }
    crew->calls.threads--;
    release(crew);
    return NULL;
}

static void *make_flushes(void *argument)
{
    struct crew *crew = argument;
    pthread_mutex_lock(&crew->lock);
    double *running = &crew->flushes.running[crew->flushes.started++ % THREADS_MAX];
    while (wait_for_work(crew, &crew->flushes)) {
        struct list taken = take_all(&crew->flushes.calls), done = {0}, to_publish = {0};
        *running = monotonic();
        pthread_mutex_unlock(&crew->lock);
        flush_together(crew, taken.first);
        for (struct call *call = taken.first, *next; call != NULL; call = next) {
            next = call->next;
            call->staged = true;
            if (call->error)
                close_if_open(&call->opened);
            if (call->kind == FLUSH)
                close_if_open(&call->descriptor);
            append(call->kind == WRITE && !call->error ? &to_publish : &done, call);
        }
        pass_on(crew, &crew->calls, &to_publish);
        tell(&done);
        pthread_mutex_lock(&crew->lock);
        *running = 0;
    }
    crew->flushes.threads--;
    release(crew);
    return NULL;
}

/* Crews with calls that wait or are under way: in each of its rounds the hub has them begin, all at once, and sees
   whether they get on. Only the thread of the hub touches this list. */
static struct crew *to_begin;

static bool is_hung(const struct queue *queue)
{
    for (int thread = 0; thread < queue->threads; thread++) {
        double since = queue->running[thread];
        if (since && monotonic() - since > queue->hung_seconds)
            return true;
    }
    return false;
}

static int enqueue(struct call *call) /* 0, or an errno */
{
    struct crew *crew = call->crew;
    struct queue *queue = call->kind == FLUSH ? &crew->flushes : &crew->calls;
    pthread_mutex_lock(&crew->lock);
    int error = 0;
    if (call->kind == CLOSE) /* never refused: the caller has no other way to be rid of the descriptor */
        ;
    else if (crew->calls.calls.count + crew->flushes.calls.count >= crew->queued_max)
        error = EBUSY;
    else if (is_hung(&crew->calls) || is_hung(&crew->flushes))
        error = ETIMEDOUT;
    if (!error) {
        append(&queue->calls, call);
        if (!crew->begins) {
            crew->begins = true;
            crew->references++;
            crew->next = to_begin;
            to_begin = crew;
        }
    }
    pthread_mutex_unlock(&crew->lock);
    return error;
}

static bool is_busy(const struct queue *queue) /* with the lock held */
{
    return queue->threads != queue->idle;
}

/* Whether nobody is at the calls that wait: one thread makes them all as long as none of them takes long. */
static bool is_stuck(const struct crew *crew) /* with the lock held */
{
    if (!is_busy(&crew->calls))
        return true;
    double now = monotonic(), newest = 0;
    int making = 0;
    for (int thread = 0; thread < THREADS_MAX; thread++)
        if (crew->calls.running[thread]) {
            making++;
            newest = crew->calls.running[thread] > newest ? crew->calls.running[thread] : newest;
        }
    return making == crew->calls.threads - crew->calls.idle && now - newest > STUCK_SECONDS;
}

static void begin_all(void)
{
    for (struct crew **at = &to_begin, *crew; (crew = *at) != NULL;) {
        pthread_mutex_lock(&crew->lock);
        bool calls_wait = crew->calls.calls.first != NULL || crew->done.first != NULL || crew->staged.first != NULL;
        bool flushes_wait = crew->flushes.calls.first != NULL;
        if (calls_wait && is_stuck(crew))
            wake_one(crew, &crew->calls);
        if (flushes_wait)
            wake_one(crew, &crew->flushes);
        if (calls_wait || flushes_wait || is_busy(&crew->calls) || is_busy(&crew->flushes)) {
            at = &crew->next;
            pthread_mutex_unlock(&crew->lock);
        } else {
            *at = crew->next;
            crew->begins = false;
            release(crew);
        }
    }
}

/* For Python */

typedef struct {
    PyObject_HEAD
    struct crew *crew;
} CrewObject;

static PyTypeObject CrewType;

static void forget(struct call *call) /* with the interpreter */
{
    if (call->kind == FLUSH)
        close_if_open(&call->descriptor);
    close_if_open(&call->opened);
    free(call->path);
    free(call->above);
    free(call->name);
    free(call->source);
    free(call->attribute_name);
    free(call->names);
    free(call->found);
    free(call->body);
    PyBuffer_Release(&call->content);
    PyBuffer_Release(&call->attribute);
    Py_XDECREF(call->token);
    Py_XDECREF(call->durable);
    Py_XDECREF(call->held);
    free(call);
}

static struct call *new_call(PyObject *self, enum kind kind, PyObject *token)
{
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    call->kind = kind;
    call->crew = ((CrewObject *)self)->crew;
    call->token = Py_NewRef(token);
    call->descriptor = call->opened = -1;
    call->read_max = call->found_length = call->body_length = -1;
    return call;
}

/* Copy the string given, and remember whether that has failed. */
static void keep(char **kept, const char *given, bool *failed)
{
    if (given != NULL && (*kept = strdup(given)) == NULL)
        *failed = true;
}

static PyObject *submit(struct call *call, bool failed) /* NULL with an exception set */
{
    int error = failed ? ENOMEM : enqueue(call);
    if (!error)
        Py_RETURN_NONE;
    forget(call);
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static bool use_file(struct call *call, PyObject *file) /* false with an exception set */
{
    PyObject *number = PyObject_GetAttrString(file, "descriptor");
    if (number == NULL)
        return false;
    call->descriptor = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    call->held = Py_NewRef(file);
    if (call->descriptor < 0 && !PyErr_Occurred()) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return !PyErr_Occurred();
}

static bool use_content(struct call *call, PyObject *content, PyObject *attribute) /* false with an exception set */
{
    return (content == Py_None || PyObject_GetBuffer(content, &call->content, PyBUF_SIMPLE) == 0) &&
           (attribute == Py_None || PyObject_GetBuffer(attribute, &call->attribute, PyBUF_SIMPLE) == 0);
}

static PyObject *submit_reading(PyObject *self, PyObject *arguments, enum kind kind)
{
    PyObject *token;
    const char *path, *attribute_name;
    Py_ssize_t read_max;
    bool failed = false;
    if (!PyArg_ParseTuple(arguments, "Ossn", &token, &path, &attribute_name, &read_max))
        return NULL;
    struct call *call = new_call(self, kind, token);
    if (call == NULL)
        return NULL;
    call->read_max = read_max;
    keep(&call->path, path, &failed);
    keep(&call->attribute_name, attribute_name, &failed);
    return submit(call, failed);
}

static PyObject *crew_look(PyObject *self, PyObject *arguments)
{
    return submit_reading(self, arguments, LOOK);
}

static PyObject *crew_open(PyObject *self, PyObject *arguments)
{
    return submit_reading(self, arguments, OPEN);
}

static PyObject *crew_stage(PyObject *self, PyObject *arguments)
{
    PyObject *token, *file, *content, *attribute;
    const char *above, *attribute_name;
    int durable;
    bool failed = false;
    if (!PyArg_ParseTuple(arguments, "OOsOsOp", &token, &file, &above, &content, &attribute_name, &attribute, &durable))
        return NULL;
    struct call *call = new_call(self, STAGE, token);
    if (call == NULL)
        return NULL;
    call->data_first = durable;
    if ((file != Py_None && !use_file(call, file)) || !use_content(call, content, attribute)) {
        forget(call);
        return NULL;
    }
    keep(&call->above, above, &failed);
    keep(&call->attribute_name, attribute_name, &failed);
    return submit(call, failed);
}

static PyObject *crew_write(PyObject *self, PyObject *arguments)
{
    PyObject *token, *durable, *content, *attribute;
    const char *path, *above, *name, *attribute_name;
    int is_new, data_first;
    bool failed = false;
    if (!PyArg_ParseTuple(arguments, "OOsssOsOpp", &token, &durable, &path, &above, &name, &content, &attribute_name,
                          &attribute, &is_new, &data_first))
        return NULL;
    struct call *call = new_call(self, WRITE, token);
    if (call == NULL)
        return NULL;
    call->durable = Py_NewRef(durable);
    call->is_new = is_new;
    call->data_first = data_first;
    if (!use_content(call, content, attribute)) {
        forget(call);
        return NULL;
    }
    keep(&call->path, path, &failed);
    keep(&call->above, above, &failed);
    keep(&call->name, name, &failed);
    keep(&call->attribute_name, attribute_name, &failed);
    return submit(call, failed);
}

static PyObject *crew_publish(PyObject *self, PyObject *arguments)
{
    PyObject *token, *durable, *file;
    const char *source, *path, *above, *name;
    int is_new;
    bool failed = false;
    if (!PyArg_ParseTuple(arguments, "OOOzsssp", &token, &durable, &file, &source, &path, &above, &name, &is_new))
        return NULL;
    struct call *call = new_call(self, PUBLISH, token);
    if (call == NULL)
        return NULL;
    call->durable = Py_NewRef(durable);
    call->is_new = is_new;
    if (!use_file(call, file)) {
        forget(call);
        return NULL;
    }
    keep(&call->path, path, &failed);
    keep(&call->above, above, &failed);
    keep(&call->name, name, &failed);
    keep(&call->source, source, &failed);
    return submit(call, failed);
}

static PyObject *crew_flush(PyObject *self, PyObject *arguments)
{
    PyObject *token;
    int descriptor, everything, has_data;
    if (!PyArg_ParseTuple(arguments, "Oipp", &token, &descriptor, &everything, &has_data))
        return NULL;
    descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0); /* a caller that is killed meanwhile closes its own */
    if (descriptor < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    struct call *call = new_call(self, FLUSH, token);
    if (call == NULL) {
        close(descriptor);
        return NULL;
    }
    call->descriptor = descriptor;
    call->everything = everything;
    call->has_data = has_data;
    return submit(call, false);
}

static PyObject *crew_close(PyObject *self, PyObject *arguments)
{
    int descriptor;
    if (!PyArg_ParseTuple(arguments, "i", &descriptor))
        return NULL;
    struct call *call = new_call(self, CLOSE, Py_None);
    if (call == NULL)
        return NULL;
    call->descriptor = descriptor;
    return submit(call, false);
}

static PyObject *crew_made_directories(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    atomic_fetch_add(&((CrewObject *)self)->crew->made, 1);
    Py_RETURN_NONE;
}

static PyObject *crew_flushes(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    struct crew *crew = ((CrewObject *)self)->crew;
    return Py_BuildValue("(kk)", atomic_load(&crew->rounds), atomic_load(&crew->of_everything));
}

static PyObject *crew_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    unsigned long long filesystem;
    int threads;
    double hung_seconds, flush_seconds;
    Py_ssize_t queued_max;
    static char *names[] = {"filesystem", "threads", "hung_seconds", "flush_seconds", "queued_max", NULL};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "Kiddn", names, &filesystem, &threads, &hung_seconds,
                                     &flush_seconds, &queued_max))
        return NULL;
    if (threads < 1 || threads > THREADS_MAX || queued_max < 1) {
        PyErr_Format(PyExc_ValueError, "1 to %d threads, at least one call", THREADS_MAX);
        return NULL;
    }
    CrewObject *self = (CrewObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    struct crew *crew = self->crew = calloc(1, sizeof *crew);
    if (crew == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->calls.work, NULL);
    pthread_cond_init(&crew->flushes.work, NULL);
    crew->filesystem = (dev_t)filesystem;
    crew->calls.wanted = threads;
    crew->calls.hung_seconds = hung_seconds;
    crew->flushes.wanted = 1;
    crew->flushes.hung_seconds = flush_seconds;
    crew->queued_max = (size_t)queued_max;
    crew->references = 1;
    crew->process = process;
    return (PyObject *)self;
}

static void crew_dealloc(PyObject *self)
{
    struct crew *crew = ((CrewObject *)self)->crew;
    /* A thread of the parent may have held the lock when it forked, and others wait on the conditions for ever. */
    if (crew != NULL && crew->process == process) {
        pthread_mutex_lock(&crew->lock);
        crew->closing = true; /* its threads end when nothing is left to do */
        pthread_cond_broadcast(&crew->calls.work);
        pthread_cond_broadcast(&crew->flushes.work);
        release(crew);
    }
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef crew_methods[] = {
    {"look", crew_look, METH_VARARGS, NULL},
    {"open", crew_open, METH_VARARGS, NULL},
    {"stage", crew_stage, METH_VARARGS, NULL},
    {"write", crew_write, METH_VARARGS, NULL},
    {"publish", crew_publish, METH_VARARGS, NULL},
    {"flush", crew_flush, METH_VARARGS, NULL},
    {"close", crew_close, METH_VARARGS, NULL},
    {"flushes", crew_flushes, METH_NOARGS, NULL},
    {"made_directories", crew_made_directories, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject CrewType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "objstore.system.crew.Crew",
    .tp_basicsize = sizeof(CrewObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Threads that make calls on one filesystem; they start when they are needed, so after a fork.",
    .tp_new = crew_new,
    .tp_dealloc = crew_dealloc,
    .tp_methods = crew_methods,
};

static PyObject *names_of(struct call *call)
{
    PyObject *names = PyList_New(0);
    for (size_t at = 0; names != NULL && at < call->names_length; at += strlen(call->names + at) + 1) {
        PyObject *name = PyUnicode_DecodeFSDefault(call->names + at);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

/* The file that was opened: its descriptor, size, attribute or None, content or None; None when none was. */
static PyObject *file_of(struct call *call)
{
    if (call->opened < 0)
        Py_RETURN_NONE;
    PyObject *file = PyObject_CallFunction(ended.open_file, "iLy#y#", call->opened, (long long)call->size,
                                           call->found_length < 0 ? NULL : call->found, call->found_length,
                                           call->body_length < 0 ? NULL : call->body, call->body_length);
    if (file != NULL)
        call->opened = -1; /* the file closes it */
    return file;
}

/* (errno or 0, names, the open file) */
static PyObject *result_of(struct call *call)
{
    PyObject *names = names_of(call), *file = names == NULL ? NULL : file_of(call);
    if (file == NULL) {
        Py_XDECREF(names);
        return NULL;
    }
    return Py_BuildValue("(iNN)", call->error, names, file);
}

static PyObject *take_ended(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    pthread_mutex_lock(&ended.lock);
    struct call *call = ended.calls.first;
    memset(&ended.calls, 0, sizeof ended.calls);
    pthread_mutex_unlock(&ended.lock);
    PyObject *all = PyList_New(0);
    while (call != NULL) {
        struct call *next = call->next;
        if (call->token != Py_None) {
            PyObject *result = all == NULL ? NULL : result_of(call);
            PyObject *pair = result == NULL ? NULL : Py_BuildValue("(ON)", call->token, result);
            if (pair == NULL || PyList_Append(all, pair) < 0)
                Py_CLEAR(all);
            Py_XDECREF(pair);
        }
        forget(call);
        call = next;
    }
    return all;
}

static PyObject *begin(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    begin_all();
    Py_RETURN_NONE;
}

static PyObject *report_to(PyObject *module, PyObject *arguments)
{
    (void)module;
    int descriptor;
    PyObject *open_file;
    if (!PyArg_ParseTuple(arguments, "iO", &descriptor, &open_file))
        return NULL;
    pthread_mutex_lock(&ended.lock);
    ended.eventfd = descriptor;
    bool waiting = ended.calls.first != NULL;
    pthread_mutex_unlock(&ended.lock);
    Py_XSETREF(ended.open_file, Py_NewRef(open_file));
    if (waiting)
        eventfd_write(descriptor, 1);
    Py_RETURN_NONE;
}

/* A thread may have held the lock when the process forked; what it had to tell is the parent's. */
static void after_fork_in_child(void)
{
    pthread_mutex_init(&ended.lock, NULL);
    memset(&ended.calls, 0, sizeof ended.calls);
    ended.eventfd = -1;
    to_begin = NULL;
    process++;
}

static PyMethodDef functions[] = {
    {"begin", begin, METH_NOARGS, "Have the calls begin that were submitted."},
    {"take_ended", take_ended, METH_NOARGS, "The calls that have ended since, each with its token and its result."},
    {"report_to", report_to, METH_VARARGS, "Where to signal that calls have ended, and what makes files of descriptors."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "objstore.system.crew",
    .m_doc = "Threads that make short system calls on files without the interpreter.", .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_crew(void)
{
    if (PyType_Ready(&CrewType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddObjectRef(module, "Crew", (PyObject *)&CrewType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    pthread_atfork(NULL, NULL, after_fork_in_child);
    return module;
}
