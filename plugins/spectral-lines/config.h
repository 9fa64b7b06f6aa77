/* From the text of a configuration to a model. The keys are described in README.md. */
#ifndef CONFIG_H
#define CONFIG_H

#include "model.h"

/* A model, to be given to model_free; or null, and then `message` holds a sentence for the user. */
model *config_read(gfe_text config, gfe_text_mut message);

void model_free(model *m);

#endif
