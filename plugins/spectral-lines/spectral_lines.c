/* The plugin: what gfe_plugin.h asks for, over the model. Shapes are checked here, and lanes are walked here. */
#include "config.h"
#include "gfe_plugin.h"
#include "guess.h"
#include "model.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Why the last call on this thread failed, and whose call it was. The texts are constants. */
static _Thread_local const char *last_error_text = "";
static _Thread_local const void *last_error_of;

static gfe_status answer(const void *instance, const char *error)
{
    last_error_text = error ? error : "";
    last_error_of = instance;
    return error ? GFE_ERROR : GFE_OK;
}

static bool has_shape(gfe_matrix a, size_t rows, size_t cols)
{
    return a.rows == rows && a.cols == cols && (rows == 0 || cols == 0 || (a.data && a.col_stride >= rows));
}

static gfe_matrix to_read(gfe_matrix_mut a)
{
    return (gfe_matrix){a.data, a.rows, a.cols, a.col_stride};
}

static const double *column(gfe_matrix a, size_t j)
{
    return a.data + j * a.col_stride;
}

static double *column_mut(gfe_matrix_mut a, size_t j)
{
    return a.data + j * a.col_stride;
}

static const char *point_error(const model *m, const gfe_at *at)
{
    if (at->size < sizeof *at)
        return "the point of evaluation is a struct older than version 1";
    if (at->params.len != 0)
        return "params must be empty: spectral-lines has no weights";
    if (!has_shape(at->z, m->latents, at->z.cols))
        return "z must have a row per latent";
    if (!has_shape(at->context, CONTEXT, at->z.cols))
        return "context must have two rows, redshift and resolution, and a column per sample";
    return NULL;
}

static const char *tape_error(const model *m, const gfe_at *at, gfe_matrix tape)
{
    const char *error = point_error(m, at);
    if (error)
        return error;
    return has_shape(tape, model_tape(m), at->z.cols) ? NULL : "tape must have the shape that `shape` says";
}

static gfe_status shape(void *instance, gfe_shape *shape)
{
    const model *m = instance;
    *shape = (gfe_shape){.latent = m->latents, .data = m->count, .params = 0, .context = CONTEXT,
                         .tape = model_tape(m), .output = GFE_OUTPUT_VALUES};
    return answer(instance, NULL);
}

static size_t scratch_len(void *instance, size_t columns)
{
    (void)instance;
    (void)columns;
    return 0;
}

static gfe_status forward(void *instance, const gfe_at *at, gfe_matrix_mut x, gfe_matrix_mut tape, gfe_slice_mut scratch)
{
    (void)scratch;
    const model *m = instance;
    const char *error = tape_error(m, at, to_read(tape));
    if (!error && !has_shape(to_read(x), m->count, at->z.cols))
        error = "x must have a row per wavelength and a column per sample";
    for (size_t j = 0; !error && j < at->z.cols; j++)
        model_forward(m, column(at->z, j), column(at->context, j), column_mut(x, j), column_mut(tape, j));
    return answer(instance, error);
}

static gfe_status vjp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix x_bar, gfe_matrix_mut z_bar,
                      gfe_slice_mut scratch)
{
    (void)scratch;
    const model *m = instance;
    const char *error = tape_error(m, at, tape);
    if (!error && !has_shape(x_bar, m->count, at->z.cols))
        error = "x_bar must have a row per wavelength and a column per sample";
    if (!error && !has_shape(to_read(z_bar), m->latents, at->z.cols))
        error = "z_bar must have a row per latent and a column per sample";
    for (size_t j = 0; !error && j < at->z.cols; j++)
        model_vjp(m, column(at->z, j), column(at->context, j), column(tape, j), column(x_bar, j), column_mut(z_bar, j));
    return answer(instance, error);
}

static gfe_status jvp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix z_dot, gfe_matrix_mut x_dot,
                      gfe_slice_mut scratch)
{
    (void)scratch;
    const model *m = instance;
    const char *error = tape_error(m, at, tape);
    size_t lanes = at->z.cols, directions = lanes ? z_dot.cols / lanes : 0;
    if (!error && !has_shape(z_dot, m->latents, directions * lanes))
        error = "z_dot must have a row per latent and a number of columns that the samples divide";
    if (!error && !has_shape(to_read(x_dot), m->count, directions * lanes))
        error = "x_dot must have a row per wavelength and as many columns as z_dot";
    for (size_t j = 0; !error && j < directions * lanes; j++) {
        size_t lane = j / directions;
        model_jvp(m, column(at->z, lane), column(at->context, lane), column(tape, lane), column(z_dot, j),
                  column_mut(x_dot, j));
    }
    return answer(instance, error);
}

