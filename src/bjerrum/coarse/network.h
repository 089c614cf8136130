/* Compiled networks of ions (bjerrum/potential/fused/kernel.cpp) as one more term of the forces:
 * the mean over several. They take directed pairs, sorted by the first ion. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef int64_t (*network_evaluate_t)(void *network, int64_t n, const int32_t *type,
                                      const double *position, int64_t n_pairs,
                                      const int64_t *first, const int64_t *second,
                                      const double *offset, double *energy, double *force,
                                      double *virial);

typedef struct {
    network_evaluate_t evaluate;
    int64_t n;            /* number of networks; 0: none */
    void *const *handles; /* (n), used by one engine alone: they hold scratch memory */
    const int32_t *type;  /* (n_ions) */
    double reach;         /* cutoff and skin */
} network_t;

typedef struct {
    int64_t capacity, count;
    int64_t *first, *second;
    double *offset, *force;
} network_work_t;

static int new_network(const network_t *s, network_work_t *w, int64_t n) {
    if (!s->n) return 0;
    w->capacity = 64 * n;
    w->first = malloc(w->capacity * sizeof *w->first);
    w->second = malloc(w->capacity * sizeof *w->second);
    w->offset = malloc(3 * w->capacity * sizeof *w->offset);
    w->force = malloc(3 * n * sizeof *w->force);
    return !(w->first && w->second && w->offset && w->force);
}

static void free_network(network_work_t *w) {
    free(w->first), free(w->second), free(w->offset), free(w->force);
}

static int more_pairs(network_work_t *w) {
    w->capacity *= 2;
    int64_t *first = realloc(w->first, w->capacity * sizeof *first);
    if (first) w->first = first;
    int64_t *second = realloc(w->second, w->capacity * sizeof *second);
    if (second) w->second = second;
    double *offset = realloc(w->offset, 3 * w->capacity * sizeof *offset);
    if (offset) w->offset = offset;
    return !(first && second && offset);
}

/* Positions are never wrapped in a run, so that the offsets hold until the next search. */
static int search_network(const network_t *s, network_work_t *w, int64_t n, const double *edges,
                          const double *x) {
    if (!s->n) return 0;
    w->count = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double square = 0, offset[3];
            for (int a = 0; a < 3; a++) {
                const double d = x[3 * j + a] - x[3 * i + a];
                offset[a] = -edges[a] * rint(d / edges[a]);
                square += (d + offset[a]) * (d + offset[a]);
            }
            if (i == j || square >= s->reach * s->reach) continue;
            if (w->count == w->capacity && more_pairs(w)) return 1;
            w->first[w->count] = i, w->second[w->count] = j;
            for (int a = 0; a < 3; a++) w->offset[3 * w->count + a] = offset[a];
            w->count++;
        }
    return 0;
}

static void network_forces(const network_t *s, network_work_t *w, int64_t n, const double *x,
                           double *f, double *energy, double *virial) {
    for (int64_t k = 0; k < s->n; k++) {
        double own = NAN, part[9] = {0};
        const int64_t edges = s->evaluate(s->handles[k], n, s->type, x, w->count, w->first,
                                          w->second, w->offset, &own, w->force, part);
        const double share = 1.0 / (double)s->n;
        *energy += edges < 0 ? NAN : share * own; /* NaN: out of memory, stops the run */
        *virial += share * (part[0] + part[4] + part[8]);
        for (int64_t c = 0; c < 3 * n; c++) f[c] += edges < 0 ? NAN : share * w->force[c];
    }
}
