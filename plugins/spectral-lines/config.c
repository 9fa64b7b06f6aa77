#include "config.h"

#include "json.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNT = 1000000 };

/* What is being read: the configuration, the model that it fills, and where a complaint goes. */
typedef struct setup {
    model *m;
    const json_value *root;
    gfe_text_mut message;
} setup;

/* Whose latent a parameter of the lines is. */
typedef enum freedom { EACH, SHARED, NONE } freedom;

static const char *const parameter_name[LINE_PARAMETERS] = {"amplitude", "center", "sigma", "gamma"};

static bool complain(setup *s, const char *format, ...)
{
    if (s->message.len > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(s->message.data, s->message.len, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* The section `key`; an empty object if it is absent, null after a complaint. `known` ends with a null. */
static const json_value *section(setup *s, const char *key, const char *const *known)
{
    static const json_value empty = {.kind = JSON_OBJECT};
    const json_value *object = key ? json_member(s->root, key) : s->root;
    if (!object)
        return &empty;
    if (object->kind != JSON_OBJECT) {
        complain(s, "%s must be an object, not %s", key ? key : "the configuration", json_kind_name(object->kind));
        return NULL;
    }
    for (const json_value *member = object->first; member; member = member->next) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], member->key) != 0)
            i++;
        if (known[i])
            continue;
        char list[256] = "";
        for (i = 0; known[i]; i++) {
            strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
            strncat(list, known[i], sizeof list - strlen(list) - 1);
        }
        complain(s, "unknown key '%s'%s%s; there are: %s", member->key, key ? " in " : "", key ? key : "", list);
        return NULL;
    }
    return object;
}

static bool read_number(setup *s, const json_value *object, const char *in, const char *key, double *value)
{
    const json_value *member = json_member(object, key);
    if (!member)
        return true;
    if (member->kind != JSON_NUMBER)
        return complain(s, "%s%s%s must be a number, not %s", in, *in ? "." : "", key, json_kind_name(member->kind));
    *value = member->number;
    return true;
}

static bool read_positive(setup *s, const json_value *object, const char *in, const char *key, double *value)
{
    if (!read_number(s, object, in, key, value))
        return false;
    return *value > 0.0 || complain(s, "%s.%s must be positive, not %g", in, key, *value);
}

static bool read_count(setup *s, const json_value *object, const char *in, const char *key, size_t least, size_t most,
                       size_t *value)
{
    double number = (double)*value;
    if (!read_number(s, object, in, key, &number))
        return false;
    if (!(number >= (double)least && number <= (double)most && number == floor(number)))
        return complain(s, "%s%s%s must be an integer from %zu to %zu, not %g", in, *in ? "." : "", key, least, most, number);
    *value = (size_t)number;
    return true;
}

/* The index of a word in `words`, which ends with a null. */
static bool read_word(setup *s, const json_value *object, const char *in, const char *key, const char *const *words,
                      size_t *index)
{
    const json_value *member = json_member(object, key);
    if (!member)
        return true;
    char list[128] = "";
    for (size_t i = 0; words[i]; i++) {
        if (member->kind == JSON_STRING && strcmp(member->string, words[i]) == 0) {
            *index = i;
            return true;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"%s\"", i ? ", " : "", words[i]);
    }
    return complain(s, "%s%s%s must be one of %s", in, *in ? "." : "", key, list);
}

static bool read_unit(setup *s, const char *key, char unit[TEXT])
{
    const json_value *member = json_member(s->root, key);
    if (!member)
        return true;
    if (member->kind != JSON_STRING || strlen(member->string) >= TEXT)
        return complain(s, "%s must be a string of fewer than %d bytes", key, TEXT);
    strcpy(unit, member->string);
    return true;
}

static bool make_room(setup *s, size_t count)
{
    s->m->count = count;
    s->m->wavelength = malloc((count + VOIGT_GROUP) * sizeof(double));
    s->m->basis = malloc((MAX_DEGREE + 1) * count * sizeof(double));
    return (s->m->wavelength && s->m->basis) || complain(s, "memory is out");
}

static bool read_listed_grid(setup *s, const json_value *grid, const json_value *list)
{
    if (grid->count != 1)
        return complain(s, "grid takes either wavelengths, or first, last and count");
    if (list->kind != JSON_ARRAY || list->count < 2 || list->count > MAX_COUNT)
        return complain(s, "grid.wavelengths must be an array of 2 to %d numbers", MAX_COUNT);
    if (!make_room(s, list->count))
        return false;
    double *to = s->m->wavelength;
    for (const json_value *item = list->first; item; item = item->next) {
        if (item->kind != JSON_NUMBER || (item != list->first && !(item->number > to[-1])))
            return complain(s, "grid.wavelengths must be numbers that increase");
        *to++ = item->number;
    }
    return true;
}

