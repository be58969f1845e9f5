/* Preload: note what every process of a run opens, moves, deletes, lists and starts.
 *
 * Laws of this file. It runs inside programs that know nothing of it, in signal handlers, between
 * vfork and exec, in threads, before main and after exit. So: no lock, no malloc, no descriptor
 * that is kept, small stack frames, errno as the program expects it, and no system call of libc's
 * where a raw one does. What cannot be noted is counted, and the program goes on.
 *
 * The log is one file, made and preallocated by mlrepro (probe/native.py) and mapped by every
 * process: a write to it can neither fail nor be lost by SIGKILL. Its form is told there and in
 * capture/nativelog.py.
 */
#define _GNU_SOURCE
#include <features.h>
#undef __nonnull /* a program may give NULL where libc's headers say never: our tests for it stay */
#define __nonnull(arguments)
#include <alloca.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__GLIBC__) || !(defined(__x86_64__) || defined(__aarch64__))
#error "the native observer is for Linux with glibc on x86-64 and aarch64"
#endif

#define EXPORT __attribute__((visibility("default")))
#define APART __attribute__((noinline)) /* its large buffers are not on other functions' stacks */

/* ------------------------------------------------------------------ raw system calls */

/* They return -errno, leave errno alone, and are no cancellation points. */
static inline long raw6(long n, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#endif
}
#define raw(n, a, b, c, d) raw6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

