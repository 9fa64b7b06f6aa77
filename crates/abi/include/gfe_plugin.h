/*
 * gfe_plugin.h: the interface between gfe and its plugins, version 1.
 *
 * A plugin is a shared library that exports one function, gfe_plugin_entry. From what it returns the host gets factories
 * by id, from these decoders and data sets, and from these optional abilities (extensions), again by id.
 *
 * Rules that hold everywhere:
 * - Every struct of functions begins with its size in bytes and only grows at its end: a member beyond `size` is absent.
 *   The host checks, and treats a required member that is absent or null as a broken plugin.
 * - Texts are UTF-8. They end with a NUL where they come without a length.
 * - What the host passes in stays the host's and is valid during the call alone. Tables, infos and their texts are constants
 *   of the library: it is never unloaded. What belongs to an instance is valid until its `destroy`, unless said otherwise.
 * - No C++ exception, no Rust panic and no longjmp may leave a function.
 * - Numbers are double, matrices column-major with a sample (a "lane") per column: element (i, j) is at
 *   data[i + j * col_stride], and what lies between the columns, rows <= i < col_stride, belongs to nobody.
 * - Names: z latent [d, lanes], x decoded [D, lanes], y datum [D, lanes], w weights of its values [D, lanes], params the
 *   decoder's own weights [P], context what is known of a sample [c, lanes]; _bar a cotangent, _dot a tangent.
 *   J = dD/dz is [D, d].
 *
 * The layout of everything here is compared with the host's by a program in the host's tests.
 */
#ifndef GFE_PLUGIN_H
#define GFE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define GFE_EXPORT __declspec(dllexport)
#else
#define GFE_EXPORT __attribute__((visibility("default")))
#endif

/* ---- what every call uses ---------------------------------------------------------------------------------------- */

/* The bytes GFEPLUG and a 0, as a number, most significant first. */
#define GFE_MAGIC UINT64_C(0x474645504C554700)
#define GFE_VERSION_MAJOR 1
#define GFE_VERSION_MINOR 0

/*
 * What a function answers. It speaks of the whole call; a decoder that fails in one lane alone may also write NaN into that
 * column of its output and answer GFE_OK. Any other number is read as GFE_FATAL.
 *
 * After GFE_DISCARD and GFE_ERROR to a call with several lanes the host repeats it lane by lane, and only the lanes that
 * fail again are affected.
 */
typedef int32_t gfe_status;
enum {
    GFE_OK = 0,      /* the outputs are defined */
    GFE_DISCARD = 1, /* no value here: the outputs are undefined, and a smaller step may find a value */
    GFE_ERROR = 2,   /* the call failed: the outputs are undefined; the object is usable for other calls */
    GFE_FATAL = 3    /* the outputs are undefined, and nothing in this library is called again but last_error: the run ends */
};

/* Two sides understand each other if their major versions are equal. */
typedef struct gfe_version {
    uint32_t major; /* raised when an existing part changes */
    uint32_t minor; /* raised when a table grows or an extension is added */
} gfe_version;

/* A matrix to read. With rows or cols 0, data may be anything. col_stride >= rows. */
typedef struct gfe_matrix {
    const double *data;
    size_t rows;
    size_t cols;
    size_t col_stride;
} gfe_matrix;

/* A matrix to write; what lies between the columns is not to be touched. Its content before the call is undefined. */
typedef struct gfe_matrix_mut {
    double *data;
    size_t rows;
    size_t cols;
    size_t col_stride;
} gfe_matrix_mut;

/* `len` values side by side, to read. With len 0, data may be anything. */
typedef struct gfe_slice {
    const double *data;
    size_t len;
} gfe_slice;

/* `len` values side by side, to write. */
typedef struct gfe_slice_mut {
    double *data;
    size_t len;
} gfe_slice_mut;

/* `len` bytes of UTF-8 to read, with no NUL at the end. */
typedef struct gfe_text {
    const char *data;
    size_t len;
} gfe_text;

