/* The reciprocal part of the Ewald sum on a mesh: smooth particle mesh Ewald (Essmann and others,
 * J. Chem. Phys. 103, 8577 (1995)). Charges are spread with cardinal B-splines; because the splitting
 * leaves some 20 waves along an axis, plain sums over mesh points (three small matrix products) take
 * the place of fast Fourier transforms, at any size of mesh. */
#define SPLINE_ORDER 4

typedef struct {
    int64_t points[3];       /* of the mesh; 0: no mesh, plain sum over vectors */
    int64_t reach[3];        /* waves -reach..reach along an axis; 0..reach along the first */
    const double *influence; /* (reach_x + 1, 2 reach_y + 1, 2 reach_z + 1): energy = G |S|^2 */
    const double *virial;    /* of the same shape */
} mesh_t;

typedef struct {
    double *grid, *potential; /* points */
    double *half;             /* after x: (nx, 2, Ky, Kz), real then imaginary parts */
    double *plane;            /* after y: (nx, 2, ny, Kz) */
    double *waves;            /* after z: (nx, 2, ny, nz) */
    double *phases[3];        /* cos then sin of 2 pi m k/K: (2, n_waves, K); along z (2, K, n_waves) */
    double *weights;          /* splines and slopes of every ion: (n, 3, 2, SPLINE_ORDER) */
    int32_t *first;           /* (n, 3): first mesh point that an ion touches */
} mesh_work_t;

static int64_t n_waves(const mesh_t *m, int axis) {
    return axis ? 2 * m->reach[axis] + 1 : m->reach[0] + 1;
}

static void free_mesh(mesh_work_t *w) {
    free(w->grid), free(w->potential), free(w->half), free(w->plane), free(w->waves);
    for (int axis = 0; axis < 3; axis++) free(w->phases[axis]);
    free(w->weights), free(w->first);
}

static int new_mesh(const mesh_t *m, mesh_work_t *w, int64_t n) {
    memset(w, 0, sizeof *w);
    if (!m->points[0]) return 0;
    const int64_t *k = m->points, nx = n_waves(m, 0), ny = n_waves(m, 1), nz = n_waves(m, 2);
    w->grid = malloc(k[0] * k[1] * k[2] * sizeof(double));
    w->potential = malloc(k[0] * k[1] * k[2] * sizeof(double));
    w->half = malloc(nx * 2 * k[1] * k[2] * sizeof(double));
    w->plane = malloc(nx * 2 * ny * k[2] * sizeof(double));
    w->waves = malloc(nx * 2 * ny * nz * sizeof(double));
    w->weights = malloc(n * 6 * SPLINE_ORDER * sizeof(double));
    w->first = malloc(n * 3 * sizeof *w->first);
    if (!(w->grid && w->potential && w->half && w->plane && w->waves && w->weights && w->first))
        return 1;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t number = n_waves(m, axis), points = k[axis];
        double *p = w->phases[axis] = malloc(2 * number * points * sizeof(double));
        if (!p) return 1;
        for (int64_t a = 0; a < number; a++)
            for (int64_t b = 0; b < points; b++) {
                const int64_t wave = axis ? a - m->reach[axis] : a;
                const double angle = 2 * M_PI * (double)(wave * b) / (double)points;
                const int64_t at = axis == 2 ? b * number + a : a * points + b;
                p[at] = cos(angle), p[number * points + at] = sin(angle);
            }
    }
    return 0;
}

/* Cardinal B-splines of an ion along an axis and their slopes, by the recursion over orders. */
static void mesh_splines(double part, double *value, double *slope) {
    for (int k = 0; k < SPLINE_ORDER; k++) value[k] = 0;
    value[0] = 1 - part, value[1] = part;
    for (int order = 3; order <= SPLINE_ORDER; order++) {
        const double scale = 1.0 / (order - 1);
        if (order == SPLINE_ORDER) {
            slope[0] = -value[0];
            for (int k = 1; k < SPLINE_ORDER; k++) slope[k] = value[k - 1] - value[k];
        }
        value[order - 1] = scale * part * value[order - 2];
        for (int k = order - 2; k > 0; k--)
            value[k] = scale * ((part + order - 1 - k) * value[k - 1] + (k + 1 - part) * value[k]);
        value[0] = scale * (1 - part) * value[0];
    }
}

