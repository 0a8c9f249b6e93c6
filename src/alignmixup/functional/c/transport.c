/* The annealed Sinkhorn-Newton loop for one sample at a time: the mathematics of transport_solvers.solve_newton.
 *
 * Built on the machine that runs it, see ../native.py. Rows of every matrix are padded with zeros to a whole
 * number of vectors, so that no loop over columns has a remainder. Loops over columns are marked for vectorisation where
 * a compiler would otherwise keep the order of a sum.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "product.h"

#define PADDED(n) ROUNDED(n, LANES)
#define PANEL 4 /* rows that are eliminated together */
#define SIMD _Pragma("omp simd")
#define SUM(total) SIMD_REDUCTION(omp simd reduction(+ : total))
#define LEAST(value) SIMD_REDUCTION(omp simd reduction(min : value))
#define SIMD_REDUCTION(clause) _Pragma(#clause)

typedef struct {
    int sweeps;        /* Sinkhorn rounds before each Newton step, which counts as one round more */
    float start;       /* first epsilon, as a fraction of the mean reduced cost */
    float annealing;   /* factor on epsilon, once the Newton step at this epsilon is shorter than settled */
    float settled;     /* in units of epsilon */
    float radius;      /* bound on one Newton step of a potential, in units of epsilon */
    float floor;       /* smallest exponent: smaller values would become denormals */
    float noise;       /* rounding error of a relative row mass */
} Constants;

typedef struct {
    int r, s, width, depth;         /* width: columns of (r, s) matrices; depth: of (r, r) matrices */
    float *reduced, *plan, *matrix; /* (r, width), (r, width), (r, depth) */
    float *row, *mass, *change, *first, *second, *scale; /* of length depth */
    float *column, *lowest, *total, *drift;              /* of length width */
    float *edge;                                         /* (s, TILE) */
} Work;