static int raw_open(const char *path, int flags) {
    return (int)raw(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}
static void raw_close(int descriptor) { raw(SYS_close, descriptor, 0, 0, 0); }
static long raw_stat(int folder, const char *path, struct stat *found, int flags) {
    return raw(SYS_newfstatat, folder, path, found, flags);
}
static int own_pid(void) { return (int)raw(SYS_getpid, 0, 0, 0, 0); }

/* ------------------------------------------------------------------ the log */

#define RECORD_MAGIC 0x31524C4DU
#define HEADER_SIZE 4096
#define LONGEST 16384 /* bytes of one record: longer command lines are cut */

struct header {
    char magic[8];
    uint32_t version, header_size;
    uint64_t size, small, large, first;
    _Atomic uint64_t tail, lost;
    int64_t realtime, monotonic;
    _Atomic uint64_t copies, renames;
    char pad[256 - 96];
    char folder[2048];
};
struct record {
    _Atomic uint32_t magic;
    uint32_t length;
    uint64_t time;
    uint32_t pid;
    uint8_t kind, flags;
    uint16_t strings;
    int64_t numbers[5];
    char text[];
};
_Static_assert(offsetof(struct header, folder) == 256, "the header's form is fixed");
_Static_assert(offsetof(struct record, text) == 64, "the record's form is fixed");

enum { RELATIVE = 1, STREAM = 2 };

static struct header *log_file; /* NULL: nothing is noted */
static size_t folder_length;
/* Its form as it was when it was mapped: every process of the run can write to the file. */
static uint64_t log_size, log_first, log_small, log_large;
static uint64_t place_key; /* tells the working directory from others */
static int process; /* pid of this process; in a child between vfork and exec, its parent's */

struct facts { /* of a file; all 0 where there is none */
    int64_t dev, ino, size, mtime, ctime;
};

static void emit(int kind, int flags, const struct facts *facts, int count,
                 const char *const *strings, char *const *more) {
    struct header *head = log_file;
    if (!head) return;
    size_t length = sizeof(struct record);
    int total = 0;
    for (int i = 0; i < count; i++) length += strlen(strings[i]) + 1;
    if (length > LONGEST) return;
    for (; more && more[total] && total < 4000; total++) {
        size_t longer = length + strlen(more[total]) + 1;
        if (longer > LONGEST) break;
        length = longer;
    }
    length = (length + 7) & ~(size_t)7;
    uint64_t at = atomic_load_explicit(&head->tail, memory_order_relaxed);
    do {
        if (at < log_first || at > log_size - length || at % 8) {
            atomic_fetch_add_explicit(&head->lost, 1, memory_order_relaxed);
            return;
        }
    } while (!atomic_compare_exchange_weak(&head->tail, &at, at + length));
    struct record *record = (struct record *)((char *)head + at);
    record->length = (uint32_t)length;
    atomic_signal_fence(memory_order_seq_cst);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    record->time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    /* Between vfork and exec the memory is the parent's; what happens there is asked for. */
    int apart = kind == 'x' || kind == 'c' || kind == 's' || kind == 'F';
    record->pid = (uint32_t)(apart ? own_pid() : process);
    record->kind = (uint8_t)kind;
    record->flags = (uint8_t)flags;
    record->strings = (uint16_t)(count + total);
    if (facts) memcpy(record->numbers, facts, sizeof record->numbers);
    char *text = record->text, *end = (char *)record + length;
    for (int i = 0; i < count + total; i++) {
        /* Another thread may have changed a string's length since: never beyond the end. */
        const char *string = i < count ? strings[i] : more[i - count];
        while (text < end - 1 && *string) *text++ = *string++;
        if (text < end) *text++ = 0;
    }
    atomic_store_explicit(&record->magic, RECORD_MAGIC, memory_order_release);
}

static void emit1(int kind, const struct facts *facts, const char *one) {
    const char *strings[1] = {one};
    emit(kind, 0, facts, 1, strings, NULL);
}
static void emit2(int kind, int flags, const struct facts *facts, const char *a, const char *b) {
    const char *strings[2] = {a, b};
    emit(kind, flags, facts, 2, strings, NULL);
}

/* ------------------------------------------------------------------ sets shared by the run */

static uint64_t mixed(uint64_t a, uint64_t b) {
    a = (a ^ b) * 0x9E3779B97F4A7C15u;
    a ^= a >> 29;
    a *= 0xBF58476D1CE4E5B9u;
    return a ^ (a >> 32);
}
static uint64_t hashed(uint64_t seed, const char *text) {
    uint64_t h = seed ^ 0xCBF29CE484222325u;
    while (*text) h = (h ^ (uint8_t)*text++) * 0x100000001B3u;
    return mixed(h, seed);
}

/*
 * Tells programs apart, by their file and first two arguments: what git, or a run inside this one,
 * has read is still news when the training reads it, for those reads are no inputs.
 */
static uint64_t image;

enum { MISSING, PRESENT, NO_ROOM };

/* Look a key up, and put it in where `insert` says so; the answer is of before. */
static int lookup(uint64_t key, int insert) {
    struct header *head = log_file;
    if (!head) return PRESENT;
    if (!key) key = 1;
    _Atomic uint64_t *table = (_Atomic uint64_t *)((char *)head + HEADER_SIZE);
    uint64_t entries = log_small;
    int probes = 12;
    for (int level = 0; level < 2; level++) {
        for (int i = 0; i < probes; i++) {
            _Atomic uint64_t *slot = &table[(key + (uint64_t)i) & (entries - 1)];
            uint64_t there = atomic_load_explicit(slot, memory_order_relaxed);
            if (there == key) return PRESENT;
            if (there) continue;
            if (!insert) return MISSING;
            if (atomic_compare_exchange_strong(slot, &there, key)) return MISSING;
            if (there == key) return PRESENT;
        }
        table += entries;
        entries = log_large;
        probes = 64;
        key = mixed(key, 7) | 1;
    }
    return NO_ROOM;
}
static int first_time(uint64_t key) { return lookup(key, 1) != PRESENT; }
static int holds(uint64_t key) { return lookup(key, 0) == PRESENT; }

enum { READ = 11, WRITTEN = 13, KEPT = 17 };
static uint64_t inode_key(int set, const struct facts *f) {
    /* Mixed one by one: `ino ^ set` would take one inode's READ for its neighbour's WRITTEN. */
    return mixed(mixed(mixed((uint64_t)set, 0), (uint64_t)f->ino), (uint64_t)f->dev);
}
static uint64_t state_key(uint64_t seed, const struct facts *f) {
    uint64_t key = mixed(mixed(seed, (uint64_t)f->ino), (uint64_t)f->size);
    return mixed(mixed(key, (uint64_t)f->mtime), (uint64_t)f->ctime);
}

/* ------------------------------------------------------------------ files */

static int is_regular(const struct stat *found) { return (found->st_mode & S_IFMT) == S_IFREG; }
static void take(struct facts *facts, const struct stat *found) {
    facts->dev = (int64_t)found->st_dev;
    facts->ino = (int64_t)found->st_ino;
    facts->size = found->st_size;
    facts->mtime = found->st_mtim.tv_sec * 1000000000ll + found->st_mtim.tv_nsec;
    facts->ctime = found->st_ctim.tv_sec * 1000000000ll + found->st_ctim.tv_nsec;
}

static int starts(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

/* Whether a folder's name ends with a version, as python3.13t does, and python3_data does not. */
static int is_version(const char *text) {
    size_t length = strspn(text, "0123456789.");
    const char *end = text + length + strspn(text + length, "dmtu");
    return length && (!*end || *end == '/');
}

/* Whether a path belongs to the system, an interpreter or mlrepro itself. */
static int is_foreign(const char *path) {
    if (path[0] != '/') return 0;
    if (starts(path, "/proc/") || starts(path, "/sys/")) return 1;
    if (starts(path, "/dev/")) return !starts(path + 5, "shm/"); /* data is put there for speed */
    if (!strncmp(path, log_file->folder, folder_length) &&
        (path[folder_length] == '/' || !path[folder_length]))
        return 1;
    const char *lib = strstr(path, "/lib");
    for (; lib; lib = strstr(lib + 1, "/lib")) {
        const char *rest = lib + 4;
        if (starts(rest, "64")) rest += 2;
        if (starts(rest, "/python") && is_version(rest + 7)) return 1;
        if (starts(rest, "/pypy") && is_version(rest + 5)) return 1;
    }
    return 0;
}

/* Write a number and its end; return the place of the end. printf takes 2 kB of a small stack. */
static char *write_number(char *text, uint64_t number) {
    char digits[24];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *text++ = digits[--count];
    *text = 0;
    return text;
}

/* Write the name of what a descriptor has open; 0 where there is none, or no room for it. */
static size_t name_of(int descriptor, char *name, size_t size) {
    char link[40] = "/proc/self/fd/";
    if (descriptor < 0) return 0;
    write_number(link + 14, (uint64_t)descriptor);
    long length = raw(SYS_readlinkat, AT_FDCWD, link, name, size);
    if (length >= (long)size) atomic_fetch_add_explicit(&log_file->lost, 1, memory_order_relaxed);
    if (length <= 0 || length >= (long)size) return 0;
    name[length] = 0;
    return (size_t)length;
}

/* Room for a name that a small stack has not: one of a few buffers of this process, or where all
 * are taken a piece of the stack. */
#define ROOMS 4
static char rooms[ROOMS][4096];
static atomic_flag taken[ROOMS] = {ATOMIC_FLAG_INIT, ATOMIC_FLAG_INIT, ATOMIC_FLAG_INIT,
                                   ATOMIC_FLAG_INIT};
struct room {
    char *text;
    size_t size;
    int number;
};
static struct room enter(char *spare, size_t size) {
    for (int i = 0; i < ROOMS; i++)
        if (!atomic_flag_test_and_set(&taken[i])) return (struct room){rooms[i], 4096, i};
    return (struct room){spare, size, -1};
}
static void leave(struct room room) {
    if (room.number >= 0) atomic_flag_clear(&taken[room.number]);
}

static APART void note_in_folder(int kind, const struct facts *facts, int folder,
                                 const char *path) {
    char spare[256];
    struct room base = enter(spare, sizeof spare);
    if (name_of(folder, base.text, base.size) && !is_foreign(base.text))
        emit2(kind, RELATIVE, facts, base.text, path);
    leave(base);
}

static void note_file(int kind, int flags, const struct facts *facts, int folder,
                      const char *path) {
    if (path[0] == '/' || folder == AT_FDCWD)
        emit2(kind, flags | (path[0] != '/'), facts, "", path);
    else
        note_in_folder(kind, facts, folder, path);
}

/* Read and write, repeated where a signal cut them short; -1 on an error. */
static APART int copy_bytes(int source, int target) {
    char spare[512];
    struct room buffer = enter(spare, sizeof spare);
    long got, put = 0;
    for (;;) {
        got = raw(SYS_read, source, buffer.text, buffer.size, 0);
        if (got == -EINTR) continue;
        if (got <= 0) break;
        for (long done = 0; done < got; done += put) {
            put = raw(SYS_write, target, buffer.text + done, got - done, 0);
            if (put == -EINTR) put = 0;
            else if (put <= 0) break;
        }
        if (put <= 0) break;
    }
    leave(buffer);
    return got ? -1 : 0;
}

/* Whether a copy takes at most a sixteenth of what is free: copies never fill the user's disk. */
static int has_room(int target, int64_t size) {
    struct statfs disk;
    if (raw(SYS_fstatfs, target, &disk, 0, 0) != 0) return 0;
    return (int64_t)disk.f_bavail / 16 >= size / (int64_t)disk.f_bsize;
}

/* Whether a process has record locks on a file. They end when one that holds them closes any
 * descriptor of that file, so ours would end the program's. */
static APART int is_locked(const struct facts *facts) {
    char spare[256], number[32] = ":";
    struct room text = enter(spare, sizeof spare);
    size_t filled = 0;
    int found = 0, file = raw_open("/proc/locks", O_RDONLY);
    strcpy(write_number(number + 1, (uint64_t)facts->ino), " ");
    while (file >= 0 && !found) {
        long got = raw(SYS_read, file, text.text + filled, text.size - 1 - filled, 0);
        if (got == -EINTR) continue;
        if (got <= 0) break;
        filled += (size_t)got;
        text.text[filled] = 0;
        char *line = text.text, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            if (strstr(line, "POSIX") && strstr(line, number)) found = 1;
            line = end + 1;
        }
        filled -= (size_t)(line - text.text);
        if (filled >= text.size - 1) filled = 0;
        memmove(text.text, line, filled);
    }
    if (file >= 0) raw_close(file);
    leave(text);
    return found;
}

#define FICLONE_REQUEST 0x40049409

static int copy_content(int source, int target, int64_t size, int64_t limit) {
    if (raw(SYS_ioctl, target, FICLONE_REQUEST, source, 0) == 0) return 0;
    if (size > limit || !has_room(target, size)) return -1;
    int64_t done = 0;
    while (done < size) {
        long moved = raw(SYS_sendfile, target, source, NULL, size - done);
        if (moved == -EINTR || moved == -EAGAIN) continue;
        if (moved < 0) break;
        if (moved == 0) return 0;
        done += moved;
    }
    return done < size ? copy_bytes(source, target) : 0;
}

static APART void note_kept(const char *name, const struct facts *facts, int folder,
                            const char *path) {
    char spare[256];
    struct room base = enter(spare, sizeof spare);
    int relative = path[0] != '/';
    base.text[0] = 0;
    if (!relative || folder == AT_FDCWD || name_of(folder, base.text, base.size)) {
        const char *strings[3] = {name, base.text, path};
        emit('k', relative, facts, 3, strings, NULL);
    }
    leave(base);
}

/* Make a new file in the log's folder. */
static APART int make(const char *name) {
    char spare[512];
    struct room path = enter(spare, sizeof spare);
    int made = -ENAMETOOLONG;
    if (folder_length + strlen(name) + 2 <= path.size) {
        memcpy(path.text, log_file->folder, folder_length);
        path.text[folder_length] = '/';
        strcpy(path.text + folder_length + 1, name);
        made = raw_open(path.text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW);
    }
    leave(path);
    return made;
}

/* Copy a file that the run has read, before the run changes it for the first time. */
static APART void keep(int folder, const char *path, const struct facts *facts, int kind) {
    int was_read = holds(inode_key(READ, facts));
    int in_out = kind == 'a' || kind == 'u';
    if (!facts->size || holds(inode_key(WRITTEN, facts)) || !(was_read || in_out)) return;
    if (path[0] == '/' && is_foreign(path)) return;
    if (!first_time(inode_key(KEPT, facts)) || is_locked(facts)) return;
    int64_t limit = was_read ? 512ll << 20 : 64ll << 20;
    char name[64];
    uint64_t number = atomic_fetch_add_explicit(&log_file->copies, 1, memory_order_relaxed);
    char *end = write_number(stpcpy(name, "kept-native-"), (uint64_t)own_pid());
    *end++ = '-';
    write_number(end, number);
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK; /* it could be a pipe by now */
    int source = (int)raw(SYS_openat, folder, path, flags, 0);
    if (source < 0) return;
    int target = make(name);
    if (target < 0) {
        raw_close(source);
        return;
    }
    struct stat now;
    struct facts after = {0};
    int whole = copy_content(source, target, facts->size, limit) == 0;
    if (raw_stat(source, "", &now, AT_EMPTY_PATH) == 0) take(&after, &now);
    whole = whole && !memcmp(&after, facts, sizeof after); /* nobody changed it meanwhile */
    if (!whole) raw(SYS_ftruncate, target, 0, 0, 0);
    raw_close(source);
    raw_close(target);
    if (whole) note_kept(name, facts, folder, path);
}

/* Look at a file that is about to be changed. */
static void before_change(int folder, const char *path, int kind, struct facts *facts) {
    struct stat found;
    memset(facts, 0, sizeof *facts);
    if (!log_file || !path) return;
    int follow = kind == 'w' || kind == 'a' || kind == 'u' ? 0 : AT_SYMLINK_NOFOLLOW;
    if (raw_stat(folder, path, &found, follow) != 0 || !is_regular(&found)) return;
    take(facts, &found);
    keep(folder, path, facts, kind);
}

/* Note a file that was opened with success. */
static void opened(int descriptor, int folder, const char *path, int kind,
                   const struct facts *before) {
    struct stat found;
    struct facts now;
    if (!log_file || raw_stat(descriptor, "", &found, AT_EMPTY_PATH) != 0) return;
    if (!is_regular(&found)) return;
    take(&now, &found);
    uint64_t key = hashed(image + (uint64_t)kind, path);
    if (kind == 'r') {
        if (!first_time(state_key(key, &now))) return;
        if (is_foreign(path)) return;
        if (!holds(inode_key(WRITTEN, &now))) lookup(inode_key(READ, &now), 1);
        note_file('r', 0, &now, folder, path);
        return;
    }
    lookup(inode_key(WRITTEN, &now), 1);
    /* The same name may be another file: elsewhere, or made again with the number of one that was
     * removed or moved away. */
    uint64_t age = atomic_load_explicit(&log_file->renames, memory_order_relaxed);
    if (path[0] != '/') key = mixed(key, folder == AT_FDCWD ? place_key : 1);
    key = mixed(key, (uint64_t)now.ino);
    int first = first_time(key);
    if (!before->ino) first = first_time(mixed(key, age + 1));
    if (!first) return;
    if (is_foreign(path) || strstr(path, "/__pycache__/")) return;
    note_file(kind, 0, before, folder, path);
}

static int kind_of_open(int flags) {
    if (flags & (O_PATH | O_DIRECTORY)) return 0; /* O_DIRECTORY is a part of O_TMPFILE */
    if ((flags & O_ACCMODE) == O_RDONLY) return flags & O_TRUNC ? 'w' : 'r';
    if (flags & O_APPEND) return 'a';
    if (flags & O_TRUNC || (flags & O_CREAT && flags & O_EXCL)) return 'w';
    return 'u';
}
static int kind_of_mode(const char *mode) {
    if (!mode) return 0;
    if (mode[0] == 'w') return 'w';
    if (mode[0] == 'a') return 'a';
    return strchr(mode, '+') ? 'u' : 'r';
}

/* ------------------------------------------------------------------ the real functions */

static void begin(void);
static _Atomic int state; /* 0: not begun, 1: beginning, 2: ready */

#if defined(__clang__) /* its linker drops what only the names of a section's ends refer to */
#define RETAIN , retain
#else
#define RETAIN
#endif

/* They are looked up at the start: later the loader's lock may be held, for ever in the child of a
 * fork among threads. */
#define REAL(result, name, ...)                                                              \
    typedef result (*name##_type)(__VA_ARGS__);                                              \
    static _Atomic(name##_type) next_##name;                                                 \
    static name##_type real_##name(void) {                                                   \
        name##_type function = atomic_load_explicit(&next_##name, memory_order_relaxed);     \
        if (!function) {                                                                     \
            function = (name##_type)dlsym(RTLD_NEXT, #name);                                 \
            atomic_store_explicit(&next_##name, function, memory_order_relaxed);             \
        }                                                                                    \
        return function;                                                                     \
    }                                                                                        \
    static void find_##name(void) { real_##name(); }                                         \
    static void (*const finder_##name)(void)                                                 \
        __attribute__((used RETAIN, section("mlrepro_finders"))) = find_##name;

extern void (*const __start_mlrepro_finders[])(void) __attribute__((visibility("hidden")));
extern void (*const __stop_mlrepro_finders[])(void) __attribute__((visibility("hidden")));

static void find_all(void) {
    for (void (*const *finder)(void) = __start_mlrepro_finders; finder < __stop_mlrepro_finders;)
        (*finder++)();
    dlerror(); /* of one that an old libc has not: the program would take it for its own */
}

/* Call the next one of that name; where there is none (an old libc), say so as the kernel would. */
#define NEXT(name, failure, ...)       \
    (real_##name() ? real_##name()(__VA_ARGS__) : (errno = ENOSYS, failure))

static void ensure(void) {
    if (atomic_load_explicit(&state, memory_order_acquire) == 0) begin();
}

/* ------------------------------------------------------------------ open and its family */

REAL(int, open, const char *, int, ...)
REAL(int, open64, const char *, int, ...)
REAL(int, openat, int, const char *, int, ...)
REAL(int, openat64, int, const char *, int, ...)
REAL(int, creat, const char *, mode_t)
REAL(int, creat64, const char *, mode_t)
REAL(int, __open_2, const char *, int)
REAL(int, __open64_2, const char *, int)
REAL(int, __openat_2, int, const char *, int)
REAL(int, __openat64_2, int, const char *, int)

#define OPEN(folder, path, flags, call)                                        \
    ensure();                                                                  \
    int kind = kind_of_open(flags);                                            \
    struct facts before;                                                       \
    if (kind && kind != 'r') before_change(folder, path, kind, &before);       \
    int result = call;                                                         \
    if (result >= 0 && kind) opened(result, folder, path, kind, &before);      \
    return result;

#define MODE_ARGUMENT(last)                                  \
    mode_t mode = 0;                                         \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list list;                                        \
        va_start(list, last);                                \
        mode = va_arg(list, mode_t);                         \
        va_end(list);                                        \
    }

EXPORT int open(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    OPEN(AT_FDCWD, path, flags, NEXT(open, -1, path, flags, mode))
}
EXPORT int open64(const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    OPEN(AT_FDCWD, path, flags, NEXT(open64, -1, path, flags, mode))
}
EXPORT int openat(int folder, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    OPEN(folder, path, flags, NEXT(openat, -1, folder, path, flags, mode))
}
EXPORT int openat64(int folder, const char *path, int flags, ...) {
    MODE_ARGUMENT(flags)
    OPEN(folder, path, flags, NEXT(openat64, -1, folder, path, flags, mode))
}
EXPORT int creat(const char *path, mode_t mode) {
    OPEN(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, NEXT(creat, -1, path, mode))
}
EXPORT int creat64(const char *path, mode_t mode) {
    OPEN(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, NEXT(creat64, -1, path, mode))
}
/* What open becomes under _FORTIFY_SOURCE. */
EXPORT int __open_2(const char *path, int flags) {
    OPEN(AT_FDCWD, path, flags, NEXT(__open_2, -1, path, flags))
}
EXPORT int __open64_2(const char *path, int flags) {
    OPEN(AT_FDCWD, path, flags, NEXT(__open64_2, -1, path, flags))
}
EXPORT int __openat_2(int folder, const char *path, int flags) {
    OPEN(folder, path, flags, NEXT(__openat_2, -1, folder, path, flags))
}
EXPORT int __openat64_2(int folder, const char *path, int flags) {
    OPEN(folder, path, flags, NEXT(__openat64_2, -1, folder, path, flags))
}

REAL(FILE *, fopen, const char *, const char *)
REAL(FILE *, fopen64, const char *, const char *)
REAL(FILE *, freopen, const char *, const char *, FILE *)
REAL(FILE *, freopen64, const char *, const char *, FILE *)

#define FOPEN(path, mode, call)                                                          \
    ensure();                                                                            \
    int kind = path ? kind_of_mode(mode) : 0;                                            \
    struct facts before;                                                                 \
    if (kind && kind != 'r') before_change(AT_FDCWD, path, kind, &before);               \
    FILE *result = call;                                                                 \
    if (result && kind) {                                                                \
        int error = errno, descriptor = fileno(result);                                  \
        if (descriptor >= 0) opened(descriptor, AT_FDCWD, path, kind, &before);          \
        errno = error;                                                                   \
    }                                                                                    \
    return result;

EXPORT FILE *fopen(const char *path, const char *mode) {
    FOPEN(path, mode, NEXT(fopen, NULL, path, mode))
}
EXPORT FILE *fopen64(const char *path, const char *mode) {
    FOPEN(path, mode, NEXT(fopen64, NULL, path, mode))
}
EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream) {
    FOPEN(path, mode, NEXT(freopen, NULL, path, mode, stream))
}
EXPORT FILE *freopen64(const char *path, const char *mode, FILE *stream) {
    FOPEN(path, mode, NEXT(freopen64, NULL, path, mode, stream))
}

static const struct facts nothing;

#define MAKE_TEMPORARY(call)                                                             \
    ensure();                                                                            \
    int result = call;                                                                   \
    if (result >= 0) opened(result, AT_FDCWD, template, 'w', &nothing);                  \
    return result;
#define TEMPORARY(name, declared, ...)              \
    EXPORT int name declared {                      \
        MAKE_TEMPORARY(NEXT(name, -1, __VA_ARGS__)) \
    }
REAL(int, mkstemp, char *)
REAL(int, mkstemp64, char *)
REAL(int, mkostemp, char *, int)
REAL(int, mkostemp64, char *, int)
REAL(int, mkstemps, char *, int)
REAL(int, mkstemps64, char *, int)
REAL(int, mkostemps, char *, int, int)
REAL(int, mkostemps64, char *, int, int)
TEMPORARY(mkstemp, (char *template), template)
TEMPORARY(mkstemp64, (char *template), template)
TEMPORARY(mkostemp, (char *template, int flags), template, flags)
TEMPORARY(mkostemp64, (char *template, int flags), template, flags)
TEMPORARY(mkstemps, (char *template, int suffix), template, suffix)
TEMPORARY(mkstemps64, (char *template, int suffix), template, suffix)
TEMPORARY(mkostemps, (char *template, int suffix, int flags), template, suffix, flags)
TEMPORARY(mkostemps64, (char *template, int suffix, int flags), template, suffix, flags)

/* ------------------------------------------------------------------ names that change */

static APART void note_move(int from, const char *source, int to, const char *target) {
    char spare[256], other[256];
    struct room first = enter(spare, sizeof spare), second = enter(other, sizeof other);
    first.text[0] = second.text[0] = 0;
    int named = source[0] == '/' || from == AT_FDCWD || name_of(from, first.text, first.size);
    named = named && (target[0] == '/' || to == AT_FDCWD || name_of(to, second.text, second.size));
    named = named && !is_foreign(source) && !is_foreign(target) && !strstr(target, "/__pycache__/");
    const char *strings[4] = {first.text, source, second.text, target};
    if (named) emit('m', target[0] != '/', NULL, 4, strings, NULL);
    leave(second);
    leave(first);
}

#define RENAME(from, source, to, target, call)                                        \
    ensure();                                                                         \
    struct facts gone, over;                                                          \
    before_change(from, source, 'm', &gone);                                          \
    before_change(to, target, 'm', &over);                                            \
    int result = call;                                                                \
    if (result == 0 && log_file) {                                                    \
        atomic_fetch_add_explicit(&log_file->renames, 1, memory_order_relaxed);       \
        note_move(from, source, to, target);                                          \
    }                                                                                 \
    return result;

REAL(int, rename, const char *, const char *)
REAL(int, renameat, int, const char *, int, const char *)
REAL(int, renameat2, int, const char *, int, const char *, unsigned)
EXPORT int rename(const char *source, const char *target) {
    RENAME(AT_FDCWD, source, AT_FDCWD, target, NEXT(rename, -1, source, target))
}
EXPORT int renameat(int from, const char *source, int to, const char *target) {
    RENAME(from, source, to, target, NEXT(renameat, -1, from, source, to, target))
}
EXPORT int renameat2(int from, const char *source, int to, const char *target, unsigned flags) {
    RENAME(from, source, to, target, NEXT(renameat2, -1, from, source, to, target, flags))
}

static void linked(int folder, const char *target) {
    if (log_file && !is_foreign(target)) note_file('w', 0, &nothing, folder, target);
}
REAL(int, link, const char *, const char *)
REAL(int, linkat, int, const char *, int, const char *, int)
REAL(int, symlink, const char *, const char *)
REAL(int, symlinkat, const char *, int, const char *)
EXPORT int link(const char *source, const char *target) {
    ensure();
    int result = NEXT(link, -1, source, target);
    if (result == 0) linked(AT_FDCWD, target);
    return result;
}
EXPORT int linkat(int from, const char *source, int to, const char *target, int flags) {
    ensure();
    int result = NEXT(linkat, -1, from, source, to, target, flags);
    if (result == 0) linked(to, target);
    return result;
}
EXPORT int symlink(const char *source, const char *target) {
    ensure();
    int result = NEXT(symlink, -1, source, target);
    if (result == 0) linked(AT_FDCWD, target);
    return result;
}
EXPORT int symlinkat(const char *source, int to, const char *target) {
    ensure();
    int result = NEXT(symlinkat, -1, source, to, target);
    if (result == 0) linked(to, target);
    return result;
}

REAL(int, unlink, const char *)
REAL(int, unlinkat, int, const char *, int)
REAL(int, remove, const char *)
REAL(int, truncate, const char *, off_t)
REAL(int, truncate64, const char *, off64_t)
EXPORT int unlink(const char *path) {
    struct facts gone;
    ensure();
    before_change(AT_FDCWD, path, 'x', &gone);
    return NEXT(unlink, -1, path);
}
EXPORT int unlinkat(int folder, const char *path, int flags) {
    struct facts gone;
    ensure();
    if (!(flags & AT_REMOVEDIR)) before_change(folder, path, 'x', &gone);
    return NEXT(unlinkat, -1, folder, path, flags);
}
EXPORT int remove(const char *path) {
    struct facts gone;
    ensure();
    before_change(AT_FDCWD, path, 'x', &gone);
    return NEXT(remove, -1, path);
}
static void truncated(const char *path, const struct facts *before) {
    if (!log_file || is_foreign(path)) return;
    lookup(inode_key(WRITTEN, before), 1);
    note_file('u', 0, before, AT_FDCWD, path);
}
EXPORT int truncate(const char *path, off_t length) {
    struct facts before;
    ensure();
    before_change(AT_FDCWD, path, 'u', &before);
    int result = NEXT(truncate, -1, path, length);
    if (result == 0) truncated(path, &before);
    return result;
}
EXPORT int truncate64(const char *path, off64_t length) {
    struct facts before;
    ensure();
    before_change(AT_FDCWD, path, 'u', &before);
    int result = NEXT(truncate64, -1, path, length);
    if (result == 0) truncated(path, &before);
    return result;
}

/* ------------------------------------------------------------------ folders */

#define LISTINGS 64
static struct listing {
    _Atomic(DIR *) folder;
    int64_t count;
    uint64_t names, order;
} listings[LISTINGS];

static struct listing *listing_of(DIR *folder, DIR *is) {
    size_t start = ((uintptr_t)folder >> 6) % LISTINGS;
    for (size_t i = 0; i < LISTINGS; i++) {
        struct listing *one = &listings[(start + i) % LISTINGS];
        DIR *there = atomic_load_explicit(&one->folder, memory_order_relaxed);
        if (there == is && (is || atomic_compare_exchange_strong(&one->folder, &there, folder)))
            return one;
    }
    return NULL;
}

static APART void listed(DIR *folder, const struct listing *seen) {
    char path[4096];
    struct stat found;
    int descriptor = dirfd(folder);
    if (descriptor < 0 || raw_stat(descriptor, "", &found, AT_EMPTY_PATH) != 0) return;
    struct facts facts = {seen ? seen->count : -1, seen ? (int64_t)seen->names : 0,
                          seen ? (int64_t)seen->order : 0, 0, 0};
    uint64_t key = mixed(mixed((uint64_t)found.st_ino, (uint64_t)found.st_dev), image + 'd');
    if (!first_time(mixed(mixed(key, (uint64_t)facts.size), (uint64_t)facts.dev))) return;
    if (!name_of(descriptor, path, sizeof path)) return;
    int error = errno;
    if (!is_foreign(path) && !strstr(path, "/site-packages")) emit1('d', &facts, path);
    errno = error;
}

static void listing_begins(DIR *folder) {
    if (!log_file || !folder) return;
    struct listing *one = listing_of(folder, NULL);
    if (!one) {
        listed(folder, NULL);
        return;
    }
    one->count = 0;
    one->names = one->order = 0;
}
static void listing_goes_on(DIR *folder, const char *name) {
    struct listing *one = log_file ? listing_of(folder, folder) : NULL;
    if (!one) return;
    if (!name) {
        if (one->count >= 0) listed(folder, one);
        one->count = -2; /* what comes after the end was noted */
        return;
    }
    if (one->count < 0 || !strcmp(name, ".") || !strcmp(name, "..")) return;
    uint64_t hash = hashed('d', name);
    one->count++;
    one->names += hash;
    one->order = mixed(one->order, hash);
}
static void listing_ends(DIR *folder) {
    struct listing *one = log_file && folder ? listing_of(folder, folder) : NULL;
    if (!one) return;
    if (one->count >= 0) listed(folder, NULL); /* not read to its end */
    atomic_store(&one->folder, NULL);
}

REAL(DIR *, opendir, const char *)
REAL(DIR *, fdopendir, int)
REAL(struct dirent *, readdir, DIR *)
REAL(struct dirent64 *, readdir64, DIR *)
REAL(void, rewinddir, DIR *)
REAL(int, closedir, DIR *)
EXPORT DIR *opendir(const char *path) {
    ensure();
    DIR *result = NEXT(opendir, NULL, path);
    listing_begins(result);
    return result;
}
EXPORT DIR *fdopendir(int descriptor) {
    ensure();
    DIR *result = NEXT(fdopendir, NULL, descriptor);
    listing_begins(result);
    return result;
}
EXPORT struct dirent *readdir(DIR *folder) {
    struct dirent *result = NEXT(readdir, NULL, folder);
    listing_goes_on(folder, result ? result->d_name : NULL);
    return result;
}
EXPORT struct dirent64 *readdir64(DIR *folder) {
    struct dirent64 *result = NEXT(readdir64, NULL, folder);
    listing_goes_on(folder, result ? result->d_name : NULL);
    return result;
}
EXPORT void rewinddir(DIR *folder) {
    struct listing *one = log_file ? listing_of(folder, folder) : NULL;
    if (one) {
        one->count = 0;
        one->names = one->order = 0;
    }
    if (real_rewinddir()) real_rewinddir()(folder);
}
EXPORT int closedir(DIR *folder) {
    listing_ends(folder);
    return NEXT(closedir, -1, folder);
}

static APART void note_place(void) {
    char spare[256];
    if (!log_file) return;
    struct room path = enter(spare, sizeof spare);
    if (raw(SYS_getcwd, path.text, path.size, 0, 0) > 0) {
        if (process == own_pid()) place_key = hashed('c', path.text); /* not before an exec */
        emit1('c', NULL, path.text);
    }
    leave(path);
}
REAL(int, chdir, const char *)
REAL(int, fchdir, int)
EXPORT int chdir(const char *path) {
    ensure();
    int result = NEXT(chdir, -1, path);
    if (result == 0) note_place();
    return result;
}
EXPORT int fchdir(int folder) {
    ensure();
    int result = NEXT(fchdir, -1, folder);
    if (result == 0) note_place();
    return result;
}

/* ------------------------------------------------------------------ variables, network */

static const char *value_of(char *const *variables, const char *name) {
    size_t length = strlen(name);
    for (; variables && *variables; variables++)
        if (!strncmp(*variables, name, length) && (*variables)[length] == '=')
            return *variables + length + 1;
    return NULL;
}
static void consulted(const char *name) {
    /* Never begins the log: libraries ask while malloc itself is being set up. */
    if (log_file && first_time(hashed(image + 'e', name))) emit1('e', NULL, name);
}
/* The next one may be the user's own; it is not looked up here, for the reason above. */
REAL(char *, getenv, const char *)
REAL(char *, secure_getenv, const char *)
EXPORT char *getenv(const char *name) {
    getenv_type next = atomic_load_explicit(&next_getenv, memory_order_relaxed);
    consulted(name);
    return next ? next(name) : (char *)value_of(environ, name);
}
EXPORT char *secure_getenv(const char *name) {
    getenv_type next = atomic_load_explicit(&next_secure_getenv, memory_order_relaxed);
    consulted(name);
    if (next) return next(name);
    return getauxval(AT_SECURE) ? NULL : (char *)value_of(environ, name);
}

REAL(int, connect, int, const struct sockaddr *, socklen_t)
REAL(int, getaddrinfo, const char *, const char *, const struct addrinfo *, struct addrinfo **)

static APART void note_address(const struct sockaddr *address, socklen_t length) {
    char text[160], host[64] = "";
    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s:%d", host, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s:%d", host, ntohs(in->sin6_port));
    } else if (address->sa_family == AF_UNIX && length > sizeof(sa_family_t)) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        size_t size = length - sizeof(sa_family_t);
        size = size < sizeof text - 2 ? size : sizeof text - 2;
        memcpy(text, un->sun_path, size);
        text[size] = 0;
        if (!text[0]) text[0] = '@'; /* no name in the file system */
    } else {
        return;
    }
    if (first_time(hashed('n', text))) emit2('n', 0, NULL, "connect", text);
}
EXPORT int connect(int socket, const struct sockaddr *address, socklen_t length) {
    ensure();
    if (log_file && address) {
        int error = errno;
        note_address(address, length);
        errno = error;
    }
    return NEXT(connect, -1, socket, address, length);
}
EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found) {
    ensure();
    if (log_file && node && first_time(hashed('N', node))) emit2('n', 0, NULL, "name", node);
    return NEXT(getaddrinfo, EAI_SYSTEM, node, service, hints, found);
}