static bool read_grid(setup *s)
{
    static const char *const known[] = {"first", "last", "count", "wavelengths", NULL};
    const json_value *grid = section(s, "grid", known);
    if (!grid)
        return false;
    const json_value *list = json_member(grid, "wavelengths");
    if (list) {
        if (!read_listed_grid(s, grid, list))
            return false;
    } else {
        double first = 640.0, last = 690.0;
        size_t count = 501;
        if (grid->count != 0 && grid->count != 3)
            return complain(s, "grid needs first, last and count");
        if (!read_number(s, grid, "grid", "first", &first) || !read_number(s, grid, "grid", "last", &last) ||
            !read_count(s, grid, "grid", "count", 2, MAX_COUNT, &count) || !make_room(s, count))
            return false;
        if (!(last > first))
            return complain(s, "grid.last must be above grid.first: %g, %g", last, first);
        for (size_t i = 0; i < count; i++)
            s->m->wavelength[i] = first + (last - first) * ((double)i / (double)(count - 1));
    }
    if (!(s->m->wavelength[0] > 0.0))
        return complain(s, "wavelengths must be positive");
    for (size_t i = 0; i < VOIGT_GROUP; i++)
        s->m->wavelength[s->m->count + i] = s->m->wavelength[s->m->count - 1];
    return true;
}

static void fill_basis(model *m)
{
    double first = m->wavelength[0], last = m->wavelength[m->count - 1];
    for (size_t i = 0; i < m->count; i++) {
        double t = ((m->wavelength[i] - first) - (last - m->wavelength[i])) / (last - first), before = 1.0, here = t;
        for (size_t j = 0; j <= m->degree; j++) {
            m->basis[j * m->count + i] = before;
            double next = 2.0 * t * here - before;
            before = here;
            here = next;
        }
    }
}

/* Adds a latent; its name is `word`, with _`number` unless that is 0. */
static size_t add_latent(model *m, const char *word, size_t number, gfe_latent latent)
{
    size_t index = m->latents++;
    if (number > 0)
        snprintf(m->name[index], TEXT, "%s_%zu", word, number);
    else
        snprintf(m->name[index], TEXT, "%s", word);
    latent.name = m->name[index];
    m->latent[index] = latent;
    return index;
}

static bool read_width(setup *s, size_t parameter, double default_value, double scale, gfe_latent *latent, freedom *free_)
{
    static const char *const known[] = {"default", "scale", "free", NULL};
    static const char *const words[] = {"each", "shared", "none", NULL};
    const char *name = parameter_name[parameter];
    const json_value *object = section(s, name, known);
    size_t index = EACH;
    if (!object || !read_positive(s, object, name, "default", &default_value) ||
        !read_positive(s, object, name, "scale", &scale) || !read_word(s, object, name, "free", words, &index))
        return false;
    *free_ = (freedom)index;
    *latent = (gfe_latent){.unit = s->m->unit, .lower = 0.0, .upper = INFINITY, .scale = scale,
                           .default_value = default_value, .transform = GFE_TRANSFORM_LOG};
    return true;
}

static bool read_amplitude(setup *s, double sigma, gfe_latent *latent)
{
    static const char *const known[] = {"default", "scale", NULL};
    const json_value *object = section(s, "amplitude", known);
    double default_value = 2.5066282746310002 * sigma, scale = 1.0;
    if (!object || !read_positive(s, object, "amplitude", "default", &default_value) ||
        !read_positive(s, object, "amplitude", "scale", &scale))
        return false;
    *latent = (gfe_latent){.unit = s->m->amplitude_unit, .lower = 0.0, .upper = INFINITY, .scale = scale,
                           .default_value = default_value, .transform = GFE_TRANSFORM_LOG};
    return true;
}

static bool read_center(setup *s, gfe_latent *latent, double defaults[MAX_LINES])
{
    static const char *const known[] = {"lower", "upper", "scale", "default", NULL};
    const json_value *object = section(s, "center", known);
    model *m = s->m;
    double lower = m->wavelength[0], upper = m->wavelength[m->count - 1], scale = 1.0;
    if (!object || !read_number(s, object, "center", "lower", &lower) ||
        !read_number(s, object, "center", "upper", &upper) || !read_positive(s, object, "center", "scale", &scale))
        return false;
    if (!(lower > 0.0 && upper > lower))
        return complain(s, "center.lower must be positive and below center.upper: %g, %g", lower, upper);
    for (size_t k = 0; k < m->lines; k++)
        defaults[k] = lower + (upper - lower) * ((double)k + 0.5) / (double)m->lines;
    const json_value *list = json_member(object, "default");
    if (list && (list->kind != JSON_ARRAY || list->count != m->lines))
        return complain(s, "center.default must be an array of %zu numbers, one per line", m->lines);
    size_t k = 0;
    for (const json_value *item = list ? list->first : NULL; item; item = item->next) {
        if (item->kind != JSON_NUMBER || !(item->number > lower && item->number < upper))
            return complain(s, "center.default must be numbers between %g and %g", lower, upper);
        defaults[k++] = item->number;
    }
    *latent = (gfe_latent){.unit = m->unit, .lower = lower, .upper = upper, .scale = scale, .transform = GFE_TRANSFORM_LOGIT};
    return true;
}

