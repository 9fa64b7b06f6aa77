/*
 * A guess is a fit by a dictionary, to values averaged over bins narrower than any line. Where the smoothed excess over a
 * robust continuum is significant, candidate centers are laid at equal quantiles of its square root; with a few widths around
 * the default each gives a profile. A beam search finds the sets of profiles that, with the continuum and positive fluxes by
 * linear least squares, leave the smallest chi-squared. Start 0 is the best set and start k the best that differs clearly from
 * the starts before it.
 */
#include "guess.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* By trial on simulate.py's spectra: start 0 leads to the lowest minimum in 98 of 100. */
enum { CENTERS = 16, WIDTHS = 4, ATOMS = CENTERS * WIDTHS, BEAM = 32, FINAL = 256, TABLE = 512, CLIPS = 12 };

enum { MAX_TERMS = MAX_DEGREE + 1 + MAX_LINES, ALL_TERMS = MAX_DEGREE + 1 + ATOMS };

/* Profiles are tabulated up to this many standard deviations from their center, and followed by the law of the wings. */
#define TABLE_REACH 16.0

/* A set of atoms with its chi-squared, up to a constant. */
typedef struct atom_set {
    double chi2;
    unsigned char atom[MAX_LINES];
} atom_set;

typedef struct search {
    const model *m;
    const double *c;
    size_t count;       /* n, bins; at most D */
    double *wavelength; /* [n] */
    double *basis;      /* [degree + 1, n], rows D apart */
    double *y;          /* [n] */
    double *root_w;     /* [n] */
    double *excess;     /* [n] flux above the continuum */
    double *density;    /* [n] of candidate centers */
    double *weight;     /* [n] to work in, as target */
    double *target;     /* [n] */
    double *design;     /* [ALL_TERMS, n] rows times root_w: continuum, then atoms */
    double *table;   /* [VOIGT_ROWS, TABLE] */
    double *offset;  /* [TABLE + VOIGT_GROUP] */
    double gram[ALL_TERMS][ALL_TERMS], moment[ALL_TERMS];
    double center[CENTERS], sigma[WIDTHS];
    double coefficient[MAX_TERMS];
    atom_set beam[BEAM], final[FINAL];
    size_t beams, finals;
} search;

/* Solves the normal equations of `count` terms of the design into s->coefficient; the answer is chi2 - |y|^2, or infinity. */
static double solve(search *s, const size_t *term, size_t count)
{
    double factor[MAX_TERMS][MAX_TERMS], half[MAX_TERMS], gain = 0.0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = s->gram[term[i]][term[j]];
            for (size_t k = 0; k < j; k++)
                sum -= factor[i][k] * factor[j][k];
            if (i != j)
                factor[i][j] = sum / factor[j][j];
            else if (sum > 1e-10 * s->gram[term[i]][term[i]])
                factor[i][i] = sqrt(sum);
            else
                return INFINITY;
        }
        double sum = s->moment[term[i]];
        for (size_t k = 0; k < i; k++)
            sum -= factor[i][k] * half[k];
        half[i] = sum / factor[i][i];
        gain += half[i] * half[i];
    }
    for (size_t i = count; i-- > 0;) {
        double sum = half[i];
        for (size_t k = i + 1; k < count; k++)
            sum -= factor[k][i] * s->coefficient[k];
        s->coefficient[i] = sum / factor[i][i];
    }
    return -gain;
}

/* The fit by the continuum and a set of atoms; infinity if a flux is not positive. */
static double solve_set(search *s, const unsigned char *atom, size_t count)
{
    size_t continuum = s->m->degree + 1, term[MAX_TERMS];
    for (size_t j = 0; j < continuum; j++)
        term[j] = j;
    for (size_t k = 0; k < count; k++)
        term[continuum + k] = MAX_DEGREE + 1 + atom[k];
    double chi2 = solve(s, term, continuum + count);
    for (size_t k = 0; k < count && chi2 < INFINITY; k++)
        if (!(s->m->sign * s->coefficient[continuum + k] > 0.0))
            return INFINITY;
    return chi2;
}

static double weighted_dot(const double *a, const double *b, size_t count)
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

static void fill_gram(search *s, size_t first, size_t last)
{
    size_t n = s->count;
    for (size_t i = first; i < last; i++) {
        for (size_t j = 0; j <= i; j++) {
            bool used = j <= s->m->degree || j > MAX_DEGREE;
            s->gram[i][j] = used ? weighted_dot(s->design + i * n, s->design + j * n, n) : 0.0;
            s->gram[j][i] = s->gram[i][j];
        }
        s->moment[i] = weighted_dot(s->design + i * n, s->target, n);
    }
}

/*
 * excess = sign (y - continuum), the continuum fitted to the values that do not stand out of it, where the noise is that of
 * the values on its other side. Returns the noise.
 */
