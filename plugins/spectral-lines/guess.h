/* Where to start: lines found in a spectrum, by search over a dictionary of profiles. */
#ifndef GUESS_H
#define GUESS_H

#include "model.h"

#include <stdbool.h>

/*
 * z = guess number `start` at the latent of the spectrum y, of which values with w = 0 are not read; w is null where all
 * weights are 1. False if memory is out.
 */
bool model_guess(const model *m, const double *c, const double *y, const double *w, size_t start, double *z);

#endif
