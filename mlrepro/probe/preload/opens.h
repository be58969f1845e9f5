/* Opens: open, fopen, mkstemp and all their spellings. */

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
