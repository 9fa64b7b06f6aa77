/*
 * A decoder x_i = sum_r A[i][r] z_r + (1/2) z_0 z_1 sin(i) + b_i with two weights, correct unless FAULT says otherwise; every
 * number is one fault that the host or the conformance test has to find.
 */
#include "gfe_plugin.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAULT
#define FAULT 0
#endif
enum {
    NONE = 0,
    VJP_SIGN = 1,
    VJP_MILLIONTH = 2,
    JVP_SIGN = 3,
    JVP_MILLIONTH = 4,
    NEIGHBOR = 5,
    PARAMS_VJP = 6,
    OUTSIDE_ROWS = 7,
    STATE = 8,
    FALSE_SHARED = 9,
    CRASH_ON_NAN = 10,
    WRONG_MAGIC = 11,
    NEWER_MAJOR = 12,
    MISSING_FUNCTION = 13,
    SHORT_STRUCT = 14,
    ERROR_ON_LANE = 15,
    FATAL_ON_LANE = 16,
    NO_SUCH_STATUS = 17,
    WRITES_TO_MISFITS = 18,
    DISCARD_FAR = 19,
    OVERWRITES_GRADIENT = 20,
    CRASH_ON_LANE = 21,
    VJP_ALONE_MILLIONTH = 22,
    BEYOND_SCRATCH = 23,
    BAD_BOUNDS = 24,
    ABORT_ON_LANE = 25,
    NAN_LEAKS = 26,
    EXITS = 27,
    HIDDEN_COMPONENT = 28,
    KEEPS_WEIGHTS = 29,
    INIT_FATAL = 30,
    TALKS = 31,
    /* No faults: these abort where the host makes calls overlap that must not. */
    ONE_CALL_PER_INSTANCE = 32,
    ONE_CALL_AT_ALL = 33
};

enum { LATENT = 3, DATA = 12, PARAMS = 2 };

static double coefficient(size_t i, size_t r) { return sin(1.0 + 3.0 * (double)i + 7.0 * (double)r); }

static const char *volatile error_text = "";
static double remembered[LATENT];
static double kept_weights[PARAMS];
static int kept;
static double shared_buffer[LATENT];

static int fits(gfe_matrix m, size_t rows, size_t cols) { return m.rows == rows && m.cols == cols; }
static int fits_mut(gfe_matrix_mut m, size_t rows, size_t cols) { return m.rows == rows && m.cols == cols; }

static gfe_status misfit(void) {
    error_text = "an argument has another shape than the interface asks for";
    return GFE_ERROR;
}

static int in_library;

/* Aborts where another call is under way that must not be. */
static void enter(void *instance) {
    int *inside = FAULT == ONE_CALL_AT_ALL ? &in_library : instance;
    if (FAULT != ONE_CALL_AT_ALL && FAULT != ONE_CALL_PER_INSTANCE) return;
    if (__atomic_fetch_add(inside, 1, __ATOMIC_SEQ_CST)) abort();
    for (volatile int wait = 0; wait < 3000; wait++) {}
    __atomic_fetch_sub(inside, 1, __ATOMIC_SEQ_CST);
}

static gfe_status shape(void *instance, gfe_shape *to) {
    (void)instance;
    memset(to, 0, sizeof *to);
    to->latent = LATENT;
    to->data = DATA;
    to->params = PARAMS;
    return GFE_OK;
}

static const size_t weight_shape[1] = {PARAMS};

static gfe_status tensor(void *instance, size_t index, gfe_tensor *to) {
    (void)instance;
    if (index > 0) {
        error_text = "there is one tensor";
        return GFE_ERROR;
    }
    to->name = "weight";
    to->shape = weight_shape;
    to->rank = 1;
    return GFE_OK;
}

static size_t scratch_len(void *instance, size_t columns) {
    (void)instance;
    return columns;
}

static int point_fits(const gfe_at *at) {
    return at->z.rows == LATENT && at->params.len == PARAMS && at->context.rows == 0;
}