/* ------------------------------------------------------------------ programs that are started */

static long read_at(int file, void *buffer, size_t size, uint64_t offset) {
    return raw(SYS_pread64, file, buffer, size, offset);
}

static int is_sanitizer(const char *name) {
    static const char *const names[] = {"libasan.", "libtsan.", "liblsan.", "libhwasan.",
                                        "libmsan.", "libclang_rt."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (starts(name, names[i])) return 1;
    return 0;
}

/* The file offset of an address that the dynamic section names. */
static uint64_t offset_of(const Elf64_Phdr *segments, int count, uint64_t address) {
    for (int i = 0; i < count; i++)
        if (segments[i].p_type == PT_LOAD && address >= segments[i].p_vaddr &&
            address - segments[i].p_vaddr < segments[i].p_filesz)
            return address - segments[i].p_vaddr + segments[i].p_offset;
    return 0;
}

static APART int needs_sanitizer(int file, const Elf64_Phdr *segments, int count,
                                 const Elf64_Phdr *dynamic) {
    Elf64_Dyn entries[64];
    uint64_t strings = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t at = 0; at < dynamic->p_filesz && at < 64 * sizeof entries;
             at += sizeof entries) {
            uint64_t size = dynamic->p_filesz - at;
            size = size < sizeof entries ? size : sizeof entries;
            long got = read_at(file, entries, size, dynamic->p_offset + at);
            if (got <= 0) return 0;
            for (size_t i = 0; i < (size_t)got / sizeof *entries; i++) {
                char name[32] = "";
                if (entries[i].d_tag == DT_NULL) break;
                if (pass == 0 && entries[i].d_tag == DT_STRTAB)
                    strings = offset_of(segments, count, entries[i].d_un.d_ptr);
                if (pass == 0 || entries[i].d_tag != DT_NEEDED || !strings) continue;
                read_at(file, name, sizeof name - 1, strings + entries[i].d_un.d_val);
                if (is_sanitizer(name)) return 1;
            }
        }
    }
    return 0;
}