static void spread(const mesh_t *m, mesh_work_t *w, int64_t n, const double *edges,
                   const double *charge, const double *x) {
    const int64_t *k = m->points;
    memset(w->grid, 0, k[0] * k[1] * k[2] * sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        double *own = w->weights + i * 6 * SPLINE_ORDER;
        int32_t *first = w->first + 3 * i;
        for (int axis = 0; axis < 3; axis++) {
            double u = x[3 * i + axis] / edges[axis];
            u = (u - floor(u)) * (double)k[axis];
            const int64_t whole = (int64_t)u;
            first[axis] = (int32_t)((whole + k[axis] - (SPLINE_ORDER - 1)) % k[axis]);
            double *value = own + 2 * axis * SPLINE_ORDER;
            /* the spline of mesh point whole - j at part is value[j]; keep points ascending */
            double up[SPLINE_ORDER], slope[SPLINE_ORDER];
            mesh_splines(u - (double)whole, up, slope);
            for (int j = 0; j < SPLINE_ORDER; j++)
                value[j] = up[j], value[SPLINE_ORDER + j] = slope[j];
        }
        for (int a = 0; a < SPLINE_ORDER; a++) {
            const int64_t px = (first[0] + a) % k[0];
            for (int b = 0; b < SPLINE_ORDER; b++) {
                const int64_t py = (first[1] + b) % k[1];
                const double q = charge[i] * own[a] * own[2 * SPLINE_ORDER + b];
                double *row = w->grid + (px * k[1] + py) * k[2];
                for (int c = 0; c < SPLINE_ORDER; c++) {
                    int64_t pz = first[2] + c;
                    if (pz >= k[2]) pz -= k[2];
                    row[pz] += q * own[4 * SPLINE_ORDER + c];
                }
            }
        }
    }
}

/* grid -> half -> plane -> waves: S(m) = sum_k Q(k) exp(-2 pi i m k/K). */
static void to_waves(const mesh_t *m, mesh_work_t *w) {
    const int64_t *k = m->points, nx = n_waves(m, 0), ny = n_waves(m, 1), nz = n_waves(m, 2);
    const int64_t sheet = k[1] * k[2];
    memset(w->half, 0, nx * 2 * sheet * sizeof(double));
    for (int64_t a = 0; a < nx; a++) {
        double *re = w->half + 2 * a * sheet, *im = re + sheet;
        for (int64_t p = 0; p < k[0]; p++) {
            const double c = w->phases[0][a * k[0] + p], s = w->phases[0][(nx + a) * k[0] + p];
            const double *row = w->grid + p * sheet;
            for (int64_t b = 0; b < sheet; b++) re[b] += c * row[b], im[b] -= s * row[b];
        }
    }
    memset(w->plane, 0, nx * 2 * ny * k[2] * sizeof(double));
    for (int64_t a = 0; a < nx; a++)
        for (int64_t b = 0; b < ny; b++) {
            double *re = w->plane + (2 * a * ny + b) * k[2], *im = re + ny * k[2];
            for (int64_t p = 0; p < k[1]; p++) {
                const double c = w->phases[1][b * k[1] + p], s = w->phases[1][(ny + b) * k[1] + p];
                const double *r = w->half + 2 * a * sheet + p * k[2], *i = r + sheet;
                for (int64_t z = 0; z < k[2]; z++)
                    re[z] += c * r[z] + s * i[z], im[z] += c * i[z] - s * r[z];
            }
        }
    memset(w->waves, 0, nx * 2 * ny * nz * sizeof(double));
    for (int64_t a = 0; a < nx; a++)
        for (int64_t b = 0; b < ny; b++) {
            double *re = w->waves + (2 * a * ny + b) * nz, *im = re + ny * nz;
            const double *r = w->plane + (2 * a * ny + b) * k[2], *i = r + ny * k[2];
            for (int64_t z = 0; z < k[2]; z++) {
                const double *c = w->phases[2] + z * nz, *s = c + k[2] * nz;
                for (int64_t d = 0; d < nz; d++)
                    re[d] += c[d] * r[z] + s[d] * i[z], im[d] += c[d] * i[z] - s[d] * r[z];
            }
        }
}