/* Room for `len` bytes, into which the callee writes a text and a NUL, cut where it is too long. */
typedef struct gfe_text_mut {
    char *data;
    size_t len;
} gfe_text_mut;

/* ---- entry ------------------------------------------------------------------------------------------------------- */

/* What a plugin may know of the program that loads it. */
typedef struct gfe_host_info {
    size_t size;         /* of this struct, as the host knows it */
    gfe_version version; /* of the interface, as the host knows it */
    const char *program; /* its name and version; valid as long as the process */
} gfe_host_info;

typedef struct gfe_plugin_entry_info {
    uint64_t magic;      /* GFE_MAGIC; the host reads nothing further if it is not */
    size_t size;         /* of this struct, as the plugin knows it */
    gfe_version version; /* of the interface, as the plugin knows it */
    /*
     * The factory of an id, GFE_DECODER_FACTORY or GFE_DATASET_FACTORY, or null if there is none. Its type follows from the
     * id. Any thread, any time after the entry function has returned.
     */
    const void *(*get_factory)(const char *id);
} gfe_plugin_entry_info;

/*
 * The one symbol that a plugin exports. Called once, before anything else, by one thread; `host` is valid during the call.
 * Null says that the plugin cannot work with this host.
 */
GFE_EXPORT const gfe_plugin_entry_info *gfe_plugin_entry(const gfe_host_info *host);

/* ---- decoders ---------------------------------------------------------------------------------------------------- */

#define GFE_DECODER_FACTORY "gfe.decoder-factory/1"

/* Which calls may overlap. */
enum {
    GFE_THREADS_INSTANCE = 0, /* one at a time per instance, from any thread: the host opens an instance per worker */
    GFE_THREADS_SHARED = 1,   /* any, on distinct outputs and scratch: the host opens one instance for all workers */
    GFE_THREADS_PROCESS = 2   /* one at a time in the whole library: the host runs one worker */
};

/* In which precision a decoder computes: what its derivatives are checked to. */
enum { GFE_PRECISION_F64 = 0, GFE_PRECISION_F32 = 1 };

/* What a decoded value means; the default loss follows from it. */
enum {
    GFE_OUTPUT_VALUES = 0,   /* itself: mse, or gaussian where the data have errors */
    GFE_OUTPUT_LOGITS = 1,   /* the logit of a number in [0, 1]: bce */
    GFE_OUTPUT_LOG_RATES = 2 /* the logarithm of a rate: poisson */
};

/* What is known of a decoder before one is made. */
typedef struct gfe_decoder_info {
    size_t size;         /* of this struct, as the plugin knows it */
    const char *id;      /* the name by which it is asked for: letters, digits, - and _ */
    const char *title;   /* one line for people */
    gfe_version version; /* of the decoder itself */
    uint32_t threads;    /* GFE_THREADS_* */
    uint32_t precision;  /* GFE_PRECISION_* */
} gfe_decoder_info;

struct gfe_decoder_table;

/* A decoder: its functions, and what they get as their first argument. It owns no weights and no scratch memory. */
typedef struct gfe_decoder_instance {
    const struct gfe_decoder_table *table; /* a constant of the library */
    void *instance;                        /* the plugin's own; the host only hands it back */
} gfe_decoder_instance;

/* Lists and makes decoders. Any thread, one call at a time. All members are required. */
typedef struct gfe_decoder_factory {
    size_t size;           /* of this struct, as the plugin knows it */
    size_t (*count)(void); /* number of decoders */
    const gfe_decoder_info *(*info)(size_t index); /* that of a decoder; null from count() on */
    /*
     * Makes the decoder `id` from a configuration in JSON (an object; empty for none) and writes it to `made`. On any status
     * but GFE_OK nothing was made, and `message` holds a sentence for the user.
     */
    gfe_status (*create)(const char *id, gfe_text config, gfe_decoder_instance *made, gfe_text_mut message);
} gfe_decoder_factory;