static int is_go(int file, const Elf64_Phdr *note) {
    struct {
        uint32_t name, size, type;
        char text[4];
    } head;
    for (uint64_t at = 0; at + sizeof head <= note->p_filesz && at < 4096;) {
        if (read_at(file, &head, sizeof head, note->p_offset + at) != (long)sizeof head) return 0;
        if (head.name == 4 && head.type == 4 && !memcmp(head.text, "Go\0", 4)) return 1;
        at += 12 + ((uint64_t)(head.name + 3) & ~3ull) + ((uint64_t)(head.size + 3) & ~3ull);
    }
    return 0;
}

static APART const char *why_elf(int file, const Elf64_Ehdr *head) {
    Elf64_Phdr segments[24];
    const Elf64_Phdr *interpreter = NULL, *dynamic = NULL, *go = NULL;
    char name[64] = "";
    if (head->e_ident[EI_CLASS] != ELFCLASS64) return "foreign";
#if defined(__x86_64__)
    if (head->e_machine != EM_X86_64) return "foreign";
#else
    if (head->e_machine != EM_AARCH64) return "foreign";
#endif
    int count = head->e_phnum < 24 ? head->e_phnum : 24;
    if (head->e_phentsize != sizeof *segments) return "";
    if (read_at(file, segments, (size_t)count * sizeof *segments, head->e_phoff) <= 0) return "";
    for (int i = 0; i < count; i++) {
        if (segments[i].p_type == PT_INTERP) interpreter = &segments[i];
        if (segments[i].p_type == PT_DYNAMIC) dynamic = &segments[i];
        if (segments[i].p_type == PT_NOTE && is_go(file, &segments[i])) go = &segments[i];
    }
    if (go) return "go";
    if (!interpreter) return "static";
    read_at(file, name, sizeof name - 1, interpreter->p_offset);
    if (strstr(name, "ld-musl")) return "musl";
    return dynamic && needs_sanitizer(file, segments, count, dynamic) ? "sanitizer" : "";
}

