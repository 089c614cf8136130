/* Ions in a continuum: forces of a coarse-grained model and Langevin dynamics (BAOAB), one replica
 * per call. Energies eV, lengths angstrom, times fs. Described in bjerrum/coarse/kernel.py. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mesh.h"
#include "network.h"

#define MAX_MOMENTS 32 /* elements x radial functions of the three-body terms */
#define MAX_RADIAL 8
#define MAX_NEAR 256 /* neighbours inside the body cutoff; rock salt has 80 within 7 angstrom */

typedef struct {
    int64_t n, n_kinds;
    const int64_t *kind;       /* (n) */
    const double *charge;      /* (n), e */
    const double *edges;       /* (3) */
    double cutoff, skin;       /* of the pair sum; of the neighbour list */
    int64_t n_table;           /* rows of a table; spacing cutoff / (n_table - 2) */
    const float *table;        /* (n_kinds * n_kinds, n_table, 4): -u'(r)/r with real-space Ewald,
                                * its step to the next row, u, its step */
    int64_t n_radial;
    double body_start, body_step, body_cutoff;
    const double *weights;  /* (n_kinds, 3, m, m) symmetric, m = n_kinds * n_radial */
    int64_t n_vectors;      /* reciprocal vectors, one of each pair k and -k */
    const int64_t *vectors; /* (n_vectors, 3), sorted by the first two integers */
    const double *k_factor; /* (n_vectors): energy = k_factor |S|^2 */
    const double *k_virial; /* (n_vectors): virial = k_virial |S|^2 */
    double self_energy;
    int64_t n_max[3];
    mesh_t mesh; /* in place of the vectors, for many ions */
    network_t network;
} setup_t;

typedef struct {
    int64_t capacity;
    int64_t *begin;  /* (n + 1): neighbours j > i of ion i are second[begin[i]..begin[i + 1]] */
    int32_t *second;
    double *reference; /* positions at the last search */
    double *phases;    /* 3 axes x (n_max + 1) x n, real then imaginary parts */
    double *plane;     /* exp(i (kx x + ky y)), 2 x n */
    double *along;     /* exp(i k r), 2 x n */
    int32_t *n_near;   /* neighbours inside the body cutoff */
    int32_t *near;     /* (n, near_capacity) */
    double *near_vector;
    int64_t near_capacity;
    mesh_work_t mesh;
    network_work_t network;
} work_t;

typedef struct {
    double pair, body, coulomb, virial;
} energy_t;

static const int degree_of[10] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 2};
static const double product_weight[10] = {1, 1, 1, 1, 1, 1, 1, 2, 2, 2};

static int search(const setup_t *s, work_t *w, const double *x) {
    const double reach = s->cutoff + s->skin, limit = reach * reach;
    const double lx = s->edges[0], ly = s->edges[1], lz = s->edges[2];
    int64_t count = 0;
    for (int64_t i = 0; i < s->n; i++) {
        w->begin[i] = count;
        for (int64_t j = i + 1; j < s->n; j++) {
            double dx = x[3 * j] - x[3 * i], dy = x[3 * j + 1] - x[3 * i + 1];
            double dz = x[3 * j + 2] - x[3 * i + 2];
            dx -= lx * rint(dx / lx);
            dy -= ly * rint(dy / ly);
            dz -= lz * rint(dz / lz);
            if (dx * dx + dy * dy + dz * dz < limit) {
                if (count == w->capacity) {
                    w->capacity *= 2;
                    int32_t *more = realloc(w->second, w->capacity * sizeof *more);
                    if (!more) return 1;
                    w->second = more;
                }
                w->second[count++] = (int32_t)j;
            }
        }
    }
    w->begin[s->n] = count;
    memcpy(w->reference, x, 3 * s->n * sizeof *x);
    return search_network(&s->network, &w->network, s->n, s->edges, x);
}

static int moved(const setup_t *s, const work_t *w, const double *x) {
    const double limit = 0.25 * s->skin * s->skin;
    for (int64_t i = 0; i < s->n; i++) {
        const double a = x[3 * i] - w->reference[3 * i];
        const double b = x[3 * i + 1] - w->reference[3 * i + 1];
        const double c = x[3 * i + 2] - w->reference[3 * i + 2];
        if (!(a * a + b * b + c * c < limit)) return 1;
    }
    return 0;
}