/* Sizes of a decoder; constant for an instance. */
typedef struct gfe_shape {
    size_t latent;   /* d, the length of a latent */
    size_t data;     /* D, the number of values of a sample */
    size_t params;   /* P, the number of weights; may be 0 */
    size_t context;  /* c, the number of known inputs of a sample; may be 0 */
    size_t tape;     /* values that `forward` leaves per lane for the products; may be 0 */
    uint32_t output; /* GFE_OUTPUT_* */
    uint32_t reserved;
} gfe_shape;

/* One tensor of the flat `params`, C order. Its pointers belong to the instance. */
typedef struct gfe_tensor {
    const char *name;    /* as in a model file, e.g. "decoder.0.weight" */
    const size_t *shape; /* [rank] */
    size_t rank;
} gfe_tensor;

/* Where a decoder is evaluated. */
typedef struct gfe_at {
    size_t size;             /* of this struct, as the host knows it */
    uint64_t params_version; /* changes whenever `params` do, so that a decoder may keep a repacked copy */
    gfe_slice params;        /* [P] */
    gfe_matrix z;            /* [d, lanes] */
    gfe_matrix context;      /* [c, lanes] */
} gfe_at;

/*
 * x = D(z; params, context), column by column: column b of an output depends on column b of the inputs alone. Results do
 * not depend on earlier calls.
 *
 * Who may call when is what `threads` of its info says, for every function here and in the extensions: `shape`, `tensor`,
 * `extension` and the extensions' constants are asked for when the instance was made, the others during a run; `destroy` is the
 * last call of an instance. A function whose
 * arguments do not have the shapes given here answers GFE_ERROR and writes nothing. `scratch` has any content and at least
 * scratch_len() values. The host keeps z, and the tape that `forward` wrote there, until the products at that point are done.
 * Required are all members but `tensor` (where params is 0) and `extension`.
 */
typedef struct gfe_decoder_table {
    size_t size; /* of this struct, as the plugin knows it */
    /* Writes the sizes to `shape`. */
    gfe_status (*shape)(void *instance, gfe_shape *shape);
    /* Writes tensor `index` of `params` to `tensor`; GFE_ERROR from the last one on. They follow one another without gaps. */
    gfe_status (*tensor)(void *instance, size_t index, gfe_tensor *tensor);
    /* Scratch values that any function needs for `columns` columns of the widest matrix in the call. */
    size_t (*scratch_len)(void *instance, size_t columns);
    /* x = D(z). Writes `x` [D, lanes] and `tape` [tape, lanes]. */
    gfe_status (*forward)(void *instance, const gfe_at *at, gfe_matrix_mut x, gfe_matrix_mut tape, gfe_slice_mut scratch);
    /* z_bar = J^T x_bar at the point where `forward` wrote `tape`. `x_bar` [D, lanes]; writes `z_bar` [d, lanes]. */
    gfe_status (*vjp)(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix x_bar, gfe_matrix_mut z_bar,
                      gfe_slice_mut scratch);
    /*
     * Why the last call of this instance on this thread failed: valid until the instance's next call on this thread, never
     * null, empty if nothing failed.
     */
    const char *(*last_error)(void *instance);
    /* Ends the instance. It is not used again. */
    void (*destroy)(void *instance);
    /* The table of an ability, a constant of the library, or null if the decoder lacks it. The ids are below. */
    const void *(*extension)(void *instance, const char *id);
} gfe_decoder_table;

/* ---- extensions of decoders --------------------------------------------------------------------------------------- */

/* Jacobian-vector products: what the solvers ptc, tr_bdf2, esdirk34, bdf and every estimate of errors need. */
#define GFE_TANGENT "gfe.decoder.tangent/1"
typedef struct gfe_tangent_table {
    size_t size; /* of this struct, as the plugin knows it */
    /*
     * x_dot = J z_dot for k directions per lane, at the point where `forward` wrote `tape`. `z_dot` [d, k lanes]; writes
     * `x_dot` [D, k lanes]; column b k + j is direction j of lane b.
     */
    gfe_status (*jvp)(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix z_dot, gfe_matrix_mut x_dot,
                      gfe_slice_mut scratch);
} gfe_tangent_table;

