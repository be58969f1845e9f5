/* Names: what is renamed, linked, removed or cut. */

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
