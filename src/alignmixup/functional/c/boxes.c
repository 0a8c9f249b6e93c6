/* Boxes round the contours of score maps at every cut, and how well they match boxes that are given.
 *
 * A region that keeps its pixels over several cuts is one node of a tree: of bright regions (8-connected, level > cut),
 * whose outer borders are contours, or of dark ones (4-connected, level <= cut) inside bright ones, whose borders are
 * contours too: holes. Both trees grow by union-find over the pixels in the order of their levels, so that all cuts
 * together cost little more than one.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CUTS = 256 };

typedef struct {
    int32_t x0, y0, x1, y1;
} box;

typedef struct {
    int32_t low, high; /* the cuts at which it is there, both included */
    int32_t first;     /* its first pixel in reading order */
    box rect;          /* its pixels' */
} region;

typedef struct {
    int32_t size, born, first;
    box rect;
} root;

/* A map within a frame of zeros, so that every pixel has eight neighbours, and what is needed to work on it. */
typedef struct {
    int64_t width, height, stride;
    uint8_t *level, *there;
    int32_t *order, *parent;
    root *roots; /* indexed by a region's root pixel */
    region *regions;
    uint8_t chosen[2][256]; /* see choose_neighbours */
} work;

typedef struct {
    double *best_all, *best_largest; /* (CUTS) */
    int32_t *chosen, *count;         /* (CUTS, 4), (CUTS) */
} result;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Of the neighbours that are there (bits of ring, in the order of steps: sides are even, corners odd), one of each
 * group that hangs together within the ring: the others of a group are in its region already.
 */
static void choose_neighbours(uint8_t chosen[256], int bright) {
    for (int ring = 0; ring < 256; ring++) {
        int all = bright ? ring : ring & 0x55, kept = 0;
        for (int k = 0; k < 8; k++) {
            int next = ring >> ((k + 1) & 7) & 1, second = ring >> ((k + 2) & 7) & 1;
            int linked = bright ? next || (k % 2 == 0 && second) : next && second;
            if ((all >> k & 1) && !linked) kept |= 1 << k;
        }
        chosen[ring] = (uint8_t)(kept ? kept : all & -all);
    }
}

static void steps(int64_t step[8], int64_t stride) {
    const int64_t values[8] = {1, -stride + 1, -stride, -stride - 1, -1, stride - 1, stride, stride + 1};
    memcpy(step, values, sizeof values);
}

static int32_t find(int32_t *parent, int32_t at) {
    while (parent[at] != at) at = parent[at] = parent[parent[at]];
    return at;
}

static void extend(root *into, const root *by) {
    into->size += by->size;
    into->first = (int32_t)least(into->first, by->first);
    into->rect.x0 = (int32_t)least(into->rect.x0, by->rect.x0);
    into->rect.y0 = (int32_t)least(into->rect.y0, by->rect.y0);
    into->rect.x1 = (int32_t)most(into->rect.x1, by->rect.x1);
    into->rect.y1 = (int32_t)most(into->rect.y1, by->rect.y1);
}

static void join(work *w, int32_t a, int32_t b) {
    int32_t large = w->roots[a].size < w->roots[b].size ? b : a, small = a + b - large;
    w->parent[small] = large;
    extend(w->roots + large, w->roots + small);
}

