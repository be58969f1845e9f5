/* Kernel: one chunk of two float arrays, measured in one pass; what kernel.py does in several.
 *
 * No header of Python, no state, no allocation: called through ctypes by many threads at once.
 * The sums are taken in four lanes of float64 whatever the processor has, so that all machines
 * find the same; AVX2 only takes them faster. What is not finite, or outside of the range in which
 * kernel.py is exact, is left to the caller (0 is returned), who goes the longer way. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 1024 /* numbers that are widened at once: two buffers of them stay in the L1 cache */
#define RUN 64     /* of a sampled chunk the first of SAMPLED runs is counted: see kernel.py */
#define SAMPLED 4

enum { FLOAT64, FLOAT32, FLOAT16, BFLOAT16 };

typedef double doubles __attribute__((vector_size(32)));

#define LANES 4
#define INLINE static inline __attribute__((always_inline))

struct moments {
    double mean, squares, largest;
};

struct found {
    int64_t differing, signed_zeros, first, where, steps;
    double largest, squares;
    struct moments a, b;
};

struct chunk {
    const unsigned char *a, *b;
    int64_t count;
    double least, most;
};

INLINE double sum(const doubles *x) { return ((*x)[0] + (*x)[1]) + ((*x)[2] + (*x)[3]); }

/* Return numbers of a stored type: those of 16 bits become float32, and what has an odd address or
 * has to be padded is copied. An infinity or a NaN of float16 becomes 65536 or more, which is
 * where the caller's range ends. */
INLINE const float *read_floats(int kind, const unsigned char *from, int64_t at, int64_t count,
                                float *to)
{
    if (kind == FLOAT32) {
        if ((uintptr_t)from % sizeof *to == 0 && count % LANES == 0)
            return (const float *)(const void *)from + at;
        memcpy(to, from + 4 * at, 4 * (size_t)count);
    } else {
        for (int64_t i = 0; i < count; i++) { /* memcpy of one number is no call, but a move */
            uint16_t raw;
            memcpy(&raw, from + 2 * (at + i), sizeof raw);
            uint32_t bits = kind == BFLOAT16
                                ? (uint32_t)raw << 16
                                : ((uint32_t)(int32_t)(int16_t)raw << 13) & 0x8fffe000u;
            memcpy(to + i, &bits, sizeof bits);
        }
        for (int64_t i = 0; kind == FLOAT16 && i < count; i++)
            to[i] *= 0x1p112f;
    }
    for (; count % LANES; count++) /* zeros add nothing to what is looked for */
        to[count] = 0;
    return to;
}

INLINE const double *read_doubles(int kind, const unsigned char *from, int64_t at, int64_t count,
                                  double *to)
{
    (void)kind;
    if ((uintptr_t)from % sizeof *to == 0 && count % LANES == 0)
        return (const double *)(const void *)from + at;
    memcpy(to, from + 8 * at, 8 * (size_t)count);
    for (; count % LANES; count++)
        to[count] = 0;
    return to;
}

#define FOUR(x, i) \
    ((doubles){(double)(x)[i], (double)(x)[(i) + 1], (double)(x)[(i) + 2], (double)(x)[(i) + 3]})