/* What training needs. */
#define GFE_TRAINABLE "gfe.decoder.trainable/1"
typedef struct gfe_trainable_table {
    size_t size; /* of this struct, as the plugin knows it */
    /* Fills `params` [P] with initial weights, the same for the same seed. */
    gfe_status (*init)(void *instance, uint64_t seed, gfe_slice_mut params);
    /* params_bar += sum over lanes of (dD/dparams)^T x_bar. `x_bar` [D, lanes]; adds to `params_bar` [P]. */
    gfe_status (*params_vjp)(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix x_bar,
                             gfe_slice_mut params_bar, gfe_slice_mut scratch);
} gfe_trainable_table;

/* Forward over reverse. */
#define GFE_SECOND_ORDER "gfe.decoder.second-order/1"
typedef struct gfe_second_order_table {
    size_t size; /* of this struct, as the plugin knows it */
    /*
     * z_bar_dot = d/de [J(z + e z_dot)^T (x_bar + e x_bar_dot)] at e = 0. `z_dot` [d, lanes], `x_bar` and `x_bar_dot`
     * [D, lanes]; writes `z_bar_dot` [d, lanes]. Unless its length is 0, the same derivative of (dD/dparams)^T x_bar, summed
     * over lanes, is added to `params_bar_dot` [P].
     */
    gfe_status (*hvp)(void *instance, const gfe_at *at, gfe_matrix tape, gfe_matrix z_dot, gfe_matrix x_bar,
                      gfe_matrix x_bar_dot, gfe_matrix_mut z_bar_dot, gfe_slice_mut params_bar_dot,
                      gfe_slice_mut scratch);
} gfe_second_order_table;

/*
 * What the latents are. The decoder's functions always get and give z in its own, physical coordinates p; the flow runs in
 * unbounded coordinates u, and the host alone maps one to the other, derivatives included:
 *   identity  p = default + scale u
 *   log       p = lower + (default - lower) exp(scale u)                        for p > lower
 *   logit     p = lower + (upper - lower) / (1 + exp(-(u0 + scale u)))          for lower < p < upper
 * with u0 = ln((default - lower) / (upper - default)), so that u = 0 is the default. Bounds that a transform does not keep (any
 * of identity, the upper one of log) only inform; far out, p may reach a bound in rounding. A change of u by 1 is thus one of p by
 * `scale`, of ln(p - lower) by `scale`, or of the logit by `scale`: choose it like a prior's standard deviation.
 */
#define GFE_LATENTS "gfe.decoder.latents/1"
enum { GFE_TRANSFORM_IDENTITY = 0, GFE_TRANSFORM_LOG = 1, GFE_TRANSFORM_LOGIT = 2 };
typedef struct gfe_latent {
    const char *name;       /* a word; belongs to the instance */
    const char *unit;       /* as UDUNITS writes it; "" for none; belongs to the instance */
    double lower;           /* -INFINITY for none; finite for log and logit */
    double upper;           /* INFINITY for none; finite for logit */
    double scale;           /* > 0 */
    double default_value;   /* between the bounds */
    uint32_t transform;     /* GFE_TRANSFORM_* */
    uint32_t reserved;
} gfe_latent;
typedef struct gfe_latents_table {
    size_t size; /* of this struct, as the plugin knows it */
    /* Writes what latent `index` < d is. */
    gfe_status (*latent)(void *instance, size_t index, gfe_latent *latent);
} gfe_latents_table;

/* Where to start. */
#define GFE_GUESS "gfe.decoder.guess/1"
typedef struct gfe_guess_table {
    size_t size; /* of this struct, as the plugin knows it */
    /*
     * z = a guess at the code of y, in physical coordinates. Of `start` 0, 1, 2, ... the first is the best guess and the others
     * are different ones, the same for the same y. `y` [D, lanes]; `w` [D, lanes] are weights >= 0 such as 1/sigma^2, a 0
     * masks a value whose y is not to be read; `w` has 0 columns where all weights are 1. `params` [P], `context` [c, lanes].
     * Writes `z` [d, lanes], within the bounds.
     */
    gfe_status (*guess)(void *instance, gfe_slice params, gfe_matrix context, gfe_matrix y, gfe_matrix w, size_t start,
                        gfe_matrix_mut z);
} gfe_guess_table;

