// Energy, forces and virial of a NequIP network of one architecture, for one thread.
//
// Features are kept as vectors V of U channels, one per component of each block, so that every
// product of the network is a handful of vector instructions per neighbour and nothing of the size
// (neighbours x weights) is ever stored. The forces are the exact gradient of the energy computed
// here: radial functions are piecewise polynomials, their derivatives those of the polynomials.
//
// The line "GENERATED" below is replaced by the constants and the layers of the network.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

//CHANNELS

typedef float V __attribute__((vector_size(sizeof(float) * U)));

template <int N>
struct Sum {
  typedef float Whole __attribute__((vector_size(sizeof(float) * N)));
  typedef float Half __attribute__((vector_size(sizeof(float) * N / 2)));
  static inline float of(const Whole& v) {
    Half part[2];
    std::memcpy(part, &v, sizeof(v));
    return Sum<N / 2>::of(part[0] + part[1]);
  }
};

template <>
struct Sum<2> {
  typedef float Whole __attribute__((vector_size(8)));
  static inline float of(const Whole& v) { return v[0] + v[1]; }
};

static inline float sum(const V& v) { return Sum<U>::of(v); }

// y[m] += sum_u x[m][u] w[u] for M components: a matrix of U x U, row by row.
template <int M>
static inline void mul_add(const V* x, const float* w, V* y) {
  const float* scalar = reinterpret_cast<const float*>(x);
  const V* row = reinterpret_cast<const V*>(w);
  V total[M];
  for (int m = 0; m < M; ++m) total[m] = y[m];
  for (int u = 0; u < U; ++u) {
    const V r = row[u];
    for (int m = 0; m < M; ++m) total[m] += scalar[m * U + u] * r;
  }
  for (int m = 0; m < M; ++m) y[m] = total[m];
}

static inline void silu(const V& z, V& value, V& slope) {
  for (int u = 0; u < U; ++u) {
    const float s = 1.0f / (1.0f + std::exp(-z[u]));
    value[u] = z[u] * s;
    slope[u] = s * (1.0f + z[u] * (1.0f - s));
  }
}

static inline void tanh_(const V& z, V& value, V& slope) {
  for (int u = 0; u < U; ++u) {
    const float t = std::tanh(z[u]);
    value[u] = t;
    slope[u] = 1.0f - t * t;
  }
}

struct Edge {
  float t;  // where the distance lies between its knots, 0 to 1
  int32_t knot, neighbour;
  float sh[N_SH];
  float inverse, unit[3];
};

struct Gradient {
  float t;
  float sh[N_SH];
};

//GENERATED

// One aligned buffer, taken anew when it is too small.
struct Buffer {
  V* data = nullptr;
  size_t size = 0;
  V* reserve(size_t n) {
    if (n > size) {
      std::free(data);
      data = static_cast<V*>(std::aligned_alloc(sizeof(V) < 64 ? 64 : sizeof(V),
                                                (n * sizeof(V) + 63) / 64 * 64));
      size = data ? n : 0;
    }
    return data;
  }
  V* zeros(size_t n) {
    V* start = reserve(n);
    if (start) std::memset(start, 0, n * sizeof(V));
    return start;
  }
  ~Buffer() { std::free(data); }
};

struct Network {
  Buffer weights, tables;
  int n_knots = 0;
  double cutoff = 0, step = 0;
  std::vector<double> scales, shifts;
  Buffer x[N_LAYERS + 1], h[N_LAYERS], z[N_LAYERS], dx[2], dh;
  std::vector<Edge> edges;
  std::vector<Gradient> gradients;
  std::vector<double> vectors;
  std::vector<int64_t> start;
  const float* w() const { return reinterpret_cast<const float*>(weights.data); }
  const V* table(int offset) const { return tables.data + static_cast<size_t>(offset) * n_knots; }
};

