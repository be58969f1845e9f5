/* Files: what is opened is noted, and copied before the run changes what it has read. */

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