static double find_excess(search *s)
{
    const model *m = s->m;
    size_t n = s->count, terms = m->degree + 1, term[MAX_DEGREE + 1];
    double noise = 0.0, *weight = s->weight;
    memcpy(weight, s->root_w, n * sizeof(double));
    for (size_t j = 0; j < terms; j++)
        term[j] = j;
    for (int clip = 0; clip < CLIPS; clip++) {
        for (size_t j = 0; j < terms; j++)
            for (size_t i = 0; i < n; i++)
                s->design[j * n + i] = weight[i] * s->basis[j * m->count + i];
        for (size_t i = 0; i < n; i++)
            s->target[i] = weight[i] * s->y[i];
        fill_gram(s, 0, terms);
        if (solve(s, term, terms) == INFINITY)
            return noise;
        double squares = 0.0, below = 0.0;
        for (size_t i = 0; i < n; i++) {
            double continuum = 0.0;
            for (size_t j = 0; j < terms; j++)
                continuum += s->coefficient[j] * s->basis[j * m->count + i];
            s->excess[i] = s->root_w[i] > 0.0 ? m->sign * (s->y[i] - continuum) : 0.0;
            if (s->excess[i] < 0.0) {
                squares += s->excess[i] * s->excess[i];
                below += 1.0;
            }
        }
        noise = below > 0.0 ? sqrt(squares / below) : 0.0;
        for (size_t i = 0; i < n; i++)
            weight[i] = s->excess[i] < 1.5 * noise ? s->root_w[i] : 0.0;
    }
    return noise;
}

/* The excess smoothed with a Gaussian of deviation `width`, at wavelength i. */
static double smoothed(const search *s, size_t i, double width, double *samples)
{
    const double *wavelength = s->wavelength;
    double sum = 0.0, weights = 0.0, squares = 0.0;
    size_t from = i, to = i;
    while (from > 0 && wavelength[i] - wavelength[from - 1] < 3.0 * width)
        from--;
    while (to + 1 < s->count && wavelength[to + 1] - wavelength[i] < 3.0 * width)
        to++;
    for (size_t j = from; j <= to; j++) {
        double t = (wavelength[j] - wavelength[i]) / width, weight = s->root_w[j] > 0.0 ? exp(-0.5 * t * t) : 0.0;
        sum += weight * s->excess[j];
        weights += weight;
        squares += weight * weight;
    }
    *samples = weights > 0.0 ? weights * weights / squares : 1.0;
    return weights > 0.0 ? sum / weights : 0.0;
}

/* Candidate centers, as observed: quantiles of the root of the significant excess inside the window, else evenly spread. */
static void place_centers(search *s, double noise)
{
    const model *m = s->m;
    const gfe_latent *window = &m->latent[m->where[0][CENTER]];
    size_t n = s->count;
    double stretch = 1.0 + s->c[REDSHIFT], lower = window->lower * stretch, upper = window->upper * stretch;
    double step = (s->wavelength[n - 1] - s->wavelength[0]) / (double)(n - 1);
    double width = fmax(fabs(s->c[RESOLUTION]), 1.5 * step), peak = 0.0, total = 0.0;
    for (size_t i = 0; i < n; i++) {
        double samples = 1.0;
        bool inside = s->wavelength[i] > lower && s->wavelength[i] < upper;
        double value = inside ? smoothed(s, i, width, &samples) - 3.0 * noise / sqrt(samples) : 0.0;
        s->density[i] = fmax(value, 0.0);
        peak = fmax(peak, value);
    }
    for (size_t i = 0; i < n; i++) {
        double cell = s->wavelength[i + 1 < n ? i + 1 : i] - s->wavelength[i > 0 ? i - 1 : i];
        s->density[i] = s->density[i] > 0.02 * peak ? sqrt(s->density[i]) * cell : 0.0;
        total += s->density[i];
    }
    double sum = 0.0;
    size_t i = 0;
    for (size_t k = 0; k < CENTERS; k++) {
        double share = ((double)k + 0.5) / CENTERS;
        while (i + 1 < n && sum + s->density[i] < share * total)
            sum += s->density[i++];
        s->center[k] = total > 0.0 ? s->wavelength[i] : lower + (upper - lower) * share;
    }
}