static gfe_status forward(void *instance, const gfe_at *at, gfe_matrix_mut x, gfe_matrix_mut tape, gfe_slice_mut scratch) {
    enter(instance);
    (void)tape;
    size_t lanes = at->z.cols;
    if (FAULT == KEEPS_WEIGHTS && !kept && at->params.len == PARAMS) {
        memcpy(kept_weights, at->params.data, sizeof kept_weights);
        kept = 1;
    }
    if (!point_fits(at) || !fits_mut(x, DATA, lanes) || scratch.len < lanes) {
        if (FAULT == WRITES_TO_MISFITS && x.rows > 0 && x.cols > 0) x.data[0] = 0.0;
        return misfit();
    }
    for (size_t b = 0; b < lanes; b++) {
        const double *z = at->z.data + b * at->z.col_stride;
        double *to = x.data + b * x.col_stride;
        scratch.data[b] = 0.5 * z[0] * z[1];
        if (FAULT == CRASH_ON_NAN && z[0] != z[0]) *(volatile int *)0 = 1;
        if (FAULT == CRASH_ON_LANE && z[0] > 0.35) *(volatile int *)0 = 1;
        if (FAULT == ABORT_ON_LANE && z[0] > 0.35) abort();
        if (FAULT == ERROR_ON_LANE && z[0] > 0.35) {
            error_text = "the first latent is above 0.35";
            return GFE_ERROR;
        }
        if (FAULT == DISCARD_FAR && z[0] > 0.6) {
            error_text = "the first latent is above 0.6";
            return GFE_DISCARD;
        }
        if (FAULT == FATAL_ON_LANE && z[0] > 0.35) {
            error_text = "the license has expired";
            return GFE_FATAL;
        }
        if (FAULT == NO_SUCH_STATUS && z[0] > 0.35) return 17;
        if (FAULT == STATE) memcpy(remembered, z, sizeof remembered);
        if (FAULT == FALSE_SHARED) {
            for (int r = 0; r < LATENT; r++) ((volatile double *)shared_buffer)[r] = z[r];
            for (volatile int wait = 0; wait < 300; wait++) {}
        }
        for (size_t i = 0; i < DATA; i++) {
            const double *weights = FAULT == KEEPS_WEIGHTS ? kept_weights : at->params.data;
            double sum = weights[0] + weights[1] * (double)i + scratch.data[b] * sin((double)i);
            for (size_t r = 0; r < LATENT; r++) {
                double value = FAULT == FALSE_SHARED ? ((volatile double *)shared_buffer)[r] : z[r];
                sum += coefficient(i, r) * value * (FAULT == HIDDEN_COMPONENT && r == 2 ? 0.01 : 1.0);
            }
            to[i] = sum;
        }
        if (FAULT == NAN_LEAKS && b != 0 && z[0] != z[0]) x.data[0] = z[0];
        if (FAULT == EXITS && z[0] > 0.35) exit(0);
        if (FAULT == NEIGHBOR && b + 1 < lanes) to[3] += 1e-3 * at->z.data[(b + 1) * at->z.col_stride];
        if (FAULT == OUTSIDE_ROWS && x.col_stride > DATA) to[DATA] = 0.0;
    }
    if (FAULT == BEYOND_SCRATCH) scratch.data[scratch.len] = 0.0;
    return GFE_OK;
}

static void slope(const double *z, size_t i, double *row) {
    for (size_t r = 0; r < LATENT; r++) row[r] = coefficient(i, r);
    if (FAULT == HIDDEN_COMPONENT) row[2] *= 0.01 * (1.0 + 1e-5);
    row[0] += 0.5 * z[1] * sin((double)i);
    row[1] += 0.5 * z[0] * sin((double)i);
}

static gfe_status vjp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix x_bar, gfe_matrix_mut z_bar,
                      gfe_slice_mut scratch) {
    enter(instance);
    (void)tape;
    (void)scratch;
    size_t lanes = at->z.cols;
    if (!point_fits(at) || !fits(x_bar, DATA, lanes) || !fits_mut(z_bar, LATENT, lanes)) return misfit();
    for (size_t b = 0; b < lanes; b++) {
        const double *z = FAULT == STATE ? remembered : at->z.data + b * at->z.col_stride;
        const double *bar = x_bar.data + b * x_bar.col_stride;
        double *to = z_bar.data + b * z_bar.col_stride;
        double row[LATENT];
        for (size_t r = 0; r < LATENT; r++) to[r] = 0.0;
        for (size_t i = 0; i < DATA; i++) {
            slope(z, i, row);
            for (size_t r = 0; r < LATENT; r++) to[r] += row[r] * bar[i];
        }
        if (FAULT == TALKS) {
            printf("x");
            fflush(stdout);
        }
        if (FAULT == VJP_SIGN || FAULT == TALKS) to[1] = -to[1];
        if (FAULT == VJP_MILLIONTH || FAULT == VJP_ALONE_MILLIONTH) {
            for (size_t r = 0; r < LATENT; r++) to[r] *= 1.0 + 1e-6;
        }
    }
    return GFE_OK;
}

static gfe_status jvp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix z_dot, gfe_matrix_mut x_dot,
                      gfe_slice_mut scratch) {
    enter(instance);
    (void)tape;
    (void)scratch;
    size_t lanes = at->z.cols, columns = z_dot.cols;
    if (!point_fits(at) || z_dot.rows != LATENT || lanes == 0 || columns % lanes || !fits_mut(x_dot, DATA, columns)) {
        return misfit();
    }
    size_t directions = columns / lanes;
    for (size_t c = 0; c < columns; c++) {
        const double *z = at->z.data + c / directions * at->z.col_stride;
        const double *dot = z_dot.data + c * z_dot.col_stride;
        double *to = x_dot.data + c * x_dot.col_stride;
        double row[LATENT];
        for (size_t i = 0; i < DATA; i++) {
            slope(z, i, row);
            to[i] = 0.0;
            for (size_t r = 0; r < LATENT; r++) to[i] += row[r] * dot[r];
            if (FAULT == JVP_SIGN && i == 5) to[i] = -to[i];
            if (FAULT == JVP_MILLIONTH) to[i] *= 1.0 + 1e-6;
        }
    }
    return GFE_OK;
}

