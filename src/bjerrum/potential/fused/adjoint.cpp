// Gradient of a training loss with respect to the weights of a NequIP network, for one thread.
//
// The loss depends on energy and forces of a frame. With gE = dL/dE and the direction
// v = -dL/dF, its gradient is that of gE E + (v . grad) E, because F = -grad E. All numbers are
// dual, a + b eps with eps^2 = 0: b carries the derivative along v exactly. One reverse pass, begun
// with 1 + gE eps, leaves the gradient wanted in the b of each weight's adjoint.
//
// The line "GENERATED" below is replaced by the constants and the layers of the network.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

//CHANNELS

typedef float R __attribute__((vector_size(sizeof(float) * U)));

struct S {
  float a, b;
  S() : a(0), b(0) {}
  S(float value, float slope = 0) : a(value), b(slope) {}
};
static inline S operator+(S x, S y) { return {x.a + y.a, x.b + y.b}; }
static inline S operator*(S x, S y) { return {x.a * y.a, x.a * y.b + x.b * y.a}; }
static inline S operator*(float x, S y) { return {x * y.a, x * y.b}; }

struct V {
  R a, b;
};
static inline V operator+(const V& x, const V& y) { return {x.a + y.a, x.b + y.b}; }
static inline V operator+(const R& x, const V& y) { return {x + y.a, y.b}; }
static inline V operator*(const V& x, const V& y) { return {x.a * y.a, x.a * y.b + x.b * y.a}; }
static inline V operator*(S x, const V& y) { return {x.a * y.a, x.a * y.b + x.b * y.a}; }
static inline V operator*(S x, const R& y) { return {x.a * y, x.b * y}; }
static inline V operator*(float x, const V& y) { return {x * y.a, x * y.b}; }
static inline void operator+=(V& x, const V& y) {
  x.a += y.a;
  x.b += y.b;
}

static inline float sum(const R& v) {
  float total = 0;
  for (int u = 0; u < U; ++u) total += v[u];
  return total;
}

// y[m] += sum_u x[m][u] w[u] for M components: a matrix of U x U, row by row.
template <int M>
static inline void mul_add(const V* x, const float* w, V* y) {
  const float* scalar = reinterpret_cast<const float*>(x);
  const R* row = reinterpret_cast<const R*>(w);
  R* target = reinterpret_cast<R*>(y);
  R total[2 * M];
  for (int m = 0; m < 2 * M; ++m) total[m] = target[m];
  for (int u = 0; u < U; ++u) {
    const R r = row[u];
    for (int m = 0; m < 2 * M; ++m) total[m] += scalar[m * U + u] * r;
  }
  for (int m = 0; m < 2 * M; ++m) target[m] = total[m];
}

// g[u][v] += the b of sum_m x[m][u] y[m][v]: the gradient of the matrix of mul_add.
template <int M>
static inline void outer(const V* x, const V* y, float* g) {
  const float* scalar = reinterpret_cast<const float*>(x);
  R* row = reinterpret_cast<R*>(g);
  for (int u = 0; u < U; ++u) {
    R total = row[u];
    for (int m = 0; m < M; ++m)
      total += scalar[2 * m * U + u] * y[m].b + scalar[(2 * m + 1) * U + u] * y[m].a;
    row[u] = total;
  }
}

static inline void silu(const V& z, V& value, V& slope) {
  for (int u = 0; u < U; ++u) {
    const float x = z.a[u], s = 1.0f / (1.0f + std::exp(-x)), ds = s * (1.0f - s);
    value.a[u] = x * s;
    slope.a[u] = s + x * ds;
    slope.b[u] = ds * (2.0f + x * (1.0f - 2.0f * s));
  }
  value.b = slope.a * z.b;
  slope.b *= z.b;
}

static inline void tanh_(const V& z, V& value, V& slope) {
  for (int u = 0; u < U; ++u) {
    const float t = std::tanh(z.a[u]);
    value.a[u] = t;
    slope.a[u] = 1.0f - t * t;
    slope.b[u] = -2.0f * t * slope.a[u];
  }
  value.b = slope.a * z.b;
  slope.b *= z.b;
}

struct Edge {
  S t;  // where the distance lies between its knots, 0 to 1
  int32_t knot, neighbour;
  S sh[N_SH];
};

// The adjoint of a radial weight, taken to those of the coefficients of t^0, t^1, ...
struct Powers {
  float a[N_TERMS], b[N_TERMS];
  explicit Powers(S t) {
    S power = 1.0f;
    for (int k = 0; k < N_TERMS; ++k, power = power * t) {
      a[k] = power.a;
      b[k] = power.b;
    }
  }
  inline void add(const V& g, R* row, int stride) const {
    for (int k = 0; k < N_TERMS; ++k) row[k * stride] += a[k] * g.b + b[k] * g.a;
  }
};

//GENERATED

