/* Next: the functions that ours stand before, found once. */

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
