/* Folders: what is listed, in which order, and where each process stands. */

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

/* They list by libc's own calls, which nobody can stand before: that it was listed is all we know. */
static APART void listed_whole(const char *path) {
    char name[4096];
    struct stat found;
    struct facts unknown = {-1, 0, 0, 0, 0};
    int folder = raw_open(path, O_PATH | O_DIRECTORY);
    if (folder < 0) return;
    if (raw_stat(folder, "", &found, AT_EMPTY_PATH) == 0 && name_of(folder, name, sizeof name) &&
        first_time(mixed(mixed((uint64_t)found.st_ino, (uint64_t)found.st_dev), image + 'D')) &&
        !is_foreign(name))
        emit1('d', &unknown, name);
    raw_close(folder);
}
typedef int (*choice)(const struct dirent *);
typedef int (*order)(const struct dirent **, const struct dirent **);
typedef int (*choice64)(const struct dirent64 *);
typedef int (*order64)(const struct dirent64 **, const struct dirent64 **);
REAL(int, scandir, const char *, struct dirent ***, choice, order)
REAL(int, scandir64, const char *, struct dirent64 ***, choice64, order64)
EXPORT int scandir(const char *path, struct dirent ***names, choice wanted, order by) {
    ensure();
    int result = NEXT(scandir, -1, path, names, wanted, by);
    if (result >= 0 && log_file) listed_whole(path);
    return result;
}
EXPORT int scandir64(const char *path, struct dirent64 ***names, choice64 wanted, order64 by) {
    ensure();
    int result = NEXT(scandir64, -1, path, names, wanted, by);
    if (result >= 0 && log_file) listed_whole(path);
    return result;
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
