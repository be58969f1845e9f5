/* Log: append whole records to the file that all processes of the run have mapped. */

#define RECORD_MAGIC 0x31524C4DU
#define HEADER_SIZE 4096
#define LONGEST 16384 /* bytes of one record: longer command lines are cut */

struct header {
    char magic[8];
    uint32_t version, header_size;
    uint64_t size, small, large, first;
    _Atomic uint64_t tail, lost;
    int64_t realtime, monotonic;
    _Atomic uint64_t copies, renames;
    char pad[256 - 96];
    char folder[2048];
};
struct record {
    _Atomic uint32_t magic;
    uint32_t length;
    uint64_t time;
    uint32_t pid;
    uint8_t kind, flags;
    uint16_t strings;
    int64_t numbers[5];
    char text[];
};
_Static_assert(offsetof(struct header, folder) == 256, "the header's form is fixed");
_Static_assert(offsetof(struct record, text) == 64, "the record's form is fixed");

enum { RELATIVE = 1, STREAM = 2 };

static struct header *log_file; /* NULL: nothing is noted */
static size_t folder_length;
/* Its form as it was when it was mapped: every process of the run can write to the file. */
static uint64_t log_size, log_first, log_small, log_large;
static uint64_t place_key; /* tells the working directory from others */
static int process; /* pid of this process; in a child between vfork and exec, its parent's */

struct facts { /* of a file; all 0 where there is none */
    int64_t dev, ino, size, mtime, ctime;
};

static void emit(int kind, int flags, const struct facts *facts, int count,
                 const char *const *strings, char *const *more) {
    struct header *head = log_file;
    if (!head) return;
    size_t length = sizeof(struct record);
    int total = 0;
    for (int i = 0; i < count; i++) length += strlen(strings[i]) + 1;
    if (length > LONGEST) return;
    for (; more && more[total] && total < 4000; total++) {
        size_t longer = length + strlen(more[total]) + 1;
        if (longer > LONGEST) break;
        length = longer;
    }
    length = (length + 7) & ~(size_t)7;
    uint64_t at = atomic_load_explicit(&head->tail, memory_order_relaxed);
    do {
        if (at < log_first || at > log_size - length || at % 8) {
            atomic_fetch_add_explicit(&head->lost, 1, memory_order_relaxed);
            return;
        }
    } while (!atomic_compare_exchange_weak(&head->tail, &at, at + length));
    struct record *record = (struct record *)((char *)head + at);
    record->length = (uint32_t)length;
    atomic_signal_fence(memory_order_seq_cst);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    record->time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    /* Between vfork and exec the memory is the parent's; what happens there is asked for. */
    int apart = kind == 'x' || kind == 'c' || kind == 's' || kind == 'F';
    record->pid = (uint32_t)(apart ? own_pid() : process);
    record->kind = (uint8_t)kind;
    record->flags = (uint8_t)flags;
    record->strings = (uint16_t)(count + total);
    if (facts) memcpy(record->numbers, facts, sizeof record->numbers);
    char *text = record->text, *end = (char *)record + length;
    for (int i = 0; i < count + total; i++) {
        /* Another thread may have changed a string's length since: never beyond the end. */
        const char *string = i < count ? strings[i] : more[i - count];
        while (text < end - 1 && *string) *text++ = *string++;
        if (text < end) *text++ = 0;
    }
    atomic_store_explicit(&record->magic, RECORD_MAGIC, memory_order_release);
}

static void emit1(int kind, const struct facts *facts, const char *one) {
    const char *strings[1] = {one};
    emit(kind, 0, facts, 1, strings, NULL);
}
static void emit2(int kind, int flags, const struct facts *facts, const char *a, const char *b) {
    const char *strings[2] = {a, b};
    emit(kind, flags, facts, 2, strings, NULL);
}