/* Regions of the bright (pixels of level > 0, from above) or the dark tree (from below); returns their number. */
static int64_t grow(work *w, int bright) {
    const int64_t total = w->width * w->height;
    int64_t step[8], count = 0;
    steps(step, w->stride);
    memset(w->there, 0, (size_t)(w->stride * (w->height + 2)));
    for (int64_t i = 0; i < total; i++) {
        int32_t at = w->order[bright ? total - 1 - i : i], level = w->level[at], own = -1;
        if (bright && level == 0) break;
        int32_t x = at % (int32_t)w->stride - 1, y = at / (int32_t)w->stride - 1, ring = 0;
        root pixel = {1, level, at, {x, y, x, y}};
        for (int k = 0; k < 8; k++) ring |= w->there[at + step[k]] << k;
        for (int left = w->chosen[bright][ring], k = 0; left; left >>= 1, k++) {
            if (!(left & 1)) continue;
            int32_t other = find(w->parent, (int32_t)(at + step[k]));
            if (other == own) continue;
            root *found = w->roots + other;
            if (found->born != level) { /* it changes here: it was there until now */
                int32_t low = bright ? level : found->born, high = (bright ? found->born : level) - 1;
                w->regions[count++] = (region){low, high, found->first, found->rect};
                found->born = level;
            }
            if (own >= 0) join(w, own, other);
            own = own < 0 ? other : w->parent[own];
        }
        w->there[at] = 1;
        w->parent[at] = own < 0 ? at : own;
        if (own < 0) w->roots[at] = pixel;
        else extend(w->roots + own, &pixel);
    }
    /* what is left is there down to cut 0; the dark tree ends as the whole image, which is no hole */
    for (int64_t i = total - 1; bright && i >= 0 && w->level[w->order[i]]; i--) {
        const root *last = w->roots + w->order[i];
        if (w->parent[w->order[i]] == w->order[i])
            w->regions[count++] = (region){0, last->born - 1, last->first, last->rect};
    }
    return count;
}

/* Twice the area of the polygon through the pixels of the outer border, followed from the first pixel. */
static int64_t twice_area(const work *w, int32_t first, int32_t cut) {
    const int32_t dx[8] = {1, 1, 0, -1, -1, -1, 0, 1}, dy[8] = {0, -1, -1, -1, 0, 1, 1, 1};
    const uint8_t *level = w->level;
    int64_t step[8];
    int turn = 4;
    steps(step, w->stride);
    do turn = (turn - 1) & 7;
    while (level[first + step[turn]] <= cut && turn != 4);
    if (turn == 4) return 0;
    const int64_t last = first + step[turn];
    int64_t at = first, x = 0, y = 0, twice = 0;
    for (;;) {
        do turn = (turn + 1) & 7;
        while (level[at + step[turn]] <= cut);
        int64_t next = at + step[turn];
        twice += x * dy[turn] - y * dx[turn];
        if (next == first && at == last) break;
        x += dx[turn];
        y += dy[turn];
        at = next;
        turn = (turn + 4) & 7;
    }
    return twice < 0 ? -twice : twice;
}

/* Best intersection over union of a rectangle, grown to the right and below by one pixel inside the map. */
static double best_match(const work *w, box *rect, const int64_t *truth, int64_t truths) {
    double best = 0;
    rect->x1 = (int32_t)least(rect->x1 + 1, w->width - 1);
    rect->y1 = (int32_t)least(rect->y1 + 1, w->height - 1);
    int64_t own = (int64_t)(rect->x1 - rect->x0 + 1) * (rect->y1 - rect->y0 + 1);
    for (int64_t k = 0; k < truths; k++, truth += 4) {
        int64_t across = least(rect->x1, truth[2]) - most(rect->x0, truth[0]) + 1;
        int64_t down = least(rect->y1, truth[3]) - most(rect->y0, truth[1]) + 1;
        int64_t both = most(across, 0) * most(down, 0);
        int64_t either = own + (truth[2] - truth[0] + 1) * (truth[3] - truth[1] + 1) - both;
        double match = (double)both / (double)either;
        if (match > best) best = match;
    }
    return best;
}

static void sort_pixels(const work *w) {
    int64_t start[CUTS + 1] = {0};
    for (int64_t y = 1; y <= w->height; y++)
        for (int64_t x = 1; x <= w->width; x++) start[w->level[y * w->stride + x] + 1]++;
    for (int k = 0; k < CUTS; k++) start[k + 1] += start[k];
    for (int64_t y = 1; y <= w->height; y++)
        for (int64_t x = 1; x <= w->width; x++) {
            int64_t at = y * w->stride + x;
            w->order[start[w->level[at]]++] = (int32_t)at;
        }
}