/* Why a program cannot be watched: a word, or "" where it can. */
static APART const char *why_unfit(const char *path, int depth) {
    union {
        Elf64_Ehdr head;
        char text[256];
    } start;
    struct stat found;
    const char *why = "";
    int file = raw_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
    if (file < 0) return "";
    memset(&start, 0, sizeof start);
    long got = read_at(file, &start, sizeof start - 1, 0);
    if (raw_stat(file, "", &found, AT_EMPTY_PATH) == 0 && found.st_mode & (S_ISUID | S_ISGID) &&
        ((found.st_mode & S_ISUID && found.st_uid != geteuid()) ||
         (found.st_mode & S_ISGID && found.st_gid != getegid())))
        why = "setuid";
    else if (got >= (long)sizeof start.head && !memcmp(start.head.e_ident, ELFMAG, SELFMAG))
        why = why_elf(file, &start.head);
    raw_close(file);
    if (got > 2 && starts(start.text, "#!") && !depth) {
        char *program = start.text + 2;
        while (*program == ' ' || *program == '\t') program++;
        program[strcspn(program, " \t\n")] = 0;
        return why_unfit(program, 1);
    }
    return why;
}

/* Find a program as execvp does: by our own PATH, whatever the program is given. */
static APART const char *why_unfit_in_path(const char *file) {
    char candidate[1024];
    if (strchr(file, '/')) return why_unfit(file, 0);
    const char *path = value_of(environ, "PATH");
    for (path = path ? path : "/bin:/usr/bin"; *path;) {
        size_t length = strcspn(path, ":"), size = strlen(file);
        if (length + size + 2 <= sizeof candidate) {
            memcpy(candidate, path, length);
            candidate[length] = '/';
            memcpy(candidate + length + 1, file, size + 1);
            if (raw(SYS_faccessat, AT_FDCWD, length ? candidate : file, X_OK, 0) == 0)
                return why_unfit(length ? candidate : file, 0);
        }
        path += length;
        if (*path == ':') path++;
    }
    return "";
}

