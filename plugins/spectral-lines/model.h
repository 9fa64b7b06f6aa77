/*
 * The decoder itself: continuum and Voigt lines on a grid of wavelengths, with first and second derivatives. What
 * the configuration's text looks like is config.h's, what the host's tables look like spectral_lines.c's.
 */
#ifndef MODEL_H
#define MODEL_H

#include "gfe_plugin.h"
#include "voigt.h"

enum { MAX_LINES = 16, MAX_DEGREE = 8, MAX_LATENTS = 4 * MAX_LINES + MAX_DEGREE + 1, TEXT = 64 };

/* The parameters of a line, in the order of their latents. */
enum { AMPLITUDE, CENTER, SIGMA, GAMMA, LINE_PARAMETERS };

/* Rows of the context. */
enum { REDSHIFT, RESOLUTION, CONTEXT };

/* The index of a parameter that is no latent. */
#define NOT_A_LATENT SIZE_MAX

typedef struct model {
    size_t lines, degree;
    size_t count;                             /* D, wavelengths */
    size_t latents;                           /* d */
    double sign;                              /* 1 for emission, -1 for absorption */
    double *wavelength;                       /* [D] and VOIGT_GROUP more that repeat the last */
    double *basis;                            /* [degree + 1, D] Chebyshev polynomials, a row each */
    size_t where[MAX_LINES][LINE_PARAMETERS]; /* index of the latent; shared parameters have the same */
    size_t continuum;                         /* index of the first coefficient */
    double fixed[LINE_PARAMETERS];            /* value of a parameter that is no latent */
    gfe_latent latent[MAX_LATENTS];
    char name[MAX_LATENTS][TEXT];
    char unit[TEXT], flux_unit[TEXT], amplitude_unit[2 * TEXT];
    voigt_series series;
} model;

/* One line as it is seen: what its parameters mean at a redshift and resolution. */
typedef struct seen_line {
    double value[LINE_PARAMETERS];
    double stretch; /* 1 + redshift */
    voigt_profile profile;
} seen_line;

/* Line `k` of the latent z under the context c. The variance is NaN where there is no such line. */
seen_line model_line(const model *m, const double *z, const double *c, size_t k);

/* Values that model_forward leaves in `tape`. */
size_t model_tape(const model *m);

/* x = D(z), and the tape; both NaN where z is. */
void model_forward(const model *m, const double *z, const double *c, double *x, double *tape);

/* z_bar = J^T x_bar. */
void model_vjp(const model *m, const double *z, const double *c, const double *tape, const double *x_bar, double *z_bar);

/* x_dot = J z_dot. */
void model_jvp(const model *m, const double *z, const double *c, const double *tape, const double *z_dot, double *x_dot);

/* z_bar_dot = J^T x_bar_dot + (d/de J(z + e z_dot)^T) x_bar. */
void model_hvp(const model *m, const double *z, const double *c, const double *tape, const double *z_dot,
               const double *x_bar, const double *x_bar_dot, double *z_bar_dot);

#endif
