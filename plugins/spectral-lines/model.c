#include "model.h"

#include <math.h>
#include <string.h>

/* The tape holds voigt_rows of every line; these are its rows. */
enum { V, RE1, IM1, RE2, IM2 };

static const double *row(const model *m, const double *tape, size_t k, size_t r)
{
    return tape + (k * VOIGT_ROWS + r) * m->count;
}

/* sum of a_i b_i, in four partial sums so that it is not bound by the latency of an addition. */
static double dot(const double *a, const double *b, size_t count)
{
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (size_t j = 0; j < 4; j++)
            sum[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void add(double factor, const double *a, size_t count, double *sum)
{
    if (factor == 0.0)
        return;
    for (size_t i = 0; i < count; i++)
        sum[i] += factor * a[i];
}

static double direction(const model *m, size_t k, size_t parameter, const double *z_dot)
{
    size_t index = m->where[k][parameter];
    return index == NOT_A_LATENT ? 0.0 : z_dot[index];
}

static void accumulate(const model *m, size_t k, size_t parameter, double value, double *z_bar)
{
    size_t index = m->where[k][parameter];
    if (index != NOT_A_LATENT)
        z_bar[index] += value;
}

seen_line model_line(const model *m, const double *z, const double *c, size_t k)
{
    seen_line line = {.stretch = 1.0 + c[REDSHIFT]};
    for (size_t p = 0; p < LINE_PARAMETERS; p++)
        line.value[p] = m->where[k][p] == NOT_A_LATENT ? m->fixed[p] : z[m->where[k][p]];
    double sigma = line.value[SIGMA] * line.stretch;
    line.profile.center = line.value[CENTER] * line.stretch;
    line.profile.gamma = line.value[GAMMA] * line.stretch;
    line.profile.variance = sigma * sigma + c[RESOLUTION] * c[RESOLUTION];
    if (!(line.profile.variance > 0.0 && line.profile.gamma >= 0.0 && isfinite(line.profile.center)))
        line.profile.variance = NAN;
    return line;
}

size_t model_tape(const model *m)
{
    return m->lines * VOIGT_ROWS * m->count;
}

void model_forward(const model *m, const double *z, const double *c, double *x, double *tape)
{
    memset(x, 0, m->count * sizeof(double));
    for (size_t j = 0; j <= m->degree; j++)
        add(z[m->continuum + j], m->basis + j * m->count, m->count, x);
    for (size_t k = 0; k < m->lines; k++) {
        seen_line line = model_line(m, z, c, k);
        double *rows = tape + k * VOIGT_ROWS * m->count;
        voigt_rows(&m->series, &line.profile, m->wavelength, m->count, rows);
        add(m->sign * line.value[AMPLITUDE], rows, m->count, x);
    }
}

/* The factors of V, Re W', Re W'' and Im W' in the derivatives of a line's contribution, in the order of LINE_PARAMETERS. */
static void first_factors(const model *m, const seen_line *line, double factor[LINE_PARAMETERS])
{
    double flux = m->sign * line->value[AMPLITUDE], a = line->stretch;
    factor[AMPLITUDE] = m->sign;
    factor[CENTER] = -a * flux;
    factor[SIGMA] = a * a * line->value[SIGMA] * flux;
    factor[GAMMA] = -a * flux;
}

static const size_t first_row[LINE_PARAMETERS] = {V, RE1, RE2, IM1};

void model_vjp(const model *m, const double *z, const double *c, const double *tape, const double *x_bar, double *z_bar)
{
    memset(z_bar, 0, m->latents * sizeof(double));
    for (size_t j = 0; j <= m->degree; j++)
        z_bar[m->continuum + j] = dot(x_bar, m->basis + j * m->count, m->count);
    for (size_t k = 0; k < m->lines; k++) {
        seen_line line = model_line(m, z, c, k);
        double factor[LINE_PARAMETERS];
        first_factors(m, &line, factor);
        for (size_t p = 0; p < LINE_PARAMETERS; p++)
            if (m->where[k][p] != NOT_A_LATENT)
                accumulate(m, k, p, factor[p] * dot(x_bar, row(m, tape, k, first_row[p]), m->count), z_bar);
    }
}

void model_jvp(const model *m, const double *z, const double *c, const double *tape, const double *z_dot, double *x_dot)
{
    memset(x_dot, 0, m->count * sizeof(double));
    for (size_t j = 0; j <= m->degree; j++)
        add(z_dot[m->continuum + j], m->basis + j * m->count, m->count, x_dot);
    for (size_t k = 0; k < m->lines; k++) {
        seen_line line = model_line(m, z, c, k);
        double factor[LINE_PARAMETERS];
        first_factors(m, &line, factor);
        for (size_t p = 0; p < LINE_PARAMETERS; p++)
            add(factor[p] * direction(m, k, p, z_dot), row(m, tape, k, first_row[p]), m->count, x_dot);
    }
}

/*
 * The second derivatives of sum_i x_bar_i x_i by the parameters of a line, from the sums of x_bar times W', W'', W''' and
 * W''''. With q = (sigma a)^2 + resolution^2 and xi = lambda - a center + i a gamma, d/dsigma = sigma a^2 d^2/dxi^2 and
 * d/dcenter = -a d/dxi of the real part, d/dgamma = i a d/dxi.
 */
static void second_factors(const model *m, const seen_line *line, const double *tape, size_t k, const double *x_bar,
                           double h[LINE_PARAMETERS][LINE_PARAMETERS])
{
    double sum[VOIGT_ROWS], high[3];
    for (size_t r = RE1; r < VOIGT_ROWS; r++)
        sum[r] = dot(x_bar, row(m, tape, k, r), m->count);
    voigt_high_dots(&line->profile, m->wavelength, m->count, row(m, tape, k, 0), x_bar, high);
    double a = line->stretch, a2 = a * a, sigma = line->value[SIGMA], flux = m->sign * line->value[AMPLITUDE];
    h[AMPLITUDE][AMPLITUDE] = 0.0;
    h[AMPLITUDE][CENTER] = -m->sign * a * sum[RE1];
    h[AMPLITUDE][SIGMA] = m->sign * a2 * sigma * sum[RE2];
    h[AMPLITUDE][GAMMA] = -m->sign * a * sum[IM1];
    h[CENTER][CENTER] = flux * a2 * sum[RE2];
    h[CENTER][SIGMA] = -flux * a2 * a * sigma * high[0];
    h[CENTER][GAMMA] = flux * a2 * sum[IM2];
    h[SIGMA][SIGMA] = flux * a2 * (sum[RE2] + a2 * sigma * sigma * high[2]);
    h[SIGMA][GAMMA] = -flux * a2 * a * sigma * high[1];
    h[GAMMA][GAMMA] = -flux * a2 * sum[RE2];
    for (size_t p = 0; p < LINE_PARAMETERS; p++)
        for (size_t r = 0; r < p; r++)
            h[p][r] = h[r][p];
}

void model_hvp(const model *m, const double *z, const double *c, const double *tape, const double *z_dot,
               const double *x_bar, const double *x_bar_dot, double *z_bar_dot)
{
    model_vjp(m, z, c, tape, x_bar_dot, z_bar_dot);
    for (size_t k = 0; k < m->lines; k++) {
        seen_line line = model_line(m, z, c, k);
        double h[LINE_PARAMETERS][LINE_PARAMETERS];
        second_factors(m, &line, tape, k, x_bar, h);
        for (size_t p = 0; p < LINE_PARAMETERS; p++)
            for (size_t r = 0; r < LINE_PARAMETERS; r++)
                accumulate(m, k, p, h[p][r] * direction(m, k, r, z_dot), z_bar_dot);
    }
}
