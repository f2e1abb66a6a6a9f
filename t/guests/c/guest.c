// A plugin in C without a libc: the main paths, written against the ABI itself.

#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name))) uint32_t name
#define EXPORT(name) __attribute__((export_name(#name))) name

IMPORT(proxy_log)(uint32_t level, const char *message, size_t size);
IMPORT(proxy_get_buffer_bytes)(uint32_t buffer, size_t start, size_t max, char **data, size_t *size);
IMPORT(proxy_set_buffer_bytes)(uint32_t buffer, size_t start, size_t length, const char *data, size_t size);
IMPORT(proxy_get_header_map_value)(uint32_t map, const char *name, size_t name_size, char **value, size_t *size);
IMPORT(proxy_add_header_map_value)(uint32_t map, const char *name, size_t name_size, const char *value, size_t size);
IMPORT(proxy_replace_header_map_value)(uint32_t map, const char *name, size_t name_size, const char *value, size_t size);
IMPORT(proxy_remove_header_map_value)(uint32_t map, const char *name, size_t name_size);
IMPORT(proxy_get_property)(const char *path, size_t path_size, char **value, size_t *size);
IMPORT(proxy_set_property)(const char *path, size_t path_size, const char *value, size_t size);
IMPORT(proxy_send_local_response)(uint32_t status, const char *details, size_t details_size, const char *body, size_t body_size,
                                  const char *headers, size_t headers_size, int32_t grpc_status);
IMPORT(proxy_get_shared_data)(const char *key, size_t key_size, char **value, size_t *size, uint32_t *cas);
IMPORT(proxy_set_shared_data)(const char *key, size_t key_size, const char *value, size_t size, uint32_t cas);
IMPORT(proxy_define_metric)(uint32_t type, const char *name, size_t name_size, uint32_t *id);
IMPORT(proxy_increment_metric)(uint32_t id, int64_t delta);
IMPORT(proxy_get_metric)(uint32_t id, uint64_t *value);

enum { OK, NOT_FOUND };
enum { INFO = 2, ERROR = 4 };
enum { REQUEST = 0, RESPONSE = 2 };            // header maps
enum { REQUEST_BODY, RESPONSE_BODY, CONFIGURATION = 7 };
enum { COUNTER };

#define TEXT(literal) literal, sizeof(literal) - 1

struct text {
    char *data;
    size_t size;
};

extern char __heap_base;
static char *heap;
static struct text greeting;   // the configuration
static uint32_t requests;      // a metric
static char *after_configuration;

// Memory is given out, never taken back: but for the configuration, all of it is given out anew in each callback.
void *EXPORT(proxy_on_memory_allocate)(size_t size) {
    size_t free = (size_t)(heap ? heap : (heap = &__heap_base));
    size_t end = (free + size + 7) / 8 * 8;
    size_t pages = (end + 65535) / 65536;
    size_t have = __builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == (size_t)-1) {
        return NULL;
    }
    heap = (char *)end;
    return (void *)free;
}

static void begin(void) {
    heap = after_configuration;
}

// `label: value` in the log.
static void say(const char *label, size_t label_size, struct text value) {
    char *line = proxy_on_memory_allocate(label_size + 2 + value.size);
    char *end = line;
    for (size_t i = 0; i < label_size; i++) *end++ = label[i];
    *end++ = ':';
    *end++ = ' ';
    for (size_t i = 0; i < value.size; i++) *end++ = value.data[i];
    proxy_log(INFO, line, end - line);
}

static struct text decimal(uint64_t number) {
    char *end = (char *)proxy_on_memory_allocate(20) + 20;
    struct text text = {end, 0};
    do {
        *--text.data = '0' + number % 10;
        text.size++;
    } while (number /= 10);
    return text;
}

static struct text header(uint32_t map, const char *name, size_t name_size) {
    struct text value = {NULL, 0};
    proxy_get_header_map_value(map, name, name_size, &value.data, &value.size);
    return value;
}

void EXPORT(proxy_abi_version_0_2_1)(void) {}

