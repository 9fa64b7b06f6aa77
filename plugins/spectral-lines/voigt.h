/*
 * The Voigt profile and its derivatives along a row of wavelengths. Nothing here knows of lines, redshifts or latents.
 *
 * With w the Faddeeva function, variance q = s^2 of the Gaussian and half width g of the Lorentzian, the analytic function
 *     W(xi) = w(xi / (s sqrt 2)) / (s sqrt(2 pi)),   xi = delta + i g
 * has as its real part the Voigt profile V(delta) of unit area. All derivatives of V are parts of those of W:
 * dV/d delta = Re W', dV/dg = -Im W', dV/dq = Re W'' / 2 (convolution with a Gaussian solves the heat equation).
 */
#ifndef VOIGT_H
#define VOIGT_H

#include <stddef.h>

enum { VOIGT_TERMS = 40, VOIGT_ROWS = 5 };

/* Coefficients of Weideman's series; filled once, then read by any thread. */
typedef struct voigt_series {
    double length;
    double a[VOIGT_TERMS];
} voigt_series;

/* One profile: its center, variance q > 0 and half width g >= 0, in the units of the wavelengths. */
typedef struct voigt_profile {
    double center;
    double variance;
    double gamma;
} voigt_profile;

/* Wavelengths are read in groups: their array has room for a multiple of this many values, all finite. */
enum { VOIGT_GROUP = 4 };

void voigt_series_fill(voigt_series *series);

/*
 * Writes VOIGT_ROWS rows of `count` values side by side: V, Re W', Im W', Re W'', Im W'' at delta = wavelength - center.
 */
void voigt_rows(const voigt_series *series, const voigt_profile *profile, const double *wavelength, size_t count,
                double *rows);

/*
 * dots = sum over the wavelengths of weight times Re W''', Im W''', Re W''''; `rows` as voigt_rows wrote them.
 */
void voigt_high_dots(const voigt_profile *profile, const double *wavelength, size_t count, const double *rows,
                     const double *weight, double dots[3]);

#endif