static inline void note_near(work_t *w, int64_t i, int64_t j, double x, double y, double z,
                             double r) {
    const int64_t a = i * w->near_capacity + w->n_near[i]++;
    const int64_t b = j * w->near_capacity + w->n_near[j]++;
    double *va = w->near_vector + 4 * a, *vb = w->near_vector + 4 * b;
    w->near[a] = (int32_t)j, w->near[b] = (int32_t)i;
    va[0] = x, va[1] = y, va[2] = z, va[3] = r;
    vb[0] = -x, vb[1] = -y, vb[2] = -z, vb[3] = r;
}

static void pair_forces(const setup_t *s, work_t *w, const double *x, double *f, energy_t *e,
                        double *closest) {
    const double lx = s->edges[0], ly = s->edges[1], lz = s->edges[2];
    const double ilx = 1 / lx, ily = 1 / ly, ilz = 1 / lz;
    const double limit = s->cutoff * s->cutoff, inverse = (double)(s->n_table - 2) / s->cutoff;
    const double body = s->n_radial ? s->body_cutoff : 0.0;
    double energy = 0, virial = 0;
    memset(w->n_near, 0, s->n * sizeof *w->n_near);
    for (int64_t i = 0; i < s->n; i++) {
        const double xi = x[3 * i], yi = x[3 * i + 1], zi = x[3 * i + 2];
        const int64_t row_of_kind = s->kind[i] * s->n_kinds;
        double fx = 0, fy = 0, fz = 0;
        for (int64_t p = w->begin[i]; p < w->begin[i + 1]; p++) {
            const int64_t j = w->second[p];
            double dx = x[3 * j] - xi, dy = x[3 * j + 1] - yi, dz = x[3 * j + 2] - zi;
            dx -= lx * rint(dx * ilx);
            dy -= ly * rint(dy * ily);
            dz -= lz * rint(dz * ilz);
            const double square = dx * dx + dy * dy + dz * dz;
            if (square >= limit) continue;
            const double r = sqrt(square), place = r * inverse;
            const int64_t row = (int64_t)place, pair = row_of_kind + s->kind[j];
            const double part = place - (double)row;
            const float *t = s->table + 4 * (pair * s->n_table + row);
            const double slope = t[0] + part * t[1];
            energy += t[2] + part * t[3];
            virial += slope * square;
            fx += slope * dx, fy += slope * dy, fz += slope * dz;
            f[3 * j] += slope * dx;
            f[3 * j + 1] += slope * dy;
            f[3 * j + 2] += slope * dz;
            if (r < closest[pair]) closest[pair] = r;
            if (r >= body) continue;
            if (w->n_near[i] < w->near_capacity && w->n_near[j] < w->near_capacity)
                note_near(w, i, j, dx / r, dy / r, dz / r, r);
            else
                energy = fx = NAN; /* no room: far denser than any crystal */
        }
        f[3 * i] -= fx, f[3 * i + 1] -= fy, f[3 * i + 2] -= fz;
    }
    e->pair += energy, e->virial += virial;
}

/* Cubic B-splines of even knots at r: index of the first that may differ from 0, values, slopes. */
static int64_t splines(const setup_t *s, double r, double value[4], double slope[4]) {
    const double place = (r - s->body_start) / s->body_step;
    const int64_t k = (int64_t)floor(place);
    const double u = place - (double)k, v = 1 - u, h = 1 / s->body_step;
    value[0] = v * v * v / 6, value[3] = u * u * u / 6;
    value[1] = (4 - 6 * u * u + 3 * u * u * u) / 6;
    value[2] = (1 + 3 * u + 3 * u * u - 3 * u * u * u) / 6;
    slope[0] = -h * v * v / 2, slope[3] = h * u * u / 2;
    slope[1] = h * (3 * u * u - 4 * u) / 2;
    slope[2] = h * (1 + 2 * u - 3 * u * u) / 2;
    return k - 3;
}

static void harmonics(const double *x, double y[10]) {
    y[0] = 1, y[1] = x[0], y[2] = x[1], y[3] = x[2];
    y[4] = x[0] * x[0] - 1.0 / 3, y[5] = x[1] * x[1] - 1.0 / 3, y[6] = x[2] * x[2] - 1.0 / 3;
    y[7] = x[0] * x[1], y[8] = x[0] * x[2], y[9] = x[1] * x[2];
}

