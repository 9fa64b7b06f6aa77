/*
 * Faddeeva's function in two regions. For |zeta| < 10 the series of J. A. C. Weideman, SIAM J. Numer. Anal. 31, 1497 (1994),
 * eq. (38), with 40 terms, and derivatives from w' = -2 zeta w + 2i/sqrt(pi). Beyond, where that recurrence would lose a
 * factor |zeta|^2 per derivative, the asymptotic series (Abramowitz & Stegun 7.1.23) differentiated twice or four times,
 *     W^(n) = (i/pi) sum_k (2k-1)!! (2k+n)!/(2k)! q^k / xi^(2k+n+1)   for even n,
 * whose terms fall below 1e-16 of the first before the 14th for |xi|^2 >= 200 q.
 */
#include "voigt.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define PI 3.14159265358979323846
#define FAR 200.0

enum { FAR_TERMS = 14 };

/*
 * Four wavelengths at once, in the vector extension that gcc and clang share. Where it can be chosen at load time, the
 * functions are compiled for AVX2 also; no instruction set fuses or reorders anything, so the bits are the same.
 */
enum { WIDTH = VOIGT_GROUP };
#if defined(__x86_64__) && defined(__gnu_linux__)
#define FOR_EACH_MACHINE __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_MACHINE
#endif
#define INLINE static inline __attribute__((always_inline))
typedef double vec __attribute__((vector_size(WIDTH * sizeof(double))));
typedef int64_t mask __attribute__((vector_size(WIDTH * sizeof(double))));

typedef struct complex_vec {
    vec re, im;
} complex_vec;

INLINE vec load(const double *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* The first `count` lanes, the others 0. A copy of variable length is a call, so the usual case has a constant one. */
INLINE vec load_some(const double *from, size_t count)
{
    if (count == WIDTH)
        return load(from);
    double values[WIDTH] = {0};
    memcpy(values, from, count * sizeof(double));
    return load(values);
}

INLINE void store_some(double *to, vec v, size_t count)
{
    if (count == WIDTH)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, count * sizeof(double));
}

INLINE vec choose(mask where, vec yes, vec no)
{
    return (vec)((where & (mask)yes) | (~where & (mask)no));
}

INLINE complex_vec choose_complex(mask where, complex_vec yes, complex_vec no)
{
    return (complex_vec){choose(where, yes.re, no.re), choose(where, yes.im, no.im)};
}

