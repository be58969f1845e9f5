/* Lookups: environment variables and addresses that a program asks for. */

static const char *value_of(char *const *variables, const char *name) {
    size_t length = strlen(name);
    for (; variables && *variables; variables++)
        if (!strncmp(*variables, name, length) && (*variables)[length] == '=')
            return *variables + length + 1;
    return NULL;
}
/* What libraries ask for in their own constructors, before ours. */
static char early[4096];
static _Atomic size_t early_size;
static void remember(const char *name) {
    size_t size = strlen(name) + 1, at = atomic_load_explicit(&early_size, memory_order_relaxed);
    do {
        if (size > sizeof early || at > sizeof early - size) return;
    } while (!atomic_compare_exchange_weak(&early_size, &at, at + size));
    memcpy(early + at, name, size);
}
static void consulted(const char *name) {
    /* Never begins the log: libraries ask while malloc itself is being set up. */
    if (log_file) {
        if (first_time(hashed(image + 'e', name))) emit1('e', NULL, name);
    } else if (atomic_load_explicit(&state, memory_order_relaxed) != 2) {
        remember(name);
    }
}
static void note_early(void) {
    size_t end = atomic_load(&early_size);
    for (size_t at = 0; at < end; at += strlen(early + at) + 1) consulted(early + at);
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
