/* Ends: how a process begins to be watched, and what it leaves. */

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
    raw(SYS_prlimit64, 0, RLIMIT_AS, NULL, &most);
    if (raw_stat(file, "", &found, AT_EMPTY_PATH) != 0) found.st_size = 0;
    if (most.rlim_cur != RLIM64_INFINITY && (uint64_t)found.st_size > most.rlim_cur / 16) {
        raw_close(file); /* the program would lack what the log took; that it was not watched shows */
        return;
    }
    if (found.st_size > 65536)
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
    note_early();
    for (int descriptor = 0; descriptor < 3; descriptor++) note_stream(descriptor);
    errno = error;
}