/* The design's rows of atoms: for each width a table of the profile, read at the distance from each center. */
static void fill_atoms(search *s)
{
    const model *m = s->m;
    size_t n = s->count;
    double stretch = 1.0 + s->c[REDSHIFT], gamma = m->fixed[GAMMA] * stretch;
    for (size_t w = 0; w < WIDTHS; w++) {
        double sigma = s->sigma[w] * stretch, variance = sigma * sigma + s->c[RESOLUTION] * s->c[RESOLUTION];
        double reach = TABLE_REACH * (sqrt(variance) + gamma), spacing = reach / (TABLE - 1);
        for (size_t i = 0; i < TABLE + VOIGT_GROUP; i++)
            s->offset[i] = spacing * (double)i;
        voigt_rows(&m->series, &(voigt_profile){0.0, variance, gamma}, s->offset, TABLE, s->table);
        for (size_t k = 0; k < CENTERS; k++) {
            double *row = s->design + (MAX_DEGREE + 1 + k * WIDTHS + w) * n;
            for (size_t i = 0; i < n; i++) {
                double distance = fabs(s->wavelength[i] - s->center[k]), at = fmin(distance / spacing, TABLE - 2.0);
                size_t cell = at > 0.0 ? (size_t)at : 0;
                double value = s->table[cell] + (at - (double)cell) * (s->table[cell + 1] - s->table[cell]);
                if (distance > reach)
                    value *= reach * reach / (distance * distance);
                row[i] = s->root_w[i] * value;
            }
        }
    }
}

/* Keeps the sets of smallest chi-squared, sorted, each once. */
static void keep(atom_set *list, size_t *used, size_t room, const atom_set *set, size_t count)
{
    if (!(set->chi2 < INFINITY) || (*used == room && !(set->chi2 < list[room - 1].chi2)))
        return;
    size_t at = *used;
    while (at > 0 && list[at - 1].chi2 >= set->chi2) {
        at--;
        if (memcmp(list[at].atom, set->atom, count) == 0)
            return;
    }
    if (*used < room)
        ++*used;
    memmove(list + at + 1, list + at, (*used - 1 - at) * sizeof *list);
    list[at] = *set;
}

static void search_sets(search *s)
{
    size_t lines = s->m->lines;
    bool one_width = s->m->where[0][SIGMA] == s->m->where[lines - 1][SIGMA];
    s->beams = 1;
    s->beam[0].chi2 = 0.0;
    for (size_t count = 1; count <= lines; count++) {
        s->finals = 0;
        for (size_t b = 0; b < s->beams; b++) {
            for (size_t a = 0; a < ATOMS; a++) {
                atom_set set = s->beam[b];
                if (one_width && count > 1 && a % WIDTHS != set.atom[0] % WIDTHS)
                    continue;
                size_t at = count - 1;
                while (at > 0 && set.atom[at - 1] > a) {
                    set.atom[at] = set.atom[at - 1];
                    at--;
                }
                if (at > 0 && set.atom[at - 1] == a)
                    continue;
                set.atom[at] = (unsigned char)a;
                set.chi2 = solve_set(s, set.atom, count);
                keep(s->final, &s->finals, count == lines ? FINAL : BEAM, &set, count);
            }
        }
        if (count < lines) {
            s->beams = s->finals;
            memcpy(s->beam, s->final, s->finals * sizeof *s->final);
        }
    }
}

/* How far two sets are from one another: steps between their centers and, doubled, between their widths. */
static size_t distance(const atom_set *a, const atom_set *b, size_t lines)
{
    int sum = 0;
    for (size_t k = 0; k < lines; k++) {
        sum += abs(a->atom[k] / WIDTHS - b->atom[k] / WIDTHS);
        sum += 2 * abs(a->atom[k] % WIDTHS - b->atom[k] % WIDTHS);
    }
    return (size_t)sum;
}

/* The set of start `start`, or null after the last; `*found` is how many there are up to there. */
static const atom_set *pick(const search *s, size_t start, size_t *found)
{
    enum { MOST = 64 };
    const atom_set *picked[MOST];
    *found = 0;
    for (size_t i = 0; i < s->finals && *found < MOST; i++) {
        bool apart = true;
        for (size_t k = 0; k < *found && apart; k++)
            apart = distance(&s->final[i], picked[k], s->m->lines) >= 2 + s->m->lines;
        if (!apart)
            continue;
        picked[(*found)++] = &s->final[i];
        if (*found == start + 1)
            return picked[start];
    }
    return NULL;
}

static double inside(double value, const gfe_latent *latent)
{
    double margin = 1e-6 * (latent->upper - latent->lower);
    return fmin(fmax(value, latent->lower + margin), latent->upper - margin);
}

static void write_latent(const search *s, const atom_set *set, double *z)
{
    const model *m = s->m;
    double stretch = 1.0 + s->c[REDSHIFT];
    for (size_t k = 0; k < m->lines; k++) {
        const size_t *where = m->where[k];
        z[where[AMPLITUDE]] = m->sign * s->coefficient[m->degree + 1 + k];
        z[where[CENTER]] = inside(s->center[set->atom[k] / WIDTHS] / stretch, &m->latent[where[CENTER]]);
        if (where[SIGMA] != NOT_A_LATENT)
            z[where[SIGMA]] = s->sigma[set->atom[k] % WIDTHS];
    }
    for (size_t j = 0; j <= m->degree; j++)
        z[m->continuum + j] = s->coefficient[j];
}