/* Cephes' expf and logf, for arguments that stay normal; within 2 units in the last place. */
static inline float exponential(float x) {
    float whole = rintf(x * 1.44269504f);
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float series = 1.9875691500e-4f;
    series = series * rest + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    series = series * rest * rest + rest + 1.0f;
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

static float hyperbolic_tangent(float x) {
    if (fabsf(x) < 0.05f) return x - x * x * x / 3; /* near 0, the difference from 1 has few digits left */
    float fall = exponential(fmaxf(-2 * fabsf(x), -80.0f));
    return copysignf((1 - fall) / (1 + fall), x);
}

/* Treat denormals as 0 from now on; returns what `restore_denormals` needs. Products of small masses are denormal, and
 * each would take a hundred times longer. */
static uint64_t flush_denormals(void) {
#if defined(__SSE__)
    const uint32_t before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_denormals(uint64_t before) {
#if defined(__SSE__)
    _mm_setcsr((uint32_t)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

static int allocate(Work *work, int r, int s) {
    work->r = r, work->s = s, work->width = PADDED(s), work->depth = PADDED(r);
    size_t plane = (size_t)r * work->width, square = (size_t)r * work->depth;
    size_t size = 2 * plane + square + (size_t)s * TILE + 6 * (size_t)work->depth + 4 * (size_t)work->width;
    const size_t bytes = ROUNDED(size * sizeof(float), 64); /* `aligned_alloc` may refuse less than whole lines */
    float *memory = aligned_alloc(64, bytes);
    if (!memory) return 0;
    memset(memory, 0, bytes);
    work->reduced = memory, memory += plane;
    work->plan = memory, memory += plane;
    work->matrix = memory, memory += square;
    work->edge = memory, memory += (size_t)s * TILE;
    float **rows[] = {&work->row, &work->mass, &work->change, &work->first, &work->second, &work->scale};
    for (int k = 0; k < 6; k++, memory += work->depth) *rows[k] = memory;
    float **columns[] = {&work->column, &work->lowest, &work->total, &work->drift};
    for (int k = 0; k < 4; k++, memory += work->width) *columns[k] = memory;
    return 1;
}

/* Lowest entry of each column; beyond the cost, 0. */
static void lowest_of_columns(const Work *w) {
    float *restrict lowest = w->lowest;
    memcpy(lowest, w->reduced, w->width * sizeof(float));
    for (int i = 1; i < w->r; i++) {
        const float *restrict line = w->reduced + (size_t)i * w->width;
        SIMD for (int j = 0; j < w->width; j++) lowest[j] = line[j] < lowest[j] ? line[j] : lowest[j];
    }
}

/* Cost with the minima of rows and then of columns at 0; returns its mean. */
static float reduce(const Work *w, const float *cost) {
    for (int i = 0; i < w->r; i++) {
        const float *restrict line = cost + (size_t)i * w->s;
        float *restrict reduced = w->reduced + (size_t)i * w->width;
        float least = line[0];
        LEAST(least) for (int j = 0; j < w->s; j++) least = line[j] < least ? line[j] : least;
        SIMD for (int j = 0; j < w->s; j++) reduced[j] = line[j] - least;
    }
    lowest_of_columns(w);
    float mean = 0;
    for (int i = 0; i < w->r; i++) {
        float *restrict reduced = w->reduced + (size_t)i * w->width;
        float total = 0;
        SUM(total) for (int j = 0; j < w->width; j++) total += reduced[j] -= w->lowest[j];
        mean += total;
    }
    return mean / ((float)w->r * w->s);
}

/* Reciprocals of the column masses; 0 beyond the cost. */
static void invert_columns(const Work *w) {
    SIMD for (int j = 0; j < w->s; j++) w->column[j] = 1 / w->total[j];
}

/* Sinkhorn rounds from zero potentials of the reduced cost; leaves the plan, with exact columns, and the row masses. */
static float sweep(const Work *w, float present, int sweeps, float floor) {
    const int width = w->width;
    float *restrict total = w->total, *restrict column = w->column;
    lowest_of_columns(w);
    memset(total, 0, width * sizeof(float));
    for (int i = 0; i < w->r; i++) {
        const float *restrict reduced = w->reduced + (size_t)i * width;
        float *restrict kernel = w->plan + (size_t)i * width;
        SIMD for (int j = 0; j < w->s; j++) {
            float exponent = (w->lowest[j] - reduced[j]) / present;
            kernel[j] = exponential(exponent > floor ? exponent : floor);
        }
        SIMD for (int j = 0; j < width; j++) total[j] += kernel[j];
        w->row[i] = 1;
    }
    invert_columns(w);
    for (int round = 0; round < sweeps; round++) {
        memset(total, 0, width * sizeof(float));
        for (int i = 0; i < w->r; i++) { /* one pass over the kernel updates the row and sums the columns */
            const float *restrict kernel = w->plan + (size_t)i * width;
            float mass = 0;
            SUM(mass) for (int j = 0; j < width; j++) mass += kernel[j] * column[j];
            const float row = w->row[i] = 1 / mass;
            SIMD for (int j = 0; j < width; j++) total[j] += kernel[j] * row;
        }
        invert_columns(w);
    }
    float error = 0;
    for (int i = 0; i < w->r; i++) {
        float *restrict plan = w->plan + (size_t)i * width;
        const float row = w->row[i] / w->s;
        float mass = 0;
        SUM(mass) for (int j = 0; j < width; j++) mass += plan[j] *= row * column[j];
        w->mass[i] = mass * w->r;
        error += fabsf(w->mass[i] - 1);
    }
    return error / w->r;
}

/* Take the potentials of the last sweeps out of the reduced cost. */
static void shift(const Work *w, float present) {
    float *restrict column = w->drift;
    for (int j = 0; j < w->s; j++) column[j] = w->lowest[j] + present * logf(w->column[j] / w->s);
    for (int i = 0; i < w->r; i++) {
        float *restrict reduced = w->reduced + (size_t)i * w->width;
        const float row = present * logf(w->row[i]);
        SIMD for (int j = 0; j < w->s; j++) reduced[j] -= row + column[j];
    }
}

/* As epsilon falls, log P = -reduced / epsilon grows in proportion to itself: first-order drift of the masses. */
static void drift_of_masses(const Work *w, float present) {
    const int width = w->width;
    float *restrict drift = w->drift;
    memset(drift, 0, width * sizeof(float));
    for (int i = 0; i < w->r; i++) {
        const float *restrict reduced = w->reduced + (size_t)i * width, *restrict plan = w->plan + (size_t)i * width;
        float total = 0;
        SUM(total) for (int j = 0; j < width; j++) {
            float own = plan[j] * reduced[j] / -present;
            drift[j] += own;
            total += own;
        }
        w->change[i] = -total;
    }
    SIMD for (int j = 0; j < width; j++) drift[j] *= w->s;
    for (int i = 0; i < w->r; i++) {
        const float *restrict plan = w->plan + (size_t)i * width;
        float total = 0;
        SUM(total) for (int j = 0; j < width; j++) total += plan[j] * drift[j];
        w->change[i] = (w->change[i] + total) * w->r;
    }
}

/* The Laplacian of a graph on the rows with weights r s P P^T, scaled to a unit diagonal; upper triangle. */
static void fill_system(const Work *w, float noise) {
    const int r = w->r, width = w->width;
    const Product gram = {
        .m = r, .n = r, .k = w->s, .left = w->plan, .left_row = width, .left_column = 1, .right = w->plan,
        .right_row = 1, .right_column = width, .out = w->matrix, .row = w->depth, .alpha = (float)r * w->s, .upper = 1,
    };
    product(&gram, w->edge);
    float *restrict scale = w->scale;
    memset(scale, 0, w->depth * sizeof(float));
    for (int i = 0; i < r; i++) { /* what stands right of the diagonal counts for its row and, mirrored, for its column */
        const float *restrict matrix = w->matrix + (size_t)i * w->depth;
        float total = 0;
        SUM(total) for (int k = i + 1; k < r; k++) {
            total += matrix[k];
            scale[k] += matrix[k];
        }
        scale[i] += total;
    }
    for (int i = 0; i < r; i++) scale[i] = 1 / sqrtf(scale[i] + noise);
    for (int i = 0; i < r; i++) {
        float *restrict matrix = w->matrix + (size_t)i * w->depth;
        const float own = -scale[i];
        matrix[i] = 1;
        SIMD for (int k = i + 1; k < r; k++) matrix[k] *= own * scale[k];
    }
}

/* Subtract `count` pivot rows from row i, such that what lies below their pivots would be 0; the rows lie at `pivot`, the
 * right sides of `first` and `second` from k on are theirs. */
static inline void eliminate(const Work *w, int k, int count, int i) {
    const int depth = w->depth;
    const float *restrict pivot = w->matrix + (size_t)k * depth;
    float *restrict matrix = w->matrix + (size_t)i * depth;
    float ratio[PANEL];
    for (int q = 0; q < count; q++) {
        const float *own = pivot + (size_t)q * depth;
        ratio[q] = own[i] / own[k + q];
        w->first[i] -= ratio[q] * w->first[k + q];
        w->second[i] -= ratio[q] * w->second[k + q];
    }
    const int start = i / LANES * LANES; /* what lies before i is not read again */
    SIMD for (int j = start; j < depth; j++)
        for (int q = 0; q < count; q++) matrix[j] -= ratio[q] * pivot[(size_t)q * depth + j];
}

/* Elimination and back substitution for both right sides; 0 where the matrix is not positive definite. */
static int solve_system(const Work *w) {
    const int r = w->r;
    float *restrict first = w->first, *restrict second = w->second;
    for (int k = 0; k < r; k += PANEL) { /* a panel of rows at once: each row behind it is loaded once for all of them */
        const int end = k + PANEL < r ? k + PANEL : r;
        for (int q = k; q < end; q++) {
            if (!(w->matrix[(size_t)q * w->depth + q] > 0)) return 0;
            for (int i = q + 1; i < end; i++) eliminate(w, q, 1, i);
        }
        for (int i = end; i < r; i++) eliminate(w, k, PANEL, i);
    }
    for (int k = r - 1; k >= 0; k--) {
        const float *restrict matrix = w->matrix + (size_t)k * w->depth;
        float one = 0, two = 0;
        SIMD_REDUCTION(omp simd reduction(+ : one, two))
        for (int j = k + 1; j < r; j++) one += matrix[j] * first[j], two += matrix[j] * second[j];
        first[k] = (first[k] - one) / matrix[k];
        second[k] = (second[k] - two) / matrix[k];
    }
    return 1;
}

/* Undo the scale, drop steps that are not finite, and count from the (lower) median. */
static void centre(const Work *w, float *restrict step, int usable) {
    const int r = w->r;
    for (int i = 0; i < r; i++) {
        step[i] *= w->scale[i];
        usable &= isfinite(step[i]) != 0;
    }
    if (!usable) {
        memset(step, 0, r * sizeof(float));
        return;
    }
    float middle = 0;
    for (int i = 0; i < r; i++) {
        int below = 0, equal = 0;
        SIMD_REDUCTION(omp simd reduction(+ : below, equal))
        for (int k = 0; k < r; k++) below += step[k] < step[i], equal += step[k] == step[i];
        if (below <= (r - 1) / 2 && (r - 1) / 2 < below + equal) {
            middle = step[i];
            break;
        }
    }
    for (int i = 0; i < r; i++) step[i] -= middle;
}

/* One Newton step on the dual, and the next epsilon. */
static float newton_step(const Work *w, const Constants *c, float present, float epsilon, int last_two) {
    const int width = w->width;
    shift(w, present);
    drift_of_masses(w, present);
    fill_system(w, c->noise);
    for (int i = 0; i < w->r; i++) {
        w->first[i] = (1 - w->mass[i]) * w->scale[i];
        w->second[i] = w->change[i] * w->scale[i];
    }
    const int usable = solve_system(w);
    centre(w, w->first, usable);
    centre(w, w->second, usable);
    float longest = 0;
    for (int i = 0; i < w->r; i++) longest = fmaxf(longest, fabsf(w->first[i]));
    float lower = longest < c->settled ? fmaxf(present * c->annealing, epsilon) : present;
    if (last_two) lower = epsilon;
    const float growth = present / lower - 1;
    memset(w->total, 0, width * sizeof(float));
    for (int i = 0; i < w->r; i++) {
        const float *restrict plan = w->plan + (size_t)i * width;
        /* Positions tied too weakly for their imbalance ask for huge steps; what they need is about the logarithm. */
        const float step = c->radius * hyperbolic_tangent((w->first[i] + growth * w->second[i]) / c->radius);
        w->row[i] = step;
        SIMD for (int j = 0; j < width; j++) w->total[j] += plan[j] * step;
    }
    for (int i = 0; i < w->r; i++) {
        float *restrict reduced = w->reduced + (size_t)i * width;
        const float row = lower * w->row[i];
        SIMD for (int j = 0; j < w->s; j++)
            reduced[j] -= row + lower * (-growth * w->drift[j] - w->total[j] * w->s);
    }
    return lower;
}

static int64_t solve_sample(
    const Work *w, const Constants *c, const float *cost, float *plan, float epsilon, int64_t iterations, float target
) {
    const int64_t cycle = c->sweeps + 1;
    const float start = c->start * reduce(w, cost);
    float present = iterations > 2 * cycle && start > epsilon ? start : epsilon;
    for (int64_t spent = 0;; spent += cycle) {
        const int64_t left = iterations - spent;
        const int sweeps = left < c->sweeps ? (int)left : c->sweeps;
        const float error = sweep(w, present, sweeps, c->floor);
        const int done = error <= target && present <= epsilon;
        if (done || left <= cycle) {
            for (int i = 0; i < w->r; i++)
                memcpy(plan + (size_t)i * w->s, w->plan + (size_t)i * w->width, w->s * sizeof(float));
            return done ? spent + sweeps : iterations;
        }
        present = newton_step(w, c, present, epsilon, left <= 3 * cycle);
    }
}

/* Plans (B, r, s), r <= s, of costs (B, r, s), and the rounds that each took, one sample a thread. Returns 0 on success. */
int alignmixup_newton(
    const float *costs,
    float *plans,
    int64_t *rounds,
    int64_t batch,
    int64_t r,
    int64_t s,
    float epsilon,
    int64_t iterations,
    float target,
    const Constants *constants,
    int64_t threads
) {
    const size_t size = (size_t)r * s;
    int failed = 0;
#pragma omp parallel num_threads((int)threads)
    {
        Work work;
        const int ready = allocate(&work, r, s);
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
        const uint64_t denormals = flush_denormals();
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch; n++)
            if (ready)
                rounds[n] = solve_sample(
                    &work, constants, costs + n * size, plans + n * size, epsilon, iterations, target
                );
        restore_denormals(denormals);
        if (ready) free(work.reduced);
    }
    return failed;
}