static char library[2048]; /* our entry of LD_PRELOAD */

static const char *why_unwatched(const char *program, int search, char *const *variables) {
    if (!log_file || !program) return "";
    const char *why = search ? why_unfit_in_path(program) : why_unfit(program, 0);
    if (*why) return why;
    const char *preload = value_of(variables, "LD_PRELOAD");
    int complete = preload && library[0] && strstr(preload, library) &&
                   value_of(variables, "MLREPRO_LOG");
    return complete ? "1" : "0";
}

static void note_start(const char *program, const char *why, char *const *arguments) {
    struct facts parent = {0};
    if (!log_file || !program) return;
    parent.dev = raw(SYS_getppid, 0, 0, 0, 0);
    const char *strings[2] = {program, why};
    emit('x', 0, &parent, 2, strings, arguments);
}

/* Whether our library would break the program that is started, or make the loader complain. */
static int harms(const char *why) {
    return !strcmp(why, "sanitizer") || !strcmp(why, "musl") || !strcmp(why, "foreign");
}

static size_t length_of(char *const *vector) {
    size_t length = 0;
    while (vector && vector[length]) length++;
    return length;
}

/* Write LD_PRELOAD without our own entry into `text`; the user's own entries stay. */
static void without_us(const char *preload, char *text) {
    strcpy(text, "LD_PRELOAD=");
    size_t at = strlen(text), start = at;
    while (*preload) {
        size_t length = strcspn(preload, ": ");
        if (length && !(length == strlen(library) && !memcmp(preload, library, length))) {
            if (at > start) text[at++] = ':';
            memcpy(text + at, preload, length);
            at += length;
        }
        preload += length;
        while (*preload == ':' || *preload == ' ') preload++;
    }
    text[at] = 0;
}

