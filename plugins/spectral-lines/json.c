#include "json.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 32 };

typedef struct reader {
    const char *text;
    size_t length, at;
    char *message;
    size_t room;
} reader;

static json_value *read_value(reader *r, int depth);

static void fail(reader *r, const char *format, ...)
{
    if (r->room == 0 || r->message[0] != 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(r->message, r->room, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < r->room)
        snprintf(r->message + used, r->room - (size_t)used, " at byte %zu", r->at);
}

static int peek(const reader *r)
{
    return r->at < r->length ? (unsigned char)r->text[r->at] : -1;
}

static void skip_space(reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\n' || peek(r) == '\r')
        r->at++;
}

static bool take(reader *r, int c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static size_t take_digits(reader *r)
{
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at - from;
}

static bool read_number(reader *r, json_value *value)
{
    size_t from = r->at;
    take(r, '-');
    bool zero = peek(r) == '0';
    size_t digits = take_digits(r);
    bool good = digits > 0 && !(zero && digits > 1);
    if (good && take(r, '.'))
        good = take_digits(r) > 0;
    if (good && (take(r, 'e') || take(r, 'E'))) {
        if (!take(r, '+'))
            take(r, '-');
        good = take_digits(r) > 0;
    }
    char digits_of[64], *end;
    size_t length = r->at - from;
    if (!good || length >= sizeof digits_of) {
        fail(r, good ? "a number of more than 63 characters" : "a malformed number");
        return false;
    }
    memcpy(digits_of, r->text + from, length);
    digits_of[length] = 0;
    value->kind = JSON_NUMBER;
    value->number = strtod(digits_of, &end);
    if (*end != 0 || !isfinite(value->number)) {
        fail(r, *end ? "a number that the locale of this process does not read" : "a number beyond the range of a double");
        return false;
    }
    return true;
}

static bool read_hex(reader *r, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        int c = peek(r);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return false;
        *code = *code * 16 + (uint32_t)digit;
        r->at++;
    }
    return true;
}

static size_t put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[4] = {0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(lead[more] | (code >> (6 * more)));
    for (size_t i = 1; i <= more; i++)
        to[i] = (char)(0x80 | ((code >> (6 * (more - i))) & 0x3F));
    return more + 1;
}

/* After a backslash: writes what it stands for, at most 4 bytes, and answers how many; 0 for an error. */
static size_t read_escape(reader *r, char *to)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    const char *found = c > 0 ? strchr(names, c) : NULL;
    if (found) {
        r->at++;
        *to = meanings[found - names];
        return 1;
    }
    uint32_t code, low;
    if (!take(r, 'u') || !read_hex(r, &code) || code == 0)
        return 0;
    if (code >= 0xD800 && code < 0xDC00) {
        if (!take(r, '\\') || !take(r, 'u') || !read_hex(r, &low) || low < 0xDC00 || low > 0xDFFF)
            return 0;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
        return 0;
    }
    return put_utf8(to, code);
}

static char *read_string(reader *r)
{
    if (!take(r, '"')) {
        fail(r, "a string is expected");
        return NULL;
    }
    char *string = malloc(r->length - r->at + 1), *to = string;
    if (!string)
        fail(r, "memory is out");
    while (string && peek(r) != '"') {
        int c = peek(r);
        if (c < 0x20) {
            fail(r, c < 0 ? "a string does not end" : "a control character in a string");
        } else if (c == '\\') {
            r->at++;
            size_t used = read_escape(r, to);
            to += used;
            if (used > 0)
                continue;
            fail(r, "an unknown escape in a string");
        } else {
            *to++ = (char)c;
            r->at++;
            continue;
        }
        free(string);
        return NULL;
    }
    if (string) {
        r->at++;
        *to = 0;
    }
    return string;
}

static bool read_member(reader *r, const json_value *object, int depth, json_value **member)
{
    char *key = read_string(r);
    if (!key)
        return false;
    bool twice = json_member(object, key) != NULL;
    skip_space(r);
    bool colon = take(r, ':');
    if (twice)
        fail(r, "the key '%s' stands twice", key);
    else if (!colon)
        fail(r, "a colon is expected after '%s'", key);
    *member = twice || !colon ? NULL : read_value(r, depth);
    if (!*member) {
        free(key);
        return false;
    }
    (*member)->key = key;
    return true;
}

static bool read_children(reader *r, json_value *value, int depth, char close)
{
    json_value **last = &value->first;
    skip_space(r);
    if (take(r, close))
        return true;
    for (;;) {
        skip_space(r);
        json_value *child = NULL;
        if (value->kind == JSON_OBJECT)
            read_member(r, value, depth, &child);
        else
            child = read_value(r, depth);
        if (!child)
            return false;
        *last = child;
        last = &child->next;
        value->count++;
        skip_space(r);
        if (take(r, close))
            return true;
        if (!take(r, ',')) {
            fail(r, "a comma or '%c' is expected", close);
            return false;
        }
    }
}

static bool read_word(reader *r, json_value *value, const char *word, json_kind kind)
{
    size_t length = strlen(word);
    if (r->length - r->at < length || memcmp(r->text + r->at, word, length) != 0) {
        fail(r, "no JSON value");
        return false;
    }
    r->at += length;
    value->kind = kind;
    return true;
}

static bool read_into(reader *r, json_value *value, int depth)
{
    switch (peek(r)) {
    case '{':
        r->at++;
        value->kind = JSON_OBJECT;
        return read_children(r, value, depth + 1, '}');
    case '[':
        r->at++;
        value->kind = JSON_ARRAY;
        return read_children(r, value, depth + 1, ']');
    case '"':
        value->kind = JSON_STRING;
        value->string = read_string(r);
        return value->string != NULL;
    case 't':
        return read_word(r, value, "true", JSON_TRUE);
    case 'f':
        return read_word(r, value, "false", JSON_FALSE);
    case 'n':
        return read_word(r, value, "null", JSON_NULL);
    default:
        return read_number(r, value);
    }
}

static json_value *read_value(reader *r, int depth)
{
    skip_space(r);
    if (depth > DEPTH) {
        fail(r, "nested deeper than %d", DEPTH);
        return NULL;
    }
    json_value *value = calloc(1, sizeof *value);
    if (!value) {
        fail(r, "memory is out");
        return NULL;
    }
    if (read_into(r, value, depth))
        return value;
    json_free(value);
    return NULL;
}

json_value *json_read(const char *text, size_t length, char *message, size_t room)
{
    reader r = {.text = text, .length = length, .message = message, .room = room};
    if (room > 0)
        message[0] = 0;
    json_value *value = read_value(&r, 0);
    skip_space(&r);
    if (value && r.at < r.length) {
        fail(&r, "text after the end");
        json_free(value);
        return NULL;
    }
    return value;
}

void json_free(json_value *value)
{
    while (value) {
        json_value *next = value->next;
        json_free(value->first);
        free(value->string);
        free(value->key);
        free(value);
        value = next;
    }
}

const json_value *json_member(const json_value *object, const char *key)
{
    for (const json_value *member = object->first; member; member = member->next)
        if (member->key && strcmp(member->key, key) == 0)
            return member;
    return NULL;
}

const char *json_kind_name(json_kind kind)
{
    static const char *const names[] = {"null", "false", "true", "a number", "a string", "an array", "an object"};
    return names[kind];
}