// One aligned buffer, taken anew when it is too small.
template <class T>
struct Buffer {
  T* data = nullptr;
  size_t size = 0;
  T* reserve(size_t n) {
    if (n > size) {
      std::free(data);
      data = static_cast<T*>(std::aligned_alloc(sizeof(R) < 64 ? 64 : sizeof(R),
                                                (n * sizeof(T) + 63) / 64 * 64));
      size = data ? n : 0;
    }
    return data;
  }
  T* zeros(size_t n) {
    T* start = reserve(n);
    if (start) std::memset(static_cast<void*>(start), 0, n * sizeof(T));
    return start;
  }
  ~Buffer() { std::free(data); }
};

struct Network {
  Buffer<R> weights, tables, weight_gradient, table_gradient;
  size_t n_weights = 0, n_tables = 0;
  int n_knots = 0;
  double cutoff = 0, step = 0;
  std::vector<double> scales;
  Buffer<V> x[N_LAYERS + 1], h[N_LAYERS], z[N_LAYERS], message[N_LAYERS], dx[2], dh;
  std::vector<Edge> edges;
  std::vector<int64_t> start;
  const float* w() const { return reinterpret_cast<const float*>(weights.data); }
  float* g() const { return reinterpret_cast<float*>(weight_gradient.data); }
  size_t at(int offset, int32_t knot, int paths) const {
    return static_cast<size_t>(offset) * n_knots + static_cast<size_t>(knot) * N_TERMS * paths;
  }
};

// d: vector of the edge, v: its derivative.
static void set_edge(const Network& net, Edge& e, const double* d, const double* v, double r,
                     int32_t neighbour) {
  const double scaled = r / net.step;
  int knot = static_cast<int>(scaled);
  if (knot > net.n_knots - 1) knot = net.n_knots - 1;
  const double rate = (d[0] * v[0] + d[1] * v[1] + d[2] * v[2]) / r;
  S unit[3];
  for (int a = 0; a < 3; ++a)
    unit[a] = S(static_cast<float>(d[a] / r), static_cast<float>((v[a] - rate * d[a] / r) / r));
  e.t = S(static_cast<float>(scaled - knot), static_cast<float>(rate / net.step));
  e.knot = knot;
  e.neighbour = neighbour;
  harmonics(unit, e.sh);
}

// Candidates are sorted by their first atom; those within the cutoff become edges.
static void find_edges(Network& net, int64_t n, const double* position, const double* direction,
                       int64_t n_pairs, const int64_t* first, const int64_t* second,
                       const double* offset) {
  net.start.assign(n + 1, 0);
  if (static_cast<int64_t>(net.edges.size()) < n_pairs) net.edges.resize(n_pairs);
  const double limit = net.cutoff * net.cutoff;
  int64_t count = 0;
  for (int64_t p = 0; p < n_pairs; ++p) {
    const int64_t i = 3 * first[p], j = 3 * second[p];
    double d[3], v[3];
    for (int k = 0; k < 3; ++k) {
      d[k] = position[j + k] - position[i + k] + offset[3 * p + k];
      v[k] = direction[j + k] - direction[i + k];
    }
    const double square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    if (!(square < limit)) continue;
    set_edge(net, net.edges[count++], d, v, std::sqrt(square), static_cast<int32_t>(second[p]));
    ++net.start[first[p] + 1];
  }
  for (int64_t i = 0; i < n; ++i) net.start[i + 1] += net.start[i];
}

template <class Layer>
static bool forward(Network& net, int64_t n, const int32_t* type) {
  constexpr int K = Layer::NUMBER;
  const V* x = net.x[K].data;
  V* h = net.h[K].zeros(n * Layer::IN);
  V* z = net.z[K].zeros(n * Layer::OUT);
  V* message = net.message[K].zeros(n * Layer::MID);
  V* next = net.x[K + 1].reserve(n * Layer::NEXT);
  if (!h || !z || !message || !next) return false;
  for (int64_t i = 0; i < n; ++i) Layer::before(net.w(), x + i * Layer::IN, h + i * Layer::IN);
  for (int64_t i = 0; i < n; ++i) {
    V* m = message + i * Layer::MID;
    for (int64_t e = net.start[i]; e < net.start[i + 1]; ++e) {
      const Edge& edge = net.edges[e];
      Layer::edge(h + static_cast<int64_t>(edge.neighbour) * Layer::IN,
                  net.tables.data + net.at(Layer::TABLE, edge.knot, Layer::PATHS), edge, m);
    }
    Layer::after(net.w(), type[i], m, x + i * Layer::IN, z + i * Layer::OUT);
    Layer::gate(z + i * Layer::OUT, next + i * Layer::NEXT);
  }
  return true;
}