/* From the lowest cut, where regions are large: a rectangle too small to win at any of its cuts needs no walk. */
static void score_bright(work *w, const int64_t *truth, int64_t truths, result out) {
    int64_t area[CUTS], first[CUTS];
    for (int t = 0; t < CUTS; t++) area[t] = first[t] = -1;
    for (int64_t i = grow(w, 1) - 1; i >= 0; i--) {
        region r = w->regions[i];
        int64_t bound = 2 * (int64_t)(r.rect.x1 - r.rect.x0) * (r.rect.y1 - r.rect.y0), own = -1;
        double match = best_match(w, &r.rect, truth, truths);
        for (int t = r.low; t <= r.high; t++) {
            out.count[t]++;
            if (out.count[t] == 1 || match > out.best_all[t]) out.best_all[t] = match;
            if (bound < area[t]) continue;
            if (own < 0) own = bound == 0 ? 0 : twice_area(w, r.first, r.high);
            /* of equal areas the one that is met last counts: the reference lists contours from below */
            if (own < area[t] || (own == area[t] && r.first < first[t])) continue;
            area[t] = own;
            first[t] = r.first;
            out.best_largest[t] = match;
            memcpy(out.chosen + 4 * t, &r.rect, sizeof(box));
        }
    }
}

static void score_dark(work *w, const int64_t *truth, int64_t truths, result out) {
    for (int64_t i = grow(w, 0) - 1; i >= 0; i--) {
        region r = w->regions[i];
        if (r.rect.x0 == 0 || r.rect.y0 == 0 || r.rect.x1 == w->width - 1 || r.rect.y1 == w->height - 1) continue;
        /* its border are the bright pixels around it */
        r.rect = (box){r.rect.x0 - 1, r.rect.y0 - 1, r.rect.x1 + 1, r.rect.y1 + 1};
        double match = best_match(w, &r.rect, truth, truths);
        for (int t = r.low; t <= r.high; t++) {
            out.count[t]++;
            if (match > out.best_all[t]) out.best_all[t] = match;
        }
    }
}

static void score_map(work *w, const uint8_t *map, const int64_t *truth, int64_t truths, result out) {
    box nothing = {0, 0, -1, -1}; /* grows to the one pixel (0, 0) */
    double match = best_match(w, &nothing, truth, truths);
    for (int t = 0; t < CUTS; t++) {
        out.best_all[t] = out.best_largest[t] = match;
        out.count[t] = 0;
    }
    memset(out.chosen, 0, sizeof(int32_t) * 4 * CUTS);
    for (int64_t y = 0; y < w->height; y++)
        memcpy(w->level + (y + 1) * w->stride + 1, map + y * w->width, (size_t)w->width);
    sort_pixels(w);
    score_bright(w, truth, truths, out);
    score_dark(w, truth, truths, out);
    for (int t = 0; t < CUTS; t++)
        if (out.count[t] == 0) out.count[t] = 1;
}

/* Scores (n, height, width) levels; the boxes of map i are rows starts[i] to starts[i + 1] of truth (., 4). */
int alignmixup_score_boxes(const uint8_t *levels, const int64_t *truth, const int64_t *starts, double *best_all,
                           double *best_largest, int32_t *chosen, int32_t *count, int64_t n, int64_t height,
                           int64_t width, int64_t threads) {
    int failed = 0;
    const size_t frame = (size_t)((height + 2) * (width + 2));
#pragma omp parallel num_threads((int)threads)
    {
        work w = {.width = width, .height = height, .stride = width + 2};
        w.level = calloc(frame, 1), w.there = malloc(frame);
        w.order = malloc(frame * sizeof(int32_t)), w.parent = malloc(frame * sizeof(int32_t));
        w.roots = malloc(frame * sizeof(root)), w.regions = malloc(frame * sizeof(region));
        int ready = w.level && w.there && w.order && w.parent && w.roots && w.regions;
        for (int bright = 0; bright < 2; bright++) choose_neighbours(w.chosen[bright], bright);
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n; i++) {
            if (!ready) continue;
            result out = {best_all + CUTS * i, best_largest + CUTS * i, chosen + 4 * CUTS * i, count + CUTS * i};
            score_map(&w, levels + i * height * width, truth + 4 * starts[i], starts[i + 1] - starts[i], out);
        }
        free(w.level), free(w.there), free(w.order), free(w.parent), free(w.roots), free(w.regions);
    }
    return failed;
}