static void set_edge(const Network& net, Edge& e, const double* d, double r, int32_t neighbour) {
  const double scaled = r / net.step;
  int knot = static_cast<int>(scaled);
  if (knot > net.n_knots - 1) knot = net.n_knots - 1;
  e.t = static_cast<float>(scaled - knot);
  e.knot = knot;
  e.neighbour = neighbour;
  e.inverse = static_cast<float>(1.0 / r);
  for (int a = 0; a < 3; ++a) e.unit[a] = static_cast<float>(d[a] / r);
  harmonics(e.unit, e.sh);
}

// Candidates are sorted by their first atom; those within the cutoff become edges.
static void find_edges(Network& net, int64_t n, const double* position, int64_t n_pairs,
                       const int64_t* first, const int64_t* second, const double* offset) {
  net.start.assign(n + 1, 0);
  if (static_cast<int64_t>(net.edges.size()) < n_pairs) {
    net.edges.resize(n_pairs);
    net.gradients.resize(n_pairs);
    net.vectors.resize(3 * n_pairs);
  }
  const double limit = net.cutoff * net.cutoff;
  int64_t count = 0;
  for (int64_t p = 0; p < n_pairs; ++p) {
    const double *a = position + 3 * first[p], *b = position + 3 * second[p];
    double* d = net.vectors.data() + 3 * count;
    for (int k = 0; k < 3; ++k) d[k] = b[k] - a[k] + offset[3 * p + k];
    const double square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    if (!(square < limit)) continue;
    set_edge(net, net.edges[count], d, std::sqrt(square), static_cast<int32_t>(second[p]));
    ++count;
    ++net.start[first[p] + 1];
  }
  for (int64_t i = 0; i < n; ++i) net.start[i + 1] += net.start[i];
}

template <class Layer>
static bool forward(Network& net, int64_t n, const int32_t* type) {
  const V* x = net.x[Layer::NUMBER].data;
  V* h = net.h[Layer::NUMBER].zeros(n * Layer::IN);
  V* z = net.z[Layer::NUMBER].zeros(n * Layer::OUT);
  V* next = net.x[Layer::NUMBER + 1].reserve(n * Layer::NEXT);
  if (!h || !z || !next) return false;
  const V* table = net.table(Layer::TABLE);
  for (int64_t i = 0; i < n; ++i) Layer::before(net.w(), x + i * Layer::IN, h + i * Layer::IN);
  for (int64_t i = 0; i < n; ++i) {
    V message[Layer::MID] = {};
    for (int64_t e = net.start[i]; e < net.start[i + 1]; ++e) {
      const Edge& edge = net.edges[e];
      Layer::edge(h + static_cast<int64_t>(edge.neighbour) * Layer::IN,
                  table + static_cast<size_t>(edge.knot) * N_TERMS * Layer::PATHS, edge, message);
    }
    Layer::after(net.w(), type[i], message, x + i * Layer::IN, z + i * Layer::OUT);
    Layer::gate(z + i * Layer::OUT, next + i * Layer::NEXT);
  }
  return true;
}

// Takes the gradient of x[NUMBER + 1], gives that of x[NUMBER], and adds to those of the edges.
template <class Layer>
static bool backward(Network& net, int64_t n, const int32_t* type, Buffer& from, Buffer& to) {
  const V *h = net.h[Layer::NUMBER].data, *z = net.z[Layer::NUMBER].data;
  V* dx = to.zeros(n * Layer::IN);
  V* dh = net.dh.zeros(n * Layer::IN);
  if (!dx || !dh) return false;
  const V* table = net.table(Layer::TABLE);
  for (int64_t i = 0; i < n; ++i) {
    V dz[Layer::OUT] = {}, message[Layer::MID] = {};
    Layer::gate_back(z + i * Layer::OUT, from.data + i * Layer::NEXT, dz);
    Layer::after_back(net.w(), type[i], dz, message, dx + i * Layer::IN);
    for (int64_t e = net.start[i]; e < net.start[i + 1]; ++e) {
      const Edge& edge = net.edges[e];
      const int64_t j = static_cast<int64_t>(edge.neighbour) * Layer::IN;
      Layer::edge_back(h + j, table + static_cast<size_t>(edge.knot) * N_TERMS * Layer::PATHS, edge,
                       message, dh + j, net.gradients[e]);
    }
  }
  if (Layer::NUMBER > 0)
    for (int64_t i = 0; i < n; ++i)
      Layer::before_back(net.w(), dh + i * Layer::IN, dx + i * Layer::IN);
  return true;
}

