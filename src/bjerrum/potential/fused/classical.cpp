// The parts of a potential beside the network: Ewald sum of the ions, wall at short distances.

#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <vector>

typedef std::complex<double> Complex;

// In-place powers exp(i k u), k = 0 ... n.
static void powers(double u, int n, Complex* out) {
  const Complex base(std::cos(u), std::sin(u));
  out[0] = 1.0;
  for (int k = 1; k <= n; ++k)
    out[k] = Complex(out[k - 1].real() * base.real() - out[k - 1].imag() * base.imag(),
                     out[k - 1].real() * base.imag() + out[k - 1].imag() * base.real());
}

static inline Complex times(const Complex& a, const Complex& b) {
  return Complex(a.real() * b.real() - a.imag() * b.imag(),
                 a.real() * b.imag() + a.imag() * b.real());
}

extern "C" {

// Reciprocal half-sphere: integers (n_k, 3) with first >= 0, vectors (n_k, 3), factors (n_k) with
// E = sum factor |S|^2. inverse: rows are the reciprocal vectors / 2 pi, so that f = inverse r.
void ewald(int64_t n, const double* charge, const double* position, const double* cell,
           const double* inverse, double smearing, double cutoff, const int32_t* images,
           int64_t n_k, const int32_t* integers, const double* vectors, const double* factors,
           double* energy, double* force, double* virial) {
  const double pi = 3.14159265358979323846, root = std::sqrt(2.0) * smearing;
  double total = 0;
  std::memset(force, 0, 3 * n * sizeof(double));
  std::memset(virial, 0, 9 * sizeof(double));
  std::vector<double> fraction(3 * n);
  for (int64_t i = 0; i < n; ++i)
    for (int a = 0; a < 3; ++a)
      fraction[3 * i + a] = position[3 * i] * inverse[3 * a] + position[3 * i + 1] * inverse[3 * a + 1] +
                            position[3 * i + 2] * inverse[3 * a + 2];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j) {
      double f[3];
      for (int a = 0; a < 3; ++a) {
        f[a] = fraction[3 * j + a] - fraction[3 * i + a];
        f[a] -= std::nearbyint(f[a]);
      }
      const double weight = charge[i] * charge[j] * (i == j ? 0.5 : 1.0);
      for (int p = -images[0]; p <= images[0]; ++p)
        for (int q = -images[1]; q <= images[1]; ++q)
          for (int s = -images[2]; s <= images[2]; ++s) {
            if (i == j && p == 0 && q == 0 && s == 0) continue;
            const double g[3] = {f[0] + p, f[1] + q, f[2] + s};
            double d[3], square = 0;
            for (int a = 0; a < 3; ++a) {
              d[a] = g[0] * cell[a] + g[1] * cell[3 + a] + g[2] * cell[6 + a];
              square += d[a] * d[a];
            }
            if (!(square < cutoff * cutoff)) continue;
            const double r = std::sqrt(square), x = r / root;
            const double part = std::erfc(x) / r;
            total += weight * part;
            const double slope =
                -weight * (part + 2.0 / (std::sqrt(pi) * root) * std::exp(-x * x)) / square;
            for (int a = 0; a < 3; ++a) {
              force[3 * i + a] += slope * d[a];
              force[3 * j + a] -= slope * d[a];
              for (int b = 0; b < 3; ++b) virial[3 * a + b] -= slope * d[a] * d[b];
            }
          }
    }
  int most[3] = {0, 0, 0};
  for (int64_t k = 0; k < n_k; ++k)
    for (int a = 0; a < 3; ++a)
      if (std::abs(integers[3 * k + a]) > most[a]) most[a] = std::abs(integers[3 * k + a]);
  std::vector<Complex> waves(n * n_k), sums(n_k);
  std::vector<Complex> table[3];
  for (int a = 0; a < 3; ++a) table[a].resize(2 * most[a] + 1);
  for (int64_t i = 0; i < n; ++i) {
    for (int a = 0; a < 3; ++a) {
      powers(2 * pi * fraction[3 * i + a], most[a], table[a].data() + most[a]);
      for (int k = 1; k <= most[a]; ++k) table[a][most[a] - k] = std::conj(table[a][most[a] + k]);
    }
    for (int64_t k = 0; k < n_k; ++k) {
      const int32_t* m = integers + 3 * k;
      const Complex wave = times(times(table[0][most[0] + m[0]], table[1][most[1] + m[1]]),
                                 table[2][most[2] + m[2]]);
      waves[i * n_k + k] = wave;
      sums[k] += charge[i] * wave;
    }
  }
  for (int64_t k = 0; k < n_k; ++k) {
    const double part = factors[k] * std::norm(sums[k]);
    const double* v = vectors + 3 * k;
    const double square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    const double along = 2.0 * (1.0 + 0.5 * square * smearing * smearing) / square;
    total += part;
    for (int a = 0; a < 3; ++a) {
      virial[4 * a] += part;
      for (int b = 0; b < 3; ++b) virial[3 * a + b] -= part * along * v[a] * v[b];
    }
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n_k; ++k) {
      const Complex wave = waves[i * n_k + k];
      const double pull = 2.0 * charge[i] * factors[k] *
                          (wave.imag() * sums[k].real() - wave.real() * sums[k].imag());
      for (int a = 0; a < 3; ++a) force[3 * i + a] += pull * vectors[3 * k + a];
    }
  *energy += total;
}

