/* Distances between the positions of two feature maps, and interpolation with maps that a matrix carries to other
 * positions, one sample a thread. A map is C x r;
 * its rows in memory are its channels (contiguous format) or its positions (channels-last format).
 */

#include <stdint.h>
#include <stdlib.h>

#include "product.h"

#define CHUNK 64 /* channels that are copied at once, into the first cache */

/* Distances of maps whose rows in memory are channels, `a_row` and `b_row` apart: by chunks of channels, copied to where
 * whole vectors may be read. `memory` starts with zeros beyond the positions, and keeps them. */
static void distances_by_channel(
    const float *a, const float *b, float *costs, int channels, int r, int s, ptrdiff_t a_row, ptrdiff_t b_row,
    float *memory
) {
    const int rows = ROUNDED(r, ROWS), wide = ROUNDED(s, TILE);
    float *own = memory, *other = own + (size_t)CHUNK * rows, *sums = other + (size_t)CHUNK * wide;
    memset(sums, 0, (size_t)rows * wide * sizeof(float));
    for (int first = 0; first < channels; first += CHUNK) {
        const int count = channels - first < CHUNK ? channels - first : CHUNK;
        for (int c = 0; c < count; c++) {
            memcpy(own + (size_t)c * rows, a + (first + c) * a_row, r * sizeof(float));
            memcpy(other + (size_t)c * wide, b + (first + c) * b_row, s * sizeof(float));
        }
        for (int j = 0; j < wide; j += TILE)
            for (int i = 0; i < rows; i += ROWS) {
                Lanes sum[ROWS][2]; /* of this chunk alone: rounding grows with the length of a sum */
                for (int q = 0; q < ROWS; q++) sum[q][0] = sum[q][1] = all(0);
                for (int c = 0; c < count; c++) {
                    const float *there = other + (size_t)c * wide + j;
                    const Lanes one = load(there), two = load(there + LANES);
                    for (int q = 0; q < ROWS; q++) {
                        const Lanes here = all(own[(size_t)c * rows + i + q]);
                        sum[q][0] += (here - one) * (here - one);
                        sum[q][1] += (here - two) * (here - two);
                    }
                }
                for (int q = 0; q < ROWS; q++) {
                    float total[TILE], *line = sums + (size_t)(i + q) * wide + j;
                    memcpy(total, sum[q], sizeof total);
                    for (int l = 0; l < TILE; l++) line[l] += total[l];
                }
            }
    }
    for (int i = 0; i < r; i++) memcpy(costs + (size_t)i * s, sums + (size_t)i * wide, s * sizeof(float));
}

/* Distances of maps whose rows in memory are positions. */
static void distances_by_position(
    const float *a, const float *b, float *costs, int channels, int r, int s, ptrdiff_t a_row, ptrdiff_t b_row
) {
    const int whole = channels / LANES * LANES;
    for (int i = 0; i < r; i += ROWS) {
        const float *own[ROWS]; /* beyond the last row, the last row again */
        for (int q = 0; q < ROWS; q++) own[q] = a + (i + q < r ? i + q : r - 1) * a_row;
        for (int j = 0; j < s; j += 2) {
            const float *one = b + j * b_row, *two = b + (j + 1 < s ? j + 1 : j) * b_row;
            Lanes sum[ROWS][2];
            for (int q = 0; q < ROWS; q++) sum[q][0] = sum[q][1] = all(0);
            for (int c = 0; c < whole; c += LANES) {
                const Lanes left = load(one + c), right = load(two + c);
                for (int q = 0; q < ROWS; q++) {
                    const Lanes here = load(own[q] + c);
                    sum[q][0] += (here - left) * (here - left);
                    sum[q][1] += (here - right) * (here - right);
                }
            }
            for (int q = 0; q < ROWS && i + q < r; q++)
                for (int v = 0; v < 2 && j + v < s; v++) {
                    const float *there = v ? two : one;
                    float total = 0;
                    for (int l = 0; l < LANES; l++) total += sum[q][v][l];
                    for (int c = whole; c < channels; c++) total += (own[q][c] - there[c]) * (own[q][c] - there[c]);
                    costs[(size_t)(i + q) * s + j + v] = total;
                }
        }
    }
}