/* The same passes for both widths: C has no templates. */
#define PASSES(NUMBER, INTEGER, MASK, SHIFT, TABLES, ROOM, ABSOLUTE, NAME)                         \
    /* Mean and squared deviations from sums; far from 0 those cancel, and a second pass is due. */\
    INLINE struct moments moments_##NAME(int kind, const unsigned char *from, int64_t count,       \
                                         double total, double squares, double largest)             \
    {                                                                                              \
        NUMBER buffer[BLOCK];                                                                      \
        double n = (double)count, mean = total / n, left;                                          \
        doubles rest = {0}, powers = {0};                                                          \
        struct moments found = {mean, squares - mean * mean * n, largest};                         \
        if (mean * mean * n <= 0.5 * squares)                                                      \
            return found;                                                                          \
        found.squares = left = 0;                                                                  \
        for (int64_t at = 0; at < count; at += BLOCK) {                                            \
            int64_t here = count - at < BLOCK ? count - at : BLOCK, i = 0;                         \
            const NUMBER *x = read_##NAME(kind, from, at, here, buffer);                           \
            for (; i + LANES <= here; i += LANES) {                                                \
                doubles off = FOUR(x, i) - mean;                                                   \
                rest += off;                                                                       \
                powers += off * off;                                                               \
            }                                                                                      \
            for (; i < here; i++) {                                                                \
                double off = (double)x[i] - mean;                                                  \
                left += off;                                                                       \
                found.squares += off * off;                                                        \
            }                                                                                      \
        }                                                                                          \
        left = (left + sum(&rest)) / n;                                                            \
        found.squares += sum(&powers) - left * left * n;                                           \
        found.mean = mean + left;                                                                  \
        return found;                                                                              \
    }                                                                                              \
                                                                                                   \
    INLINE void distances_##NAME(const NUMBER *a, const NUMBER *b, int64_t count, NUMBER *to)      \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++)                                                        \
            to[i] = ABSOLUTE(a[i] - b[i]);                                                         \
    }                                                                                              \
                                                                                                   \
    /* Equal keys wait for each other's sums: where tables are small, several are faster. */       \
    INLINE void count_##NAME(int kind, const struct chunk *pair, int sampled, int64_t *steps,      \
                             INTEGER top)                                                          \
    {                                                                                              \
        NUMBER buffer_a[BLOCK], buffer_b[BLOCK], distance[BLOCK];                                  \
        uint32_t apart[TABLES][ROOM];                                                              \
        int64_t run = sampled ? RUN : BLOCK, most = 0;                                             \
        for (int table = 0; TABLES > 1 && table < TABLES; table++)                                 \
            memset(apart[table], 0, sizeof **apart * ((size_t)top + 1));                           \
        for (int64_t at = 0; at < pair->count; at += sampled ? RUN * SAMPLED : BLOCK) {            \
            int64_t here = pair->count - at < run ? pair->count - at : run;                        \
            const NUMBER *a = read_##NAME(kind, pair->a, at, here, buffer_a);                      \
            const NUMBER *b = read_##NAME(kind, pair->b, at, here, buffer_b);                      \
            distances_##NAME(a, b, here, distance);                                                \
            for (int64_t i = 0; i < here; i++) {                                                   \
                INTEGER key;                                                                       \
                memcpy(&key, distance + i, sizeof key);                                            \
                if (TABLES > 1)                                                                    \
                    apart[i % TABLES][key >> SHIFT]++;                                             \
                else                                                                               \
                    steps[key >> SHIFT] += sampled ? SAMPLED : 1;                                  \
            }                                                                                      \
        }                                                                                          \
        for (int64_t i = 0; TABLES > 1 && i <= top; i++)                                           \
            for (int table = 0; table < TABLES; table++)                                           \
                steps[i] += (int64_t)apart[table][i] * (sampled ? SAMPLED : 1);                    \
        if (!sampled || steps[top])                                                                \
            return;                                                                                \
        for (int64_t i = 0; i < top; i++) /* the largest distance is always among them */          \
            most = steps[i] > steps[most] ? i : most;                                              \
        steps[most] -= 1;                                                                          \
        steps[top] = 1;                                                                            \
    }                                                                                              \
                                                                                                   \
    INLINE int measure_##NAME(int kind, const struct chunk *pair, int sampled, int64_t *steps,     \
                              struct found *found)                                                 \
    {                                                                                              \
        NUMBER buffer_a[BLOCK], buffer_b[BLOCK], distance[BLOCK], tops[2], far;                    \
        INTEGER top = 0, top_a = 0, top_b = 0;                                                     \
        doubles total_a = {0}, total_b = {0}, square_a = {0}, square_b = {0}, square = {0};        \
        int64_t unequal_bits = 0, farthest = 0, count = pair->count;                               \
        memset(found, 0, sizeof *found);                                                           \
        found->first = found->where = -1;                                                          \
        for (int64_t at = 0; at < count; at += BLOCK) {                                            \
            int64_t here = count - at < BLOCK ? count - at : BLOCK;                                \
            int64_t padded = (here + LANES - 1) / LANES * LANES;                                   \
            INTEGER top_here = 0, numbers = 0, unequal = 0;                                        \
            const NUMBER *a = read_##NAME(kind, pair->a, at, here, buffer_a);                      \
            const NUMBER *b = read_##NAME(kind, pair->b, at, here, buffer_b);                      \
            distances_##NAME(a, b, padded, distance);                                              \
            for (int64_t i = 0; i < padded; i++) {                                                 \
                INTEGER x, y, z;                                                                   \
                memcpy(&x, a + i, sizeof x);                                                       \
                memcpy(&y, b + i, sizeof y);                                                       \
                memcpy(&z, distance + i, sizeof z);                                                \
                unequal += x != y;                                                                 \
                numbers += z != 0;                                                                 \
                x &= MASK;                                                                         \
                y &= MASK;                                                                         \
                top_a = x > top_a ? x : top_a;                                                     \
                top_b = y > top_b ? y : top_b;                                                     \
                top_here = z > top_here ? z : top_here;                                            \
            }                                                                                      \
            for (int64_t i = 0; i < padded; i += LANES) {                                          \
                doubles x = FOUR(a, i), y = FOUR(b, i), z = FOUR(distance, i);                     \
                total_a += x;                                                                      \
                total_b += y;                                                                      \
                square_a += x * x;                                                                 \
                square_b += y * y;                                                                 \
                square += z * z;                                                                   \
            }                                                                                      \
            unequal_bits += unequal;                                                               \
            found->differing += numbers;                                                           \
            for (int64_t i = 0; numbers && found->first < 0; i++)                                  \
                if (distance[i] != 0)                                                              \
                    found->first = at + i;                                                         \
            if (top_here > top) {                                                                  \
                top = top_here;                                                                    \
                farthest = at;                                                                     \
            }                                                                                      \
        }                                                                                          \
        memcpy(tops, &top_a, sizeof top_a); /* without a sign floats are in the order of bits */   \
        memcpy(tops + 1, &top_b, sizeof top_b);                                                    \
        memcpy(&far, &top, sizeof top);                                                            \
        for (int i = 0; i < 2; i++)                                                                \
            if (tops[i] != 0 && !((double)tops[i] > pair->least && (double)tops[i] < pair->most))  \
                return 0;                                                                          \
        found->a = moments_##NAME(kind, pair->a, count, sum(&total_a), sum(&square_a),             \
                                   (double)tops[0]);                                               \
        found->b = moments_##NAME(kind, pair->b, count, sum(&total_b), sum(&square_b),             \
                                   (double)tops[1]);                                               \
        found->signed_zeros = unequal_bits - found->differing;                                     \
        found->squares = sum(&square);                                                             \
        if (!found->differing)                                                                     \
            return 1;                                                                              \
        int64_t here = count - farthest < BLOCK ? count - farthest : BLOCK, i = 0;                 \
        const NUMBER *a = read_##NAME(kind, pair->a, farthest, here, buffer_a);                    \
        const NUMBER *b = read_##NAME(kind, pair->b, farthest, here, buffer_b);                    \
        while (i < here - 1 && ABSOLUTE(a[i] - b[i]) != far)                                       \
            i++;                                                                                   \
        found->where = farthest + i;                                                               \
        found->largest = fabs((double)a[i] - (double)b[i]);                                        \
        top >>= SHIFT;                                                                             \
        found->steps = (int64_t)top + 1;                                                           \
        sampled = sampled && found->differing == count;                                            \
        memset(steps, 0, sizeof *steps * (size_t)found->steps);                                    \
        count_##NAME(kind, pair, sampled, steps, top);                                             \
        steps[0] -= count - found->differing;                                                      \
        return 1;                                                                                  \
    }