static void body_forces(const setup_t *s, work_t *w, double *f, energy_t *e) {
    const int64_t size = s->n_kinds * s->n_radial;
    double a[MAX_MOMENTS][10], g[MAX_MOMENTS][10];
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t begin = i * w->near_capacity, end = begin + w->n_near[i];
        if (begin == end) continue;
        memset(a, 0, size * sizeof a[0]);
        for (int64_t p = begin; p < end; p++) {
            const double *x = w->near_vector + 4 * p;
            double value[4], slope[4], y[10];
            const int64_t first = splines(s, x[3], value, slope);
            const int64_t offset = s->kind[w->near[p]] * s->n_radial;
            harmonics(x, y);
            for (int m = 0; m < 4; m++) {
                const int64_t radial = first + m;
                if (radial < 0 || radial >= s->n_radial) continue;
                double *row = a[offset + radial];
                for (int c = 0; c < 10; c++) row[c] += value[m] * y[c];
            }
        }
        const double *weights = s->weights + s->kind[i] * 3 * size * size;
        double energy = 0;
        for (int64_t m = 0; m < size; m++) {
            for (int c = 0; c < 10; c++) g[m][c] = 0;
            for (int64_t o = 0; o < size; o++)
                for (int c = 0; c < 10; c++)
                    g[m][c] += weights[(degree_of[c] * size + m) * size + o] * a[o][c];
            for (int c = 0; c < 10; c++) {
                g[m][c] *= product_weight[c];
                energy += g[m][c] * a[m][c];
                g[m][c] *= 2;
            }
        }
        e->body += energy;
        for (int64_t p = begin; p < end; p++) {
            const double *x = w->near_vector + 4 * p;
            double value[4], slope[4], y[10], here[10] = {0}, change = 0;
            const int64_t first = splines(s, x[3], value, slope), j = w->near[p];
            const int64_t offset = s->kind[j] * s->n_radial;
            harmonics(x, y);
            for (int m = 0; m < 4; m++) {
                const int64_t radial = first + m;
                if (radial < 0 || radial >= s->n_radial) continue;
                const double *row = g[offset + radial];
                for (int c = 0; c < 10; c++) {
                    here[c] += value[m] * row[c];
                    change += slope[m] * row[c] * y[c];
                }
            }
            const double q[3] = {
                here[1] + 2 * here[4] * x[0] + here[7] * x[1] + here[8] * x[2],
                here[2] + 2 * here[5] * x[1] + here[7] * x[0] + here[9] * x[2],
                here[3] + 2 * here[6] * x[2] + here[8] * x[0] + here[9] * x[1]};
            const double line = q[0] * x[0] + q[1] * x[1] + q[2] * x[2], inverse = 1 / x[3];
            e->virial -= change * x[3];
            for (int c = 0; c < 3; c++) {
                const double gradient = change * x[c] + (q[c] - line * x[c]) * inverse;
                f[3 * j + c] -= gradient;
                f[3 * i + c] += gradient;
            }
        }
    }
}