/* Beyond the last set: the first ones again with other widths, further each time round, up to a factor of e^4. */
static void vary(const model *m, size_t round, double *z)
{
    size_t steps = (round + 1) / 2 < 8 ? (round + 1) / 2 : 8;
    double factor = exp((round % 2 ? -0.5 : 0.5) * (double)steps);
    for (size_t i = 0; i < m->latents; i++)
        for (size_t k = 0; k < m->lines; k++)
            if (i == m->where[k][SIGMA] || i == m->where[k][GAMMA]) {
                z[i] *= factor;
                break;
            }
}

/* The widths of the dictionary: around the default by twice its scale, or by a factor of two. */
static void choose_widths(search *s)
{
    const model *m = s->m;
    size_t index = m->where[0][SIGMA];
    double reach = index == NOT_A_LATENT ? 0.0 : fmax(2.0 * m->latent[index].scale, 0.7);
    for (size_t w = 0; w < WIDTHS; w++)
        s->sigma[w] = m->fixed[SIGMA] * exp(reach * (2.0 * (double)w / (WIDTHS - 1) - 1.0));
}

/* Weighted means over bins of at most 0.6 of the narrowest profile's deviation: what a dictionary can tell apart. */
static void fill_bins(search *s, const double *y, const double *w)
{
    const model *m = s->m;
    double widest = 0.6 * hypot(s->sigma[0] * (1.0 + s->c[REDSHIFT]), s->c[RESOLUTION]);
    s->count = 0;
    for (size_t i = 0, end; i < m->count; i = end) {
        double sum = 0.0, flux = 0.0, wavelength = 0.0, basis[MAX_DEGREE + 1] = {0};
        for (end = i; end < m->count && (end == i || m->wavelength[end] - m->wavelength[i] < widest); end++) {
            double weight = w ? w[end] : 1.0;
            if (!(weight > 0.0))
                continue;
            sum += weight;
            flux += weight * y[end];
            wavelength += weight * (m->wavelength[end] - m->wavelength[i]);
            for (size_t j = 0; j <= m->degree; j++)
                basis[j] += weight * m->basis[j * m->count + end];
        }
        size_t bin = s->count++;
        s->wavelength[bin] = m->wavelength[i] + (sum > 0.0 ? wavelength / sum : 0.0);
        s->y[bin] = sum > 0.0 ? flux / sum : 0.0;
        s->root_w[bin] = sqrt(sum);
        for (size_t j = 0; j <= m->degree; j++)
            s->basis[j * m->count + bin] = sum > 0.0 ? basis[j] / sum : 0.0;
    }
}

static void run(search *s, size_t start, double *z)
{
    const model *m = s->m;
    size_t n = s->count, found = 0, round = 0;
    for (size_t i = 0; i < m->latents; i++)
        z[i] = m->latent[i].default_value;
    place_centers(s, find_excess(s));
    fill_atoms(s);
    for (size_t i = 0; i < n; i++) {
        s->target[i] = s->root_w[i] * s->y[i];
        for (size_t j = 0; j <= m->degree; j++)
            s->design[j * n + i] = s->root_w[i] * s->basis[j * m->count + i];
    }
    fill_gram(s, 0, m->degree + 1);
    fill_gram(s, MAX_DEGREE + 1, ALL_TERMS);
    search_sets(s);
    const atom_set *set = pick(s, start, &found);
    if (!set && found > 0) {
        round = start / found;
        set = pick(s, start % found, &found);
    }
    if (set && solve_set(s, set->atom, m->lines) < INFINITY)
        write_latent(s, set, z);
    vary(m, set ? round : start, z);
}

bool model_guess(const model *m, const double *c, const double *y, const double *w, size_t start, double *z)
{
    size_t n = m->count, rows = 7 + m->degree + 1 + ALL_TERMS, table = VOIGT_ROWS * TABLE, offset = TABLE + VOIGT_GROUP;
    search *s = calloc(1, sizeof *s);
    double *room = malloc((rows * n + table + offset) * sizeof(double));
    if (s && room) {
        double **const vectors[7] = {&s->wavelength, &s->y, &s->root_w, &s->excess, &s->density, &s->weight, &s->target};
        for (size_t i = 0; i < 7; i++)
            *vectors[i] = room + i * n;
        s->m = m;
        s->c = c;
        s->basis = room + 7 * n;
        s->design = s->basis + (m->degree + 1) * n;
        s->table = s->design + ALL_TERMS * n;
        s->offset = s->table + table;
        choose_widths(s);
        fill_bins(s, y, w);
        run(s, start, z);
    }
    bool good = s && room;
    free(room);
    free(s);
    return good;
}