/* waves -> plane -> half -> potential: the real part of sum_m C(m) exp(+2 pi i m k/K). */
static void to_potential(const mesh_t *m, mesh_work_t *w) {
    const int64_t *k = m->points, nx = n_waves(m, 0), ny = n_waves(m, 1), nz = n_waves(m, 2);
    const int64_t sheet = k[1] * k[2];
    for (int64_t a = 0; a < nx; a++)
        for (int64_t b = 0; b < ny; b++) {
            const double *re = w->waves + (2 * a * ny + b) * nz, *im = re + ny * nz;
            double *r = w->plane + (2 * a * ny + b) * k[2], *i = r + ny * k[2];
            for (int64_t z = 0; z < k[2]; z++) {
                const double *c = w->phases[2] + z * nz, *s = c + k[2] * nz;
                double real = 0, imaginary = 0;
                for (int64_t d = 0; d < nz; d++)
                    real += c[d] * re[d] - s[d] * im[d], imaginary += c[d] * im[d] + s[d] * re[d];
                r[z] = real, i[z] = imaginary;
            }
        }
    memset(w->half, 0, nx * 2 * sheet * sizeof(double));
    for (int64_t a = 0; a < nx; a++)
        for (int64_t p = 0; p < k[1]; p++) {
            double *r = w->half + 2 * a * sheet + p * k[2], *i = r + sheet;
            for (int64_t b = 0; b < ny; b++) {
                const double c = w->phases[1][b * k[1] + p], s = w->phases[1][(ny + b) * k[1] + p];
                const double *re = w->plane + (2 * a * ny + b) * k[2], *im = re + ny * k[2];
                for (int64_t z = 0; z < k[2]; z++)
                    r[z] += c * re[z] - s * im[z], i[z] += c * im[z] + s * re[z];
            }
        }
    memset(w->potential, 0, k[0] * sheet * sizeof(double));
    for (int64_t p = 0; p < k[0]; p++) {
        double *row = w->potential + p * sheet;
        for (int64_t a = 0; a < nx; a++) {
            const double c = w->phases[0][a * k[0] + p], s = w->phases[0][(nx + a) * k[0] + p];
            const double *re = w->half + 2 * a * sheet, *im = re + sheet;
            for (int64_t b = 0; b < sheet; b++) row[b] += c * re[b] - s * im[b];
        }
    }
}

static void mesh_forces(const mesh_t *m, mesh_work_t *w, int64_t n, const double *edges,
                        const double *charge, const double *x, double *f, double *energy,
                        double *virial) {
    const int64_t *k = m->points, nx = n_waves(m, 0), layer = n_waves(m, 1) * n_waves(m, 2);
    spread(m, w, n, edges, charge, x);
    to_waves(m, w);
    for (int64_t a = 0; a < nx; a++) {
        double *re = w->waves + 2 * a * layer, *im = re + layer;
        const double *g = m->influence + a * layer, *v = m->virial + a * layer;
        for (int64_t b = 0; b < layer; b++) {
            const double square = re[b] * re[b] + im[b] * im[b];
            *energy += g[b] * square, *virial += v[b] * square;
            re[b] *= 2 * g[b], im[b] *= 2 * g[b];
        }
    }
    to_potential(m, w);
    for (int64_t i = 0; i < n; i++) {
        const double *own = w->weights + i * 6 * SPLINE_ORDER;
        const int32_t *first = w->first + 3 * i;
        double gx = 0, gy = 0, gz = 0;
        for (int a = 0; a < SPLINE_ORDER; a++) {
            const int64_t px = (first[0] + a) % k[0];
            for (int b = 0; b < SPLINE_ORDER; b++) {
                const double *row = w->potential + (px * k[1] + (first[1] + b) % k[1]) * k[2];
                double value = 0, slope = 0;
                for (int c = 0; c < SPLINE_ORDER; c++) {
                    int64_t pz = first[2] + c;
                    if (pz >= k[2]) pz -= k[2];
                    value += own[4 * SPLINE_ORDER + c] * row[pz];
                    slope += own[5 * SPLINE_ORDER + c] * row[pz];
                }
                const double wx = own[a], wy = own[2 * SPLINE_ORDER + b];
                gx += own[SPLINE_ORDER + a] * wy * value;
                gy += wx * own[3 * SPLINE_ORDER + b] * value;
                gz += wx * wy * slope;
            }
        }
        f[3 * i] -= charge[i] * gx * (double)k[0] / edges[0];
        f[3 * i + 1] -= charge[i] * gy * (double)k[1] / edges[1];
        f[3 * i + 2] -= charge[i] * gz * (double)k[2] / edges[2];
    }
}