static void coulomb_forces(const setup_t *s, work_t *w, const double *x, double *f, energy_t *e) {
    const int64_t n = s->n;
    double *phase[3];
    int64_t offset = 0;
    for (int axis = 0; axis < 3; axis++) {
        double *p = phase[axis] = w->phases + offset;
        const double unit = 2 * M_PI / s->edges[axis];
        offset += 2 * n * (s->n_max[axis] + 1);
        for (int64_t i = 0; i < n; i++) p[i] = 1, p[n + i] = 0;
        if (s->n_max[axis] == 0) continue;
        for (int64_t i = 0; i < n; i++) {
            p[2 * n + i] = cos(unit * x[3 * i + axis]);
            p[3 * n + i] = sin(unit * x[3 * i + axis]);
        }
        for (int64_t m = 2; m <= s->n_max[axis]; m++) {
            const double *b = p + 2 * n * (m - 1), *o = p + 2 * n;
            double *c = p + 2 * n * m;
            for (int64_t i = 0; i < n; i++) {
                c[i] = b[i] * o[i] - b[n + i] * o[n + i];
                c[n + i] = b[i] * o[n + i] + b[n + i] * o[i];
            }
        }
    }
    int64_t last[2] = {INT64_MIN, INT64_MIN};
    double *plane = w->plane, *along = w->along, total = 0;
    for (int64_t k = 0; k < s->n_vectors; k++) {
        const int64_t *v = s->vectors + 3 * k;
        if (v[0] != last[0] || v[1] != last[1]) {
            const double *a = phase[0] + 2 * n * v[0], *b = phase[1] + 2 * n * llabs(v[1]);
            const double sign = v[1] < 0 ? -1 : 1;
            for (int64_t i = 0; i < n; i++) {
                const double re = a[i] * b[i] - sign * a[n + i] * b[n + i];
                const double im = sign * a[i] * b[n + i] + a[n + i] * b[i];
                plane[i] = s->charge[i] * re, plane[n + i] = s->charge[i] * im;
            }
            last[0] = v[0], last[1] = v[1];
        }
        const double *c = phase[2] + 2 * n * llabs(v[2]);
        const double sign = v[2] < 0 ? -1 : 1;
        double re = 0, im = 0;
        for (int64_t i = 0; i < n; i++) {
            const double a = plane[i] * c[i] - sign * plane[n + i] * c[n + i];
            const double b = sign * plane[i] * c[n + i] + plane[n + i] * c[i];
            along[i] = a, along[n + i] = b;
            re += a, im += b;
        }
        total += s->k_factor[k] * (re * re + im * im);
        e->virial += s->k_virial[k] * (re * re + im * im);
        const double scale = 2 * s->k_factor[k];
        const double kx = scale * 2 * M_PI * v[0] / s->edges[0];
        const double ky = scale * 2 * M_PI * v[1] / s->edges[1];
        const double kz = scale * 2 * M_PI * v[2] / s->edges[2];
        for (int64_t i = 0; i < n; i++) {
            const double push = along[n + i] * re - along[i] * im;
            f[3 * i] += push * kx;
            f[3 * i + 1] += push * ky;
            f[3 * i + 2] += push * kz;
        }
    }
    e->coulomb = total + s->self_energy;
}

static void free_work(work_t *w) {
    free(w->begin), free(w->second), free(w->reference), free(w->phases), free(w->plane);
    free(w->along), free(w->n_near), free(w->near), free(w->near_vector);
    free_mesh(&w->mesh);
    free_network(&w->network);
}

static int new_work(const setup_t *s, work_t *w) {
    memset(w, 0, sizeof *w);
    const int64_t n = s->n;
    w->capacity = 32 * n + 64;
    w->near_capacity = n - 1 < MAX_NEAR ? (n > 1 ? n - 1 : 1) : MAX_NEAR;
    w->begin = malloc((n + 1) * sizeof *w->begin);
    w->second = malloc(w->capacity * sizeof *w->second);
    w->reference = malloc(3 * n * sizeof(double));
    w->phases = malloc(2 * n * (s->n_max[0] + s->n_max[1] + s->n_max[2] + 3) * sizeof(double));
    w->plane = malloc(2 * n * sizeof(double));
    w->along = malloc(2 * n * sizeof(double));
    w->n_near = malloc(n * sizeof *w->n_near);
    w->near = malloc(n * w->near_capacity * sizeof *w->near);
    w->near_vector = malloc(4 * n * w->near_capacity * sizeof(double));
    if (new_mesh(&s->mesh, &w->mesh, n) || new_network(&s->network, &w->network, n)) return 1;
    return !(w->begin && w->second && w->reference && w->phases && w->plane && w->along &&
             w->n_near && w->near && w->near_vector);
}

static void all_forces(const setup_t *s, work_t *w, const double *x, double *f, energy_t *e,
                       double *closest) {
    memset(f, 0, 3 * s->n * sizeof *f);
    memset(e, 0, sizeof *e);
    pair_forces(s, w, x, f, e, closest);
    if (s->n_radial) body_forces(s, w, f, e);
    network_forces(&s->network, &w->network, s->n, x, f, &e->body, &e->virial);
    if (s->n_vectors) coulomb_forces(s, w, x, f, e);
    if (s->mesh.points[0]) {
        mesh_forces(&s->mesh, &w->mesh, s->n, s->edges, s->charge, x, f, &e->coulomb, &e->virial);
        e->coulomb += s->self_energy;
    }
}

/* Energies (pair, body and networks, reciprocal, virial of pair and body) and forces of one configuration. */
int coarse_forces(const setup_t *s, const double *x, double *f, double *energies, double *closest) {
    work_t w;
    int failed = new_work(s, &w) || search(s, &w, x);
    if (!failed) all_forces(s, &w, x, f, (energy_t *)energies, closest);
    free_work(&w);
    return failed;
}