INLINE complex_vec times(complex_vec a, complex_vec b)
{
    return (complex_vec){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

INLINE complex_vec scaled(double factor, complex_vec a)
{
    return (complex_vec){factor * a.re, factor * a.im};
}

INLINE complex_vec reciprocal(complex_vec a)
{
    vec norm = 1.0 / (a.re * a.re + a.im * a.im);
    return (complex_vec){a.re * norm, -a.im * norm};
}

/* sum of a[k] u^k over k < terms, by the real recurrence of Knuth, TAOCP vol. 2, section 4.6.4, eq. (3). */
INLINE complex_vec polynomial(const double *a, int terms, complex_vec u)
{
    vec r = 2.0 * u.re, s = u.re * u.re + u.im * u.im;
    vec one = u.re * 0.0 + a[terms - 1], two = u.re * 0.0;
    for (int k = terms - 2; k > 0; k--) {
        vec next = (a[k] - s * two) + r * one;
        two = one;
        one = next;
    }
    return (complex_vec){u.re * one + (a[0] - s * two), u.im * one};
}

void voigt_series_fill(voigt_series *series)
{
    enum { M = 2 * VOIGT_TERMS };
    double length = sqrt(VOIGT_TERMS / sqrt(2.0));
    series->length = length;
    for (int n = 1; n <= VOIGT_TERMS; n++) {
        double sum = length * length;
        for (int k = 1; k < M; k++) {
            double theta = k * PI / M, t = length * tan(theta / 2.0);
            sum += 2.0 * exp(-t * t) * (length * length + t * t) * cos(n * theta);
        }
        series->a[n - 1] = sum / (2 * M);
    }
}

/* w(zeta) for Im zeta >= 0, to 1e-13 of |w|. */
INLINE complex_vec faddeeva(const voigt_series *series, complex_vec zeta)
{
    complex_vec denominator = {series->length + zeta.im, -zeta.re};
    complex_vec inverse = reciprocal(denominator);
    complex_vec z = times((complex_vec){series->length - zeta.im, zeta.re}, inverse);
    complex_vec z2 = times(z, z);
    /* Even and odd powers of z as two independent recurrences, each that of `polynomial` in z^2. */
    vec r = 2.0 * z2.re, s = z2.re * z2.re + z2.im * z2.im;
    const double *a = series->a;
    vec even = (vec){0} + a[VOIGT_TERMS - 2], odd = (vec){0} + a[VOIGT_TERMS - 1], even2 = {0}, odd2 = {0};
    for (int k = VOIGT_TERMS - 4; k > 0; k -= 2) {
        vec next_even = (a[k] - s * even2) + r * even, next_odd = (a[k + 1] - s * odd2) + r * odd;
        even2 = even;
        odd2 = odd;
        even = next_even;
        odd = next_odd;
    }
    complex_vec o = times((complex_vec){z2.re * odd + (a[1] - s * odd2), z2.im * odd}, z);
    complex_vec p = times((complex_vec){z2.re * even + (a[0] - s * even2) + o.re, z2.im * even + o.im}, inverse);
    p.re = 2.0 * p.re + 1.0 / sqrt(PI);
    p.im = 2.0 * p.im;
    return times(p, inverse);
}

/* The coefficients (2k-1)!! (2k+n)!/(2k)! of the asymptotic series of W'' and of W''''. */
static const double far_second[FAR_TERMS] = {
    2.0, 12.0, 90.0, 840.0, 9450.0, 124740.0, 1891890.0, 32432400.0, 620269650.0, 13094581500.0, 302484832650.0,
    7589619437400.0, 205552193096250.0, 5976825306952500.0};
static const double far_fourth[FAR_TERMS] = {
    24.0, 360.0, 5040.0, 75600.0, 1247400.0, 22702680.0, 454053600.0, 9924314400.0, 235702467000.0,
    6049696653000.0, 166971627622800.0, 4933252634310000.0, 155397457980765000.0, 5199838017048675000.0};

/* An even derivative far from the center: i/pi inverse^(n+1) times a polynomial in v = q inverse^2. */
INLINE complex_vec far_derivative(const double *terms, complex_vec power, complex_vec v)
{
    complex_vec sum = times(polynomial(terms, FAR_TERMS, v), power);
    return (complex_vec){-sum.im / PI, sum.re / PI};
}

/* Which wavelengths are far from the center: all, none (then the answer is false) or, in `where`, some. */
INLINE mask is_far(complex_vec xi, double variance, int *some, int *all)
{
    mask where = xi.re * xi.re + xi.im * xi.im >= (vec){0} + FAR * variance;
    int64_t count = 0;
    for (int i = 0; i < WIDTH; i++)
        count -= where[i];
    *some = count > 0;
    *all = count == WIDTH;
    return where;
}

typedef struct low_derivatives {
    complex_vec w, w1, w2;
} low_derivatives;

INLINE low_derivatives near_low(const voigt_series *series, double variance, complex_vec xi)
{
    double inverse = 1.0 / variance, root = sqrt(inverse);
    complex_vec w = scaled(root / sqrt(2.0 * PI), faddeeva(series, scaled(root / sqrt(2.0), xi)));
    complex_vec product = times(xi, w);
    complex_vec w1 = {-inverse * product.re, inverse * (1.0 / PI - product.im)};
    product = times(xi, w1);
    complex_vec w2 = {-inverse * (w.re + product.re), -inverse * (w.im + product.im)};
    return (low_derivatives){w, w1, w2};
}

/* W'' from its series; W' and W follow from the recurrence read backwards, in which nothing cancels here. */
INLINE low_derivatives far_low(double variance, complex_vec xi)
{
    complex_vec one = reciprocal(xi), two = times(one, one), v = scaled(variance, two);
    complex_vec w2 = far_derivative(far_second, times(two, one), v);
    complex_vec product = times(scaled(variance, one), w2);
    complex_vec sum = {product.re - two.im / PI, product.im + two.re / PI};
    complex_vec w1 = times(sum, reciprocal((complex_vec){v.re - 1.0, v.im}));
    complex_vec w = times((complex_vec){-variance * w1.re, 1.0 / PI - variance * w1.im}, one);
    return (low_derivatives){w, w1, w2};
}

FOR_EACH_MACHINE
void voigt_rows(const voigt_series *series, const voigt_profile *profile, const double *wavelength, size_t count,
                double *rows)
{
    double q = profile->variance;
    for (size_t i = 0; i < count; i += WIDTH) {
        complex_vec xi = {load(wavelength + i) - profile->center, (vec){0} + profile->gamma};
        int some, all;
        mask where = is_far(xi, q, &some, &all);
        low_derivatives d = all ? far_low(q, xi) : near_low(series, q, xi);
        if (some && !all) {
            low_derivatives far = far_low(q, xi);
            d.w = choose_complex(where, far.w, d.w);
            d.w1 = choose_complex(where, far.w1, d.w1);
            d.w2 = choose_complex(where, far.w2, d.w2);
        }
        size_t left = count - i < WIDTH ? count - i : WIDTH;
        const vec values[VOIGT_ROWS] = {d.w.re, d.w1.re, d.w1.im, d.w2.re, d.w2.im};
        for (size_t r = 0; r < VOIGT_ROWS; r++)
            store_some(rows + r * count + i, values[r], left);
    }
}

FOR_EACH_MACHINE
void voigt_high_dots(const voigt_profile *profile, const double *wavelength, size_t count, const double *rows,
                     const double *weight, double dots[3])
{
    double q = profile->variance, inverse = 1.0 / q;
    vec re3 = {0}, im3 = {0}, re4 = {0};
    for (size_t i = 0; i < count; i += WIDTH) {
        size_t left = count - i < WIDTH ? count - i : WIDTH;
        complex_vec xi = {load(wavelength + i) - profile->center, (vec){0} + profile->gamma};
        complex_vec w1 = {load_some(rows + count + i, left), load_some(rows + 2 * count + i, left)};
        complex_vec w2 = {load_some(rows + 3 * count + i, left), load_some(rows + 4 * count + i, left)};
        complex_vec product = times(xi, w2);
        complex_vec w3 = {-inverse * (2.0 * w1.re + product.re), -inverse * (2.0 * w1.im + product.im)};
        product = times(xi, w3);
        complex_vec w4 = {-inverse * (3.0 * w2.re + product.re), -inverse * (3.0 * w2.im + product.im)};
        int some, all;
        mask where = is_far(xi, q, &some, &all);
        if (some) {
            complex_vec one = reciprocal(xi), two = times(one, one), v = scaled(q, two), four = times(two, two);
            complex_vec far4 = far_derivative(far_fourth, times(four, one), v);
            complex_vec sum = {3.0 * w2.re + q * far4.re, 3.0 * w2.im + q * far4.im};
            w3 = choose_complex(where, scaled(-1.0, times(sum, one)), w3);
            w4 = choose_complex(where, far4, w4);
        }
        vec x = load_some(weight + i, left);
        re3 += x * w3.re;
        im3 += x * w3.im;
        re4 += x * w4.re;
    }
    dots[0] = dots[1] = dots[2] = 0.0;
    for (int i = 0; i < WIDTH; i++) {
        dots[0] += re3[i];
        dots[1] += im3[i];
        dots[2] += re4[i];
    }
}
