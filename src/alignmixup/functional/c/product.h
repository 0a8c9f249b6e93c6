/* Vectors of the processor, and a small matrix product in registers. */

#ifndef ALIGNMIXUP_PRODUCT_H
#define ALIGNMIXUP_PRODUCT_H

#include <stddef.h>
#include <string.h>

/* Two vectors by four rows of sums fill half of the registers, and hide the latency of an addition. */
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define TILE (2 * LANES)
#define ROWS 4
#define FEW 4 /* blocks of rows for which copying the other side does not pay */
#define ROUNDED(n, unit) (((n) + (unit) - 1) / (unit) * (unit))

typedef float Lanes __attribute__((vector_size(LANES * 4)));

static inline Lanes load(const float *from) {
    Lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline Lanes all(float value) { return value - (Lanes){0}; }

/* out = alpha * left (m x k) * right (k x n) + beta * own, rows of `own` and `out` contiguous; without `own`, out = alpha *
 * left * right. With `upper`, what lies below the diagonal of `out` is not all computed. */
typedef struct {
    int m, n, k;
    const float *left, *right, *own;
    float *out;
    ptrdiff_t left_row, left_column, right_row, right_column, row;
    float alpha, beta;
    int upper;
} Product;

/* Columns j to j + width of `right`, one row behind the other. */
static void gather(const Product *p, int j, int width, float *restrict edge) {
    const float *restrict right = p->right + j * p->right_column;
    if (p->right_column == 1)
        for (int k = 0; k < p->k; k++) memcpy(edge + (size_t)k * TILE, right + k * p->right_row, width * sizeof(float));
    else
        for (int l = 0; l < width; l++)
            for (int k = 0; k < p->k; k++) edge[(size_t)k * TILE + l] = right[l * p->right_column + k * p->right_row];
}

/* `edge` has room for k * TILE numbers; what it holds is read, but never counts. */
static void product(const Product *p, float *edge) {
    for (int j = 0; j < p->n; j += TILE) {
        const int width = p->n - j < TILE ? p->n - j : TILE, rows = p->upper && j + width < p->m ? j + width : p->m;
        const float *right = p->right + j;
        ptrdiff_t right_row = p->right_row;
        /* Whole vectors would run over the end; and rows a power of two apart fall on each other in the cache. */
        if (width < TILE || p->right_column != 1 || rows > FEW * ROWS) {
            gather(p, j, width, edge);
            right = edge, right_row = TILE;
        }
        for (int i = 0; i < rows; i += ROWS) {
            const float *left[ROWS];
            Lanes sum[ROWS][2];
            for (int q = 0; q < ROWS; q++) {
                left[q] = p->left + (i + q < p->m ? i + q : p->m - 1) * p->left_row;
                sum[q][0] = sum[q][1] = all(0);
            }
            for (int k = 0; k < p->k; k++) {
                const Lanes one = load(right + k * right_row), two = load(right + k * right_row + LANES);
                for (int q = 0; q < ROWS; q++) {
                    const Lanes weight = all(left[q][k * p->left_column]);
                    sum[q][0] += weight * one;
                    sum[q][1] += weight * two;
                }
            }
            for (int q = 0; q < ROWS && i + q < p->m; q++) {
                float total[TILE];
                memcpy(total, sum[q], sizeof total);
                float *out = p->out + (i + q) * p->row + j;
                if (p->own) {
                    const float *own = p->own + (i + q) * p->row + j;
                    for (int l = 0; l < width; l++) out[l] = p->alpha * total[l] + p->beta * own[l];
                } else
                    for (int l = 0; l < width; l++) out[l] = p->alpha * total[l];
            }
        }
    }
}

#endif