PASSES(float, int32_t, 0x7fffffff, 20, 4, 2048, fabsf, floats)
PASSES(double, int64_t, 0x7fffffffffffffff, 49, 1, 1, fabs, doubles)

INLINE int measure(int kind, const struct chunk *pair, int sampled, int64_t *steps,
                   struct found *found)
{
    switch (kind) { /* each kind a copy of its own, with its own reader */
    case FLOAT64:
        return measure_doubles(FLOAT64, pair, sampled, steps, found);
    case FLOAT32:
        return measure_floats(FLOAT32, pair, sampled, steps, found);
    case FLOAT16:
        return measure_floats(FLOAT16, pair, sampled, steps, found);
    case BFLOAT16:
        return measure_floats(BFLOAT16, pair, sampled, steps, found);
    default:
        return 0;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static int measure_avx2(int kind, const struct chunk *pair,
                                                        int sampled, int64_t *steps,
                                                        struct found *found)
{
    return measure(kind, pair, sampled, steps, found);
}
#endif

static int measure_plainly(int kind, const struct chunk *pair, int sampled, int64_t *steps,
                           struct found *found)
{
    return measure(kind, pair, sampled, steps, found);
}

/* Measure `count` numbers; return 1, or 0 where the caller has to go the longer way.
 *
 * `sampled` asks for the distribution of a part where all differ; `steps` has room for the
 * exponents of the type and three bits of mantissa, 2048 or 16384 counts; `plainly` keeps from
 * what only some processors have. */
__attribute__((visibility("default"))) int mlrepro_measure(int kind, const void *a, const void *b,
                                                           int64_t count, double least, double most,
                                                           int sampled, int plainly, int64_t *steps,
                                                           struct found *found)
{
    struct chunk pair = {a, b, count, least, most};
    if (count < 1)
        return 0;
#if defined(__x86_64__)
    if (!plainly && __builtin_cpu_supports("avx2"))
        return measure_avx2(kind, &pair, sampled, steps, found);
#endif
    (void)plainly;
    return measure_plainly(kind, &pair, sampled, steps, found);
}