/* Set `given` to the variables for a program that our library would harm. On the caller's stack. */
#define SPARE(why, given)                                                                \
    if (harms(why) && value_of(given, "LD_PRELOAD")) {                                   \
        const char *preload = value_of(given, "LD_PRELOAD");                             \
        size_t count = length_of(given);                                                 \
        char **fewer = alloca((count + 1) * sizeof *fewer);                              \
        char *text = alloca(strlen(preload) + 16);                                       \
        size_t kept = 0;                                                                 \
        without_us(preload, text);                                                       \
        for (size_t i = 0; i < count; i++) {                                             \
            if (!starts(given[i], "LD_PRELOAD=")) fewer[kept++] = given[i];              \
            else if (text[11]) fewer[kept++] = text;                                     \
        }                                                                                \
        fewer[kept] = NULL;                                                              \
        given = fewer;                                                                   \
    }

REAL(int, execve, const char *, char *const *, char *const *)
REAL(int, execvpe, const char *, char *const *, char *const *)
REAL(int, fexecve, int, char *const *, char *const *)
REAL(int, posix_spawn, pid_t *, const char *, const posix_spawn_file_actions_t *,
     const posix_spawnattr_t *, char *const *, char *const *)
REAL(int, posix_spawnp, pid_t *, const char *, const posix_spawn_file_actions_t *,
     const posix_spawnattr_t *, char *const *, char *const *)
REAL(int, system, const char *)
REAL(FILE *, popen, const char *, const char *)

static int replace(const char *program, char *const *arguments, char *const *variables,
                   int search) {
    ensure();
    if (log_file && program) {
        int error = errno;
        const char *why = why_unwatched(program, search, variables);
        note_start(program, why, arguments);
        errno = error;
        SPARE(why, variables)
        return search ? NEXT(execvpe, -1, program, arguments, variables)
                      : NEXT(execve, -1, program, arguments, variables);
    }
    return search ? NEXT(execvpe, -1, program, arguments, variables)
                  : NEXT(execve, -1, program, arguments, variables);
}
EXPORT int execve(const char *path, char *const arguments[], char *const variables[]) {
    return replace(path, arguments, variables, 0);
}
EXPORT int execv(const char *path, char *const arguments[]) {
    return replace(path, arguments, environ, 0);
}
EXPORT int execvp(const char *file, char *const arguments[]) {
    return replace(file, arguments, environ, 1);
}
EXPORT int execvpe(const char *file, char *const arguments[], char *const variables[]) {
    return replace(file, arguments, variables, 1);
}
#define COLLECT(first, with_variables)                                   \
    va_list list;                                                        \
    size_t count = 1;                                                    \
    va_start(list, first);                                               \
    while (va_arg(list, char *)) count++;                                \
    va_end(list);                                                        \
    char **arguments = alloca((count + 1) * sizeof *arguments);          \
    char *const *variables = environ;                                    \
    va_start(list, first);                                               \
    arguments[0] = (char *)first;                                        \
    for (size_t i = 1; i <= count; i++) arguments[i] = va_arg(list, char *); \
    if (with_variables) variables = va_arg(list, char *const *);         \
    va_end(list);
EXPORT int execl(const char *path, const char *first, ...) {
    COLLECT(first, 0)
    return replace(path, arguments, variables, 0);
}
EXPORT int execlp(const char *file, const char *first, ...) {
    COLLECT(first, 0)
    return replace(file, arguments, variables, 1);
}
EXPORT int execle(const char *path, const char *first, ...) {
    COLLECT(first, 1)
    return replace(path, arguments, variables, 0);
}
EXPORT int fexecve(int file, char *const arguments[], char *const variables[]) {
    ensure();
    if (log_file) {
        char link[32];
        int error = errno;
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        const char *why = why_unwatched(link, 0, variables);
        note_start(link, why, arguments);
        errno = error;
        SPARE(why, variables)
        return NEXT(fexecve, -1, file, arguments, variables);
    }
    return NEXT(fexecve, -1, file, arguments, variables);
}
#define SPAWN(name, search)                                                                  \
    EXPORT int name(pid_t *child, const char *program,                                       \
                    const posix_spawn_file_actions_t *actions,                               \
                    const posix_spawnattr_t *attributes, char *const arguments[],            \
                    char *const variables[]) {                                               \
        ensure();                                                                            \
        int error = errno;                                                                   \
        const char *why = why_unwatched(program, search, variables);                         \
        note_start(program, why, arguments);                                                 \
        errno = error;                                                                       \
        SPARE(why, variables)                                                                \
        return NEXT(name, ENOSYS, child, program, actions, attributes, arguments, variables); \
    }
SPAWN(posix_spawn, 0)
SPAWN(posix_spawnp, 1)

static void note_shell(const char *command) {
    if (!log_file || !command) return;
    int error = errno;
    char *arguments[] = {"sh", "-c", (char *)command, NULL};
    note_start("/bin/sh", why_unwatched("/bin/sh", 0, environ), arguments);
    errno = error;
}
EXPORT int system(const char *command) {
    ensure();
    note_shell(command);
    return NEXT(system, -1, command);
}
EXPORT FILE *popen(const char *command, const char *mode) {
    ensure();
    note_shell(command);
    return NEXT(popen, NULL, command, mode);
}

/* ------------------------------------------------------------------ beginning and end */

