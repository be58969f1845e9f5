/* Raw: system calls that return -errno, leave errno alone, and are no cancellation points. */

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