// Screened nuclear repulsion of candidate pairs (every pair twice), see repulsion.py. numbers: of
// each type; outer: (n_types, n_types), 0 for none; gaps: (n_types, n_types, 2), ends of the bars.
void wall(int64_t n, const int32_t* type, const double* position, int64_t n_pairs,
          const int64_t* first, const int64_t* second, const double* offset, int32_t n_types,
          const double* numbers, const double* outer, const double* gaps, double gap_height,
          double inner, double strength, double coulomb, double screening_length,
          const double* amplitudes, const double* decays, double* energy, double* force,
          double* virial) {
  double total = 0;
  std::memset(force, 0, 3 * n * sizeof(double));
  std::memset(virial, 0, 9 * sizeof(double));
  for (int64_t p = 0; p < n_pairs; ++p) {
    const int64_t i = first[p], j = second[p];
    const double limit = outer[type[i] * n_types + type[j]];
    double d[3], square = 0;
    for (int a = 0; a < 3; ++a) {
      d[a] = position[3 * j + a] - position[3 * i + a] + offset[3 * p + a];
      square += d[a] * d[a];
    }
    const double* gap = gaps + 2 * (type[i] * n_types + type[j]);
    const bool pressed = square < limit * limit;
    const bool between = square > gap[0] * gap[0] && square < gap[1] * gap[1];
    if (!pressed && !between) continue;
    const double r = std::sqrt(square);
    double slope = 0;
    if (pressed) {
      const double zi = numbers[type[i]], zj = numbers[type[j]];
      const double rate = (std::pow(zi, 0.23) + std::pow(zj, 0.23)) / screening_length;
      double screening = 0, decline = 0;
      for (int k = 0; k < 4; ++k) {
        const double term = amplitudes[k] * std::exp(-r * rate * decays[k]);
        screening += term;
        decline -= rate * decays[k] * term;
      }
      const double bare = strength * coulomb * zi * zj / r, width = (1 - inner) * limit;
      double u = (limit - r) / width;
      if (u > 1) u = 1;
      const double on = u * u * u * (10 - 15 * u + 6 * u * u);
      const double on_slope = -30 * u * u * (1 - u) * (1 - u) / width;
      total += 0.5 * bare * screening * on;
      slope += bare * ((decline - screening / r) * on + screening * on_slope);
    }
    if (between) {
      const double width = gap[1] - gap[0], u = (r - gap[0]) / width, v = u * (1 - u);
      total += 0.5 * gap_height * 64 * v * v * v;
      slope += gap_height * 192 * v * v * (1 - 2 * u) / width;
    }
    for (int a = 0; a < 3; ++a) {
      force[3 * i + a] += slope / r * d[a];
      for (int b = 0; b < 3; ++b) virial[3 * a + b] -= 0.5 * slope / r * d[a] * d[b];
    }
  }
  *energy = total;
}

// Pair terms of a cheap inner potential: each kind of pair has cubic pieces on even intervals and
// goes on linearly below and (kinds that do not vanish there) above. kind: (n_types, n_types, 2),
// the last index 1 within a molecule; -1 for none. Every pair comes twice.
void pair_terms(int64_t n, const int32_t* type, const int64_t* molecule, const double* position,
                int64_t n_pairs, const int64_t* first, const int64_t* second, const double* offset,
                int32_t n_types, const int32_t* kind, int32_t n_pieces, const double* low,
                const double* high, const double* pieces, const int32_t* ends, double* energy,
                double* force) {
  double total = 0;
  std::memset(force, 0, 3 * n * sizeof(double));
  for (int64_t p = 0; p < n_pairs; ++p) {
    const int64_t i = first[p], j = second[p];
    const int32_t k = kind[2 * (type[i] * n_types + type[j]) + (molecule[i] == molecule[j])];
    if (k < 0) continue;
    double d[3], square = 0;
    for (int a = 0; a < 3; ++a) {
      d[a] = position[3 * j + a] - position[3 * i + a] + offset[3 * p + a];
      square += d[a] * d[a];
    }
    if (ends[k] && !(square < high[k] * high[k])) continue;
    const double r = std::sqrt(square), width = (high[k] - low[k]) / n_pieces;
    const double inside = r < low[k] ? low[k] : (r > high[k] ? high[k] : r);
    int piece = static_cast<int>((inside - low[k]) / width);
    if (piece > n_pieces - 1) piece = n_pieces - 1;
    const double t = (inside - low[k]) / width - piece;
    const double* c = pieces + 4 * (static_cast<int64_t>(k) * n_pieces + piece);
    const double slope = (c[1] + t * (2 * c[2] + 3 * t * c[3])) / width;
    total += 0.5 * (c[0] + t * (c[1] + t * (c[2] + t * c[3])) + slope * (r - inside));
    for (int a = 0; a < 3; ++a) force[3 * i + a] += slope / r * d[a];
  }
  *energy = total;
}

}