/* Whether all of `count` indices are in [0, bound). */
static int within(const int64_t *index, int64_t count, int64_t bound) {
    for (int64_t n = 0; n < count; n++)
        if (index[n] < 0 || index[n] >= bound) return 0;
    return 1;
}

/* costs (B, r, s): squared distances between positions of sample n of a and sample perm[n] of the `others` samples of b:
 * differences are squared, so nothing cancels. Samples and rows of memory lie the given strides apart. 0 on success, 1
 * without memory, 2 for an index out of range. */
int alignmixup_distances(
    const float *a,
    const float *b,
    const int64_t *perm,
    float *costs,
    int64_t batch,
    int64_t others,
    int64_t channels,
    int64_t r,
    int64_t s,
    int64_t a_sample,
    int64_t a_row,
    int64_t b_sample,
    int64_t b_row,
    int64_t by_channel,
    int64_t threads
) {
    const size_t rows = ROUNDED(r, ROWS), wide = ROUNDED(s, TILE);
    int failed = 0;
    if (!within(perm, batch, others)) return 2;
#pragma omp parallel num_threads((int)threads)
    {
        float *memory = calloc(CHUNK * (rows + wide) + rows * wide, sizeof(float));
        if (!memory) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch; n++) {
            const float *own = a + n * a_sample, *other = b + perm[n] * b_sample;
            if (memory && by_channel)
                distances_by_channel(own, other, costs + n * r * s, channels, r, s, a_row, b_row, memory);
            else if (memory)
                distances_by_position(own, other, costs + n * r * s, channels, r, s, a_row, b_row);
        }
        free(memory);
    }
    return failed;
}

/* out = alpha * (map * weights, or map * weights^T) + beta * own, for one sample: maps C x r, weights r x r. */
static void carry(
    const float *map, const float *weights, const float *own, float *out, int channels, int r, int by_channel,
    int turn, float alpha, float beta, float *edge
) {
    Product p = {.own = own, .out = out, .alpha = alpha, .beta = beta, .k = r};
    if (by_channel) { /* rows of memory are channels */
        p.m = channels, p.n = r, p.row = r;
        p.left = map, p.left_row = r, p.left_column = 1;
        p.right = weights, p.right_row = turn ? 1 : r, p.right_column = turn ? r : 1;
    } else { /* rows of memory are positions */
        p.m = r, p.n = channels, p.row = channels;
        p.left = weights, p.left_row = turn ? r : 1, p.left_column = turn ? 1 : r;
        p.right = map, p.right_row = channels, p.right_column = 1;
    }
    product(&p, edge);
}

/* out[n] = alpha[n] * (maps[map_of[n]] * weights[n], or weights[n]^T) + beta[n] * own[own_of[n]]. 0 on success, 1 without
 * memory, 2 for an index out of range. */
int alignmixup_carry(
    const float *maps,
    const int64_t *map_of,
    const float *weights,
    const float *alpha,
    const float *own,
    const int64_t *own_of,
    const float *beta,
    float *out,
    int64_t batch,
    int64_t channels,
    int64_t r,
    int64_t by_channel,
    int64_t turn,
    int64_t threads
) {
    const size_t size = (size_t)channels * r;
    int failed = 0;
    if (!within(map_of, batch, batch) || !within(own_of, batch, batch)) return 2;
#pragma omp parallel num_threads((int)threads)
    {
        float *memory = calloc((size_t)r * TILE, sizeof(float));
        if (!memory) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch; n++)
            if (memory)
                carry(
                    maps + map_of[n] * size, weights + n * r * r, own + own_of[n] * size, out + n * size, channels, r,
                    by_channel, turn, alpha[n], beta[n], memory
                );
        free(memory);
    }
    return failed;
}
