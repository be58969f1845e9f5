/* Sets: what some process of the run has seen before, in tables beside the log. */

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