static bool read_continuum(setup *s, gfe_latent *latent)
{
    static const char *const known[] = {"degree", "default", "scale", NULL};
    const json_value *object = section(s, "continuum", known);
    double default_value = 0.0, scale = 1.0;
    s->m->degree = 1;
    if (!object || !read_count(s, object, "continuum", "degree", 0, MAX_DEGREE, &s->m->degree) ||
        !read_number(s, object, "continuum", "default", &default_value) ||
        !read_positive(s, object, "continuum", "scale", &scale))
        return false;
    *latent = (gfe_latent){.unit = s->m->flux_unit, .lower = -INFINITY, .upper = INFINITY, .scale = scale,
                           .default_value = default_value, .transform = GFE_TRANSFORM_IDENTITY};
    return true;
}

static bool read_latents(setup *s)
{
    model *m = s->m;
    double step = (m->wavelength[m->count - 1] - m->wavelength[0]) / (double)(m->count - 1), centers[MAX_LINES];
    gfe_latent latent[LINE_PARAMETERS], continuum;
    freedom free_[LINE_PARAMETERS] = {EACH, EACH, EACH, EACH};
    if (!read_width(s, SIGMA, 4.0 * step, 0.3, &latent[SIGMA], &free_[SIGMA]) ||
        !read_width(s, GAMMA, step, 0.3, &latent[GAMMA], &free_[GAMMA]) ||
        !read_amplitude(s, latent[SIGMA].default_value, &latent[AMPLITUDE]) ||
        !read_center(s, &latent[CENTER], centers) || !read_continuum(s, &continuum))
        return false;
    for (size_t k = 0; k < m->lines; k++) {
        latent[CENTER].default_value = centers[k];
        for (size_t p = 0; p < LINE_PARAMETERS; p++)
            m->where[k][p] = free_[p] == EACH ? add_latent(m, parameter_name[p], k + 1, latent[p]) : NOT_A_LATENT;
    }
    for (size_t p = 0; p < LINE_PARAMETERS; p++) {
        m->fixed[p] = latent[p].default_value;
        size_t index = free_[p] == SHARED ? add_latent(m, parameter_name[p], 0, latent[p]) : NOT_A_LATENT;
        for (size_t k = 0; k < m->lines && index != NOT_A_LATENT; k++)
            m->where[k][p] = index;
    }
    m->continuum = m->latents;
    for (size_t j = 0; j <= m->degree; j++) {
        size_t index = add_latent(m, "continuum", 1, continuum);
        snprintf(m->name[index], TEXT, "continuum_%zu", j);
        continuum.default_value = 0.0;
    }
    return true;
}

static bool fill(setup *s)
{
    static const char *const known[] = {"grid", "unit", "flux_unit", "lines", "kind", "amplitude", "center", "sigma",
                                        "gamma", "continuum", NULL};
    static const char *const kinds[] = {"emission", "absorption", NULL};
    model *m = s->m;
    size_t kind = 0;
    m->lines = 3;
    strcpy(m->unit, "nm");
    if (!section(s, NULL, known) || !read_grid(s) || !read_unit(s, "unit", m->unit) ||
        !read_unit(s, "flux_unit", m->flux_unit) || !read_count(s, s->root, "", "lines", 1, MAX_LINES, &m->lines) ||
        !read_word(s, s->root, "", "kind", kinds, &kind))
        return false;
    m->sign = kind == 0 ? 1.0 : -1.0;
    snprintf(m->amplitude_unit, sizeof m->amplitude_unit, "%s%s%s", m->flux_unit, *m->flux_unit && *m->unit ? " " : "",
             m->unit);
    if (!read_latents(s))
        return false;
    fill_basis(m);
    voigt_series_fill(&m->series);
    return true;
}

model *config_read(gfe_text config, gfe_text_mut message)
{
    setup s = {.m = calloc(1, sizeof(model)), .message = message};
    char phrase[160] = "";
    gfe_text text = config.len > 0 ? config : (gfe_text){"{}", 2};
    json_value *root = json_read(text.data, text.len, phrase, sizeof phrase);
    s.root = root;
    bool good = false;
    if (!s.m)
        complain(&s, "memory is out");
    else if (!root)
        complain(&s, "the configuration is not JSON: %s", phrase);
    else
        good = fill(&s);
    json_free(root);
    if (good)
        return s.m;
    model_free(s.m);
    return NULL;
}

void model_free(model *m)
{
    if (!m)
        return;
    free(m->wavelength);
    free(m->basis);
    free(m);
}