static gfe_status init(void *instance, uint64_t seed, gfe_slice_mut params) {
    (void)instance;
    if (params.len != PARAMS) return misfit();
    if (FAULT == INIT_FATAL) {
        error_text = "no random numbers are left";
        return GFE_FATAL;
    }
    params.data[0] = 0.01 * (double)(seed % 97);
    params.data[1] = -0.02 * (double)(seed % 89);
    return GFE_OK;
}

static gfe_status params_vjp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix x_bar, gfe_slice_mut params_bar,
                             gfe_slice_mut scratch) {
    (void)instance;
    (void)tape;
    (void)scratch;
    if (!point_fits(at) || !fits(x_bar, DATA, at->z.cols) || params_bar.len != PARAMS) return misfit();
    if (FAULT == OVERWRITES_GRADIENT) params_bar.data[0] = params_bar.data[1] = 0.0;
    for (size_t b = 0; b < at->z.cols; b++) {
        for (size_t i = 0; i < DATA; i++) {
            double bar = x_bar.data[b * x_bar.col_stride + i];
            params_bar.data[0] += bar;
            params_bar.data[1] += bar * (double)i * (FAULT == PARAMS_VJP ? 1.0 + 1e-5 : 1.0);
        }
    }
    return GFE_OK;
}

static gfe_status latent(void *instance, size_t index, gfe_latent *to) {
    (void)instance;
    static const char *const names[LATENT] = {"a", "b", "c"};
    to->name = names[index];
    to->unit = "";
    to->lower = 0.0;
    to->upper = FAULT == BAD_BOUNDS ? 0.0 : INFINITY;
    to->scale = 1.0;
    to->default_value = 1.0;
    to->transform = GFE_TRANSFORM_LOG;
    to->reserved = 0;
    return GFE_OK;
}

static const char *last_error(void *instance) {
    (void)instance;
    return error_text;
}

static void destroy(void *instance) { free(instance); }

static const gfe_tangent_table tangent_table = {sizeof tangent_table, jvp};
static const gfe_trainable_table trainable_table = {sizeof trainable_table, init, params_vjp};
static const gfe_latents_table latents_table = {sizeof latents_table, latent};

static const void *extension(void *instance, const char *id) {
    (void)instance;
    if (!strcmp(id, GFE_TANGENT) && FAULT != VJP_ALONE_MILLIONTH) return &tangent_table;
    if (!strcmp(id, GFE_TRAINABLE)) return &trainable_table;
    if (!strcmp(id, GFE_LATENTS) && FAULT == BAD_BOUNDS) return &latents_table;
    return NULL;
}

static const gfe_decoder_table table = {
    FAULT == SHORT_STRUCT ? offsetof(gfe_decoder_table, destroy) : sizeof table,
    shape,
    tensor,
    scratch_len,
    forward,
    FAULT == MISSING_FUNCTION ? NULL : vjp,
    last_error,
    destroy,
    extension,
};

static const gfe_decoder_info info_of = {
    sizeof info_of, "faulty", "A decoder with a fault", {1, 0},
    FAULT == FALSE_SHARED      ? GFE_THREADS_SHARED
    : FAULT == ONE_CALL_AT_ALL ? GFE_THREADS_PROCESS
                               : GFE_THREADS_INSTANCE, GFE_PRECISION_F64,
};

static size_t count(void) { return 1; }
static const gfe_decoder_info *info(size_t index) { return index ? NULL : &info_of; }

static gfe_status create(const char *id, gfe_text config, gfe_decoder_instance *made, gfe_text_mut message) {
    (void)id;
    if (config.len > 2) {
        const char text[] = "it takes no configuration";
        if (message.len >= sizeof text) memcpy(message.data, text, sizeof text);
        return GFE_ERROR;
    }
    made->table = &table;
    made->instance = calloc(1, sizeof(int));
    return GFE_OK;
}

static const gfe_decoder_factory factory = {sizeof factory, count, info, create};

static const void *get_factory(const char *id) { return strcmp(id, GFE_DECODER_FACTORY) ? NULL : &factory; }

static const gfe_plugin_entry_info entry = {
    FAULT == WRONG_MAGIC ? 42 : GFE_MAGIC,
    sizeof entry,
    {FAULT == NEWER_MAJOR ? 2 : GFE_VERSION_MAJOR, GFE_VERSION_MINOR},
    get_factory,
};

const gfe_plugin_entry_info *gfe_plugin_entry(const gfe_host_info *host) {
    (void)host;
    return &entry;
}