// Takes the adjoint of x[NUMBER + 1], gives that of x[NUMBER], adds to those of the weights.
template <class Layer>
static bool backward(Network& net, int64_t n, const int32_t* type, Buffer<V>& from,
                     Buffer<V>& to) {
  constexpr int K = Layer::NUMBER;
  const V *x = net.x[K].data, *h = net.h[K].data, *z = net.z[K].data, *sums = net.message[K].data;
  V* dx = to.zeros(n * Layer::IN);
  V* dh = net.dh.zeros(n * Layer::IN);
  if (!dx || !dh) return false;
  for (int64_t i = 0; i < n; ++i) {
    V dz[Layer::OUT] = {}, dm[Layer::MID] = {};
    Layer::gate_back(z + i * Layer::OUT, from.data + i * Layer::NEXT, dz);
    Layer::after_back(net.w(), type[i], dz, dm, dx + i * Layer::IN);
    Layer::after_weights(net.g(), type[i], sums + i * Layer::MID, x + i * Layer::IN, dz);
    for (int64_t e = net.start[i]; e < net.start[i + 1]; ++e) {
      const Edge& edge = net.edges[e];
      const int64_t j = static_cast<int64_t>(edge.neighbour) * Layer::IN;
      const size_t row = net.at(Layer::TABLE, edge.knot, Layer::PATHS);
      Layer::edge_weights(h + j, net.tables.data + row, edge, dm, dh + j,
                          net.table_gradient.data + row);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    Layer::before_back(net.w(), dh + i * Layer::IN, dx + i * Layer::IN);
    Layer::before_weights(net.g(), x + i * Layer::IN, dh + i * Layer::IN);
  }
  return true;
}

extern "C" {

void* adjoint_create(int64_t n_weights, int64_t n_tables, int32_t n_knots, double cutoff) {
  Network* net = new Network;
  net->n_weights = n_weights / U;
  net->n_tables = n_tables / U;
  net->n_knots = n_knots;
  net->cutoff = cutoff;
  net->step = cutoff / n_knots;
  if (net->weights.reserve(net->n_weights) && net->tables.reserve(net->n_tables) &&
      net->weight_gradient.reserve(net->n_weights) && net->table_gradient.reserve(net->n_tables))
    return net;
  delete net;
  return nullptr;
}

void adjoint_destroy(void* network) { delete static_cast<Network*>(network); }

// Takes new weights and begins new sums of their gradients.
void adjoint_begin(void* network, const float* weights, const float* tables, const double* scales,
                   int32_t n_types) {
  Network& net = *static_cast<Network*>(network);
  std::memcpy(net.weights.data, weights, net.n_weights * sizeof(R));
  std::memcpy(net.tables.data, tables, net.n_tables * sizeof(R));
  net.scales.assign(scales, scales + n_types);
  net.weight_gradient.zeros(net.n_weights);
  net.table_gradient.zeros(net.n_tables);
}

// Adds the gradient of energy_factor E + (direction . grad) E. scale_gradient: of each type's
// scale. Returns the number of edges, or -1 if there is not enough memory.
int64_t adjoint_add(void* network, int64_t n, const int32_t* type, const double* position,
                    const double* direction, double energy_factor, int64_t n_pairs,
                    const int64_t* first, const int64_t* second, const double* offset,
                    double* scale_gradient) {
  Network& net = *static_cast<Network*>(network);
  find_edges(net, n, position, direction, n_pairs, first, second, offset);
  V* x = net.x[0].zeros(n);
  if (!x) return -1;
  const R* embedding = reinterpret_cast<const R*>(net.w() + EMBEDDING);
  for (int64_t i = 0; i < n; ++i) x[i].a = embedding[type[i]];
  if (!forward_layers(net, n, type)) return -1;
  const R readout = *reinterpret_cast<const R*>(net.w() + READOUT);
  R& readout_gradient = *reinterpret_cast<R*>(net.g() + READOUT);
  V* dx = net.dx[N_LAYERS % 2].reserve(n);
  if (!dx) return -1;
  const V* last = net.x[N_LAYERS].data;
  const float factor = static_cast<float>(energy_factor);
  for (int64_t i = 0; i < n; ++i) {
    const float scale = static_cast<float>(net.scales[type[i]]);
    const R part = last[i].b + factor * last[i].a;
    readout_gradient += scale * part;
    scale_gradient[type[i]] += sum(part * readout);
    dx[i] = S(scale, scale * factor) * readout;
  }
  if (!backward_layers(net, n, type)) return -1;
  R* embedding_gradient = reinterpret_cast<R*>(net.g() + EMBEDDING);
  for (int64_t i = 0; i < n; ++i) embedding_gradient[type[i]] += net.dx[0].data[i].b;
  return net.start[n];
}

void adjoint_end(void* network, float* weight_gradient, float* table_gradient) {
  const Network& net = *static_cast<Network*>(network);
  std::memcpy(weight_gradient, net.weight_gradient.data, net.n_weights * sizeof(R));
  std::memcpy(table_gradient, net.table_gradient.data, net.n_tables * sizeof(R));
}

}