/* ---- data sets ---------------------------------------------------------------------------------------------------- */

#define GFE_DATASET_FACTORY "gfe.dataset-factory/1"

/* What is known of a kind of data set before one is opened. */
typedef struct gfe_dataset_info {
    size_t size;         /* of this struct, as the plugin knows it */
    const char *id;      /* the name by which it is asked for: letters, digits, - and _ */
    const char *title;   /* one line for people, with the configuration's keys */
    gfe_version version; /* of the source itself */
} gfe_dataset_info;

struct gfe_dataset_table;

/* A data set: its functions, and what they get as their first argument. */
typedef struct gfe_dataset_instance {
    const struct gfe_dataset_table *table; /* a constant of the library */
    void *instance;                        /* the plugin's own; the host only hands it back */
} gfe_dataset_instance;

/* Lists and opens data sets. Any thread, one call at a time. All members are required. */
typedef struct gfe_dataset_factory {
    size_t size;           /* of this struct, as the plugin knows it */
    size_t (*count)(void); /* number of kinds */
    const gfe_dataset_info *(*info)(size_t index); /* that of a kind; null from count() on */
    /*
     * Opens a data set of the kind `id` from a configuration in JSON (an object; empty for none) and writes it to `made`. On
     * any status but GFE_OK nothing was made, and `message` holds a sentence for the user.
     */
    gfe_status (*create)(const char *id, gfe_text config, gfe_dataset_instance *made, gfe_text_mut message);
} gfe_dataset_factory;

/* The type of the stored values; they are always read as double. */
enum { GFE_ELEMENT_F64 = 0, GFE_ELEMENT_F32 = 1, GFE_ELEMENT_U8 = 2 };

/* Sizes of a data set; constant for an instance. */
typedef struct gfe_dataset_shape {
    size_t samples;    /* number of samples */
    size_t rank;       /* number of axes of one sample; 0 for scalars */
    uint32_t element;  /* GFE_ELEMENT_* */
    uint32_t weighted; /* 1 if the values have weights, 1/sigma^2 with 0 for a missing value, else 0 */
} gfe_dataset_shape;

/* One axis of a sample. Its pointers belong to the instance. */
typedef struct gfe_axis {
    const char *name;     /* a word, e.g. "wavelength"; "" for none */
    const char *unit;     /* as UDUNITS writes it; "" for none */
    const double *values; /* coordinates [len]; null where there are none */
    size_t len;
} gfe_axis;

/*
 * A data set that hands out samples by index. An instance is used by one thread at a time. `destroy` is its last call. All
 * members are required.
 */
typedef struct gfe_dataset_table {
    size_t size; /* of this struct, as the plugin knows it */
    /* Writes the sizes to `shape`. */
    gfe_status (*shape)(void *instance, gfe_dataset_shape *shape);
    /* Writes axis `index` < rank of a sample to `axis`, slowest first. */
    gfe_status (*axis)(void *instance, size_t index, gfe_axis *axis);
    /*
     * Reads the samples ids[0], ids[1], ..., all < samples, into the columns of `y` [D, len]; and their weights into `w`
     * [D, len] where the data are weighted (else `w` has 0 columns). Values are as stored, without any factor.
     */
    gfe_status (*read)(void *instance, const size_t *ids, size_t len, gfe_matrix_mut y, gfe_matrix_mut w);
    /* Why the last call failed: valid until the next call, never null, empty if nothing failed. */
    const char *(*last_error)(void *instance);
    /* Ends the instance. It is not used again. */
    void (*destroy)(void *instance);
} gfe_dataset_table;

#ifdef __cplusplus
}
#endif

#endif