uint32_t EXPORT(proxy_on_vm_start)(uint32_t context, size_t size) {
    return 1;
}

uint32_t EXPORT(proxy_on_configure)(uint32_t context, size_t size) {
    if (proxy_get_buffer_bytes(CONFIGURATION, 0, size, &greeting.data, &greeting.size) != OK) {
        return 0;
    }
    after_configuration = heap;
    proxy_define_metric(COUNTER, TEXT("c.requests"), &requests);
    return 1;
}

void EXPORT(proxy_on_context_create)(uint32_t context, uint32_t parent) {}

uint32_t EXPORT(proxy_on_request_headers)(uint32_t context, uint32_t count, uint32_t end_of_stream) {
    begin();
    if (header(REQUEST, TEXT("x-deny")).data) {
        static const char headers[] = "\1\0\0\0" "\5\0\0\0" "\1\0\0\0" "x-why\0" "c\0";
        proxy_send_local_response(403, TEXT(""), TEXT("denied by C\n"), headers, sizeof(headers) - 1, -1);
        return 1;
    }
    struct text method, property = {NULL, 0};
    if (proxy_get_property(TEXT("request_method"), &method.data, &method.size) == OK) {
        proxy_add_header_map_value(REQUEST, TEXT("x-method"), method.data, method.size);
    }
    proxy_set_property(TEXT("limit_rate"), TEXT("1000000"));
    proxy_get_property(TEXT("limit_rate"), &property.data, &property.size);
    say(TEXT("limit_rate"), property);
    proxy_add_header_map_value(REQUEST, TEXT("x-added"), greeting.data, greeting.size);
    proxy_replace_header_map_value(REQUEST, TEXT("x-replaced"), TEXT("new"));
    proxy_remove_header_map_value(REQUEST, TEXT("x-removed"));
    return 0;
}

uint32_t EXPORT(proxy_on_request_body)(uint32_t context, size_t size, uint32_t end_of_stream) {
    begin();
    proxy_set_buffer_bytes(REQUEST_BODY, 0, 0, TEXT("<"));
    proxy_set_buffer_bytes(REQUEST_BODY, size + 1, 0, TEXT(">"));
    return 0;
}

uint32_t EXPORT(proxy_on_response_headers)(uint32_t context, uint32_t count, uint32_t end_of_stream) {
    begin();
    struct text status = header(RESPONSE, TEXT(":status"));
    proxy_add_header_map_value(RESPONSE, TEXT("x-status"), status.data, status.size);
    proxy_remove_header_map_value(RESPONSE, TEXT("content-length"));
    return 0;
}

// Each `-` of the body becomes ` and `.
uint32_t EXPORT(proxy_on_response_body)(uint32_t context, size_t size, uint32_t end_of_stream) {
    begin();
    struct text body = {NULL, 0};
    if (proxy_get_buffer_bytes(RESPONSE_BODY, 0, size, &body.data, &body.size) != OK) {
        return 0;
    }
    for (size_t i = body.size; i-- > 0;) {
        if (body.data[i] == '-') {
            proxy_set_buffer_bytes(RESPONSE_BODY, i, 1, TEXT(" and "));
        }
    }
    return 0;
}

// Counts in shared data, until no other worker was faster, and in a metric.
void EXPORT(proxy_on_log)(uint32_t context) {
    begin();
    for (int attempt = 0; attempt < 100; attempt++) {
        struct text old = {NULL, 0};
        uint32_t cas = 0;
        proxy_get_shared_data(TEXT("requests"), &old.data, &old.size, &cas);
        uint64_t count = 0;
        for (size_t i = 0; i < old.size; i++) {
            count = count * 10 + (old.data[i] - '0');
        }
        struct text new = decimal(count + 1);
        if (proxy_set_shared_data(TEXT("requests"), new.data, new.size, cas) == OK) {
            say(TEXT("requests in shared data"), new);
            break;
        }
    }
    uint64_t value = 0;
    proxy_increment_metric(requests, 1);
    proxy_get_metric(requests, &value);
    say(TEXT("requests in a metric"), decimal(value));
}