static void collect_forces(const Network& net, int64_t n, double* force, double* virial) {
  const double over = 1.0 / net.step;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t e = net.start[i]; e < net.start[i + 1]; ++e) {
      const Edge& edge = net.edges[e];
      const Gradient& g = net.gradients[e];
      float du[3] = {};
      harmonics_back(edge.unit, g.sh, du);
      const float along = du[0] * edge.unit[0] + du[1] * edge.unit[1] + du[2] * edge.unit[2];
      const double* d = net.vectors.data() + 3 * e;
      double slope[3];
      for (int a = 0; a < 3; ++a) {
        slope[a] = g.t * over * edge.unit[a] + (du[a] - along * edge.unit[a]) * edge.inverse;
        force[3 * i + a] += slope[a];
        force[3 * static_cast<int64_t>(edge.neighbour) + a] -= slope[a];
      }
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) virial[3 * a + b] -= d[a] * slope[b];
    }
}

extern "C" {

void* network_create(const float* weights, int64_t n_weights, const float* tables,
                     int64_t n_tables, int32_t n_knots, double cutoff, const double* scales,
                     const double* shifts, int32_t n_types) {
  Network* net = new Network;
  V* w = net->weights.reserve(n_weights / U);
  V* t = net->tables.reserve(n_tables / U);
  if (!w || !t) {
    delete net;
    return nullptr;
  }
  std::memcpy(w, weights, n_weights * sizeof(float));
  std::memcpy(t, tables, n_tables * sizeof(float));
  net->n_knots = n_knots;
  net->cutoff = cutoff;
  net->step = cutoff / n_knots;
  net->scales.assign(scales, scales + n_types);
  net->shifts.assign(shifts, shifts + n_types);
  return net;
}

void network_destroy(void* network) { delete static_cast<Network*>(network); }

// Returns the number of edges, or -1 if there is not enough memory. Outputs: energy (1), force
// (n, 3), virial (3, 3) = -sum d (dE/dd)^T over the edges' vectors d.
int64_t network_evaluate(void* network, int64_t n, const int32_t* type, const double* position,
                         int64_t n_pairs, const int64_t* first, const int64_t* second,
                         const double* offset, double* energy, double* force, double* virial) {
  Network& net = *static_cast<Network*>(network);
  find_edges(net, n, position, n_pairs, first, second, offset);
  const int64_t n_edges = net.start[n];
  std::memset(net.gradients.data(), 0, n_edges * sizeof(Gradient));
  V* x = net.x[0].reserve(n);
  if (!x) return -1;
  const V* embedding = reinterpret_cast<const V*>(net.w() + EMBEDDING);
  for (int64_t i = 0; i < n; ++i) x[i] = embedding[type[i]];
  if (!forward_layers(net, n, type)) return -1;
  const V readout = *reinterpret_cast<const V*>(net.w() + READOUT);
  V* dx = net.dx[N_LAYERS % 2].reserve(n);
  if (!dx) return -1;
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double scale = net.scales[type[i]];
    total += scale * sum(net.x[N_LAYERS].data[i] * readout) + net.shifts[type[i]];
    dx[i] = static_cast<float>(scale) * readout;
  }
  if (!backward_layers(net, n, type)) return -1;
  std::memset(force, 0, 3 * n * sizeof(double));
  std::memset(virial, 0, 9 * sizeof(double));
  collect_forces(net, n, force, virial);
  *energy = total;
  return n_edges;
}

}