static gfe_status hvp(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix z_dot, gfe_matrix x_bar,
                      gfe_matrix x_bar_dot, gfe_matrix_mut z_bar_dot, gfe_slice_mut params_bar_dot, gfe_slice_mut scratch)
{
    (void)scratch;
    const model *m = instance;
    const char *error = tape_error(m, at, tape);
    size_t lanes = at->z.cols;
    if (!error && !has_shape(z_dot, m->latents, lanes))
        error = "z_dot must have a row per latent and a column per sample";
    if (!error && !(has_shape(x_bar, m->count, lanes) && has_shape(x_bar_dot, m->count, lanes)))
        error = "x_bar and x_bar_dot must have a row per wavelength and a column per sample";
    if (!error && !has_shape(to_read(z_bar_dot), m->latents, lanes))
        error = "z_bar_dot must have a row per latent and a column per sample";
    if (!error && params_bar_dot.len != 0)
        error = "params_bar_dot must be empty: spectral-lines has no weights";
    for (size_t j = 0; !error && j < lanes; j++)
        model_hvp(m, column(at->z, j), column(at->context, j), column(tape, j), column(z_dot, j), column(x_bar, j),
                  column(x_bar_dot, j), column_mut(z_bar_dot, j));
    return answer(instance, error);
}

static gfe_status latent(void *instance, size_t index, gfe_latent *latent)
{
    const model *m = instance;
    if (index >= m->latents)
        return answer(instance, "there is no latent of this index");
    *latent = m->latent[index];
    return answer(instance, NULL);
}

static gfe_status guess(void *instance, gfe_slice params, gfe_matrix context, gfe_matrix y, gfe_matrix w, size_t start,
                        gfe_matrix_mut z)
{
    const model *m = instance;
    const char *error = NULL;
    size_t lanes = y.cols;
    if (params.len != 0)
        error = "params must be empty: spectral-lines has no weights";
    else if (!has_shape(y, m->count, lanes) || !(w.cols == 0 || has_shape(w, m->count, lanes)))
        error = "y and w must have a row per wavelength and a column per sample";
    else if (!has_shape(context, CONTEXT, lanes))
        error = "context must have two rows, redshift and resolution, and a column per sample";
    else if (!has_shape(to_read(z), m->latents, lanes))
        error = "z must have a row per latent and a column per sample";
    for (size_t j = 0; !error && j < lanes; j++)
        if (!model_guess(m, column(context, j), column(y, j), w.cols ? column(w, j) : NULL, start, column_mut(z, j)))
            error = "memory is out";
    return answer(instance, error);
}

static const char *last_error(void *instance)
{
    return last_error_of == instance ? last_error_text : "";
}

static void destroy(void *instance)
{
    model_free(instance);
}

static const void *extension(void *instance, const char *id)
{
    (void)instance;
    static const gfe_tangent_table tangent = {sizeof tangent, jvp};
    static const gfe_second_order_table second_order = {sizeof second_order, hvp};
    static const gfe_latents_table latents = {sizeof latents, latent};
    static const gfe_guess_table guesses = {sizeof guesses, guess};
    if (strcmp(id, GFE_TANGENT) == 0)
        return &tangent;
    if (strcmp(id, GFE_SECOND_ORDER) == 0)
        return &second_order;
    if (strcmp(id, GFE_LATENTS) == 0)
        return &latents;
    if (strcmp(id, GFE_GUESS) == 0)
        return &guesses;
    return NULL;
}

static const gfe_decoder_info info_of = {
    .size = sizeof info_of,
    .id = "spectral-lines",
    .title = "polynomial continuum and Voigt lines at a known redshift and resolution",
    .version = {1, 0},
    .threads = GFE_THREADS_SHARED,
    .precision = GFE_PRECISION_F64,
};

static const gfe_decoder_table table = {
    .size = sizeof table,
    .shape = shape,
    .scratch_len = scratch_len,
    .forward = forward,
    .vjp = vjp,
    .last_error = last_error,
    .destroy = destroy,
    .extension = extension,
};

static size_t count(void)
{
    return 1;
}

static const gfe_decoder_info *info(size_t index)
{
    return index == 0 ? &info_of : NULL;
}

static gfe_status create(const char *id, gfe_text config, gfe_decoder_instance *made, gfe_text_mut message)
{
    if (strcmp(id, info_of.id) != 0) {
        snprintf(message.data, message.len, "this plugin has no decoder '%s'; it has: %s", id, info_of.id);
        return GFE_ERROR;
    }
    model *m = config_read(config, message);
    if (!m)
        return GFE_ERROR;
    *made = (gfe_decoder_instance){&table, m};
    return GFE_OK;
}

static const void *get_factory(const char *id)
{
    static const gfe_decoder_factory decoders = {sizeof decoders, count, info, create};
    return strcmp(id, GFE_DECODER_FACTORY) == 0 ? &decoders : NULL;
}

const gfe_plugin_entry_info *gfe_plugin_entry(const gfe_host_info *host)
{
    static const gfe_plugin_entry_info entry = {
        GFE_MAGIC, sizeof entry, {GFE_VERSION_MAJOR, GFE_VERSION_MINOR}, get_factory};
    return host && host->version.major == GFE_VERSION_MAJOR ? &entry : NULL;
}