static void note_library(char *line) {
    char *path = strchr(line, '/');
    char *mode = strchr(line, ' ');
    if (!path || !mode || mode[3] != 'x' || !strstr(path, ".so") || !strcmp(path, library)) return;
    struct facts facts = {0};
    char *word = mode;
    for (int i = 0; i < 3 && word; i++) word = strchr(word + 1, ' ');
    if (word) facts.ino = strtoll(word + 1, NULL, 10);
    if (first_time(mixed(hashed('l', path), (uint64_t)facts.ino))) emit1('l', &facts, path);
}

/* Note the libraries that this process has loaded. */
static void note_libraries(void) {
    static char maps[16384]; /* too much for a small stack; the end comes once */
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    size_t filled = 0;
    if (atomic_flag_test_and_set(&busy)) return;
    int file = raw_open("/proc/self/maps", O_RDONLY);
    while (file >= 0) {
        long got = raw(SYS_read, file, maps + filled, sizeof maps - 1 - filled, 0);
        if (got == -EINTR) continue;
        if (got <= 0) break;
        filled += (size_t)got;
        maps[filled] = 0;
        char *line = maps, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            note_library(line);
            line = end + 1;
        }
        filled -= (size_t)(line - maps);
        if (filled >= sizeof maps - 1) filled = 0; /* a line longer than any path */
        memmove(maps, line, filled);
    }
    if (file >= 0) raw_close(file);
    atomic_flag_clear(&busy);
}

static void ended(void) {
    static atomic_int said;
    if (!log_file || process != own_pid() || atomic_exchange(&said, process) == process) return;
    int error = errno;
    note_libraries();
    emit('z', 0, NULL, 0, NULL, NULL);
    errno = error;
}

REAL(void, _exit, int)
EXPORT void _exit(int status) {
    ended();
    if (real__exit()) real__exit()(status);
    for (;;) raw(SYS_exit_group, status, 0, 0, 0);
}
EXPORT void _Exit(int status) { _exit(status); }

__attribute__((destructor)) static void at_end(void) { ended(); }

/* One line, once for a run, and only where descriptor 2 is what it was at the start. */
static void complain(const char *reason) {
    static const char head[] = "mlrepro: the log of this run cannot be written (";
    static const char tail[] = "); the run goes on\n";
    if (value_of(environ, "MLREPRO_LOG_SAID")) return;
    raw(SYS_write, 2, head, sizeof head - 1, 0);
    raw(SYS_write, 2, reason, strlen(reason), 0);
    raw(SYS_write, 2, tail, sizeof tail - 1, 0);
    setenv("MLREPRO_LOG_SAID", "1", 1);
}

static int is_whole(const struct header *head, uint64_t size) {
    uint64_t tables = (head->small + head->large) * 8;
    return !memcmp(head->magic, "MLRPRLOG", 8) && head->version == 1 &&
           head->header_size == HEADER_SIZE && head->size == size && head->small && head->large &&
           !(head->small & (head->small - 1)) && !(head->large & (head->large - 1)) &&
           head->small < size && head->large < size && HEADER_SIZE + tables <= head->first &&
           head->first + LONGEST < size && head->tail >= head->first && !head->folder[2047];
}

static APART void map_log(const char *folder) {
    char path[2048 + 16];
    struct stat found;
    size_t length = strlen(folder);
    if (length > 2000) return;
    memcpy(path, folder, length);
    memcpy(path + length, "/native.log", 12);
    int file = raw_open(path, O_RDWR | O_NOFOLLOW);
    if (file < 0) {
        complain(file == -ENOENT ? "it is not there" : "it cannot be opened");
        return;
    }
    long mapped = -1;
    struct rlimit64 most = {RLIM64_INFINITY, RLIM64_INFINITY};
    raw(SYS_prlimit64, 0, RLIMIT_AS, NULL, &most); /* what the log took, the program would lack */
    if (raw_stat(file, "", &found, AT_EMPTY_PATH) == 0 && found.st_size > 65536 &&
        (most.rlim_cur == RLIM64_INFINITY || (uint64_t)found.st_size <= most.rlim_cur / 16))
        mapped = raw6(SYS_mmap, 0, found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    raw_close(file);
    if (mapped < 0 && mapped > -4096) {
        complain("it cannot be mapped");
        return;
    }
    struct header *head = (struct header *)mapped;
    if (!is_whole(head, (uint64_t)found.st_size)) {
        raw(SYS_munmap, mapped, found.st_size, 0, 0);
        complain("it is of another form");
        return;
    }
    folder_length = strlen(head->folder);
    log_size = (uint64_t)found.st_size;
    log_first = head->first;
    log_small = head->small;
    log_large = head->large;
    log_file = head;
}

static void begin(void) {
    int expected = 0;
    if (!atomic_compare_exchange_strong(&state, &expected, 1)) return;
    int error = errno;
    process = own_pid();
    const char *folder = value_of(environ, "MLREPRO_LOG");
    if (folder && *folder && !getauxval(AT_SECURE)) {
        Dl_info own;
        if (dladdr((void *)&begin, &own) && own.dli_fname && strlen(own.dli_fname) < sizeof library)
            strcpy(library, own.dli_fname);
        map_log(folder);
    }
    atomic_store_explicit(&state, 2, memory_order_release);
    errno = error;
}

static APART void note_stream(int descriptor) {
    char path[4096];
    struct stat found;
    struct facts facts;
    if (raw_stat(descriptor, "", &found, AT_EMPTY_PATH) != 0 || !is_regular(&found)) return;
    if (!name_of(descriptor, path, sizeof path) || path[0] != '/') return;
    take(&facts, &found);
    int kind = descriptor ? 'w' : 'r';
    int set = descriptor ? WRITTEN : READ;
    if (!found.st_nlink || is_foreign(path)) return;
    if (!first_time(mixed(hashed((uint64_t)('s' + kind), path), (uint64_t)facts.ino))) return;
    if (descriptor || !holds(inode_key(WRITTEN, &facts))) lookup(inode_key(set, &facts), 1);
    emit2(kind, STREAM, &facts, "", path);
}

static APART void note_process(int kind, char *const *arguments) {
    char program[2048], place[4096];
    struct facts parent = {0};
    parent.dev = raw(SYS_getppid, 0, 0, 0, 0);
    long length = raw(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    if (raw(SYS_getcwd, place, sizeof place, 0, 0) <= 0) place[0] = 0;
    place_key = hashed('c', place);
    const char *strings[2] = {program, place};
    if (kind == 'F')
        emit1('F', &parent, place);
    else
        emit('s', 0, &parent, 2, strings, arguments);
    const char *name = strrchr(program, '/');
    name = name ? name + 1 : program;
    if (kind == 's') {
        image = hashed(1, program);
        for (int i = 1; arguments && i < 3 && arguments[i]; i++) image = hashed(image, arguments[i]);
    }
    if (kind == 's' && log_file && (strstr(name, "python") || strstr(name, "pypy"))) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", process);
        setenv("MLREPRO_NATIVE", pid, 1);
    }
}

static void forked(void) {
    process = own_pid();
    for (int i = 0; i < ROOMS; i++) atomic_flag_clear(&taken[i]); /* of threads that are not here */
    if (!log_file) return;
    int error = errno;
    note_process('F', NULL);
    errno = error;
}

extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
extern void *__dso_handle __attribute__((visibility("hidden")));

__attribute__((constructor)) static void at_start(int count, char **arguments, char **variables) {
    (void)variables;
    begin();
    int error = errno;
    find_all();
    errno = error;
    if (!log_file) return;
    __register_atfork(NULL, NULL, forked, __dso_handle);
    note_process('s', count > 0 ? arguments : NULL);
    for (int descriptor = 0; descriptor < 3; descriptor++) note_stream(descriptor);
    errno = error;
}