static inline uint64_t next_number(uint64_t *state) { /* xoshiro256+, Blackman and Vigna 2018 */
    const uint64_t result = state[0] + state[3], t = state[1] << 17;
    state[2] ^= state[0], state[3] ^= state[1], state[1] ^= state[2], state[0] ^= state[3];
    state[2] ^= t, state[3] = (state[3] << 45) | (state[3] >> 19);
    return result;
}

static void normal_numbers(uint64_t *state, double *out, int64_t n) { /* Box and Muller 1958 */
    for (int64_t i = 0; i < n; i += 2) {
        const double a = ((next_number(state) >> 11) + 1) * 0x1.0p-53;
        const double b = (next_number(state) >> 11) * 0x1.0p-53;
        const double radius = sqrt(-2 * log(a));
        out[i] = radius * cos(2 * M_PI * b);
        if (i + 1 < n) out[i + 1] = radius * sin(2 * M_PI * b);
    }
}

/* BAOAB (Leimkuhler and Matthews 2013): n_steps steps, a frame after every stride of them.
 * half_kick[i] = dt/(2 m_i), thermal[i] = sqrt(kT/m_i) in angstrom/fs; keep = exp(-friction dt). */
int coarse_run(const setup_t *s, double *x, double *v, uint64_t *state, int64_t n_steps,
               int64_t stride, double dt, double keep, const double *half_kick,
               const double *thermal, float *frames, double *energies, double *kinetic,
               double *closest) {
    work_t w;
    energy_t e;
    const int64_t n3 = 3 * s->n;
    const double noise = sqrt(1 - keep * keep);
    double *f = malloc(n3 * sizeof *f), *random = malloc((n3 + 1) * sizeof *random);
    int failed = new_work(s, &w) || !f || !random || search(s, &w, x);
    if (!failed) all_forces(s, &w, x, f, &e, closest);
    for (int64_t step = 1; !failed && step <= n_steps; step++) {
        double twice = 0;
        normal_numbers(state, random, n3);
        for (int64_t c = 0; c < n3; c++) {
            v[c] += half_kick[c / 3] * f[c];
            x[c] += 0.5 * dt * v[c];
            v[c] = keep * v[c] + noise * thermal[c / 3] * random[c];
            twice += v[c] * v[c] / (thermal[c / 3] * thermal[c / 3]);
            x[c] += 0.5 * dt * v[c];
        }
        if (moved(s, &w, x)) failed = search(s, &w, x);
        all_forces(s, &w, x, f, &e, closest);
        for (int64_t c = 0; c < n3; c++) v[c] += half_kick[c / 3] * f[c];
        if (!isfinite(twice)) failed = 2;
        if (step % stride == 0) {
            const int64_t frame = step / stride - 1;
            for (int64_t c = 0; c < n3; c++) frames[frame * n3 + c] = (float)x[c];
            memcpy(energies + 4 * frame, &e, sizeof e);
            kinetic[frame] = twice / (double)n3; /* in units of kT/2 per degree of freedom */
        }
    }
    free(f), free(random);
    free_work(&w);
    return failed;
}

/* Add the distances of all frames to histograms of pairs of kinds: (n_kinds, n_kinds, n_bins). */
void coarse_count(int64_t n, int64_t n_kinds, const int64_t *kind, const double *edges,
                  int64_t n_frames, const float *frames, double width, int64_t n_bins,
                  int64_t *counts) {
    const float lx = edges[0], ly = edges[1], lz = edges[2];
    const float reach = (float)(width * n_bins), limit = reach * reach, inverse = 1 / width;
    for (int64_t t = 0; t < n_frames; t++) {
        const float *x = frames + 3 * n * t;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++) {
                float dx = x[3 * j] - x[3 * i], dy = x[3 * j + 1] - x[3 * i + 1];
                float dz = x[3 * j + 2] - x[3 * i + 2];
                dx -= lx * rintf(dx / lx);
                dy -= ly * rintf(dy / ly);
                dz -= lz * rintf(dz / lz);
                const float square = dx * dx + dy * dy + dz * dz;
                if (square >= limit) continue;
                const int64_t a = kind[i] < kind[j] ? kind[i] : kind[j];
                const int64_t b = kind[i] < kind[j] ? kind[j] : kind[i];
                const int64_t bin = (int64_t)(sqrtf(square) * inverse);
                if (bin < n_bins) counts[(a * n_kinds + b) * n_bins + bin]++;
            }
    }
}
