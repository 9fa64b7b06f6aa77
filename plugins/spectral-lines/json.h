/* A strict reader of JSON (RFC 8259) into a tree. Nothing here knows what a configuration means. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

/* A value; the children of an array or object are a list. */
typedef struct json_value {
    json_kind kind;
    double number;
    char *string; /* of a string, with a NUL at its end */
    char *key;    /* of a member of an object, else null */
    size_t count; /* of children */
    struct json_value *first, *next;
} json_value;

/*
 * The value of `length` bytes of text, to be given to json_free. Null if it is not JSON, has a key twice in an object, nests
 * deeper than 32 or memory is out; then `message` holds why, in a phrase.
 */
json_value *json_read(const char *text, size_t length, char *message, size_t room);

void json_free(json_value *value);

/* The member `key` of an object, or null. */
const json_value *json_member(const json_value *object, const char *key);

/* "a number", "an array", ... */
const char *json_kind_name(json_kind kind);

#endif
