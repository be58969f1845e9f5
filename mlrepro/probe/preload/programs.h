/* Programs: what is started, and whether it can be watched. */

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
